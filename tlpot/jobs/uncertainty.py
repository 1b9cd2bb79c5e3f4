"""Giving a model an uncertainty: members joined, last layers measured, everything calibrated."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tlpot.data import Dataset, Split
from tlpot.errors import ConfigError, DataError
from tlpot.jobs.data_sources import as_trained, check_shared_split
from tlpot.levels import choose_level
from tlpot.models import (
    ONE_SIGMA,
    Ensemble,
    LastLayerRigidity,
    ModelCard,
    Potential,
    TrainedModel,
    UncertainModel,
    load_potential,
)
from tlpot.presentation import Result, drawn
from tlpot.uncertainty import (
    CalibrationReport,
    Deviations,
    calibrate,
    calibration_figure,
    deviations,
    fit_rigidity,
    judge,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrated(Result):
    """A model with a calibrated uncertainty.

    Attributes:
        model: the model.
        report: how good the uncertainty is.
        judged: the frames that the report is about.
        output: the model file; None if it was not written.
    """

    model: TrainedModel
    report: CalibrationReport
    judged: Deviations
    output: Path | None = None

    def text(self) -> str:
        """Returns how good the uncertainty is."""
        return self.report.text() + ("" if self.output is None else f"\nmodel {self.output}")

    def as_json(self) -> dict[str, Any]:
        """Returns the numbers of the report."""
        return self.report.as_json()

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Returns the calibration picture, and writes it to `path`.

        Raises:
            OutputError: the file could not be written.
        """
        figure = calibration_figure(self.report, self.judged, self.model.card.name)
        return drawn(figure, path)


def make_ensemble(
    sources: Sequence[str | os.PathLike[str] | Potential],
    *,
    level: str | None = None,
    device: torch.device | str | None = None,
) -> Ensemble:
    """Joins single potentials into an ensemble.

    Args:
        sources: files or names of potentials, or potentials.
        level: keep just this level of each; None asks for the same levels everywhere.
        device: None means CUDA if there is one, else the CPU.

    Raises:
        ModelFileError: a file that cannot be read, or is no single potential.
        UnknownLevelError: a potential lacks the level.
        ConfigError: the potentials do not fit together, or were trained with other splits, see
            `check_shared_split`.
    """
    members = [s if isinstance(s, Potential) else load_potential(s, device=device) for s in sources]
    check_shared_split(names_of(sources), [member.card for member in members])
    if level is not None:
        members = [
            member.only(choose_level(level, member.levels, f"the model {name}"))
            for name, member in zip(names_of(sources), members, strict=True)
        ]
    # the members' own uncertainties would only take space
    members = [member.without_uncertainty() for member in members]
    ensemble = Ensemble(members)
    cards = [member.card for member in members]
    ensemble.card = ModelCard(
        name=f"ensemble of {len(cards)}",
        description="mean of " + ", ".join(card.name for card in cards),
        licence=_joined([card.lineage_licence for card in cards]),
        origin=cards[0].origin,
        dataset=cards[0].dataset if all(c.dataset == cards[0].dataset for c in cards) else {},
        references={
            name: _joined([card.references.get(name, "origin not stated") for card in cards])
            for name in ensemble.levels
        },
        citation=_joined([card.citation for card in cards if card.citation]),
        charges="ignored" if all(card.implies_charges for card in cards) else "",
    )
    return ensemble


def names_of(sources: Sequence[str | os.PathLike[str] | Potential]) -> list[str]:
    """Returns what to call models: their files, or what their cards say."""
    return [s.card.name if isinstance(s, Potential) else os.fspath(s) for s in sources]


def calibrate_model(
    model: TrainedModel,
    dataset: Dataset,
    *,
    level: str | None = None,
    split: Split | None = None,
    coverage: float = ONE_SIGMA,
    forces: bool = False,
    show: bool = False,
) -> Calibrated:
    """Calibrates an ensemble, or gives a single potential a calibrated last-layer uncertainty.

    Args:
        model: an ensemble or a potential.
        dataset: the labels.
        level: level of theory of labels and model; None if each has just one.
        split: its validation frames calibrate, its test frames judge. A potential needs it, for
            its training frames. None calibrates an ensemble on all frames.
        coverage: what a reported standard deviation shall stand for.
        forces: calibrate a last layer's standard deviations of forces on labelled forces, too,
            which costs a backward pass for each feature; those of an ensemble are in any case.
        show: whether to show progress bars.

    Raises:
        ConfigError: neither an ensemble nor a potential; a potential without a split, or with
            corrections at the level; or labels that the model was trained on, without the
            split of that training.
        DataError: too few frames.
        UnknownLevelError: the model or the dataset lacks the level.
    """
    name = choose_level(level, dataset.levels, str(dataset.path))
    choose_level(name, model.levels, f"the model {model.card.name!r}")
    if forces and "forces" not in dataset.levels[name].kinds:
        raise ConfigError(f"{dataset.path} has no forces at {name}, so there are none to calibrate")
    _check_frames(model, dataset, split)
    dataset = as_trained(dataset, model)
    held = np.arange(len(dataset)) if split is None else split.validation
    if not len(held):
        raise DataError("the split has no validation frames, which the calibration is made from")
    raw: UncertainModel
    if isinstance(model, Ensemble):
        if forces:
            raise ConfigError(
                "forces (--forces) does not apply to an ensemble, whose standard deviations of "
                "forces cost nothing and are always calibrated; leave it out"
            )
        raw = model.at(name)
    elif isinstance(model, Potential):
        if split is None:
            raise ConfigError(
                "the last-layer uncertainty of a single potential is made from its training "
                "frames; give the split of its training (--split MODEL.run/split.json)"
            )
        rigidity = fit_rigidity(model.at(name), dataset, split.train, held, show=show)
        raw = model.with_rigidity(name, rigidity).at(name)
    else:
        raise ConfigError(
            f"{model.card.name!r} is a {type(model).__name__}; only ensembles and single "
            "potentials can be given an uncertainty"
        )

    def found(frames: NDArray[np.int64]) -> Deviations:
        return deviations(
            raw, dataset, frames, name, device=model.device, forces_std=forces, show=show
        )

    deviating = found(held)
    calibration = calibrate(deviating, coverage)
    tested = None if split is None or not len(split.test) else found(split.test)
    report = judge(calibration, deviating, tested)
    done: Ensemble | Potential
    if isinstance(model, Ensemble):
        done = model.with_calibration(name, calibration)
    else:
        done = model.with_rigidity(name, LastLayerRigidity(rigidity.cholesky.value, calibration))
    previous = model.card.metrics.get("uncertainty", {})
    made = {"file": dataset.path.name, "content_hash": dataset.content_hash, **report.as_json()}
    done.card = replace(
        model.card, metrics={**model.card.metrics, "uncertainty": {**previous, name: made}}
    )
    return Calibrated(model=done, report=report, judged=tested or deviating)


def _check_frames(model: TrainedModel, dataset: Dataset, split: Split | None) -> None:
    """Refuses frames that a model was trained on, as far as its card tells."""
    cards = [m.card for m in model.potentials()] if isinstance(model, Ensemble) else [model.card]
    for card in cards:
        if card.dataset.get("content_hash") != dataset.content_hash:
            continue
        if split is None:
            raise ConfigError(
                f"{dataset.path} is what {card.name!r} was trained on, and errors on training "
                "frames say nothing about others; give the split of its training "
                "(--split MODEL.run/split.json), whose validation frames are used"
            )
        mine = {"by": split.by, "seed": split.seed, "validation": len(split.validation),
                "test": len(split.test)}  # fmt: skip
        trained = {key: card.dataset.get("split", {}).get(key) for key in mine}
        if mine != trained:
            raise ConfigError(
                f"the split ({_words(mine)}) is not the one that {card.name!r} was trained with "
                f"({_words(trained)}), so its validation frames may have been trained on; give "
                "the split of the training, and train all members of an ensemble with the same"
            )


def _words(split: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in split.items())


def _joined(texts: Sequence[str]) -> str:
    return " AND ".join(dict.fromkeys(texts))
