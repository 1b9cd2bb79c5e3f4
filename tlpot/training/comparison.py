"""A model at the end of its training beside itself at step 0: what became worse."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tlpot.training.prediction import Predictions

_UNITS = {"energy": "meV", "forces": "meV/Å", "stress": "meV/Å³"}
_ROUNDING = 1e-6
"""Relative; two evaluations of one model may differ by so much."""


def worse_kinds(
    start: Mapping[str, float], end: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Returns mean absolute errors at step 0 and at the end, of the kinds that became worse.

    Args:
        start: `ErrorReport.overall` of the model before the first update.
        end: of the model that is saved, on the same frames.
    """
    names = [f"{kind}_mae" for kind in _UNITS]
    return {
        name: (start[name], end[name])
        for name in names
        if name in start and name in end and end[name] > start[name] * (1 + _ROUNDING)
    }


def worse_words(start: Mapping[str, float], end: Mapping[str, float], part: str) -> list[str]:
    """Returns a sentence for each kind of label in which a model ends worse than it began.

    Args:
        start: `ErrorReport.overall` of the model before the first update.
        end: of the model that is saved, on the same frames.
        part: which frames: ``test``, ``validation``.
    """
    return [
        f"{name.removesuffix('_mae').upper()} WORSE THAN BEFORE THE TRAINING: MAE {before:.4g} -> "
        f"{after:.4g} {_UNITS[name.removesuffix('_mae')]} on the {part} frames"
        for name, (before, after) in worse_kinds(start, end).items()
    ]


def refit_words(predictions: Predictions, shifts: Mapping[int, float], part: str) -> list[str]:
    """Returns a sentence if refitted reference energies are worse than those before the refit.

    Args:
        predictions: of the model at step 0, with the refitted reference energies.
        shifts: what the refit added, eV by atomic number.
        part: which frames the predictions are of.
    """
    known = np.isfinite(predictions.energy[:, 0])
    if not any(shifts.values()) or not known.any():
        return []
    shift = np.array([shifts.get(int(z), 0.0) for z in predictions.atomic_numbers])
    frames = np.repeat(np.arange(len(known)), predictions.sizes)
    added = np.bincount(frames, weights=shift, minlength=len(known))
    error = predictions.energy[:, 1] - predictions.energy[:, 0]
    refitted = 1e3 * float(np.abs(error[known]).mean())
    kept = 1e3 * float(np.abs((error - added)[known]).mean())
    if refitted <= kept * (1 + _ROUNDING):
        return []
    return [
        f"REFITTED REFERENCE ENERGIES ARE WORSE: energy MAE {kept:.4g} meV without the refit, "
        f"{refitted:.4g} meV with it, on the {part} frames before the training; try "
        "references=parent, or more molecules among the labels"
    ]
