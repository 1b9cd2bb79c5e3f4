"""`tlpot relax STRUCTURE MODEL`: a structure to its nearest minimum."""

from __future__ import annotations

import argparse

from tlpot.cli.calculator_options import (
    add_calculator_arguments,
    calculator_options,
    check_files,
    show,
    shown_progress,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument("--fmax", type=float, default=0.01, help="eV/Å; default 0.01")
    parser.add_argument("--steps", type=int, default=1000, help="the most steps; default 1000")
    parser.add_argument(
        "--optimizer", default="auto",
        help="bfgs-line-search, lbfgs or fire; default the first, beyond 100 atoms the second",
    )  # fmt: skip
    parser.add_argument("--cell", action="store_true", help="relax the cell, too")
    parser.add_argument("--pressure", type=float, default=0.0, help="with --cell, bar; default 0")
    parser.add_argument(
        "--out", default="relaxed.xyz", metavar="FILE",
        help="the relaxed structure, in the format of the ending; default relaxed.xyz",
    )  # fmt: skip
    parser.add_argument("--trajectory", metavar="FILE", help="extended XYZ file for all steps")
    parser.add_argument("--dtype", default="float64", help="float32 or float64; default float64")
    add_calculator_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Relaxes, prints what became of the structure, and fails if it is not converged."""
    from tlpot.errors import SimulationError
    from tlpot.jobs import relax

    check_files(arguments)
    with shown_progress() as progress:
        result = relax(
            arguments.structure,
            arguments.model,
            fmax=arguments.fmax,
            steps=arguments.steps,
            optimizer=arguments.optimizer,
            cell=arguments.cell,
            pressure=arguments.pressure,
            output=arguments.out,
            trajectory=arguments.trajectory,
            dtype=arguments.dtype,
            progress=progress,
            **calculator_options(arguments),
        )
    show(result, arguments)
    if not result.converged:
        raise SimulationError(
            f"NOT CONVERGED; {arguments.out} holds the last structure: start from it and write to "
            "another --out, with more --steps or another --optimizer"
        )
