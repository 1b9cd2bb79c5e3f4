"""`tlpot ensemble A B ... -o E [--calibrate DATA --level L --split FILE]`."""

from __future__ import annotations

import argparse

from tlpot.cli.calibrate import add_calibration_arguments, calibration_options, check_picture
from tlpot.cli.options import options_adder, write_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add("models", "model files: other seeds, other subsets", nargs="+")
    add("-o --output", "ensemble file to write", required=True)
    add("--calibrate", "file with labels to calibrate on", metavar="DATA")
    add_calibration_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Joins models."""
    from tlpot import api
    from tlpot.errors import ConfigError

    if arguments.calibrate is None:
        for name in ("plot", "json"):
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name} does not apply without --calibrate DATA")
    check_picture(arguments)
    data = None if arguments.calibrate is None else [arguments.calibrate]
    joined = api.ensemble(
        arguments.models, data, output=arguments.output, **calibration_options(arguments)
    )
    print(joined)
    if joined.calibrated is not None:
        write_result(joined.calibrated, arguments)
