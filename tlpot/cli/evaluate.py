"""`tlpot evaluate MODEL DATA --level L [--plot FILE] [--json FILE]`."""

from __future__ import annotations

import argparse

from tlpot.cli.options import (
    DEVICE,
    SPEC,
    add_assembly_arguments,
    fragment_options,
    options_adder,
    options_of,
    refuse_without_scheme,
    write_result,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add("model", "a model file, or the name of a shipped model")
    add("data", "file, or files, with the labels", nargs="+")
    add("--level", "level of theory of the labels")
    add("--model-level", "level of the model, if it has several or another than the labels")
    add("--spec", SPEC)
    add("--split", "split file: evaluate one part of it")
    parser.add_argument("--part", default="test", choices=["train", "validation", "test"])
    add("--plot", "picture to write, .png or .pdf")
    add("--json", "file for all numbers")
    add("--device", DEVICE)
    add("--batch-size", "frames at a time", 32)
    add_assembly_arguments(parser, default=None)


def run(arguments: argparse.Namespace) -> None:
    """Evaluates."""
    from tlpot import api
    from tlpot.errors import ConfigError
    from tlpot.presentation import picture_path

    refuse_without_scheme(arguments)
    if arguments.plot:
        picture_path(arguments.plot)
    if arguments.charges is not None:
        raise ConfigError(
            "AMBER charges belong to one structure, and a dataset may hold several; leave "
            "--charges to tlpot fragment and tlpot md"
        )
    assembly = fragment_options(arguments)
    del assembly["charges"]
    found = api.evaluate(
        arguments.model,
        arguments.data,
        **options_of(arguments, "level model_level spec split part batch_size device"),
        **assembly,
    )
    print(found)
    write_result(found, arguments)
