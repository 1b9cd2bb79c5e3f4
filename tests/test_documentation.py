"""What the pages of the documentation import and call is there."""

import argparse
import ast
import doctest
import importlib
import importlib.util
import inspect
import re
import shlex
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest

import tlpot
import tlpot.api
from tlpot.cli.main import make_parser, parse_arguments
from tlpot.errors import MissingExtraError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```python\b[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
IMPORT = re.compile(r"\bfrom (tlpot[\w.]*) import (\([^)]*\)|[\w, ]+)")


def is_there(module, name):
    try:
        return hasattr(importlib.import_module(module), name)
    except MissingExtraError:
        return True  # found, and its program is not installed


# programs that a page is about may use what their own libraries are about to drop
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_imports_work(page):
    found = [
        (module, name.strip())
        for module, names in IMPORT.findall(page.read_text())
        for name in names.strip("()").split(",")
        if name.strip()
    ]
    assert not [each for each in found if not is_there(*each)]


def test_some_pages_import_something():
    assert sum(bool(IMPORT.search(page.read_text())) for page in PAGES) > 5


def python_of(block):
    """A block as statements, and a session, with ``>>>``, likewise."""
    if ">>>" in block:
        return "".join(example.source for example in doctest.DocTestParser().get_examples(block))
    return textwrap.dedent(block)


def calls_of_tlpot(page):
    """Calls of ``tlpot.name`` and of what the page imports: the callable's name, it, keywords."""
    text = page.read_text()
    names = {name: getattr(tlpot, name) for name in tlpot.__all__}
    for module, imported in IMPORT.findall(text):
        for name in filter(None, (each.strip() for each in imported.strip("()").split(","))):
            with suppress(MissingExtraError, AttributeError):  # see test_imports_work
                names[name] = getattr(importlib.import_module(module), name)
    found = []
    for _, block in BLOCK.findall(text):
        for node in ast.walk(ast.parse(python_of(block))):
            call = node.func if isinstance(node, ast.Call) else None
            keywords = [each.arg for each in node.keywords if each.arg] if call else []
            if isinstance(call, ast.Attribute) and getattr(call.value, "id", "") == "tlpot":
                found.append((call.attr, getattr(tlpot, call.attr, None), keywords))
            elif isinstance(call, ast.Name) and call.id in names:
                found.append((call.id, names[call.id], keywords))
    return found


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_keywords_of_calls_are_there(page):
    """A page called ``tlpot.report`` with the arguments of ``tlpot.force_field_report``."""
    for name, called, keywords in calls_of_tlpot(page):
        assert called is not None, name
        known = inspect.signature(called).parameters
        if not any(each.kind is each.VAR_KEYWORD for each in known.values()):
            assert not {*keywords} - {*known}, name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_some_pages_call_something():
    assert sum(bool(calls_of_tlpot(page)) for page in PAGES) > 5


@pytest.mark.fault
def test_every_job_is_in_the_table_of_jobs():
    """``force_field_report`` and the jobs on structures were missing from docs/python.md."""
    listed = re.findall(r"^\| `(\w+)\(", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE)
    jobs = {
        name
        for name, member in vars(tlpot.api).items()
        if name in tlpot.__all__ and inspect.isfunction(member)
    }
    assert {*listed} == jobs - {"load"}


COMMAND_PAGES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "data_specs" / "README.md"]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:    |\$ )?(?:torchrun \S+ \S+ -m tlpot\.cli|tlpot) (.*)$", re.MULTILINE)
INLINE = re.compile(r"`tlpot ([^`]+)`")
DOTTED = re.compile(r"`(tlpot(?:\.\w+)+)(?<!\.json)(?:\([^`]*\))?`")


def subparsers(parser):
    """Parsers of commands by name, such as ``data info``."""
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                deeper = subparsers(inner)
                found |= {f"{name} {key}".strip(): each for key, each in deeper.items()}
                found[name] = inner
    return found


def command_lines(page):
    """Command lines of a page, those that go on in the next line joined."""
    text = page.read_text().replace("\\\n", " ")
    fenced = [block for _, language, block in FENCE.findall(text) if language in ("", "console")]
    indented = [line for line in FENCE.sub("", text).splitlines() if line.startswith("    tlpot ")]
    return COMMAND.findall("\n".join([*fenced, *indented]))


def is_synopsis(line):
    """Whether a line shows what may stand in a command, instead of being one."""
    return "[" in line.split("=[")[0] or "..." in line


def unknown_options(line):
    """Options that the command of a line does not have; all of them if there is no such command."""
    words = line.replace("[", " ").replace("]", " ").split()
    names = {"": make_parser()}
    names |= subparsers(names[""])
    inner = names.get(" ".join(words[:2])) or names.get(words[0] if words[0][0] != "-" else "")
    options = {word.split("=")[0] for word in words if re.fullmatch(r"-\w|--[a-z][\w-]*", word)}
    known = (
        set() if inner is None else {o for action in inner._actions for o in action.option_strings}
    )
    return options - known


@pytest.mark.parametrize("page", COMMAND_PAGES, ids=lambda page: page.parent.name + page.stem)
def test_commands_are_understood(page):
    """Nothing is run: the parser of the command line takes them as they stand."""
    wrong = []
    for line in command_lines(page):
        if is_synopsis(line):
            wrong += [f"{line}: {option}" for option in unknown_options(line)]
            continue
        try:
            parse_arguments(shlex.split(line, comments=True))
        except SystemExit as error:
            wrong.append(f"{line}: {error}")
    assert not wrong


@pytest.mark.parametrize("page", COMMAND_PAGES, ids=lambda page: page.parent.name + page.stem)
def test_options_named_in_the_text_are_there(page):
    lines = INLINE.findall(FENCE.sub("", page.read_text()))
    wrong = {line: found for line in lines if (found := unknown_options(line))}
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_dotted_names_in_the_text_are_there(page):
    missing = []
    for found in DOTTED.findall(FENCE.sub("", page.read_text())):
        module, _, name = found.rpartition(".")
        try:
            is_module = importlib.util.find_spec(found) is not None
        except ModuleNotFoundError:
            is_module = False
        if not (is_module or is_there(module, name)):
            missing.append(found)
    assert not missing


def test_many_commands_are_found():
    assert sum(len(command_lines(page)) for page in COMMAND_PAGES) > 100
