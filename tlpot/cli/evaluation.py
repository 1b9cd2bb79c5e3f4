"""What a model says of structures, beside labels or without them, and how sure it is."""

from __future__ import annotations

import argparse
from typing import Any

from tlpot.cli import options


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``tlpot evaluate``."""
    add = options.adder(parser)
    add("model", "a model file, or the name of a shipped model")
    add("data", "file, or files, with the labels", nargs="+")
    add("--level", "level of theory of the labels")
    add("--model-level", "level of the model, if it has several or another than the labels")
    options.add_data_arguments(parser)
    add("--split", "split file: evaluate one part of it")
    add("--part", options.PART, choices=["train", "validation", "test"])
    add("--plot", "picture to write, .png or .pdf")
    add("--json", "file for all numbers")
    add("--device", options.DEVICE)
    add("--batch-size", "frames at a time", 32)
    add("--engine", options.ENGINE)
    options.add_assembly_arguments(parser, default=None)


def run_evaluate(arguments: argparse.Namespace) -> None:
    """Evaluates."""
    from tlpot import api
    from tlpot.errors import ConfigError

    options.refuse_without_scheme(arguments)
    options.check_picture(arguments)
    if arguments.charges is not None:
        raise ConfigError(
            "AMBER charges belong to one structure, and a dataset may hold several; leave "
            "--charges to tlpot fragment and tlpot md"
        )
    assembly = options.fragment_options(arguments)
    del assembly["charges"]
    found = api.evaluate(
        arguments.model,
        arguments.data,
        **options.values_of(arguments, "level model_level split part batch_size device engine"),
        **options.reading_options(arguments),
        **assembly,
    )
    print(found)
    options.write_result(found, arguments)


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `tlpot predict MODEL STRUCTURES [-o out.xyz]`."""
    add = options.adder(parser)
    add("model", "a model file, or the name of a shipped model or of an engine (gfn2-xtb)")
    add("structures", "files of structures, with labels or without, or a folder of them", nargs="+")
    add("--level", "level of the model, if it has several; all for all of them")
    about = "file for structures and predictions (.xyz, .h5, .traj, .db, .json), or a table (.csv)"
    add("-o --output", about)
    options.add_data_arguments(parser)
    add("--charge", "total charge of all structures, where they state none", int)
    add("--spin", "multiplicity, likewise", int)
    add("--json", "file for all numbers")
    add("--overwrite", "replace the file that is there", False)
    add("--device", options.DEVICE)
    add("--engine", options.ENGINE)


def run_predict(arguments: argparse.Namespace) -> None:
    """Evaluates the model and prints a table."""
    from tlpot import api

    wanted = options.values_of(arguments, "level output charge spin overwrite device engine")
    wanted |= options.reading_options(arguments)
    found = api.predict(arguments.model, arguments.structures, **wanted)
    print(found)
    if arguments.json:
        found.save(arguments.json)
    if arguments.output:
        print(f"wrote {arguments.output}")


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
