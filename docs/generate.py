"""Pages that are made when the site is built: of the code, and of files beside docs."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mkdocs_gen_files
import yaml
from griffe import Docstring, DocstringSectionKind

from tlpot.cli.main import make_parser
from tlpot.transfer import STRATEGY_NAMES, strategy

ROOT = Path(__file__).parent.parent
CONFIGURATIONS = {
    "tlpot train": "tlpot.jobs.train:TrainConfig",
    "tlpot finetune": "tlpot.jobs.finetune:FinetuneConfig",
    "tlpot curve": "tlpot.learning_curves.config:CurveConfig",
    "tlpot active": "tlpot.active_learning.config:ActiveConfig",
    "tlpot build": "tlpot.building.config:BuildConfig",
    "tlpot report (report.KEY=VALUE)": "tlpot.evaluation.transfer_report:ReportSettings",
}
"""What is configured, and the dataclass whose fields are the keys."""

REPOSITORY = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "results.md",
    "data_specs/README.md": "layouts.md",
    "tlpot/library/README.md": "library.md",
}
"""Pages of the site that stand elsewhere in the repository."""


def write(path: str, text: str) -> None:
    with mkdocs_gen_files.open(path, "w") as page:
        page.write(text)


def examples() -> None:
    """A page for each example: what it says of itself, and its code, which CI runs."""
    titles = _titles(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    for path in sorted((ROOT / "examples").glob("[0-9]*.py")):
        source = path.read_text()
        tree = ast.parse(source)
        summary, _, rest = (ast.get_docstring(tree) or "").partition("\n\n")
        code = source.split('"""', 2)[2].strip()
        title = titles[f"examples/{path.stem}.md"]
        if rest.startswith("python "):
            rest = f"```text\n{rest}\n```\n\n"
        elif rest:
            rest = rest.replace("``", "`") + "\n\n"
        text = f"# {title}\n\n{summary}\n\n{rest}```python\n{code}\n```\n"
        configuration = path.with_suffix(".yaml")
        if configuration.exists():
            text += f"\nwith `{configuration.name}`:\n\n```yaml\n{configuration.read_text()}```\n"
        text += f"\nThis is `examples/{path.name}`, which is run by every test of the project.\n"
        write(f"examples/{path.stem}.md", text)


def _titles(nav: list[Any]) -> dict[str, str]:
    """Returns what the navigation calls each page."""
    found: dict[str, str] = {}
    for entry in nav:
        for title, inner in entry.items():
            found |= {inner: title} if isinstance(inner, str) else _titles(inner)
    return found


def commands() -> None:
    """The help of every subcommand."""
    parser = make_parser()
    text = "# Commands\n\n"
    for name, subparser in _subparsers(parser):
        text += f"## tlpot {name}\n\n```text\n{subparser.format_help()}```\n\n"
    write("reference/commands.md", text)


def _subparsers(
    parser: argparse.ArgumentParser, prefix: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, subparser in action.choices.items():
                deeper = list(_subparsers(subparser, f"{prefix}{name} "))
                yield from deeper or [(f"{prefix}{name}", subparser)]


def configuration() -> None:
    """All keys of all configurations, with type, default and meaning."""
    text = (
        "# Configuration keys\n\nKeys of YAML files, and of `key.path=value` on the command line. "
        "An unknown key is an error that names the nearest one.\n\n"
    )
    shown: dict[type, str] = {}
    for title, where in CONFIGURATIONS.items():
        module, name = where.split(":")
        cls = getattr(importlib.import_module(module), name)
        text += f"## {title}\n\n{_table(cls)}\n"
        for section, inner in _sections(cls):
            header = f"{title.split(' (')[0]}: {section}"
            known = shown.setdefault(inner, header)
            same = f"The keys are those of [{known}](#{_anchor(known)}).\n"
            text += f"### {header}\n\n{_table(inner) if known == header else same}\n"
    write("reference/configuration.md", text)


def strategies() -> None:
    """All strategies with their settings."""
    text = "# Transfer strategies\n\n`--strategy NAME`, with settings as `strategy.KEY=VALUE`.\n\n"
    for name in STRATEGY_NAMES:
        cls = type(strategy(_least(name)))
        summary = (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
        text += f"## {name}\n\n{summary}\n\n{_table(cls)}\n"
    write("reference/strategies.md", text)


def _least(name: str) -> Any:
    """Returns the smallest section that makes a strategy: some need a setting."""
    needed = {"multihead": {"levels": ["a"]}, "replay": {"files": ["f"]}, "ewc": {"files": ["f"]}}
    return {"name": name, **needed.get(name, {})}


def _sections(cls: type, prefix: str = "") -> Iterator[tuple[str, type]]:
    hints = __import__("typing").get_type_hints(cls)
    for spec in _keys(cls):
        kinds = [hints[spec.name], *getattr(hints[spec.name], "__args__", ())]
        for kind in (*kinds, spec.metadata.get("section")):
            if dataclasses.is_dataclass(kind) and isinstance(kind, type):
                yield f"{prefix}{spec.name}", kind
                yield from _sections(kind, f"{prefix}{spec.name}.")


def _keys(cls: type) -> list[dataclasses.Field]:
    """Returns the fields that a file may set: not those for objects, which only Python gives."""
    return [spec for spec in dataclasses.fields(cls) if "in memory" not in spec.metadata]


def _anchor(header: str) -> str:
    """Returns the anchor of a heading."""
    return re.sub(r"[^\w-]+", "-", header.lower().replace(":", "").replace(".", ""))


def _table(cls: type) -> str:
    """Returns a table of the fields of a dataclass."""
    meanings = _meanings(cls)
    rows = []
    for spec in _keys(cls):
        if not spec.init or (spec.name == "name" and spec.default is dataclasses.MISSING):
            continue
        rows.append(
            f"| `{spec.name}` | {_type(spec)} | {_cell(_default(spec))} "
            f"| {_cell(meanings.get(spec.name, ''))} |"
        )
    if not rows:
        return "No settings.\n"
    return "| key | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _meanings(cls: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for parent in reversed(cls.__mro__):
        for section in Docstring(parent.__doc__ or "", lineno=1).parse("google", warnings=False):
            if section.kind is DocstringSectionKind.attributes:
                found |= {item.name: item.description for item in section.value}
    return found


def _type(spec: dataclasses.Field) -> str:
    kind = spec.type if isinstance(spec.type, str) else getattr(spec.type, "__name__", "")
    return f"`{re.sub(r'[a-z_]+[.]', '', kind)}`"


def _default(spec: dataclasses.Field) -> str:
    if spec.default is not dataclasses.MISSING:
        return f"`{spec.default}`" if spec.default != "" else "empty"
    if spec.default_factory is not dataclasses.MISSING:
        made = spec.default_factory()
        return "see below" if dataclasses.is_dataclass(made) else f"`{made}`"
    return "required"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def rooms() -> None:
    """What each room of the package is for, and its modules."""
    text = (
        "# Rooms of the package\n\nA module imports only from rooms above it in this list; "
        "`tests/test_layering.py` holds the order.\n\n"
    )
    layering = (ROOT / "tests" / "test_layering.py").read_text()
    order = next(
        ast.literal_eval(node.value)
        for node in ast.parse(layering).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "LAYERS"
    )
    for room in (name for layer in order for name in sorted(layer)):
        folder = ROOT / "tlpot" / room
        if folder.is_dir():
            text += f"## {room}\n\n{_summary(folder / '__init__.py')}\n\n"
            modules = sorted(p for p in folder.rglob("*.py") if p.stem != "__init__")
            text += "".join(
                f"- `{p.relative_to(folder).with_suffix('').as_posix()}`: {_summary(p)}\n"
                for p in modules
            )
            text += "\n"
    write("reference/rooms.md", text)


def _summary(path: Path) -> str:
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    return doc.split("\n\n")[0].replace("\n", " ")


def api() -> None:
    """The public functions and classes."""
    text = "# Python\n\n"
    if (ROOT / "tlpot" / "api.py").exists():
        text += "Every job is one function of `tlpot`.\n\n::: tlpot.api\n\n"
    text += (
        "## Calculators\n\n::: tlpot.calculators.tlpot.TLPotCalculator\n\n"
        "::: tlpot.calculators.delta.DeltaCalculator\n\n"
        "::: tlpot.calculators.fragment.FragmentCalculator\n\n"
        "## Models and data\n\n::: tlpot.models.potential.Potential\n\n"
        "::: tlpot.data.open.open_dataset\n"
    )
    write("reference/api.md", text)


def repository() -> None:
    """Pages that stand elsewhere in the repository, and links to them from the pages in docs."""
    for source, page in REPOSITORY.items():
        folder = source.rpartition("/")[0]
        write(page, _relinked((ROOT / source).read_text(), folder))
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = path.read_text()
        linked = _relinked(text, "docs")
        if linked != text:
            write(path.name, linked)


def _relinked(text: str, folder: str) -> str:
    """Returns a page of a folder of the repository with links as the site has them."""

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[1]))
        return f"]({REPOSITORY.get(target, target.removeprefix('docs/'))}{match[2] or ''})"

    return re.sub(r"\]\((?!https?:)([^)#\s]+)(#[^)\s]*)?\)", link, text)


for make in (examples, commands, configuration, strategies, rooms, api, repository):
    make()
