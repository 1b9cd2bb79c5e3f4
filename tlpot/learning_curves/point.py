"""One point of a learning curve: a fine-tuning and the file of its result."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlpot.data import Dataset
from tlpot.errors import ConfigError, DataError
from tlpot.files import make_folder
from tlpot.jobs import TrainingOutcome, finetune, finetune_config
from tlpot.learning_curves.convergence import late_falls, validation_course
from tlpot.stored_results import digest, read_result, write_result
from tlpot.training import CHECKPOINT

FORMAT_VERSION = 1

POINTS = "points"
"""The folder of the results, whose names are hashes of all that a point depends on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PointTask:
    """What one worker does; it can be pickled.

    Attributes:
        folder: of the curve.
        identity: all that the result depends on.
        settings: of the fine-tuning, but its output.
        size: training frames.
        seed: which repeat.
        updates: expected length of the training, for the progress bar.
        model: name of the model file to keep, or None.
        device: see `tlpot.load`.
        dataset: the labels themselves, where they are in no file.
    """

    folder: Path
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]
    size: int
    seed: int
    updates: int
    model: str | None = None
    device: str | None = None
    dataset: Dataset | None = None

    @property
    def key(self) -> str:
        """Hash of the identity, the name of the result's file."""
        return digest(self.identity, digits=24)

    @property
    def file(self) -> Path:
        """Where the result is."""
        return self.folder / POINTS / f"{self.key}.json"

    @property
    def model_file(self) -> Path | None:
        """Where the model is kept, if it is."""
        return None if self.model is None else self.folder / "models" / self.model


def read_point(task: PointTask) -> dict[str, Any] | None:
    """Returns the result if it is there (and the model, if it is to be kept).

    Raises:
        DataError: the file is not a result of this task.
    """
    content = read_result(task.file, task.identity)
    if task.model_file is not None and not task.model_file.exists():
        return None
    return content


def run_point(task: PointTask) -> dict[str, Any]:
    """Fine-tunes, writes the result and returns it; what is there already is not repeated.

    An interrupted point continues from its checkpoint.

    Raises:
        KeyboardInterrupt: the training was interrupted; its checkpoint is kept.
        TLPotError: something is wrong with the data or the settings, or the training diverged.
    """
    found = read_point(task)
    if found is not None:
        return found
    run = task.folder / "runs" / task.key
    make_folder(run)
    output = run / "model.safetensors"
    outcome = _finetune(task, output)
    if outcome.training.interrupted:
        raise KeyboardInterrupt
    if task.model_file is not None:
        make_folder(task.model_file.parent)
        output.replace(task.model_file)
    content = {"format_version": FORMAT_VERSION, **_result(task, outcome)}
    write_result(task.file, task.identity, content)
    shutil.rmtree(run)
    return {**content, "identity": dict(task.identity)}


def _finetune(task: PointTask, output: Path) -> TrainingOutcome:
    config = finetune_config({**task.settings, "output": str(output)})
    config = replace(config, data=replace(config.data, dataset=task.dataset))
    checkpoint = output.with_suffix(".run") / CHECKPOINT
    if checkpoint.exists():
        try:
            return finetune(config, device=task.device, resume=True, show=False)
        except ConfigError:
            # the checkpoint is an older version's; nothing but time is lost by starting afresh
            pass
    return finetune(config, device=task.device, overwrite=True, show=False)


def _result(task: PointTask, outcome: TrainingOutcome) -> dict[str, Any]:
    end = dict(outcome.end.overall)
    bad = [name for name, value in end.items() if not math.isfinite(value)]
    if bad:
        raise DataError(f"the {bad[0]} of the trained model is {end[bad[0]]}")
    card = outcome.potential.card
    history, level = outcome.training.history, str(task.identity["level"])
    return {
        "size": task.size,
        "seed": task.seed,
        "start": dict(outcome.start.overall),
        "end": end,
        "by_molecule": {name: dict(row) for name, row in outcome.end.by_molecule.items()},
        "split": dict(card.dataset["split"]),
        "best_epoch": outcome.training.best_epoch,
        "seconds": outcome.training.seconds,
        "updates": int(history[-1]["step"]) if history else 0,
        "late_fall": late_falls(history, level),
        "validation": validation_course(history, level),
        "device": str(outcome.potential.device),
    }
