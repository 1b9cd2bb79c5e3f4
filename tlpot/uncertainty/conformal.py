"""Conformal calibration of uncertainties, and what it is worth on frames it has not seen."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tlpot.errors import ConfigError, DataError
from tlpot.models import ONE_SIGMA, Calibration
from tlpot.presentation import Table
from tlpot.uncertainty.spreads import Deviations

MIN_FRAMES = 10
COVERAGES = (0.5, 0.683, 0.9, 0.95)
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

    def as_json(self) -> dict[str, Any]:
        """Returns plain values for a JSON file; what does not exist is None."""
        found = asdict(self)
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
        lines += [
            f"  mean |error| {1e3 * self.mean_error:.4g} meV, mean calibrated σ "
            f"{1e3 * self.mean_std:.4g} meV",
            f"  negative log-likelihood {self.nll_raw:.4g} raw, {self.nll_calibrated:.4g} "
            "calibrated",
            f"  Spearman correlation of |error| and σ {self.spearman:.3f}",
            "The coverage is promised for frames that are exchangeable with those of the "
            "calibration: drawn alike, from the same molecules and conditions. For others it is "
            "a guess.",
        ]
        return "\n".join(lines)

    def _force_line(self) -> list[str]:
        if self.n_force_frames:
            return [f"forces: factor {self.force_factor:.4g}, from one component of each of "
                    f"{self.n_force_frames} frames"]  # fmt: skip
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
    calibration: Calibration, held: Deviations, test: Deviations | None = None
) -> CalibrationReport:
    """Compares uncertainties with errors on frames that the calibration has not seen.

    Args:
        calibration: made from `held`.
        held: the frames of the calibration.
        test: other frames. Without any, each fifth of `held` is judged by a calibration on the
            other four fifths.
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
    )


def negative_log_likelihood(errors: NDArray[np.float64], std: NDArray[np.float64]) -> float:
    """Returns the mean of ½ ln 2πσ² + e²/2σ²; errors and standard deviations [n], in eV."""
    terms = 0.5 * np.log(2.0 * np.pi * std**2) + 0.5 * (errors / std) ** 2
    return float(terms.mean())


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Returns the rank correlation of two arrays [n]; equal values share their mean rank.

    NaN if one of them is the same everywhere.
    """
    x, y = (_ranks(values) - 0.5 * (len(values) - 1) for values in (a, b))
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / norm if norm else math.nan


def normal_quantile(coverage: float) -> float:
    """Returns z such that a normal variable is within ± z standard deviations so often."""
    return NormalDist().inv_cdf(0.5 * (1.0 + coverage))


def _factors(calibration: Calibration, levels: list[float]) -> NDArray[np.float64]:
    """Returns the factor for each coverage, NaN where there are too few frames."""
    found = np.full(len(levels), np.nan)
    for k, coverage in enumerate(levels):
        try:
            found[k] = calibration.interval(coverage)
        except ConfigError:
            continue
    return found


def _row(
    expected: float,
    judged: Deviations,
    sigma: NDArray[np.float64],
    interval: NDArray[np.float64],
    force_unit: NDArray[np.float64],
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


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - 0.5 * (counts + 1))[inverse]
