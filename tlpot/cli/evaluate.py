"""`tlpot evaluate MODEL DATA --level L [--plot FILE] [--json FILE]`."""

from __future__ import annotations

import argparse

from tlpot.cli.fragment_options import (
    add_assembly_arguments,
    fragment_method,
    refuse_without_scheme,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument("model", help="a model file, or the name of a shipped model")
    parser.add_argument("data", nargs="+", help="file, or files, with the labels")
    parser.add_argument("--level", help="level of theory of the labels")
    parser.add_argument(
        "--model-level", help="level of the model, if it has several or another than the labels"
    )
    parser.add_argument("--spec", help="layout of the data, if it is not tlpot's own")
    parser.add_argument("--split", help="split file: evaluate one part of it")
    parser.add_argument("--part", default="test", choices=["train", "validation", "test"])
    parser.add_argument("--plot", help="picture to write, .png or .pdf")
    parser.add_argument("--json", help="file for all numbers")
    parser.add_argument("--device", help="cpu, cuda, ...; default CUDA if there is one")
    parser.add_argument("--batch-size", type=int, default=32, help="frames at a time")
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
    found = api.evaluate(
        arguments.model,
        arguments.data,
        level=arguments.level,
        model_level=arguments.model_level,
        spec=arguments.spec,
        split=arguments.split,
        part=arguments.part,
        scheme=None if arguments.scheme is None else fragment_method(arguments).calculator_scheme(),
        low=arguments.low,
        low_level=arguments.low_level,
        dispersion=arguments.dispersion,
        trained_charges=bool(arguments.trained_charges),
        batch_size=arguments.batch_size,
        device=arguments.device,
    )
    print(found)
    if arguments.json:
        found.save(arguments.json)
    if arguments.plot:
        found.plot(arguments.plot)
