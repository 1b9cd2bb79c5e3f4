"""`tlpot train CONFIG.yaml [key.path=value ...]`."""

from __future__ import annotations

import argparse

from tlpot.cli.options import add_launch_arguments, add_option, launch_options, show_training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add_option(parser, "config", "YAML file; docs/training.md lists the keys")
    add_launch_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Trains."""
    from tlpot import api
    from tlpot.config import read_yaml, with_overrides

    settings = with_overrides(read_yaml(arguments.config), arguments.settings)
    show_training(api.train(config=settings, **launch_options(arguments)), arguments)
