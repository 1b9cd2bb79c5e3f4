"""`tlpot frequencies STRUCTURE MODEL`: harmonic vibrations and thermochemistry."""

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
    first = parser.add_mutually_exclusive_group()
    first.add_argument("--relax", action="store_true", help="relax the structure first")
    first.add_argument(
        "--not-relaxed", action="store_true", help="go on where a force is above 0.01 eV/Å"
    )
    parser.add_argument("--fmax", type=float, default=1e-3, help="of --relax, eV/Å; default 0.001")
    parser.add_argument("--steps", type=int, default=1000, help="of --relax; default 1000")
    parser.add_argument("--temperature", type=float, default=298.15, help="K; default 298.15")
    parser.add_argument("--pressure", type=float, default=1.01325, help="bar; default 1.01325")
    parser.add_argument(
        "--symmetry", type=int, help="rotational symmetry number; default: found from the structure"
    )
    parser.add_argument("--modes", metavar="FILE", help="extended XYZ file, a frame for each mode")
    parser.add_argument("--molden", metavar="FILE", help="the modes in the format of Molden")
    add_calculator_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Computes the vibrations and prints them."""
    from tlpot.jobs import frequencies

    check_files(arguments)
    with shown_progress() as progress:
        result = frequencies(
            arguments.structure,
            arguments.model,
            relax=arguments.relax,
            fmax=arguments.fmax,
            steps=arguments.steps,
            allow_forces=arguments.not_relaxed,
            temperature=arguments.temperature,
            pressure=arguments.pressure,
            symmetry=arguments.symmetry,
            modes=arguments.modes,
            molden=arguments.molden,
            progress=progress,
            **calculator_options(arguments),
        )
    show(result, arguments)
