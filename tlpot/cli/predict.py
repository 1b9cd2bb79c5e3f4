"""`tlpot predict MODEL STRUCTURES [-o out.xyz]`."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument("model", help="a model file, or the name of a shipped model")
    parser.add_argument("structures", nargs="+", help="files of structures, with labels or without")
    parser.add_argument("--level", help="level of the model, if it has several")
    parser.add_argument("-o", "--output", help="file for structures and predictions, .xyz or .h5")
    parser.add_argument("--spec", help="layout of the data, if it is not tlpot's own")
    parser.add_argument("--json", help="file for all numbers")
    parser.add_argument("--device", help="cpu, cuda, ...; default CUDA if there is one")


def run(arguments: argparse.Namespace) -> None:
    """Evaluates the model and prints a table."""
    from tlpot import api

    found = api.predict(
        arguments.model, arguments.structures, level=arguments.level, output=arguments.output,
        spec=arguments.spec, device=arguments.device,
    )  # fmt: skip
    print(found)
    if arguments.json:
        found.save(arguments.json)
    if arguments.output:
        print(f"wrote {arguments.output}")
