"""How large the errors of a model are on labelled frames."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tlpot.calculators import FragmentMethod
from tlpot.data import (
    Dataset,
    SplitPart,
    SplitSource,
    load_split,
    split_words,
    with_any_label,
    with_difference,
)
from tlpot.energy import known_value
from tlpot.errors import ConfigError, DataError, UnknownLevelError
from tlpot.evaluation import ErrorReport, Predictions, error_report, parity_figure, predict
from tlpot.fragments import Scheme
from tlpot.jobs.data_sources import as_trained
from tlpot.jobs.datasets import DataFiles
from tlpot.jobs.property_jobs import check_quantity
from tlpot.jobs.seen_frames import training_words
from tlpot.levels import choose_level, difference_parts
from tlpot.models import LevelModel, TrainedModel, load
from tlpot.presentation import Result, drawn
from tlpot.torch_mode import choose_device
from tlpot.training import short_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

StoredPart = tuple[SplitSource, SplitPart]
"""A split, and which part of it."""

_UNREAD_CHARGES = "charges are not read, as in the training of the model (data.charges=ignore)"

ModelSource = str | os.PathLike[str] | TrainedModel
"""A model file, the name of a model, or a loaded model."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Evaluation(Result):
    """Errors of a model, and what they are the errors of.

    Attributes:
        model: name of the model.
        level: level of theory of the labels.
        model_level: level of the model.
        errors: in meV, meV/atom, meV/Å and meV/Å³.
        predictions: beside the labels, frame by frame.
        part: of the data: train, validation, test or all.
        notes: what was done to the data.
    """

    model: str
    level: str
    model_level: str
    errors: ErrorReport
    predictions: Predictions
    part: str = "all"
    notes: tuple[str, ...] = ()

    def headline(self) -> str:
        """Returns what was compared, and the errors."""
        mae = short_errors({self.level: self.errors.overall}, (self.level,))
        return f"{self.model} at {self.level}, {len(self.predictions.indices)} frames: MAE {mae}"

    def text(self) -> str:
        """Returns tables."""
        notes = [f"note: {note}" for note in self.notes]
        if self.model_level != self.level:
            found = f"the model's level is {self.model_level}, the labels' is {self.level}"
            notes.insert(0, f"note: {found}")
        return "\n".join([*notes, self.errors.text()])

    def as_json(self) -> dict[str, Any]:
        """Returns the errors with their units."""
        return self.errors.as_json()

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Returns the parity plot, and writes it to `path`.

        Raises:
            OutputError: the file could not be written.
        """
        return drawn(parity_figure(self.predictions, f"{self.model} against {self.level}"), path)


def fragment_method(
    scheme: str | Scheme | Mapping[str, Any] | None,
    low: str | None,
    low_level: str | None,
    dispersion: str | None,
    trained_charges: bool,
) -> FragmentMethod | None:
    """Returns how structures are assembled from fragments; None without a scheme.

    Raises:
        ConfigError: no such scheme, or something that means nothing without one.
    """
    if scheme is not None:
        method = FragmentMethod(
            scheme=scheme,
            low=low,
            low_level=low_level,
            dispersion=dispersion,
            trained_charges=trained_charges,
        )
        method.parsed()
        return method
    given = {"low": low, "low_level": low_level, "dispersion": dispersion}
    names = [name for name, value in given.items() if value is not None]
    if names or trained_charges:
        raise ConfigError(
            f"{', '.join(names or ['trained_charges'])} means nothing without a scheme "
            "(--scheme); name one, or leave it out"
        )
    return None


def evaluate_model(
    model: ModelSource,
    files: DataFiles,
    *,
    model_level: str | None = None,
    part: StoredPart | None = None,
    assembly: FragmentMethod | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 32,
) -> Evaluation:
    """Evaluates a model on labelled frames; `tlpot.evaluate` says what the arguments are.

    Raises:
        TLPotError: something is wrong with the model, the data or the settings.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}, expected 1 or more")
    potential = open_model(model, device, frozen=True)
    dataset = open_labels(files, potential)
    level = label_level(files.level, dataset, potential)
    chosen = level_of(potential, model, level, model_level)
    if (difference_parts(chosen.level) is None) != (difference_parts(level) is None):
        raise ConfigError(
            f"the model's level is {chosen.level!r} and the labels' {level!r}: one is a difference "
            f"and the other a total energy. Name the labels with --level {chosen.level!r}"
        )
    check_quantity(chosen, dataset, level, f"model {potential.card.name!r}")
    indices, found = frames_of_part(dataset, level, part)
    if not len(indices):
        raise DataError(f"{dataset.path}: there are no frames to evaluate at {level}")
    whole = assembly is None
    seen = as_trained(dataset, potential) if whole else dataset
    notes = () if seen is dataset else (_UNREAD_CHARGES,)
    run = Path(model).with_suffix(".run") if isinstance(model, str | os.PathLike) else None
    split = None if part is None else part[0]
    if told := training_words(potential, dataset, indices, split=split, part=found, run=run):
        notes = (*notes, told)
    if part is not None and found != part[1]:
        notes = (
            f"{split_words(part[0])} has no {part[1]} frames; these are its {found} frames",
            *notes,
        )
    predictions = predict(
        chosen if assembly is None else assembly.force_field(chosen, device=device), seen, indices,
        level, device=potential.device, batch_size=batch_size, show=True,
    )  # fmt: skip
    return Evaluation(
        model=potential.card.name,
        level=level,
        model_level=chosen.level,
        errors=error_report(predictions, getattr(chosen, "calibration", None)),
        predictions=predictions,
        part=found,
        notes=notes,
    )


def open_model(
    model: ModelSource, device: str | torch.device | None, *, frozen: bool = False
) -> TrainedModel:
    """Returns a model from its file or name, or as it is, on the device that it is on.

    One from a file may be `frozen`, so that force calls need not go through torch.

    Raises:
        ModelFileError: no such file or name, or an unusable file.
        ConfigError: no such device, or something that is no model.
    """
    if isinstance(model, str | os.PathLike):
        return load(model, device=device).requires_grad_(not frozen)
    if not hasattr(model, "card"):
        raise ConfigError(
            f"expected a model file, the name of a model or what tlpot.load returned, not "
            f"{type(model).__name__}"
        )
    if device is None or model.device == choose_device(device):
        return model
    return copy.deepcopy(model).to(choose_device(device))


def label_level(asked: str | None, dataset: Dataset, model: TrainedModel) -> str:
    """Returns the level of the labels that a model is compared with.

    That is the one that is asked for, else the only one of the file or, of several, the only one
    of the model.

    Raises:
        UnknownLevelError: no such level, or none was named and there are several.
    """
    if asked is None and len(model.levels) == 1 and model.levels[0] in dataset.levels:
        return model.levels[0]
    return choose_level(asked, dataset.levels, str(dataset.path))


def level_of(
    potential: TrainedModel, model: ModelSource, level: str, asked: str | None
) -> LevelModel:
    """Returns a model at the level that is asked for, at that of the labels, or at its only one.

    Raises:
        UnknownLevelError: no such level, or none was named and there are several.
    """
    if asked is None and level in potential.levels:
        return potential.at(level)
    name = model if isinstance(model, str | os.PathLike) else potential.card.name
    return potential.at(
        choose_level(asked, potential.levels, f"the model {name}", option="model-level")
    )


def frames_of_part(
    dataset: Dataset, level: str, part: StoredPart | None
) -> tuple[NDArray[np.int64], str]:
    """Returns the frames of a part of a stored split, or without one all that have a label.

    Where a split has no test frames, its validation frames stand in for them.

    Returns:
        The frames, and the name of the part: train, validation, test or all.

    Raises:
        DataError: it has no frames.
    """
    if part is None:
        return np.flatnonzero(with_any_label(dataset, level)), "all"
    split = load_split(part[0], dataset)
    for name in (part[1], "validation") if part[1] == "test" else (part[1],):
        found: NDArray[np.int64] = getattr(split, name)
        if len(found):
            return found, name
    raise DataError(
        f"{split_words(part[0])} has no {part[1]} frames; choose others with part (--part)"
    )


def open_labels(files: DataFiles, model: TrainedModel) -> Dataset:
    """Opens labels to compare a model with, and what it has to be told of each structure.

    A level ``high - low`` that no file has is made of the two; that of the model, if it has no
    other and none is asked for.

    Raises:
        UnknownLevelError: nothing says where the property is that the model has to be told.
        TLPotError: see `open_dataset`.
    """
    told = told_properties(model)
    if told:
        return open_with_properties(files, told)
    wanted = files.level
    if wanted is None and len(model.levels) == 1:
        wanted = model.levels[0]
    if wanted is None or difference_parts(wanted) is None:
        return files.open()
    try:
        dataset = replace(files, level=None).open()
    except UnknownLevelError:  # the files do not say what they hold, but the user does
        return files.open()
    return with_difference(dataset, wanted)


def told_properties(model: TrainedModel) -> tuple[str, ...]:
    """Returns the properties of a structure that a model has to be told, mostly none."""
    known = (known_value(model.at(level)) for level in model.levels)
    return tuple(dict.fromkeys(value.level for value in known if value is not None))


def open_with_properties(files: DataFiles, told: Sequence[str]) -> Dataset:
    """Opens labels with all that the files describe, of which a model has to be told some.

    Raises:
        UnknownLevelError: nothing says where these properties are.
        TLPotError: see `open_dataset`.
    """
    try:
        return replace(files, level=None).open()
    except UnknownLevelError as error:
        raise UnknownLevelError(
            f"{files.words}: nothing says where {' and '.join(told)} is, which the model has to be "
            "told of each structure; describe the file with spec=... (a YAML file with all "
            f"properties, data_specs/README.md), or name it with keys={{'{told[0]}': ...}}"
        ) from error
