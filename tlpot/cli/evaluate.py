"""`tlpot evaluate MODEL DATA --level L [--plot FILE] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from tlpot.cli.fragment_options import (
    add_assembly_arguments,
    fragment_method,
    refuse_without_scheme,
)

if TYPE_CHECKING:
    from tlpot.data import Dataset


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
    import numpy as np
    import torch

    from tlpot.data import DifferenceDataset, load_split
    from tlpot.errors import ConfigError, DataError
    from tlpot.evaluation import error_report, plot_parity, predict
    from tlpot.files import write_text
    from tlpot.jobs import as_trained
    from tlpot.levels import choose_level, difference_parts
    from tlpot.models import load
    from tlpot.presentation import picture_path

    torch.set_num_threads(1)
    refuse_without_scheme(arguments)
    if arguments.plot:
        picture_path(arguments.plot)
    potential = load(arguments.model, device=arguments.device)
    dataset = _open(arguments)
    level = choose_level(arguments.level, dataset.levels, str(dataset.path))
    wanted = arguments.model_level
    if wanted is None and level in potential.levels:
        wanted = level
    if wanted is None:
        wanted = choose_level(
            None, potential.levels, f"the model {arguments.model}", option="model-level"
        )
    model = potential.at(wanted)
    if (difference_parts(model.level) is None) != (difference_parts(level) is None):
        raise ConfigError(
            f"the model's level is {model.level!r} and the labels' {level!r}: one is a difference "
            f"and the other a total energy. Name the labels with --level {model.level!r}"
        )
    if arguments.split:
        file = dataset.dataset if isinstance(dataset, DifferenceDataset) else dataset
        indices = getattr(load_split(arguments.split, file), arguments.part)
    else:
        kinds = dataset.levels[level].kinds
        known = [dataset.labelled(level, kind) for kind in sorted(kinds)]
        indices = np.flatnonzero(np.logical_or.reduce(known))
    if not len(indices):
        raise DataError(f"{dataset.path}: there are no frames to evaluate at {level}")
    if model.level != level:
        print(f"note: the model's level is {model.level}, the labels' is {level}")
    seen = dataset if arguments.scheme is not None else as_trained(dataset, potential)
    if seen is not dataset:
        print("note: charges are not read, as in the training of the model (data.charges=ignore)")
    assembled: Any = model
    if arguments.scheme is not None:
        assembled = fragment_method(arguments).force_field(model, device=arguments.device)
    predictions = predict(
        assembled, seen, indices, level, device=potential.device,
        batch_size=arguments.batch_size, show=True,
    )  # fmt: skip
    report = error_report(predictions)
    print(report.text())
    if arguments.json:
        write_text(arguments.json, json.dumps(report.as_json(), indent=2))
    if arguments.plot:
        plot_parity(predictions, arguments.plot, f"{potential.card.name} against {level}")


def _open(arguments: argparse.Namespace) -> Dataset:
    """Opens the data; a level ``high - low`` that no file has is made of the two."""
    from tlpot.data import DifferenceDataset, open_dataset
    from tlpot.errors import UnknownLevelError
    from tlpot.levels import canonical_level, difference_parts

    files, spec, level = arguments.data, arguments.spec, arguments.level
    parts = None if level is None else difference_parts(level)
    if parts is None:
        return open_dataset(files, spec, level=level)
    try:
        dataset = open_dataset(files, spec)
    except UnknownLevelError:  # the files do not say what they hold, but the user does
        return open_dataset(files, spec, level=level)
    return (
        dataset if canonical_level(level) in dataset.levels else DifferenceDataset(dataset, *parts)
    )
