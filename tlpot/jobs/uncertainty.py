"""Giving a model an uncertainty: members joined, last layers measured, everything calibrated."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tlpot.data import Dataset, DataSource, SpecSource, Split, SplitSource, load_split
from tlpot.errors import ConfigError, DataError, TLPotWarning
from tlpot.files import check_replaced, check_spared
from tlpot.jobs.data_sources import as_trained, check_shared_split
from tlpot.jobs.datasets import DataFiles
from tlpot.jobs.engine_features import with_engine
from tlpot.jobs.evaluate import ModelSource, label_level, open_labels, open_model
from tlpot.jobs.seen_frames import other_split, seen_words, trained_on
from tlpot.jobs.training_job import check_output
from tlpot.levels import choose_level
from tlpot.models import (
    ONE_SIGMA,
    Ensemble,
    LastLayerRigidity,
    ModelCard,
    Potential,
    TrainedModel,
    UncertainModel,
    library_file,
    load_potential,
    save,
)
from tlpot.numbers import Ints
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


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
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

    def headline(self) -> str:
        """Returns the model and what its uncertainty was made from."""
        name = self.model.card.name if self.output is None else self.output.name
        return f"{name}: {self.report.text().splitlines()[0]}"

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
        origin=cards[0].origin if all(c.origin == cards[0].origin for c in cards) else {},
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
    name = label_level(level, dataset, model)
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

    def found(frames: Ints) -> Deviations:
        return deviations(
            raw, dataset, frames, name, device=model.device, forces_std=forces, show=show
        )

    deviating = found(held)
    calibration = calibrate(deviating, coverage)
    tested = None if split is None or not len(split.test) else found(split.test)
    target = getattr(raw, "target", None)
    unit = None if target is None else target.quantity.unit
    report = judge(calibration, deviating, tested, unit=unit)
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
    known = list(trained_on(model, dataset))
    for card in known:
        if split is None:
            raise ConfigError(
                f"{dataset.path} is what {card.name!r} was trained on, and errors on training "
                "frames say nothing about others; give the split of its training "
                "(--split MODEL.run/split.json), whose validation frames are used"
            )
        if differing := other_split(card, split):
            raise ConfigError(
                f"{differing}, so its validation frames may have been trained on; give the split "
                "of the training, and train all members of an ensemble with the same"
            )
    held = np.arange(len(dataset)) if split is None else split.validation
    if not known and (seen := seen_words(model, dataset, held)):
        raise ConfigError(
            f"{dataset.path}: {seen}, and errors on training frames say nothing about others; "
            "calibrate on frames that it has not seen"
        )


def _joined(texts: Sequence[str]) -> str:
    return " AND ".join(dict.fromkeys(texts))


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationSettings:
    """What to calibrate on, and how.

    Attributes:
        data: the labels; None for nothing to calibrate on.
        level: level of theory of labels and model; None if each has just one.
        spec: layout of the data, if it is not tlpot's own.
        keys: names of the labels, where the file has its own.
        split: that of the training: its validation frames calibrate, its test frames judge.
        coverage: what one reported standard deviation covers; None for that of a normal
            distribution, 0.683.
        forces: calibrate the forces of a last layer, too.
        engine: whose features the model reads, if it does.
    """

    data: DataSource | None
    level: str | None = None
    spec: SpecSource | None = None
    keys: Mapping[str, str] | None = None
    split: SplitSource | None = None
    coverage: float | None = None
    forces: bool = False
    engine: str | None = None

    def of(self, model: TrainedModel) -> Calibrated:
        """Calibrates a model, see `calibrate_model`."""
        assert self.data is not None
        if self.engine is not None:
            model = with_engine(model, self.engine)
        files = DataFiles(data=self.data, spec=self.spec, level=self.level, keys=self.keys)
        dataset = open_labels(files, model)
        return calibrate_model(
            model,
            dataset,
            level=self.level,
            split=None if self.split is None else load_split(self.split, dataset),
            coverage=ONE_SIGMA if self.coverage is None else self.coverage,
            forces=self.forces,
            show=True,
        )


def calibrate_file(
    model: ModelSource,
    settings: CalibrationSettings,
    *,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    device: str | torch.device | None = None,
) -> Calibrated:
    """Calibrates a model and writes it; `tlpot.calibrate` says what the arguments are.

    Raises:
        TLPotError: something is wrong with the model, the data or the settings.
    """
    target = _checked(output, [model], overwrite)
    return _saved(settings.of(open_model(model, device)), target)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class EnsembleOutcome(Result):
    """An ensemble of models.

    Attributes:
        model: the ensemble.
        output: its file; None if it was not written.
        calibrated: how good its uncertainty is, if it was calibrated.
        unknown: members whose cards do not say with what split they were trained.
    """

    model: TrainedModel
    output: Path | None
    calibrated: Calibrated | None
    unknown: tuple[str, ...]

    def text(self) -> str:
        """Returns what was joined, and how good its uncertainty is."""
        first = f"{self.model.card.description}, at {', '.join(self.model.levels)}"
        if self.calibrated is not None:
            return f"{first}\n{self.calibrated.text()}"
        name = "" if self.output is None else f" {self.output}"
        return (
            f"{first}\nmodel{name}, not calibrated: its standard deviations are only a ranking so "
            "far"
        )

    def as_json(self) -> dict[str, Any]:
        """Returns members and levels, and the numbers of the calibration."""
        return {
            "description": self.model.card.description,
            "levels": list(self.model.levels),
            "calibration": None if self.calibrated is None else self.calibrated.as_json(),
            "unknown split": list(self.unknown),
        }


def join_models(
    models: Sequence[str | os.PathLike[str] | Potential],
    *,
    level: str | None = None,
    calibration: CalibrationSettings,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    device: str | torch.device | None = None,
) -> EnsembleOutcome:
    """Joins models, calibrates and writes them; `tlpot.ensemble` says what the arguments are.

    Raises:
        TLPotError: something is wrong with the models, the data or the settings.

    Warns:
        TLPotWarning: the card of a model does not say with what split it was trained.
    """
    if calibration.data is None:
        for name in ("spec", "keys", "split", "coverage", "engine"):
            if getattr(calibration, name) is not None:
                raise ConfigError(
                    f"{name} (--{name}) does not apply without data to calibrate on "
                    "(--calibrate DATA)"
                )
    target = _checked(output, models, overwrite)
    joined: Ensemble = make_ensemble(models, level=level, device=device)
    unknown = check_shared_split(names_of(models), [m.card for m in joined.potentials()])
    if unknown:
        warnings.warn(
            f"{', '.join(unknown)}: the card does not say with what split the model was trained, "
            "so its training frames may be test frames of other members",
            TLPotWarning,
            stacklevel=2,
        )
    calibrated = None
    if calibration.data is not None:
        calibrated = _saved(calibration.of(joined), target)
    elif target is not None:
        save(joined, target)
    return EnsembleOutcome(
        model=joined if calibrated is None else calibrated.model,
        output=target,
        calibrated=calibrated,
        unknown=tuple(unknown),
    )


def _checked(
    output: str | os.PathLike[str] | None,
    models: Sequence[ModelSource],
    overwrite: bool,
) -> Path | None:
    """Returns where to write, if that is possible."""
    if output is None:
        return None
    target = Path(output)
    check_output(target)
    check_spared(target, [library_file(m) for m in models if isinstance(m, str | os.PathLike)])
    check_replaced(target, what="model file", overwrite=overwrite)
    return target


def _saved(done: Calibrated, target: Path | None) -> Calibrated:
    if target is None:
        return done
    save(done.model, target)
    return replace(done, output=target)
