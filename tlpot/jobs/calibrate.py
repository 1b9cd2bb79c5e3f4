"""From models and labels to a file of a model that knows how sure it is."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tlpot.data import DataSource, load_split, open_dataset
from tlpot.errors import ConfigError, OutputError, TLPotWarning
from tlpot.jobs.data_sources import check_shared_split
from tlpot.jobs.evaluate import ModelSource, open_model
from tlpot.jobs.output import check_output, check_replaced
from tlpot.jobs.uncertainty import Calibrated, calibrate_model, make_ensemble, names_of
from tlpot.models import ONE_SIGMA, Ensemble, Potential, TrainedModel, library_file, save
from tlpot.presentation import Result


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationSettings:
    """What to calibrate on, and how.

    Attributes:
        data: the labels; None for nothing to calibrate on.
        level: level of theory of labels and model; None if each has just one.
        spec: layout of the data, if it is not tlpot's own.
        split: split file of the training: its validation frames calibrate, its test frames judge.
        coverage: what one reported standard deviation covers; None for that of a normal
            distribution, 0.683.
        forces: calibrate the forces of a last layer, too.
    """

    data: DataSource | None
    level: str | None = None
    spec: str | None = None
    split: str | os.PathLike[str] | None = None
    coverage: float | None = None
    forces: bool = False

    def of(self, model: TrainedModel) -> Calibrated:
        """Calibrates a model, see `calibrate_model`."""
        assert self.data is not None
        dataset = open_dataset(self.data, self.spec, level=self.level)
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
    target = _checked(output, [model], "the model itself", overwrite)
    return _saved(settings.of(open_model(model, device)), target)


@dataclass(frozen=True, kw_only=True, slots=True)
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
        for name in ("spec", "split", "coverage"):
            if getattr(calibration, name) is not None:
                raise ConfigError(
                    f"{name} (--{name}) does not apply without data to calibrate on "
                    "(--calibrate DATA)"
                )
    target = _checked(output, models, "one of the members", overwrite)
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
    who: str,
    overwrite: bool,
) -> Path | None:
    """Returns where to write, if that is possible."""
    if output is None:
        return None
    target = Path(output)
    check_output(target)
    files = [library_file(model) for model in models if isinstance(model, str | os.PathLike)]
    if target.exists() and any(target.samefile(file) for file in files):
        raise OutputError(f"the output {target} is {who}; choose another name")
    check_replaced(target, overwrite=overwrite)
    return target


def _saved(done: Calibrated, target: Path | None) -> Calibrated:
    if target is None:
        return done
    save(done.model, target)
    return replace(done, output=target)
