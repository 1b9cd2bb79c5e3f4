"""`tlpot report MODEL --structure S --scheme NAME --reference R -o DIR`: of a force field."""

from __future__ import annotations

import argparse
from pathlib import Path

from tlpot.cli.fragment_options import OPTIONS, add_assembly_arguments, fragment_options

_OWN = ("structure", "scheme", *OPTIONS, "reference", "fragments", "cost", "curve", "ancestor")
_PLAIN = ("model_level",)
"""Options of the report on a transfer that mean nothing here."""


def add_force_field_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the report on a force field."""
    group = parser.add_argument_group(
        "force field (an HTML page; with any of these the report is on a force field)"
    )
    group.add_argument(
        "--structure", action="append", metavar="FILE",
        help="test structure with all hydrogens, in one or more frames; may be given several "
        "times",
    )  # fmt: skip
    group.add_argument(
        "--reference",
        metavar="M",
        help="what QM is: gfn2-xtb, pyscf:METHOD/BASIS, any other engine, or a model",
    )
    group.add_argument(
        "--data", dest="fragments", metavar="FILE", help="labelled fragments, to measure errors on"
    )
    group.add_argument(
        "--cost", action="append", metavar="FILE", help="a file that tlpot label wrote"
    )
    group.add_argument("--curve", metavar="DIR", help="folder of tlpot curve")
    group.add_argument(
        "--ancestor", action="append", metavar="MODEL",
        help="a model file that may be an ancestor; models with names are known",
    )  # fmt: skip
    add_assembly_arguments(parser, default=None)


def is_force_field(arguments: argparse.Namespace) -> bool:
    """Whether the report is on a force field: any of its options was given."""
    return any(getattr(arguments, name) is not None for name in _OWN)


def run(arguments: argparse.Namespace) -> None:
    """Examines a force field and writes the page."""
    from tlpot.api import force_field_report
    from tlpot.config import with_overrides
    from tlpot.errors import ConfigError
    from tlpot.reports import NUMBERS, PAGE

    _check(arguments)
    changes = with_overrides({}, arguments.settings)
    for section in changes.keys() - {"report"}:
        raise ConfigError(f"the settings are called report.{section}=..., not {section}=...")
    if arguments.scheme is None:
        arguments.scheme = "mfcc_mbe2"
    names = ("level", "structure", "reference", "parent", "source", "spec", "split", "part",
             "curve", "output", "device")  # fmt: skip
    found = force_field_report(
        arguments.model,
        arguments.fragments,
        cost=arguments.cost or (),
        ancestors=arguments.ancestor or (),
        settings=changes.get("report"),
        **fragment_options(arguments),
        **{name: getattr(arguments, name) for name in names},
    )
    if found.stages:
        print(f"{found}\n")
    folder = Path(arguments.output)
    print(f"wrote {folder / PAGE} and {folder / NUMBERS}")


def _check(arguments: argparse.Namespace) -> None:
    from tlpot.errors import ConfigError

    if arguments.output is None:
        raise ConfigError("the report on a force field is a page; say where with -o DIR")
    if arguments.data is not None:
        raise ConfigError(
            f"the labelled fragments of a force field are given as --data {arguments.data}"
        )
    for name in _PLAIN:
        if getattr(arguments, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} does not apply to the report on a force field"
            )
    if arguments.structure is None:
        for name in ("scheme", "reference", *OPTIONS):
            if name == "trained_charges" and arguments.fragments is not None:
                continue
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')} goes with --structure; add that")
    if arguments.fragments is None:
        for name in ("split", "spec", "parent", "source"):
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name} goes with --data; add that, or leave it out")
