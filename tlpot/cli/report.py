"""`tlpot report MODEL DATA --level L [--parent PARENT] [-o DIR] [report.key=value ...]`.

With ``--structure`` or ``--data`` the report is on a force field, see `force_field_report`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tlpot.cli import force_field_report
from tlpot.cli.options import DEVICE, SPEC, options_adder, options_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add(
        "model",
        "a model file or the name of a model; of a force field also a YAML file with a model "
        "for each kind of fragment",
    )
    add("data", "file with labels", nargs="?")
    add(
        "settings",
        "settings, such as report.md_steps=2000 or report.parts=[drift,dimers]",
        nargs="*",
        metavar="report.key=value",
    )
    add("--level", "level of theory of the labels")
    add("--model-level", "level of the model, if it has several or another than the labels")
    add("--parent", "model that it was made from, to compare with")
    add(
        "--source",
        "level of the parent, if it has several; of a force field without --parent, the "
        "level of MODEL itself that the transfer started from",
    )
    add("--spec", SPEC)
    add("--split", "split file: look at one part of it")
    parser.add_argument("--part", default="test", choices=["train", "validation", "test"])
    add("-o --output", "folder for what is written")
    add("--device", DEVICE)
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
    settings |= options_of(arguments, "level model_level parent source split")
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
