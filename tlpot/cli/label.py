"""`tlpot label STRUCTURES --engine E -o FILE.h5`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tlpot.cli.terminal import add_strict_argument, check_warnings
from tlpot.presentation import warnings_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument(
        "settings", nargs="+", metavar="STRUCTURES | key=value",
        help="a dataset, or files that ASE reads; and settings of the engine, such as "
        "density_fitting=false",
    )  # fmt: skip
    parser.add_argument(
        "--engine", required=True,
        help="gfn2-xtb, gfn1-xtb, pyscf:METHOD/BASIS, ase:MODULE:CLASS, "
        "'env:PYTHON ase:MODULE:CLASS', torch:FILE or model:PATH[@LEVEL]",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", required=True,
        help="HDF5 file to write, or to add labels to; may be the dataset itself",
    )  # fmt: skip
    parser.add_argument(
        "--level", help="name of the level of theory, instead of the engine's or the model's"
    )
    parser.add_argument("--spec", help="layout of the dataset, if it is not tlpot's own")
    parser.add_argument(
        "--keys", nargs="+", default=[], metavar="QUANTITY=NAME",
        help="names that the file has for a quantity: charge=Q spin=M; with --spec any quantity "
        "of the layout",
    )  # fmt: skip
    parser.add_argument(
        "--forces", default="auto",
        help="auto (analytic ones where they exist), no, analytic, or numerical",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument(
        "--dask", metavar="ADDRESS|local", help="run the labels on a Dask cluster",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, metavar="N", help="new labels at most")
    parser.add_argument(
        "--tries", type=int, default=3, help="workers that a geometry may kill (default 3)"
    )
    parser.add_argument("--retry-failed", action="store_true", help="try failures again")
    add_strict_argument(parser)
    parser.add_argument(
        "--repair-journal", action="store_true", help="drop damaged lines of the journal"
    )


def run(arguments: argparse.Namespace) -> None:
    """Labels, and lists what failed."""
    from tlpot.api import label
    from tlpot.config import with_overrides
    from tlpot.errors import DataError

    structures = [s for s in arguments.settings if "=" not in s or Path(s).exists()]
    names = ("level", "forces", "spec", "limit", "retry_failed", "repair_journal", "tries",
             "workers", "dask")  # fmt: skip
    report = label(
        structures,
        arguments.engine,
        arguments.output,
        settings=with_overrides({}, [s for s in arguments.settings if s not in structures]),
        keys=dict(_pair(text) for text in arguments.keys),
        **{name: getattr(arguments, name) for name in names},
    )
    print(report)
    if report.failures:
        print(report.failure_text(), file=sys.stderr)
    if report.failures and not report.n_labelled and not report.n_known:
        raise DataError("every geometry failed, see above")
    failed = [f"{record.name}: {record.outcome.error}" for record in report.failures]
    check_warnings([*warnings_of(str(report)), *failed], arguments)


def _pair(text: str) -> tuple[str, str]:
    from tlpot.errors import ConfigError

    quantity, equals, name = text.partition("=")
    if not equals:
        raise ConfigError(f"--keys: {text!r} is not of the form QUANTITY=NAME")
    return quantity, name
