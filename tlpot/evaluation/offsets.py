"""Is the error of a model a systematic offset or scale, or scatter?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlpot.evaluation.predictions import Predictions
from tlpot.numbers import Floats, Ints, short
from tlpot.presentation import Table


def composition_idx(sizes: Ints, atomic_numbers: Ints) -> Ints:
    """Returns the index of each frame's composition, [n_frames].

    Of `sizes` [n_frames] and `atomic_numbers` [n_atoms], all frames one after the other.
    """
    seen: dict[bytes, int] = {}
    pieces: Sequence[Ints] = np.split(atomic_numbers, np.cumsum(sizes)[:-1])
    return np.array([seen.setdefault(np.sort(p).tobytes(), len(seen)) for p in pieces])


def centred(values: Floats, group_idx: Ints) -> Floats:
    """Returns `values` less the mean of their group; NaN for a group of one, which says nothing."""
    counts = np.bincount(group_idx, minlength=1)
    means = np.bincount(group_idx, weights=values, minlength=1) / np.maximum(counts, 1)
    return np.where(counts[group_idx] > 1, values - means[group_idx], np.nan)


_QUANTILES = (0.5, 0.9, 0.99, 1.0)
_FEWEST = 5
"""Points of which a straight line can be judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """prediction ≈ slope · label + intercept by least squares.

    Attributes:
        n: number of points.
        slope: 1 for a model without an error of scale.
        slope_error: standard error of `slope`.
        intercept: eV or eV/Å.
        r2: 1 − Σ(prediction − label)² / Σ(label − mean label)², of the model and not of the
            line; negative for a model that is worse than the mean.
    """

    n: int
    slope: float
    slope_error: float
    intercept: float
    r2: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SystematicErrors:
    """Systematic and other errors.

    Attributes:
        lines: by quantity: ``interaction_energy`` (total less reference energies),
            ``relative_energy`` (less the mean of the composition) and ``force``; only those
            with labels enough.
        quantiles: of the absolute error by quantity, ``energy`` in meV and ``forces``
            (components) in meV/Å; keys 50 %, 90 %, 99 % and max.
        by_molecule: mean signed error of the energy and its standard deviation, meV.
        offset_share: share of the mean squared energy error that is the mean error of the
            molecules; 1 if each molecule is merely shifted. NaN if no molecule has two frames.
    """

    lines: Mapping[str, Line]
    quantiles: Mapping[str, Mapping[str, float]]
    by_molecule: Mapping[str, Mapping[str, float]]
    offset_share: float

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers; what is not defined is left out."""
        found: dict[str, Any] = {
            "lines": {name: asdict(line) for name, line in self.lines.items()},
            "absolute_error": {name: dict(row) for name, row in self.quantiles.items()},
            "by_molecule": {name: dict(row) for name, row in self.by_molecule.items()},
        }
        if np.isfinite(self.offset_share):
            found["offset_share"] = self.offset_share
        return found

    def summary(self) -> str:
        """Returns one line."""
        words = []
        for name in ("relative_energy", "force"):
            if name in self.lines:
                line = self.lines[name]
                words.append(
                    f"{name.replace('_', ' ')} slope {line.slope:.3f} ± {line.slope_error:.3f}, "
                    f"R² {line.r2:.4f}"
                )
        if np.isfinite(self.offset_share):
            words.append(f"{100 * self.offset_share:.0f} % of the squared error is offsets")
        return "calibration: " + ("; ".join(words) or "too few labels to judge")

    def text(self) -> str:
        """Returns aligned tables."""
        lines = ["calibration, prediction ≈ slope · label + intercept"]
        if self.lines:
            rows = []
            for name, line in self.lines.items():
                slope = f"{line.slope:.4f} ± {line.slope_error:.4f}"
                unit = "eV/Å" if name == "force" else "eV"
                fit = line.n, slope, f"{line.intercept:.4f}", line.r2
                rows.append((name.replace("_", " "), *fit, unit))
            columns = " | points | slope | intercept | R² | "
            lines += Table(columns, rows, format=".5f", widths=(18, 8), indent=2).lines()
        if np.isfinite(self.offset_share):
            lines.append(
                f"  {100 * self.offset_share:.0f} % of the mean squared energy error is the mean "
                "error of each molecule, the rest is scatter"
            )
        for name, row in self.quantiles.items():
            unit = "meV" if name == "energy" else "meV/Å"
            cells = "".join(f"   {key} {short(value)}" for key, value in row.items())
            lines.append(f"  |{name} error|{cells} {unit}")
        return "\n".join(lines)


def systematic_errors(
    predictions: Predictions, references: Mapping[int, float]
) -> SystematicErrors:
    """Compares predictions with labels; what has no label is passed over.

    Args:
        predictions: of the model.
        references: reference energy of each element, eV; the same are taken from predictions
            and labels, so that they only decide where zero is.
    """
    known = np.isfinite(predictions.energy[:, 0])
    frame_of_atom = np.repeat(np.arange(len(known)), predictions.sizes)
    atomic = np.array([references[int(z)] for z in predictions.atomic_numbers])
    free = np.bincount(frame_of_atom, weights=atomic, minlength=len(known))
    label, found = (predictions.energy - free[:, None])[known].T
    groups = composition_idx(predictions.sizes, predictions.atomic_numbers)[known]
    force_label, force_found = predictions.forces.reshape(-1, 2).T
    force_known = np.isfinite(force_label) & np.isfinite(force_found)
    force_label, force_found = force_label[force_known], force_found[force_known]
    fits = {
        "interaction_energy": _line(label, found),
        "relative_energy": _line(centred(label, groups), centred(found, groups)),
        "force": _line(force_label, force_found),
    }
    error = 1e3 * (found - label)
    names = predictions.groups[known]
    quantiles = {
        "energy": _quantiles(error),
        "forces": _quantiles(1e3 * (force_found - force_label)),
    }
    return SystematicErrors(
        lines={name: line for name, line in fits.items() if line is not None},
        quantiles={name: row for name, row in quantiles.items() if row},
        by_molecule={
            name: {
                "n_frames": int((names == name).sum()),
                "energy_mean": float(error[names == name].mean()),
                "energy_std": float(error[names == name].std()),
            }
            for name in sorted(set(names.tolist()))
        },
        offset_share=_offset_share(error, names),
    )


def _line(label: Floats, found: Floats) -> Line | None:
    known = np.isfinite(label) & np.isfinite(found)
    label, found = label[known], found[known]
    if len(label) < _FEWEST:
        return None
    x = label - label.mean()
    total = float(x @ x)
    if total <= 1e-12 * len(label):
        return None  # all labels are the same
    slope = float(x @ (found - found.mean())) / total
    intercept = float(found.mean() - slope * label.mean())
    rest = found - intercept - slope * label
    return Line(
        n=len(label),
        slope=slope,
        slope_error=float(np.sqrt(rest @ rest / (len(label) - 2) / total)),
        intercept=intercept,
        r2=1.0 - float(np.square(found - label).sum()) / total,
    )


def _quantiles(error: Floats) -> dict[str, float]:
    if not error.size:
        return {}
    values = np.quantile(np.abs(error), _QUANTILES)
    names = [f"{100 * q:.0f} %" for q in _QUANTILES[:-1]] + ["max"]
    return dict(zip(names, values.tolist(), strict=True))


def _offset_share(error: Floats, names: NDArray[np.str_]) -> float:
    """Only over molecules with several frames: of one alone, all error would be offset."""
    _, idx = np.unique(names, return_inverse=True)
    several = np.bincount(idx, minlength=1)[idx] > 1
    error, idx = error[several], idx[several]
    square = float(error @ error)
    if not square:
        return float("nan")
    return 1.0 - float(np.square(centred(error, idx)).sum()) / square
