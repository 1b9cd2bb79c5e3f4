"""`tlpot predict MODEL STRUCTURES [-o out.xyz]`."""

from __future__ import annotations

import argparse

from tlpot.cli.options import DEVICE, SPEC, options_adder, options_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add("model", "a model file, or the name of a shipped model")
    add("structures", "files of structures, with labels or without", nargs="+")
    add("--level", "level of the model, if it has several")
    add("-o --output", "file for structures and predictions, .xyz or .h5")
    add("--spec", SPEC)
    add("--json", "file for all numbers")
    add("--device", DEVICE)


def run(arguments: argparse.Namespace) -> None:
    """Evaluates the model and prints a table."""
    from tlpot import api

    wanted = options_of(arguments, "level output spec device")
    found = api.predict(arguments.model, arguments.structures, **wanted)
    print(found)
    if arguments.json:
        found.save(arguments.json)
    if arguments.output:
        print(f"wrote {arguments.output}")
