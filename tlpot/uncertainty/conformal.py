"""Conformal calibration of uncertainties, and what it is worth on frames it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlpot.data import Dataset, evaluation_batches
from tlpot.energy import has_forces
from tlpot.errors import ConfigError, DataError
from tlpot.evaluation import COVERAGES, evaluated
from tlpot.models import ONE_SIGMA, Calibration, UncertainModel
from tlpot.numbers import Floats, Ints
from tlpot.presentation import COLOURS, Table, add_legend, make_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class Deviations:
    """What a model gets wrong and how sure it was, before any calibration.

    Attributes:
        energy: [n_frames], model − label, eV.
        energy_std: [n_frames], raw standard deviation, eV; positive.
        groups: [n_frames], name of the molecule.
        forces: [n_components], model − label of every labelled force component, eV/Å.
        forces_std: [n_components], raw standard deviations, eV/Å.
        force_frames: [n_components], which of the frames above each belongs to.
    """

    energy: Floats
    energy_std: Floats
    groups: NDArray[np.str_]
    forces: Floats
    forces_std: Floats
    force_frames: Ints

    @property
    def scores(self) -> Floats:
        """|error| / σ of each energy, [n_frames]."""
        return np.abs(self.energy) / self.energy_std

    def force_scores(self, *, seed: int = 0) -> tuple[Floats, Ints]:
        """Returns |error| / σ of one force component of each frame that has any, and the frame.

        The component is drawn at random among those with σ > 0 (symmetry may make one certain).
        """
        usable = np.flatnonzero(self.forces_std > 0)
        drawn = np.random.default_rng(seed).permutation(usable)
        frames, first = np.unique(self.force_frames[drawn], return_index=True)
        chosen = drawn[first]
        return np.abs(self.forces[chosen]) / self.forces_std[chosen], frames

    @property
    def n_molecules(self) -> int:
        """Number of different molecules."""
        return len(set(self.groups.tolist()))


def deviations(
    model: UncertainModel,
    dataset: Dataset,
    indices: Sequence[int] | Ints,
    level: str,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    forces_std: bool = False,
    show: bool = False,
) -> Deviations:
    """Evaluates the frames that have an energy at a level, and forces where that costs nothing.

    Args:
        model: knows its uncertainty; on `device`.
        dataset: the frames.
        indices: which of them.
        level: canonical name of the labels' level of theory.
        device: where the model is.
        batch_size: frames at a time.
        forces_std: evaluate the standard deviations of labelled forces even if it costs much.
        show: whether to show a progress bar.

    Raises:
        DataError: no frame has an energy, or for some the model claims to be certain (σ = 0).
        UnknownElementError: a frame has an element that the model does not know.
    """
    derived = has_forces(model)
    chosen = np.asarray(indices, dtype=np.int64)
    chosen = chosen[dataset.labelled(level, "energy")[chosen]]
    if not len(chosen):
        raise DataError(f"{dataset.path}: none of the frames has an energy at {level}")
    chosen = chosen[np.argsort(dataset.sizes[chosen], kind="stable")]
    parts: dict[str, list[Tensor]] = {
        key: [] for key in ("energy", "energy_std", "forces", "std", "frames")
    }
    n_done = 0
    batches = evaluation_batches(
        model, dataset, chosen, (level,), device=device, batch_size=batch_size, show=show
    )
    for batch, found, spread in evaluated(
        model,
        batches,
        forces=lambda batch: derived and bool(batch.targets[level].forces.isfinite().any()),
        std="forces" if forces_std else "energy",
        calibrated=False,
    ):
        assert spread is not None
        targets = batch.targets[level]
        known = targets.forces.isfinite()
        parts["energy"].append(found.energy - targets.energy)
        parts["energy_std"].append(spread.energy_std)
        if found.forces is not None and spread.forces_std is not None:
            parts["forces"].append((found.forces - targets.forces)[known])
            parts["std"].append(spread.forces_std[known])
            owner = n_done + batch.graph.system_idx[:, None].expand_as(known)
            parts["frames"].append(owner[known])
        n_done += len(targets.energy)
    arrays = {key: _array(tensors) for key, tensors in parts.items()}
    if not (arrays["energy_std"] > 0).all():
        certain = chosen[~(arrays["energy_std"] > 0)]
        names = [frame.name for frame in dataset.read(certain[:3].tolist(), (level,))]
        raise DataError(
            f"the model claims to be certain (σ = 0) about {len(certain)} of {len(chosen)} frames, "
            f"such as {', '.join(names)}, which no factor can scale; leave them out (isolated "
            "atoms, perhaps)"
        )
    return Deviations(
        energy=arrays["energy"],
        energy_std=arrays["energy_std"],
        groups=np.array(dataset.group_names)[dataset.group_idx[chosen]],
        forces=arrays["forces"],
        forces_std=arrays["std"],
        force_frames=arrays["frames"].astype(np.int64),
    )


def _array(tensors: list[Tensor]) -> Floats:
    return torch.cat(tensors).cpu().numpy() if tensors else np.zeros(0)


MIN_FRAMES = 10
_FOLDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class CoverageRow:
    """Shares of the judged frames whose error was within an interval; NaN where there is none.

    Attributes:
        expected: what the share should be.
        raw: within z σ, with the normal quantile z and σ not calibrated.
        calibrated: within z times the calibrated σ (which, made for a coverage of c, stands for
            z(c) standard deviations).
        interval: within the conformal interval for just this coverage.
        forces: of force components, within z times the calibrated σ of the forces, which has a
            factor of its own or that of the energies.
    """

    expected: float
    raw: float
    calibrated: float
    interval: float
    forces: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationReport:
    """How good uncertainties are.

    Attributes:
        factor: what a raw standard deviation is multiplied by.
        force_factor: the same for forces; that of the energies if they have none of their own.
        n_force_frames: frames that the forces' own factor was made from; 0 if they have none.
        coverage: what that factor was made for.
        n_frames: frames that it was made from.
        n_molecules: different molecules among them.
        judged_on: which frames everything below is about.
        n_judged: how many those are.
        rows: coverage.
        mean_error: mean |error| of the energies, eV.
        mean_std: mean calibrated standard deviation, eV.
        nll_raw: mean negative log-likelihood of the errors under normal distributions, with σ
            (in eV) as it was.
        nll_calibrated: the same after the calibration.
        spearman: rank correlation of |error| and σ.
        n_forces: force components that were judged.
        unit: of a property, in which everything that is said to be in eV is; None for energies.
    """

    factor: float
    force_factor: float
    n_force_frames: int
    coverage: float
    n_frames: int
    n_molecules: int
    judged_on: str
    n_judged: int
    rows: tuple[CoverageRow, ...]
    mean_error: float
    mean_std: float
    nll_raw: float
    nll_calibrated: float
    spearman: float
    n_forces: int
    unit: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns plain values for a JSON file; what does not exist is None."""
        found = asdict(self)
        if self.unit is None:
            del found["unit"]
        found["rows"] = [
            {k: None if math.isnan(v) else v for k, v in asdict(row).items()} for row in self.rows
        ]
        return found | {"spearman": None if math.isnan(self.spearman) else self.spearman}

    def text(self) -> str:
        """Returns aligned tables and what to keep in mind."""
        columns = ["coverage", "expected", "raw", "calibrated", "interval"]
        rows: list[list[Any]] = [
            ["", row.expected, row.raw, row.calibrated, row.interval] for row in self.rows
        ]
        if self.n_forces:
            columns.append("forces")
            for cells, row in zip(rows, self.rows, strict=True):
                cells.append(row.forces)
        lines = [
            f"factor {self.factor:.4g} for a coverage of {self.coverage:.1%}, from {self.n_frames} "
            f"frames of {self.n_molecules} molecules",
            *self._force_line(),
            f"judged on {self.n_judged} {self.judged_on}",
            *Table(columns, rows, format=".1%", missing="-", widths=(0, 10), indent=2).lines(),
        ]
        factor, unit = self.scale
        lines += [
            f"  mean |error| {factor * self.mean_error:.4g} {unit}".rstrip()
            + f", mean calibrated σ {factor * self.mean_std:.4g} {unit}".rstrip(),
            f"  negative log-likelihood {self.nll_raw:.4g} raw, {self.nll_calibrated:.4g} "
            "calibrated",
            f"  Spearman correlation of |error| and σ {self.spearman:.3f}",
            "The coverage is promised for frames that are exchangeable with those of the "
            "calibration: drawn alike, from the same molecules and conditions. For others it is "
            "a guess.",
        ]
        return "\n".join(lines)

    @property
    def scale(self) -> tuple[float, str]:
        """What errors are multiplied by to be shown, and their unit then."""
        return (1e3, "meV") if self.unit is None else (1.0, self.unit)

    def _force_line(self) -> list[str]:
        if self.n_force_frames:
            return [
                f"forces: factor {self.force_factor:.4g}, from one component of each of "
                f"{self.n_force_frames} frames"
            ]
        if self.n_forces:
            return ["forces: the factor of the energies, for want of enough labelled forces"]
        return []


def calibrate(found: Deviations, coverage: float = ONE_SIGMA) -> Calibration:
    """Returns the conformal calibration of a model from its deviations on held-out frames.

    Forces get a factor of their own if at least `MIN_FRAMES` of the frames, and as many as the
    coverage needs, have labelled forces whose standard deviations are known.

    Raises:
        DataError: too few frames, or all errors are zero.
        ConfigError: a coverage that makes no sense, or needs more frames.
    """
    if len(found.energy) < MIN_FRAMES:
        raise DataError(
            f"a calibration needs at least {MIN_FRAMES} frames with an energy, found "
            f"{len(found.energy)}; label more, or make the validation part larger"
        )
    scores, _ = found.force_scores()
    calibration = Calibration(torch.from_numpy(found.scores), coverage)
    if len(scores) >= max(MIN_FRAMES, coverage / (1.0 - coverage)) and scores.any():
        forces = torch.from_numpy(scores)
        calibration = Calibration(torch.from_numpy(found.scores), coverage, forces)
    if not calibration.factor > 0:
        raise DataError(
            "the errors of the calibration frames are zero, so there is nothing to calibrate; "
            "are the labels the model's own predictions?"
        )
    return calibration


def judge(
    calibration: Calibration,
    held: Deviations,
    test: Deviations | None = None,
    *,
    unit: str | None = None,
) -> CalibrationReport:
    """Compares uncertainties with errors on frames that the calibration has not seen.

    `calibration` was made from `held`. Without test frames each fifth of `held` is judged by a
    calibration on the other four fifths. `unit` is that of a property, None for energies.
    """
    coverage = float(calibration.coverage.value)
    judged = held if test is None else test
    n = len(judged.energy)
    levels = [coverage, *COVERAGES]
    force_scale = np.full(n, calibration.force_factor)
    if test is not None:
        factors = np.repeat(_factors(calibration, levels)[:, None], n, axis=1)
        where = "test frames"
    else:
        factors = np.full((len(levels), n), np.nan)
        fold = np.random.default_rng(0).permutation(n) % _FOLDS
        forces, owner = held.force_scores()
        for k in range(_FOLDS):
            rest = Calibration(torch.from_numpy(held.scores[fold != k]), 0.5)
            factors[:, fold == k] = _factors(rest, levels)[:, None]
            if calibration.n_force_frames:
                others = Calibration(torch.from_numpy(forces[fold[owner] != k]), 0.5)
                force_scale[fold == k] = _factors(others, [coverage])[0]
            else:
                force_scale[fold == k] = factors[0, fold == k]
        where = f"frames of the calibration itself, in {_FOLDS} folds"
    scale, intervals = factors[0], factors[1:]
    if not (np.isfinite(scale).all() and np.isfinite(force_scale).all()):
        # a fold is too small for the coverage
        scale, force_scale = np.full(n, calibration.factor), np.full(n, calibration.force_factor)
        where += " (σ by the factor of all of them)"
    reported = judged.energy_std * scale
    sigma = reported / normal_quantile(coverage)
    force_unit = force_scale[judged.force_frames] / normal_quantile(coverage)
    return CalibrationReport(
        factor=calibration.factor,
        force_factor=calibration.force_factor,
        n_force_frames=calibration.n_force_frames,
        coverage=coverage,
        n_frames=calibration.n_frames,
        n_molecules=held.n_molecules,
        judged_on=where,
        n_judged=n,
        rows=tuple(
            _row(expected, judged, sigma, k, force_unit)
            for expected, k in zip(COVERAGES, intervals, strict=True)
        ),
        mean_error=float(np.abs(judged.energy).mean()),
        mean_std=float(reported.mean()),
        nll_raw=negative_log_likelihood(judged.energy, judged.energy_std),
        nll_calibrated=negative_log_likelihood(judged.energy, sigma),
        spearman=spearman(np.abs(judged.energy), judged.energy_std),
        n_forces=len(judged.forces),
        unit=unit,
    )


def negative_log_likelihood(errors: Floats, std: Floats) -> float:
    """Returns the mean of ½ ln 2πσ² + e²/2σ²; errors and standard deviations [n], in eV."""
    terms = 0.5 * np.log(2.0 * np.pi * std**2) + 0.5 * (errors / std) ** 2
    return float(terms.mean())


def spearman(a: Floats, b: Floats) -> float:
    """Returns the rank correlation of two arrays [n]; equal values share their mean rank.

    NaN if one of them is the same everywhere.
    """
    x, y = (_ranks(values) - 0.5 * (len(values) - 1) for values in (a, b))
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / norm if norm else math.nan


def normal_quantile(coverage: float) -> float:
    """Returns z such that a normal variable is within ± z standard deviations so often."""
    return NormalDist().inv_cdf(0.5 * (1.0 + coverage))


def _factors(calibration: Calibration, levels: list[float]) -> Floats:
    """Returns the factor for each coverage, NaN where there are too few frames."""
    found = np.full(len(levels), np.nan)
    for k, coverage in enumerate(levels):
        try:
            found[k] = calibration.interval(coverage)
        except ConfigError:
            continue
    return found


def _row(
    expected: float, judged: Deviations, sigma: Floats, interval: Floats, force_unit: Floats
) -> CoverageRow:
    z = normal_quantile(expected)
    error = np.abs(judged.energy)
    covered = np.abs(judged.forces) <= z * force_unit * judged.forces_std
    inside = error <= interval * judged.energy_std
    return CoverageRow(
        expected=expected,
        raw=float((error <= z * judged.energy_std).mean()),
        calibrated=float((error <= z * sigma).mean()),
        interval=float(inside.mean()) if np.isfinite(interval).all() else math.nan,
        forces=float(covered.mean()) if len(covered) else math.nan,
    )


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - 0.5 * (counts + 1))[inverse]


_SHARES = np.linspace(0.02, 0.98, 49)


def calibration_figure(report: CalibrationReport, judged: Deviations, title: str) -> Figure:
    """Returns a reliability curve, and error against σ with both axes logarithmic.

    Errors below a hundredth of the median σ are drawn there.

    `judged` are the frames that the report is about.
    """
    factor, unit = report.scale
    what = "of the energy (meV)" if report.unit is None else f"({unit})" if unit else ""
    error = factor * np.abs(judged.energy)
    reported = factor * judged.energy_std * report.factor
    sigma = reported / normal_quantile(report.coverage)
    z = np.array([normal_quantile(share) for share in _SHARES.tolist()])
    figure, panels = make_figure(9.4, 4.6, 1, 2, title=title)
    left, right = panels[0]

    left.plot([0, 100], [0, 100], color="0.6", linewidth=1, zorder=0)
    for name, std, color in (
        ("raw σ", factor * judged.energy_std, COLOURS[1]),
        ("calibrated σ", sigma, COLOURS[0]),
    ):
        observed = (error[None] <= z[:, None] * std[None]).mean(axis=1)
        left.plot(100 * _SHARES, 100 * observed, color=color, label=name)
    known = [row for row in report.rows if np.isfinite(row.interval)]
    left.plot(
        [100 * row.expected for row in known], [100 * row.interval for row in known],
        "o", color="black", markersize=4, label="conformal intervals",
    )  # fmt: skip
    left.set(xlim=(0, 100), ylim=(0, 101), aspect="equal")
    left.set_xlabel("expected coverage (%)")
    left.set_ylabel("observed coverage (%)")
    left.set_title(f"{report.n_judged} {report.judged_on}", fontsize=9)
    add_legend(left, loc="upper left")

    # a logarithmic axis has no place for an error of zero, and little use for the smallest
    floor = 1e-2 * float(np.median(reported))
    ends = np.array([0.8 * reported.min(), 1.25 * reported.max()])
    right.fill_between(ends, floor / 2, ends, color=COLOURS[0], alpha=0.12, linewidth=0)
    right.plot(ends, ends, color=COLOURS[0], linewidth=1, label="|error| = σ")
    right.plot(ends, 2 * ends, color=COLOURS[0], linewidth=1, linestyle=":", label="|error| = 2σ")
    names = sorted(set(judged.groups.tolist()))
    if len(names) <= len(COLOURS):
        for k, name in enumerate(names):
            own = judged.groups == name
            right.scatter(
                reported[own], np.maximum(error[own], floor), s=10, linewidths=0,
                color=COLOURS[k], label=name,
            )  # fmt: skip
    else:
        right.scatter(reported, np.maximum(error, floor), s=8, linewidths=0, color="0.25")
    right.set(xscale="log", yscale="log", xlim=tuple(ends), ylim=(floor / 2, None))
    right.set_xlabel(f"calibrated σ {what}".rstrip())
    right.set_ylabel(f"|error| {what}".rstrip())
    right.set_title(
        f"below the line: {report.coverage:.0%} expected; Spearman {report.spearman:.2f}",
        fontsize=9,
    )
    add_legend(right, frameon=True, framealpha=0.8, edgecolor="none", fontsize=7, loc="lower right")
    right.tick_params(which="minor", labelsize=7)
    return figure
