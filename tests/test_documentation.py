"""What the pages of the documentation import and call is there."""

import ast
import doctest
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest

import tlpot
import tlpot.api
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
    """Calls ``tlpot.name(...)`` in the blocks of Python of a page: name and keywords."""
    found = []
    for _, block in BLOCK.findall(page.read_text()):
        for node in ast.walk(ast.parse(python_of(block))):
            call = node.func if isinstance(node, ast.Call) else None
            if isinstance(call, ast.Attribute) and getattr(call.value, "id", "") == "tlpot":
                found.append((call.attr, [each.arg for each in node.keywords if each.arg]))
    return found


@pytest.mark.fault
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_keywords_of_calls_are_there(page):
    """A page called ``tlpot.report`` with the arguments of ``tlpot.force_field_report``."""
    for name, keywords in calls_of_tlpot(page):
        assert hasattr(tlpot, name)
        assert not {*keywords} - {*inspect.signature(getattr(tlpot, name)).parameters}, name


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
