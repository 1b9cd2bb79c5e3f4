"""`tlpot relax STRUCTURE MODEL`: a structure to its nearest minimum."""

from __future__ import annotations

import argparse

from tlpot.cli.options import (
    add_calculator_arguments,
    calculator_options,
    check_files,
    options_adder,
    options_of,
    show_result,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add("--fmax", "eV/Å; default 0.01", 0.01)
    add("--steps", "the most steps; default 1000", 1000)
    add(
        "--optimizer",
        "bfgs-line-search, lbfgs or fire; default the first, beyond 100 atoms the second",
        "auto",
    )
    add("--cell", "relax the cell, too", False)
    add("--pressure", "with --cell, bar; default 0", 0.0)
    add(
        "--out",
        "the relaxed structure, in the format of the ending; default relaxed.xyz",
        "relaxed.xyz",
        metavar="FILE",
    )
    add("--trajectory", "extended XYZ file for all steps", metavar="FILE")
    add("--dtype", "float32 or float64; default float64", "float64")
    add_calculator_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Relaxes, prints what became of the structure, and fails if it is not converged."""
    from tlpot import api
    from tlpot.errors import SimulationError

    check_files(arguments)
    result = api.relax(
        arguments.structure,
        arguments.model,
        output=arguments.out,
        **options_of(arguments, "fmax steps optimizer cell pressure trajectory dtype"),
        **calculator_options(arguments),
    )
    show_result(result, arguments)
    if not result.converged:
        raise SimulationError(
            f"NOT CONVERGED; {arguments.out} holds the last structure: start from it and write to "
            "another --out, with more --steps or another --optimizer"
        )
