"""`tlpot frequencies STRUCTURE MODEL`: harmonic vibrations and thermochemistry."""

from __future__ import annotations

import argparse

from tlpot.cli.options import (
    add_calculator_arguments,
    add_option,
    calculator_options,
    check_files,
    options_adder,
    options_of,
    show_result,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    first = parser.add_mutually_exclusive_group()
    add_option(first, "--relax", "relax the structure first", False)
    add_option(first, "--not-relaxed", "go on where a force is above 0.01 eV/Å", False)
    add("--fmax", "of --relax, eV/Å; default 0.001", 1e-3)
    add("--steps", "of --relax; default 1000", 1000)
    add("--temperature", "K; default 298.15", 298.15)
    add("--pressure", "bar; default 1.01325", 1.01325)
    add("--symmetry", "rotational symmetry number; default: found from the structure", int)
    add("--modes", "extended XYZ file, a frame for each mode", metavar="FILE")
    add("--molden", "the modes in the format of Molden", metavar="FILE")
    add_calculator_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Computes the vibrations and prints them."""
    from tlpot import api

    check_files(arguments)
    result = api.frequencies(
        arguments.structure,
        arguments.model,
        allow_forces=arguments.not_relaxed,
        **options_of(arguments, "relax fmax steps temperature pressure symmetry modes molden"),
        **calculator_options(arguments),
    )
    show_result(result, arguments)
