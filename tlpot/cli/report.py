"""`tlpot report MODEL DATA --level L [--parent PARENT] [-o DIR] [report.key=value ...]`.

With ``--structure`` or ``--data`` the report is on a force field.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tlpot.cli import options

_OF_STRUCTURES = ("scheme", "reference", *options.FRAGMENT_OPTIONS)
_OWN = (*_OF_STRUCTURES, "structure", "fragments", "cost", "curve", "ancestor")
"""Options that make the report one on a force field."""


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options.adder(parser)
    add(
        "model",
        "a model file or the name of a model; of a force field also a YAML file with a model "
        "for each kind of fragment",
    )
    add("data", "file with labels", nargs="?")
    add(
        "settings [report.key=value...]",
        "of the report on a transfer, such as report.md_steps=2000 or report.parts=[drift,dimers]; "
        "of that on a force field, such as report.nve_steps=2000 or report.timestep=1.0; that on "
        "a property has none",
    )
    add("--level", "level of theory of the labels")
    add("--model-level", "level of the model, if it has several or another than the labels")
    add("--parent", "model that it was made from, to compare with")
    add(
        "--source",
        "level of the parent, if it has several; of a force field without --parent, the "
        "level of MODEL itself that the transfer started from",
    )
    options.add_data_arguments(parser)
    add("--split", "split file: look at one part of it")
    add("--part", options.PART, choices=["train", "validation", "test"])
    add("-o --output", "folder for what is written")
    add("--device", options.DEVICE)
    add("--engine", options.ENGINE)
    _add_force_field_arguments(parser)


def run_report(arguments: argparse.Namespace) -> None:
    """Reports."""
    from tlpot.errors import ConfigError

    _sort(arguments)
    if any(getattr(arguments, name) is not None for name in _OWN):
        _report_force_field(arguments)
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

    reading = options.reading_options(arguments)
    data = {"files": [arguments.data], "level": arguments.level, "spec": reading["spec"]}
    if reading["keys"] is not None:
        data["keys"] = reading["keys"]
    settings: dict[str, Any] = {"model": arguments.model, "data": data}
    settings |= options.values_of(arguments, "level model_level parent source split part engine")
    config = with_overrides(settings, arguments.settings)
    config.where = "report"
    report = api.report(config=config, device=arguments.device)
    print(report)
    if arguments.output is not None:
        make_folder(arguments.output)
        report.save(Path(arguments.output) / REPORT)
        page = ", report.html" if hasattr(report, "html") else ""
        print(f"\nwrote report.json{page}, report.txt and report.png in {arguments.output}")


def _sort(arguments: argparse.Namespace) -> None:
    """Tells DATA, which may be absent or come after the options, from the settings."""
    given = [*([] if arguments.data is None else [arguments.data]), *arguments.settings]
    files = [text for text in given if "=" not in text or Path(text).exists()]
    arguments.data = files[0] if files else None
    if files:
        given.remove(files[0])
    arguments.settings = given


def _add_force_field_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the report on a force field."""
    title = "force field (an HTML page; with any of these the report is on a force field)"
    add = options.adder(parser.add_argument_group(title))
    about = "test structure with all hydrogens, in one or more frames"
    add("--structure FILE", about, action="append")
    add("--reference M", "what QM is: gfn2-xtb, pyscf:METHOD/BASIS, any other engine, or a model")
    add("--data FILE", "labelled fragments, to measure errors on", dest="fragments")
    add("--cost FILE", "a file that tlpot label wrote", action="append")
    add("--curve DIR", "folder of tlpot curve")
    about = "model file that may be an ancestor; models with names are known"
    add("--ancestor MODEL", about, action="append")
    options.add_assembly_arguments(parser, default=None)


def _report_force_field(arguments: argparse.Namespace) -> None:
    """Examines a force field and writes the page."""
    from tlpot.api import force_field_report
    from tlpot.config import with_overrides
    from tlpot.errors import ConfigError
    from tlpot.reports import NUMBERS, PAGE

    _check_force_field(arguments)
    changes = with_overrides({}, arguments.settings)
    for section in changes.keys() - {"report"}:
        raise ConfigError(f"the settings are called report.{section}=..., not {section}=...")
    if arguments.scheme is None:
        arguments.scheme = "mfcc_mbe2"
    names = "level structure reference parent source split part curve output device"
    found = force_field_report(
        arguments.model,
        arguments.fragments,
        cost=arguments.cost or (),
        ancestors=arguments.ancestor or (),
        settings=changes.get("report"),
        **options.reading_options(arguments),
        **options.fragment_options(arguments),
        **options.values_of(arguments, names),
    )
    if found.stages:
        print(f"{found}\n")
    folder = Path(arguments.output)
    print(f"wrote {folder / PAGE} and {folder / NUMBERS}")


def _check_force_field(arguments: argparse.Namespace) -> None:
    from tlpot.errors import ConfigError

    if arguments.output is None:
        raise ConfigError("the report on a force field is a page; say where with -o DIR")
    if arguments.data is not None:
        raise ConfigError(
            f"the labelled fragments of a force field are given as --data {arguments.data}"
        )
    for name in ("model_level", "engine"):
        if getattr(arguments, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option} does not apply to the report on a force field")
    if arguments.structure is None:
        for name in _OF_STRUCTURES:
            if name == "trained_charges" and arguments.fragments is not None:
                continue
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')} goes with --structure; add that")
    if arguments.fragments is None:
        for name in ("split", "spec", "keys", "parent", "source"):
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name} goes with --data; add that, or leave it out")
