"""From the configuration of a curve to its points, each a fine-tuning and a file of its result."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlpot._version import __version__
from tlpot.config import to_mapping
from tlpot.data import Dataset, Split
from tlpot.engines import make_engine
from tlpot.errors import ConfigError, DataError
from tlpot.files import make_folder
from tlpot.jobs import (
    ENGINE_FEATURES,
    LOW_LABELS,
    TrainingOutcome,
    as_part,
    check_engine_strategy,
    engine_hash,
    finetune,
    finetune_config,
    low_identity,
    parent_engine,
    source_hashes,
)
from tlpot.learning_curves.config import ComparedStrategy, CurveConfig
from tlpot.learning_curves.convergence import late_falls, validation_course
from tlpot.levels import choose_level
from tlpot.models import Potential, content_hash, library_file, load_potential
from tlpot.stored_results import digest, read_result, write_result
from tlpot.training import CHECKPOINT
from tlpot.transfer import strategy

FORMAT_VERSION = 1

POINTS = "points"
"""The folder of the results, whose names are hashes of all that a point depends on."""

_VALIDATIONS = 100
"""Of a training of fixed updates: with few frames, validating every epoch would take most of the
time."""


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
    with as_part():
        outcome = _finetune(task, output)
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
        "baselines": {each.name: dict(each.errors) for each in outcome.baselines},
        "by_molecule": {name: dict(row) for name, row in outcome.end.by_molecule.items()},
        "split": dict(card.dataset["split"]),
        "best_epoch": outcome.training.best_epoch,
        "seconds": outcome.training.seconds,
        "updates": int(history[-1]["step"]) if history else 0,
        "late_fall": late_falls(history, level),
        "validation": validation_course(history, level),
        "device": str(outcome.potential.device),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveParent:
    """A pretrained potential, or an engine with features of atoms.

    Attributes:
        path: of its file; the name of an engine.
        name: from its card; the level of an engine.
        content_hash: of its file, or of what decides the numbers of the engine.
        source: the level to start from.
        labels: it was pretrained with, training frames; None if its card does not say.
    """

    path: str
    name: str
    content_hash: str
    source: str
    labels: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesTasks:
    """The points of one strategy with one parent.

    Attributes:
        label: unique in the curve.
        compared: the strategy.
        parent: what it starts from.
        tasks: points, by seed and then by size.
    """

    label: str
    compared: ComparedStrategy
    parent: CurveParent
    tasks: tuple[PointTask, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveTasks:
    """All points of a curve.

    Attributes:
        level: to learn, canonical.
        split: of which the points use subsets.
        series: one for each line of the picture.
        unit: of a property; empty for energies.
    """

    level: str
    split: Split
    series: tuple[SeriesTasks, ...]
    unit: str = ""


def curve_tasks(config: CurveConfig, *, device: torch.device | str | None = None) -> CurveTasks:
    """Checks everything that can be checked and lists the points.

    Raises:
        TLPotError: something is wrong with the parents, the data or the settings.
    """
    dataset = config.data.open()
    level = choose_level(config.level, dataset.levels, str(dataset.path))
    split = config.split.divide(dataset, level)
    for part in ("validation", "test"):
        if not len(getattr(split, part)):
            raise DataError(f"the split has no {part} frames; set split.{part}")
    if max(config.sizes) > len(split.train):
        raise DataError(
            f"size {max(config.sizes)} is more than the {len(split.train)} training frames that "
            f"{dataset.path} has at {level} beside {len(split.validation)} for validation and "
            f"{len(split.test)} for testing"
        )
    parents = [_parent(name, config.source) for name in config.parents]
    names = [parent.name for parent in parents]
    series = []
    for k, parent in enumerate(parents):
        for compared in config.compared_strategies():
            if compared.is_scratch and k:
                continue  # nothing would differ but the reference energies' prior
            label = compared.label
            if len(parents) > 1 and not compared.is_scratch:
                origin = parent.name if names.count(parent.name) == 1 else f"{parent.name} #{k + 1}"
                label = f"{label}, {origin}"
                if parent.labels is not None:
                    label += f" ({parent.labels})"
            tasks = tuple(
                _task(config, dataset, level, split, parent, compared, label, size, seed, device)
                for seed in range(config.seeds)
                for size in sorted(config.sizes)
            )
            series.append(SeriesTasks(label=label, compared=compared, parent=parent, tasks=tasks))
    quantity = dataset.levels[level].quantity
    return CurveTasks(
        level=level,
        split=split,
        series=tuple(series),
        unit="" if quantity is None else quantity.unit,
    )


def subset_of(split: Split, size: int, seed: int, subsets: str) -> Split:
    """Returns the split with `size` training frames; those of smaller sizes are among them."""
    drawn = replace(split, seed=split.seed + seed) if subsets == "by_seed" else split
    return replace(split, train=drawn.subset(size))


def _parent(name: str, source: str | None) -> CurveParent:
    where = f"the parent {name}"
    if (engine := parent_engine(name)) is not None:
        level = make_engine(engine).level
        return CurveParent(
            path=name,
            name=level,
            content_hash=engine_hash(engine),
            source=choose_level(source, (level,), where, option="source"),
            labels=None,
        )
    potential: Potential = load_potential(name, device="cpu")
    card = potential.card
    found = card.dataset.get("split", {}).get("train")
    return CurveParent(
        path=str(library_file(name).resolve()),
        name=card.name,
        content_hash=content_hash(name),
        source=choose_level(source, potential.levels, where, option="source"),
        labels=None if found is None else int(found),
    )


def _task(
    config: CurveConfig, dataset: Dataset, level: str, split: Split, parent: CurveParent,
    compared: ComparedStrategy, label: str, size: int, seed: int, device: torch.device | str | None,
) -> PointTask:  # fmt: skip
    part = subset_of(split, size, seed, config.subsets)
    frames = _hash_frames(part)
    data = to_mapping(config.data)
    data["files"] = [str(file.resolve()) for file in config.data.files]
    if isinstance(data["spec"], str) and Path(data["spec"]).is_file():
        data["spec"] = str(Path(data["spec"]).resolve())
    settings: dict[str, Any] = {
        "parent": parent.path,
        "data": data,
        "level": level,
        "source": parent.source,
        "references": config.references,
        "strategy": compared.strategy,
        "split": {"file": str(_split_file(config.output, size, seed, frames).resolve())},
        "licence": config.licence,
        "name": f"{compared.label} {size} {seed}",
    }
    if (engine := parent_engine(parent.path)) is not None:
        check_engine_strategy(engine, compared.strategy)
        # what one point computes, all have
        settings["features"] = str(config.output.resolve() / ENGINE_FEATURES)
    shared = config.training if compared.trains else {}
    training = {**shared, **compared.training, "seed": seed}
    where = {**settings, "output": "model.safetensors"}
    frames_of_epoch = strategy(compared.strategy).epoch_frames(size)
    if compared.trains and config.updates is not None:
        batch = finetune_config({**where, "training": training}).training["batch_size"]
        training["epochs"] = math.ceil(config.updates / math.ceil(frames_of_epoch / batch))
        training.setdefault("validate_every", max(1, training["epochs"] // _VALIDATIONS))
    resolved = finetune_config({**where, "training": training}).training
    settings["training"] = training
    batches = math.ceil(frames_of_epoch / resolved["batch_size"])
    key: dict[str, Any] = {
        "tlpot": __version__,
        "parent": parent.content_hash,
        "source": parent.source,
        "level": level,
        "references": config.references,
        "data": {
            "content_hash": dataset.content_hash,
            "spec": _hash_spec(config.data.spec),
            "level": config.data.level,
            "keys": dict(config.data.keys),
        },
        "frames": frames,
        # where low values are kept decides nothing
        "strategy": {k: v for k, v in to_mapping(compared.strategy).items() if k != "low_labels"},
        "training": resolved,
    }
    if sources := source_hashes(compared.strategy):
        key["source_sha256"] = sources
    if low := low_identity(strategy(compared.strategy), dataset):
        key |= low
        own = compared.strategy["low_labels"]
        kept = str(config.output.resolve() / LOW_LABELS)  # likewise
        settings["strategy"] = {**compared.strategy, "low_labels": own or kept}
    task = PointTask(
        folder=config.output.resolve(),
        identity=key,
        settings=settings,
        size=size,
        seed=seed,
        dataset=config.data.dataset,
        updates=resolved["epochs"] * batches if compared.trains else 1,
        device=None if device is None else str(device),
    )
    if config.keep_models:
        slug = re.sub(r"[^\w.+=-]+", "-", label).strip("-")
        task = replace(task, model=f"{slug}-{size}-{seed}-{task.key[:8]}.safetensors")
    return task


def write_split(split: Split, task: PointTask, subsets: str) -> None:
    """Writes the frames of a point for the worker.

    Raises:
        OutputError: the file could not be written.
    """
    path = Path(task.settings["split"]["file"])
    if not path.exists():
        make_folder(path.parent)
        subset_of(split, task.size, task.seed, subsets).save(path)


def _split_file(folder: Path, size: int, seed: int, frames: str) -> Path:
    return folder / "splits" / f"{size}-{seed}-{frames[:8]}.json"


def _hash_frames(split: Split) -> str:
    digest = hashlib.sha256()
    for part in (split.train, split.validation, split.test):
        digest.update(np.asarray(part).astype("<i8").tobytes() + b"|")
    return digest.hexdigest()[:24]


def _hash_spec(spec: str | Mapping[str, Any] | None) -> str | None:
    """A description of the user's own may change while its name stays."""
    if isinstance(spec, Mapping):
        return hashlib.sha256(json.dumps(to_mapping(spec)).encode()).hexdigest()[:24]
    if spec is None or not Path(spec).is_file():
        return spec
    return hashlib.sha256(Path(spec).read_bytes()).hexdigest()[:24]
