"""A model at the end of its training: what became worse than at step 0, and what is off."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tlpot.evaluation.predictions import Predictions

_UNITS = {"energy": "meV", "forces": "meV/Å", "stress": "meV/Å³"}
_OFFSET = 43.4
"""1 kcal/mol in meV."""
_CLEAR = 2.0
"""A molecule is shifted if its mean error is so many times its scatter."""
_NAMED = 3
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


def offset_words(predictions: Predictions, part: str) -> list[str]:
    """Returns a sentence if whole molecules are off by a constant.

    Args:
        predictions: energies beside their labels.
        part: which frames: ``test``, ``training``.
    """
    error = 1e3 * (predictions.energy[:, 1] - predictions.energy[:, 0])
    known = np.isfinite(error)
    names = sorted(set(predictions.groups[known].tolist()))
    shifted = []
    for name in names:
        mine = error[known & (predictions.groups == name)]
        if len(mine) > 1 and abs(mine.mean()) > max(_OFFSET, _CLEAR * mine.std()):
            shifted.append((name, float(mine.mean())))
    if not shifted:
        return []
    worst = sorted(shifted, key=lambda pair: -abs(pair[1]))[:_NAMED]
    return [
        f"shifted as a whole by more than 1 kcal/mol (43 meV): {len(shifted)} of {len(names)} "
        f"molecules of the {part} frames, {', '.join(f'{n} {e:+.0f} meV' for n, e in worst)}"
        + (", ..." if len(shifted) > _NAMED else "")
    ]
