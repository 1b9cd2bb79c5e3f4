"""`tlpot label STRUCTURES --engine E -o FILE.h5`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tlpot.cli.options import add_strict_argument, key_pair, options_adder, options_of
from tlpot.cli.parser import check_warnings
from tlpot.presentation import warnings_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add(
        "settings",
        "a dataset, or files that ASE reads; and settings of the engine, such as "
        "density_fitting=false",
        nargs="+",
        metavar="STRUCTURES | key=value",
    )
    add(
        "--engine",
        "gfn2-xtb, gfn1-xtb, pyscf:METHOD/BASIS, pyscf:r2scan-3c, ase:MODULE:CLASS, "
        "'env:PYTHON ase:MODULE:CLASS', torch:FILE or model:PATH[@LEVEL]",
        required=True,
    )
    add(
        "-o --output",
        "HDF5 file to write, or to add labels to; may be the dataset itself",
        required=True,
    )
    add("--level", "name of the level of theory, instead of the engine's or the model's")
    add("--spec", "layout of the dataset, if it is not tlpot's own")
    add(
        "--keys",
        "names that the file has for a quantity: charge=Q spin=M; with --spec any quantity "
        "of the layout",
        nargs="+",
        default=[],
        metavar="QUANTITY=NAME",
    )
    add("--forces", "auto (analytic ones where they exist), no, analytic, or numerical", "auto")
    add("--batch", "molecules of one size at once, by torch:, model: and some env: engines", 1)
    add("--workers", "processes of one thread each", 1)
    add("--dask", "run the labels on a Dask cluster", metavar="ADDRESS|local")
    add("--limit", "new labels at most", int, metavar="N")
    add("--tries", "workers that a geometry may kill (default 3)", 3)
    add("--retry-failed", "try failures again", False)
    add_strict_argument(parser)
    add("--repair-journal", "drop damaged lines of the journal", False)


def run(arguments: argparse.Namespace) -> None:
    """Labels, and lists what failed."""
    from tlpot.api import label
    from tlpot.config import with_overrides
    from tlpot.errors import DataError

    structures = [s for s in arguments.settings if "=" not in s or Path(s).exists()]
    names = "level forces spec limit retry_failed repair_journal tries batch workers dask"
    report = label(
        structures,
        arguments.engine,
        arguments.output,
        settings=with_overrides({}, [s for s in arguments.settings if s not in structures]),
        keys=dict(key_pair(text) for text in arguments.keys),
        **options_of(arguments, names),
    )
    print(report)
    if report.failures:
        print(report.failure_text(), file=sys.stderr)
    if report.failures and not report.n_labelled and not report.n_known:
        raise DataError("every geometry failed, see above")
    failed = [f"{record.name}: {record.outcome.error}" for record in report.failures]
    check_warnings([*warnings_of(str(report)), *failed], arguments)
