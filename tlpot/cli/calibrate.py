"""`tlpot calibrate MODEL DATA --level L -o MODEL2 [--split FILE] [--plot FILE]`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlpot.models import TrainedModel


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
    from pathlib import Path

    import torch

    from tlpot.errors import OutputError
    from tlpot.jobs import check_output, check_replaced
    from tlpot.models import library_file, load

    torch.set_num_threads(1)
    output = Path(arguments.output)
    check_output(output)
    if output.exists() and output.samefile(library_file(arguments.model)):
        raise OutputError(f"the output {output} is the model itself; choose another name")
    check_replaced(output, overwrite=arguments.overwrite)
    model = load(arguments.model, device=arguments.device)
    calibrate_and_save(model, arguments.data, arguments, forces=arguments.forces)


def calibrate_and_save(
    model: TrainedModel, data: list[str], arguments: argparse.Namespace, *, forces: bool = False
) -> None:
    """Calibrates, prints the report, and writes model, picture and numbers.

    Args:
        model: what to calibrate.
        data: files with the labels.
        arguments: those of `add_calibration_arguments`, and ``output``.
        forces: see `tlpot.jobs.calibrate_model`.
    """
    from tlpot.data import load_split, open_dataset
    from tlpot.files import write_text
    from tlpot.jobs import calibrate_model
    from tlpot.models import ONE_SIGMA, save
    from tlpot.presentation import picture_path
    from tlpot.uncertainty import plot_calibration

    if arguments.plot:
        picture_path(arguments.plot)
    dataset = open_dataset(data, arguments.spec, level=arguments.level)
    done = calibrate_model(
        model,
        dataset,
        level=arguments.level,
        split=load_split(arguments.split, dataset) if arguments.split else None,
        coverage=ONE_SIGMA if arguments.coverage is None else arguments.coverage,
        forces=forces,
        show=True,
    )
    print(done.report.text())
    if arguments.json:
        write_text(arguments.json, json.dumps(done.report.as_json(), indent=2))
    if arguments.plot:
        plot_calibration(done.report, done.judged, arguments.plot, done.model.card.name)
    save(done.model, arguments.output)
    print(f"model {arguments.output}")
