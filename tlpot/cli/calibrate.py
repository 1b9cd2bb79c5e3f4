"""`tlpot calibrate MODEL DATA --level L -o MODEL2 [--split FILE] [--plot FILE]`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlpot.jobs import Calibrated


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument("model", help="an ensemble, or a single model")
    parser.add_argument("data", nargs="+", help="file, or files, with the labels")
    parser.add_argument("-o", "--output", required=True, help="model file to write")
    parser.add_argument(
        "--forces", action="store_true",
        help="calibrate the forces of a last layer, too (slow); those of an ensemble always are",
    )  # fmt: skip
    add_calibration_arguments(parser)


def add_calibration_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of every command that calibrates."""
    parser.add_argument("--level", help="level of theory of the labels and of the model")
    parser.add_argument("--spec", help="layout of the data, if it is not tlpot's own")
    parser.add_argument(
        "--split",
        help="split file of the training: its validation frames calibrate, its test frames judge",
    )
    parser.add_argument(
        "--coverage", type=float, help="what one reported standard deviation covers; default 0.683"
    )
    parser.add_argument("--plot", help="calibration picture to write, .png, .pdf or .svg")
    parser.add_argument("--json", help="file for all numbers")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the model file that is there"
    )
    parser.add_argument("--device", help="cpu, cuda, ...; default CUDA if there is one")


def run(arguments: argparse.Namespace) -> None:
    """Calibrates a model."""
    from tlpot import api

    check_picture(arguments)
    done = api.calibrate(
        arguments.model, arguments.data, output=arguments.output, forces=arguments.forces,
        **calibration_options(arguments),
    )  # fmt: skip
    print(done)
    write(done, arguments)


def calibration_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns those of `add_calibration_arguments` that the jobs take."""
    names = ("level", "spec", "split", "coverage", "overwrite", "device")
    return {name: getattr(arguments, name) for name in names}


def check_picture(arguments: argparse.Namespace) -> None:
    """Refuses an impossible picture before any time is spent.

    Raises:
        OutputError: no such folder, or an ending that is no format of pictures.
    """
    from tlpot.presentation import picture_path

    if arguments.plot:
        picture_path(arguments.plot)


def write(done: Calibrated, arguments: argparse.Namespace) -> None:
    """Writes numbers and picture.

    Raises:
        OutputError: a file could not be written.
    """
    if arguments.json:
        done.save(arguments.json)
    if arguments.plot:
        done.plot(arguments.plot)
