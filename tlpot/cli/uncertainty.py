"""Models that know how sure they are."""

from __future__ import annotations

import argparse
from typing import Any

from tlpot.cli import options


def add_calibrate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``tlpot calibrate``."""
    add = options.adder(parser)
    add("model", "an ensemble, or a single model")
    add("data", "file, or files, with the labels", nargs="+")
    add("-o --output", "model file to write", required=True)
    add("--forces", "also of a last layer (slow); those of an ensemble always are", False)
    add_calibration_arguments(parser)


def add_calibration_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of every command that calibrates."""
    add = options.adder(parser)
    add("--level", "level of theory of the labels and of the model")
    options.add_data_arguments(parser)
    add("--split", "that of the training: its validation frames calibrate, its test frames judge")
    add("--coverage", "what one reported standard deviation covers; default 0.683", float)
    add("--plot", "calibration picture to write, .png, .pdf or .svg")
    add("--json", "file for all numbers")
    add("--overwrite", "replace the model file that is there", False)
    add("--device", options.DEVICE)
    add("--engine", options.ENGINE)


def run_calibrate(arguments: argparse.Namespace) -> None:
    """Calibrates a model."""
    from tlpot import api

    options.check_picture(arguments)
    own = options.values_of(arguments, "output forces")
    done = api.calibrate(arguments.model, arguments.data, **own, **calibration_options(arguments))
    print(done)
    options.write_result(done, arguments)


def calibration_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns those of `add_calibration_arguments` that the jobs take."""
    own = options.values_of(arguments, "level split coverage overwrite device engine")
    return {**own, **options.reading_options(arguments)}


def add_ensemble_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``tlpot ensemble``."""
    add = options.adder(parser)
    add("models", "model files: other seeds, other subsets", nargs="+")
    add("-o --output", "ensemble file to write", required=True)
    add("--calibrate DATA", "file with labels to calibrate on")
    add_calibration_arguments(parser)


def run_ensemble(arguments: argparse.Namespace) -> None:
    """Joins models."""
    from tlpot import api
    from tlpot.errors import ConfigError

    if arguments.calibrate is None:
        for name in ("plot", "json"):
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name} does not apply without --calibrate DATA")
    options.check_picture(arguments)
    data = None if arguments.calibrate is None else [arguments.calibrate]
    joined = api.ensemble(
        arguments.models, data, output=arguments.output, **calibration_options(arguments)
    )
    print(joined)
    if joined.calibrated is not None:
        options.write_result(joined.calibrated, arguments)
