"""Errors over batches, by molecule and element, the parity plot, and comparisons with step 0."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from tlpot.data import Targets
from tlpot.energy import Properties
from tlpot.evaluation.predictions import Predictions
from tlpot.evaluation.property_errors import (
    IntervalCoverage,
    interval_coverage,
    property_errors,
    property_figure,
    property_lines,
)
from tlpot.models import Calibration
from tlpot.numbers import Floats, Ints, counted, mae, rmse
from tlpot.presentation import Column, Table, make_figure
from tlpot.targets import Quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_KINDS = ("energy", "energy_per_atom", "forces", "stress", "relative")

_BINS = 120

_WORDS = {"energy_per_atom": "energy per atom", "relative": "relative energy"}
_UNITS = {
    "energy": "meV", "relative": "meV", "forces": "meV/Å", "stress": "meV/Å³", "property": "",
}  # fmt: skip
_OFFSET = 43.4
"""1 kcal/mol in meV."""
_CLEAR = 2.0
"""A molecule is shifted if its mean error is so many times its scatter."""
_NAMED = 3
_ROUNDING = 1e-6
"""Relative; two evaluations of one model may differ by so much."""


def relative_errors(errors: Tensor, known: Tensor, molecule_idx: Tensor) -> tuple[Tensor, Tensor]:
    """Returns errors of energies less the mean error of their molecule, and whose they are.

    Args:
        errors: [n_systems], prediction − label.
        known: [n_systems], which have a label.
        molecule_idx: [n_systems], the same number for structures of one molecule.

    Returns:
        [n] errors, and the indices of their structures: those with a label of whose molecule
        another one has a label, too.
    """
    indices = known.nonzero()[:, 0]
    errors, molecules = errors[indices], molecule_idx[indices]
    n = int(molecule_idx.max()) + 1 if len(molecule_idx) else 0
    counts = torch.bincount(molecules, minlength=n).to(errors.dtype)
    sums = errors.new_zeros(n).index_add(0, molecules, errors)
    several = counts[molecules] > 1
    return (errors - (sums / counts.clamp(min=1))[molecules])[several], indices[several]


@dataclass(kw_only=True, slots=True)
class Metrics:
    """Sums over all labels seen so far.

    Attributes:
        sums: [5, 3]; for energy, energy per atom, forces, stress, energy relative to the mean of
            the molecule in the batch: Σ|e|, Σe², count; in eV and Å. Of a property the first row
            is in its unit, and the others mean nothing.
        quantity: what the property is; None for energies.
    """

    sums: Tensor = field(default_factory=lambda: torch.zeros(5, 3, dtype=torch.float64))
    quantity: Quantity | None = None

    def add(
        self,
        properties: Properties,
        targets: Targets,
        sizes: Tensor,
        molecule_idx: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> None:
        """Takes in a batch; absent labels and properties are passed over.

        `weights` are what the errors of a property count.
        """
        if self.quantity is not None and weights is not None:
            found = targets.energy.isfinite()
            error, counts = (properties.energy - targets.energy).detach()[found], weights[found]
            self.sums[0] += torch.stack(
                [(counts * error.abs()).sum(), (counts * error.square()).sum(), counts.sum()]
            ).cpu()
            return
        energy = properties.energy - targets.energy
        rows: list[tuple[Tensor | None, Tensor]] = [
            (energy, targets.energy),
            (energy / sizes, targets.energy),
            (
                None if properties.forces is None else properties.forces - targets.forces,
                targets.forces,
            ),
            (
                None if properties.stress is None else properties.stress - targets.stress,
                targets.stress,
            ),
        ]
        known = [
            None if error is None else error.detach()[target.isfinite()] for error, target in rows
        ]
        if molecule_idx is not None:
            labelled = targets.energy.isfinite()
            known.append(relative_errors(energy.detach(), labelled, molecule_idx)[0])
        for row, errors in enumerate(known):
            if errors is not None:
                count = errors.new_tensor(float(errors.numel()))
                self.sums[row] += torch.stack(
                    [errors.abs().sum(), errors.square().sum(), count]
                ).cpu()

    def merge(self, other: Metrics) -> None:
        """Takes in what another set has seen."""
        self.sums += other.sums

    def table(self) -> dict[str, float]:
        """Returns MAE and RMSE in meV and Å for what has labels, and the number of energies."""
        result: dict[str, float] = {"n_energies": self.sums[0, 2].item()}
        if self.quantity is not None:
            absolute, square, count = self.sums[0].tolist()
            if count:
                result["property_mae"] = absolute / count
                result["property_rmse"] = math.sqrt(square / count)
            return result
        for kind, (absolute, square, count) in zip(_KINDS, self.sums.tolist(), strict=True):
            if count:
                result[f"{kind}_mae"] = 1e3 * absolute / count
                result[f"{kind}_rmse"] = 1e3 * math.sqrt(square / count)
        return result


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorReport:
    """Errors in meV, meV/atom, meV/Å and meV/Å³.

    Attributes:
        overall: MAE and RMSE by property; ``relative`` is of energies less the mean of their
            molecule.
        by_molecule: mean signed error, MAE of the energy and MAE of the forces.
        by_element: MAE and RMSE of the forces on the atoms of an element.
        quantity: of a property, whose errors are then in its unit, see
            `tlpot.evaluation.property_errors`.
        intervals: of a property, how good the standard deviations of a model are that has some.
    """

    overall: Mapping[str, float]
    by_molecule: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    by_element: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    quantity: Quantity | None = None
    intervals: IntervalCoverage | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns plain dicts for a JSON file."""
        if self.quantity is not None:
            units = {"property": self.quantity.unit}
            sure = {} if self.intervals is None else {"intervals": self.intervals.as_json()}
            return {"units": units, "overall": dict(self.overall), "by_molecule": {},
                    "by_element": {}, **sure}  # fmt: skip
        return {
            "units": {
                "energy": "meV",
                "energy_per_atom": "meV/atom",
                "relative": "meV",
                "forces": "meV/Å",
                "stress": "meV/Å³",
            },
            "overall": dict(self.overall),
            "by_molecule": {k: dict(v) for k, v in self.by_molecule.items()},
            "by_element": {k: dict(v) for k, v in self.by_element.items()},
        }

    def text(self) -> str:
        """Returns aligned tables."""
        o = self.overall
        if self.quantity is not None:
            lines = property_lines(o, self.quantity)
            if self.intervals is not None:
                lines += self.intervals.table().lines()
                lines.append(f"  {self.intervals.words(self.quantity)}")
            return "\n".join(lines)
        rows = [
            (f"  {_WORDS.get(kind, kind)}", o[f"{kind}_mae"], o[f"{kind}_rmse"], unit)
            for kind, unit in (
                ("energy", "meV"), ("energy_per_atom", "meV/atom"), ("relative", "meV"),
                ("forces", "meV/Å"), ("stress", "meV/Å³"),
            )
            if f"{kind}_mae" in o
        ]  # fmt: skip
        head = Column(counted(int(o["n_frames"]), "frame"), align="left", width=18)
        columns = [head, Column("MAE", gap=1), Column("RMSE", gap=1), Column(gap=1)]
        lines = Table(columns, rows, format=".4g", widths=(0, 10)).lines()
        lines += _table(
            "molecule",
            self.by_molecule,
            {"frames": "n_frames", "E mean": "energy_mean", "E MAE": "energy_mae",
             "F MAE": "forces_mae"},
        )  # fmt: skip
        lines += _table(
            "element", self.by_element, {"F MAE": "forces_mae", "F RMSE": "forces_rmse"}
        )
        return "\n".join(lines)


def error_report(predictions: Predictions, calibration: Calibration | None = None) -> ErrorReport:
    """Summarises predictions; what has no label is passed over.

    Args:
        predictions: beside labels.
        calibration: of their standard deviations, if these are of a property and were calibrated.
    """
    quantity = predictions.quantity
    if quantity is not None:
        labels, found = predictions.energy.T
        errors = property_errors(labels, found, quantity)
        intervals = None
        # a label of yes or no is in no interval around a probability
        if predictions.std is not None and quantity.kind != "yes_no" and errors:
            intervals = interval_coverage(labels, found, predictions.std, calibration)
        return ErrorReport(
            overall={"n_frames": float(len(labels)), **errors},
            quantity=quantity,
            intervals=intervals,
        )
    error = 1e3 * (predictions.energy[:, 1] - predictions.energy[:, 0])
    force = 1e3 * (predictions.forces[..., 1] - predictions.forces[..., 0])
    force_known = np.isfinite(predictions.forces[..., 0])
    known = np.isfinite(predictions.energy[:, 0])
    overall: dict[str, float] = {"n_frames": float(len(error))}
    overall |= _errors("energy", error[known])
    overall |= _errors("energy_per_atom", (error / predictions.sizes)[known])
    names, molecule_idx = np.unique(predictions.groups, return_inverse=True)
    overall |= _errors("relative", _relative(error[known], molecule_idx[known], len(names)))
    overall |= _errors("forces", force[force_known])
    stress = 1e3 * (predictions.stress[..., 1] - predictions.stress[..., 0])
    overall |= _errors("stress", stress[np.isfinite(predictions.stress[..., 0])])
    frame_of_atom = np.repeat(np.arange(len(error)), predictions.sizes)
    molecules: dict[str, dict[str, float]] = {}
    for name in sorted(set(predictions.groups.tolist())):
        frames = predictions.groups == name
        atoms = frames[frame_of_atom]
        row = {"n_frames": float(frames.sum())}
        row |= _errors("energy", error[frames & known])
        row |= _errors("forces", force[atoms][force_known[atoms]])
        if (frames & known).any():
            row["energy_mean"] = float(error[frames & known].mean())
        molecules[name] = row
    elements: dict[str, dict[str, float]] = {}
    for z in sorted(set(predictions.atomic_numbers.tolist())):
        atoms = predictions.atomic_numbers == z
        row = _errors("forces", force[atoms][force_known[atoms]])
        if row:
            elements[chemical_symbols[z]] = row
    return ErrorReport(overall=overall, by_molecule=molecules, by_element=elements)


def _relative(errors: Floats, molecule_idx: Ints, n_molecules: int) -> Floats:
    counts = np.bincount(molecule_idx, minlength=n_molecules)
    means = np.bincount(molecule_idx, errors, n_molecules) / np.maximum(counts, 1)
    return (errors - means[molecule_idx])[counts[molecule_idx] > 1]


def _errors(kind: str, error: Floats) -> dict[str, float]:
    return {f"{kind}_mae": mae(error), f"{kind}_rmse": rmse(error)} if error.size else {}


def _table(
    title: str, rows: Mapping[str, Mapping[str, float]], columns: Mapping[str, str]
) -> list[str]:
    shown = {k: v for k, v in columns.items() if any(v in row for row in rows.values())}
    if not shown:
        return []
    cells = [
        [name, *(int(row[key]) if key == "n_frames" else row.get(key) for key in shown.values())]
        for name, row in rows.items()
    ]
    table = Table(
        [title, *(Column(name, gap=1) for name in shown)],
        cells,
        format=".4g",
        missing="-",
        widths=(0, 10),
        indent=2,
    )
    return ["", *table.lines()]


def parity_figure(predictions: Predictions, title: str) -> Figure:
    """Returns a picture of energies (per atom, molecule by molecule about the mean label) and
    forces.

    The lower panels show the errors. Many points are drawn as a density. Of a property it is that
    of `property_figure`.
    """
    if predictions.quantity is not None:
        labels, values = predictions.energy.T
        return property_figure(labels, values, predictions.quantity, title)
    label, found = predictions.energy.T
    offset = np.zeros_like(label)
    for name in set(predictions.groups.tolist()):
        frames = predictions.groups == name
        offset[frames] = np.nanmean(label[frames]) if np.isfinite(label[frames]).any() else 0.0
    panels = [
        ("energy per atom − mean label of the molecule", "meV/atom",
         1e3 * (label - offset) / predictions.sizes, 1e3 * (found - offset) / predictions.sizes),
        ("force component", "eV/Å",
         predictions.forces[..., 0].reshape(-1), predictions.forces[..., 1].reshape(-1)),
    ]  # fmt: skip
    panels = [panel for panel in panels if np.isfinite(panel[2]).any()]
    figure, axes = make_figure(
        4.6 * len(panels), 5.4, 2, len(panels), title=title, height_ratios=[3, 1], sharex="col"
    )
    for (name, unit, x, y), (upper, lower) in zip(panels, axes.T, strict=True):
        known = np.isfinite(x)
        x, y = x[known], y[known]
        scale = 1e3 if unit == "eV/Å" else 1.0
        limits = [min(x.min(), y.min()), max(x.max(), y.max())]
        upper.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
        _scatter(upper, x, y)
        error = scale * (y - x)
        error_unit = "meV/Å" if unit == "eV/Å" else unit
        text = f"MAE {mae(error):.3g}\nRMSE {rmse(error):.3g} {error_unit}"
        upper.text(0.04, 0.96, text, transform=upper.transAxes, va="top", fontsize=9)
        upper.set_ylabel(f"model ({unit})")
        upper.set_title(name, fontsize=9)
        _scatter(lower, x, error)
        lower.axhline(0, color="0.6", linewidth=1, zorder=0)
        lower.set_ylabel(f"error ({error_unit})")
        lower.set_xlabel(f"reference ({unit})")
    return figure


def _scatter(axes: object, x: Floats, y: Floats) -> None:
    """Points coloured by how many share their place, the crowded ones on top."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=_BINS)
    i = np.clip(np.searchsorted(x_edges, x, side="right") - 1, 0, _BINS - 1)
    j = np.clip(np.searchsorted(y_edges, y, side="right") - 1, 0, _BINS - 1)
    density = np.log1p(counts[i, j])
    order = np.argsort(density)
    axes.scatter(  # type: ignore[attr-defined]
        x[order], y[order], c=density[order], s=6, cmap="viridis", linewidths=0, rasterized=True
    )


LEARNED = ("energy", "forces", "stress", "property")
"""Kinds of errors that a training lowers unless it is told otherwise."""


def worse_kinds(
    start: Mapping[str, float], end: Mapping[str, float], kinds: Iterable[str] = LEARNED
) -> dict[str, tuple[float, float]]:
    """Returns errors at step 0 and at the end, of the kinds that became worse.

    Mean absolute ones; of yes and no the cross entropy.

    Both are `ErrorReport.overall`, on the same frames; `kinds` were to be lowered. What is the same
    in the digits that are shown is no worse.
    """
    names = [f"{kind}_mae" for kind in _UNITS if kind in kinds]
    if "cross_entropy" in end:  # what decides between two models of yes and no
        names = ["cross_entropy" if name == "property_mae" else name for name in names]
    return {
        name: (start[name], end[name])
        for name in names
        if name in start and name in end and float(f"{end[name]:.4g}") > float(f"{start[name]:.4g}")
    }


def worse_words(
    start: Mapping[str, float],
    end: Mapping[str, float],
    part: str,
    kinds: Iterable[str] = LEARNED,
) -> list[str]:
    """Returns a sentence for each kind of label in which a model ends worse than it began.

    `start` and `end` are `ErrorReport.overall`, on the same frames, ``test`` or ``validation``;
    `kinds` were to be lowered.
    """
    found = []
    for name, (before, after) in worse_kinds(start, end, kinds).items():
        kind = "property" if name == "cross_entropy" else name.removesuffix("_mae")
        what = "cross entropy" if name == "cross_entropy" else "MAE"
        unit = "" if name == "cross_entropy" else _UNITS[kind]
        numbers = f"{what} {before:.4g} -> {after:.4g} {unit}".rstrip()
        found.append(
            f"{kind.upper()} WORSE THAN BEFORE THE TRAINING: {numbers} on the {part} frames"
        )
    return found


def refit_words(predictions: Predictions, shifts: Mapping[int, float], part: str) -> list[str]:
    """Returns a sentence if refitted reference energies are worse than those before the refit.

    The predictions are of the model at step 0, with the refitted reference energies; `shifts` is
    what the refit added, eV by atomic number.
    """
    known = np.isfinite(predictions.energy[:, 0])
    if not any(shifts.values()) or not known.any():
        return []
    shift = np.array([shifts.get(int(z), 0.0) for z in predictions.atomic_numbers])
    frames = np.repeat(np.arange(len(known)), predictions.sizes)
    added = np.bincount(frames, weights=shift, minlength=len(known))
    error = predictions.energy[:, 1] - predictions.energy[:, 0]
    refitted, kept = 1e3 * mae(error[known]), 1e3 * mae((error - added)[known])
    if refitted <= kept * (1 + _ROUNDING):
        return []
    return [
        f"REFITTED REFERENCE ENERGIES ARE WORSE: energy MAE {kept:.4g} meV without the refit, "
        f"{refitted:.4g} meV with it, on the {part} frames before the training; try "
        "references=parent, or more molecules among the labels"
    ]


def offset_words(predictions: Predictions, part: str) -> list[str]:
    """Returns a sentence if whole molecules are off by a constant."""
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
