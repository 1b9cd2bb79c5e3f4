"""`tlpot calibrate MODEL DATA --level L -o MODEL2 [--split FILE] [--plot FILE]`."""

from __future__ import annotations

import argparse
from typing import Any

from tlpot.cli.options import DEVICE, SPEC, options_adder, options_of, write_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add("model", "an ensemble, or a single model")
    add("data", "file, or files, with the labels", nargs="+")
    add("-o --output", "model file to write", required=True)
    add(
        "--forces",
        "calibrate the forces of a last layer, too (slow); those of an ensemble always are",
        False,
    )
    add_calibration_arguments(parser)


def add_calibration_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of every command that calibrates."""
    add = options_adder(parser)
    add("--level", "level of theory of the labels and of the model")
    add("--spec", SPEC)
    add(
        "--split",
        "split file of the training: its validation frames calibrate, its test frames judge",
    )
    add("--coverage", "what one reported standard deviation covers; default 0.683", float)
    add("--plot", "calibration picture to write, .png, .pdf or .svg")
    add("--json", "file for all numbers")
    add("--overwrite", "replace the model file that is there", False)
    add("--device", DEVICE)


def run(arguments: argparse.Namespace) -> None:
    """Calibrates a model."""
    from tlpot import api

    check_picture(arguments)
    own = options_of(arguments, "output forces")
    done = api.calibrate(arguments.model, arguments.data, **own, **calibration_options(arguments))
    print(done)
    write_result(done, arguments)


def calibration_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns those of `add_calibration_arguments` that the jobs take."""
    return options_of(arguments, "level spec split coverage overwrite device")


def check_picture(arguments: argparse.Namespace) -> None:
    """Refuses an impossible picture before any time is spent.

    Raises:
        OutputError: no such folder, or an ending that is no format of pictures.
    """
    from tlpot.presentation import picture_path

    if arguments.plot:
        picture_path(arguments.plot)
