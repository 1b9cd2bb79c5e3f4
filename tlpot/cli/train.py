"""`tlpot train CONFIG.yaml [key.path=value ...]`."""

from __future__ import annotations

import argparse

from tlpot.cli.launch import add_launch_arguments, launch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument("config", help="YAML file; docs/training.md lists the keys")
    add_launch_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Trains."""
    from tlpot.config import read_yaml, with_overrides
    from tlpot.jobs import prepare_train, train_config

    settings = with_overrides(read_yaml(arguments.config), arguments.settings)
    config = train_config(settings, arguments.config)
    launch(arguments, lambda device: prepare_train(config, device=device))
