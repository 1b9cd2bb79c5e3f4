"""`tlpot report MODEL DATA --level L [--parent PARENT] [-o DIR] [report.key=value ...]`.

With ``--structure`` or ``--data`` the report is on a force field, see `force_field_report`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tlpot.cli import force_field_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument(
        "model", help="a model file or the name of a model; of a force field also a YAML file with "
        "a model for each kind of fragment",
    )  # fmt: skip
    parser.add_argument("data", nargs="?", help="file with labels")
    parser.add_argument(
        "settings", nargs="*", metavar="report.key=value",
        help="settings, such as report.md_steps=2000 or report.parts=[drift,dimers]",
    )  # fmt: skip
    parser.add_argument("--level", help="level of theory of the labels")
    parser.add_argument(
        "--model-level", help="level of the model, if it has several or another than the labels"
    )
    parser.add_argument("--parent", help="model that it was made from, to compare with")
    parser.add_argument(
        "--source", help="level of the parent, if it has several; of a force field without "
        "--parent, the level of MODEL itself that the transfer started from",
    )  # fmt: skip
    parser.add_argument("--spec", help="layout of the data, if it is not tlpot's own")
    parser.add_argument("--split", help="split file: look at one part of it")
    parser.add_argument("--part", default="test", choices=["train", "validation", "test"])
    parser.add_argument("-o", "--output", help="folder for what is written")
    parser.add_argument("--device", help="cpu, cuda, ...; default CUDA if there is one")
    force_field_report.add_force_field_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Reports."""
    from tlpot.errors import ConfigError

    _sort(arguments)
    if force_field_report.is_force_field(arguments):
        force_field_report.run(arguments)
        return
    if arguments.data is None:
        raise ConfigError(
            "give DATA, a file with labels, for the report on a transfer; or --structure, --data "
            "or both for the report on a force field"
        )

    from tlpot import api
    from tlpot.config import with_overrides
    from tlpot.files import make_folder
    from tlpot.jobs import REPORT

    data = {"files": [arguments.data], "level": arguments.level, "spec": arguments.spec}
    settings: dict[str, Any] = {"model": arguments.model, "data": data, "part": arguments.part}
    for name in ("level", "model_level", "parent", "source", "split"):
        settings[name] = getattr(arguments, name)
    config = with_overrides(settings, arguments.settings)
    config.where = "report"
    report = api.report(config=config, device=arguments.device)
    print(report)
    if arguments.output is not None:
        make_folder(arguments.output)
        report.save(Path(arguments.output) / REPORT)
        print(f"\nwrote report.json, report.txt and report.png in {arguments.output}")


def _sort(arguments: argparse.Namespace) -> None:
    """Tells DATA, which may be absent or come after the options, from the settings."""
    given = [*([] if arguments.data is None else [arguments.data]), *arguments.settings]
    files = [text for text in given if "=" not in text or Path(text).exists()]
    arguments.data = files[0] if files else None
    if files:
        given.remove(files[0])
    arguments.settings = given
