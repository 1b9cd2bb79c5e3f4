"""Options of the commands that do something with one structure and one model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tlpot.cli.fragment_options import add_assembly_arguments, fragment_method, fragment_options
from tlpot.cli.terminal import add_strict_argument


def add_calculator_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares structure, model, and what goes with them."""
    parser.add_argument(
        "structure", help="a file that ASE reads (its last frame), or a molecule such as CH3CH2OH"
    )
    parser.add_argument(
        "model", help="a model file, the name of a model, gfn2-xtb, pyscf:METHOD/BASIS, "
        "ase:MODULE:CLASS, 'env:PYTHON ase:MODULE:CLASS' or torch:FILE;"
        " with --low and no --scheme a model of differences",
    )  # fmt: skip
    parser.add_argument("--level", help="level of theory, if the model has several")
    parser.add_argument("--charge", type=int, help="total charge, in place of the structure's")
    parser.add_argument("--spin", type=int, help="multiplicity 2S + 1, likewise")
    parser.add_argument("--json", metavar="FILE", help="file for all numbers")
    parser.add_argument("--plot", metavar="FILE", help="picture to write, .png or .pdf")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--device", help="cpu, cuda, ...; default CUDA if there is one")
    parser.add_argument(
        "--threads", type=int, default=1, help="for torch; default 1, best for small molecules"
    )
    add_strict_argument(parser)
    add_assembly_arguments(parser, default=None)


def calculator_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the options as keyword arguments of a job.

    Raises:
        ConfigError: settings of a scheme without a scheme, or no such scheme.
    """
    options = fragment_options(arguments)
    if options["scheme"] is not None:
        options["scheme"] = fragment_method(arguments).calculator_scheme()
    names = ("level", "charge", "spin", "overwrite", "device", "threads")
    return {**options, **{name: getattr(arguments, name) for name in names}}


def check_files(arguments: argparse.Namespace) -> None:
    """Refuses files for numbers and picture that are there, before anything is computed.

    Raises:
        OutputError: one exists, is the structure itself, or is named twice.
        ConfigError: a picture of no known kind.
    """
    from pathlib import Path

    from tlpot.errors import OutputError
    from tlpot.jobs import check_result_file
    from tlpot.presentation import picture_path

    names = ("out", "trajectory", "modes", "molden", "json", "plot")
    named = [path for name in names if (path := getattr(arguments, name, None)) is not None]
    twice = [
        path for path in named if [Path(p).resolve() for p in named].count(Path(path).resolve()) > 1
    ]
    if twice:
        raise OutputError(f"two files are to be {twice[0]}; give each a name of its own")
    if arguments.plot:
        picture_path(arguments.plot)
    for name in ("json", "plot"):
        path = getattr(arguments, name)
        if path is not None:
            check_result_file(
                path, arguments.structure, overwrite=arguments.overwrite, option=f"--{name}"
            )


def show(result: Any, arguments: argparse.Namespace) -> None:
    """Prints a result, and writes what was asked for."""
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    if arguments.json:
        result.save(arguments.json)
    if arguments.plot:
        result.plot(arguments.plot)
    print(result)
    written = [path for path in (arguments.json, arguments.plot) if path]
    if written:
        print(f"wrote {', '.join(written)}")


@contextmanager
def shown_progress() -> Iterator[Callable[[int, int | None, str], None]]:
    """A context with a progress callable that draws a bar on a terminal."""
    from tlpot.presentation import progress_bar

    with progress_bar(unit="step", disable=None, dynamic_ncols=True, leave=False) as bar:

        def told(done: int, total: int | None, text: str) -> None:
            bar.total = total
            bar.n = done
            bar.set_postfix_str(text, refresh=False)
            bar.update(0)

        yield told
