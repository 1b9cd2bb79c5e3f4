"""Power laws of the error against the number of labels, with confidence intervals.

err(n) = D n^-α + C (Hestness et al., arXiv:1712.00409), and the same in two sizes for the labels of
both levels of theory: err = D n_high^-α n_low^-β + C. With C = 0 both are the straight lines on
log–log scales of Hoffmann et al., doi:10.1039/d3dd00030c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tlpot.errors import DataError
from tlpot.numbers import Floats

STEEPEST = 6.0
"""Largest exponent considered; a fit that ends here follows no power law."""
_STARTS = (0.0, 0.3, 0.6, 0.9, 0.98)
"""Floors to start from, as a share of the smallest value."""
_ITERATIONS = 60


def solve(x: Floats, y: Floats, weights: Floats, *, floor: bool) -> Floats:
    """Minimises Σ w (y − ln(exp(a − Σ αx) + C))² with 0 ≤ α ≤ STEEPEST and C ≥ 0.

    A projected Levenberg–Marquardt method from several floors; the best end is taken, so that
    the result does not hang on one start.

    Args:
        x: logarithms of the sizes, [n_points, n_factors].
        y: logarithms of the values, [n_sets, n_points].
        weights: [n_points].
        floor: whether C may be other than 0.

    Returns:
        a, the exponents and C for each set, [n_sets, n_factors + 2].
    """
    centre = x.mean(axis=0)
    unit = float(y.mean())
    x, y = x - centre, y - unit
    best: Floats | None = None
    for share in _STARTS if floor else (0.0,):
        found, cost = _descend(x, y, weights, _linear_start(x, y, weights, share), floor)
        if best is None:
            best, lowest = found, cost
        better = cost < lowest - 1e-12
        best = np.where(better[:, None], found, best)
        lowest = np.where(better, cost, lowest)
    assert best is not None
    best[:, 0] += best[:, 1:-1] @ centre + unit
    best[:, -1] *= np.exp(unit)
    return best


def logarithm(x: Floats, parameters: Floats) -> Floats:
    """Returns ln of the law at the points x [n_points, n_factors], [n_sets, n_points]."""
    power = parameters[:, :1] - parameters[:, 1:-1] @ x.T
    with np.errstate(divide="ignore"):
        return np.logaddexp(power, np.log(parameters[:, -1:]))


def _linear_start(x: Floats, y: Floats, weights: Floats, share: float) -> Floats:
    """Linear regression of ln(value − C) for a C below all values."""
    c = share * np.exp(y.min(axis=1, keepdims=True))
    root = np.sqrt(weights)[:, None]
    design = np.column_stack([np.ones(len(x)), -x]) * root
    target = np.log(np.exp(y) - c) * root.T
    line = (np.linalg.pinv(design) @ target.T).T
    line[:, 1:] = np.clip(line[:, 1:], 0.01, STEEPEST)
    return np.column_stack([line, c])


def _descend(
    x: Floats, y: Floats, weights: Floats, start: Floats, floor: bool
) -> tuple[Floats, Floats]:
    """Returns parameters and their cost, [n_sets]."""
    n_sets, n = start.shape
    low = np.array([-np.inf, *[0.0] * (n - 2), 0.0])
    # a floor above every value fits nothing better than a flat power law does
    high = np.tile(np.array([np.inf, *[STEEPEST] * (n - 2), 0.0]), (n_sets, 1))
    high[:, -1] = np.exp(y.max(axis=1)) if floor else 0.0
    parameters = np.clip(start, low, high)
    log = logarithm(x, parameters)
    cost = ((y - log) ** 2) @ weights
    damping = np.full(n_sets, 1e-2)
    identity = np.eye(n)
    for _ in range(_ITERATIONS):
        power = np.exp(parameters[:, :1] - parameters[:, 1:-1] @ x.T - log)
        jacobian = np.concatenate(
            [power[..., None], -x * power[..., None], np.exp(-log)[..., None]], axis=2
        )
        weighted = jacobian * weights[:, None]
        gradient = np.einsum("spk,sp->sk", weighted, y - log)
        normal = np.einsum("spk,spl->skl", weighted, jacobian)
        # what sits at a bound and wants to leave through it stays there
        held = ((parameters <= low) & (gradient < 0)) | ((parameters >= high) & (gradient > 0))
        keep = ~held
        normal = normal * (keep[:, :, None] & keep[:, None, :])
        diagonal = np.einsum("skk->sk", normal)
        normal = normal + identity * (damping[:, None] * diagonal + 1e-12 + held)[:, None, :]
        step = np.linalg.solve(normal, (gradient * keep)[..., None])[..., 0]
        trial = np.clip(parameters + step, low, high)
        trial_log = logarithm(x, trial)
        trial_cost = ((y - trial_log) ** 2) @ weights
        better = trial_cost < cost
        parameters = np.where(better[:, None], trial, parameters)
        log = np.where(better[:, None], trial_log, log)
        cost = np.where(better, trial_cost, cost)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-9, 1e9)
    return parameters, cost


CONFIDENCE = 0.95
"""Of all intervals."""
N_SAMPLES = 400
"""Laws drawn for the intervals."""
_SHRINKAGE = 4.0
"""Degrees of freedom with which the spread of all sizes enters that of each: three seeds alone
tell little."""
_FLAT = 1.05
"""An error that surely falls by less than this factor over the data follows no law."""
_VAGUE = 3.0
"""Upper over lower end of an exponent's interval beyond which the exponent is not identified."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: the best guess; infinite if there is none.
        low: end of the interval, NaN if the data give no interval.
        high: the other end, perhaps infinite.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, samples: Floats | None) -> Estimate:
        """Takes the interval from samples (infinite ones count), or none."""
        if samples is None:
            return cls(value=value, low=float("nan"), high=float("nan"))
        share = (1 - CONFIDENCE) / 2
        # an order statistic, since one cannot interpolate towards infinity
        low, high = np.quantile(samples, [share, 1 - share], method="nearest")
        return cls(value=value, low=float(low), high=float(high))

    def as_json(self) -> dict[str, float | None]:
        """Returns the numbers, with None for what is infinite or unknown."""
        row = {"value": self.value, "low": self.low, "high": self.high}
        return {k: v if np.isfinite(v) else None for k, v in row.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Law:
    """D n₁^-α₁ n₂^-α₂ … + C, fitted to an error.

    Attributes:
        factors: names of the sizes: ``labels``, or ``labels`` and ``pretraining``.
        parameters: ln D, the exponents, C; [n_factors + 2].
        samples: the same for laws drawn from the uncertainty, [n_samples, n_factors + 2]; None
            if the data say nothing about it (as many sizes as parameters and a single seed).
        ranges: smallest and largest measured size of each factor.
        falls: whether the error surely falls over the measured sizes, as far as can be told.
        notes: what the data do not identify.
    """

    factors: tuple[str, ...]
    parameters: Floats
    samples: Floats | None
    ranges: tuple[tuple[float, float], ...]
    falls: bool = True
    notes: tuple[str, ...] = ()

    def predict(self, *sizes: ArrayLike) -> Floats:
        """Returns the error at sizes (one array for each factor, broadcast)."""
        return self._values(self.parameters[None], sizes)[0]

    def draw(self, *sizes: ArrayLike) -> Floats | None:
        """Returns the errors of all drawn laws, [n_samples, ...], or None without any."""
        return None if self.samples is None else self._values(self.samples, sizes)

    def band(self, *sizes: ArrayLike) -> tuple[Floats, Floats] | None:
        """Returns the ends of the interval of the error, or None if there is no interval."""
        drawn = self.draw(*sizes)
        if drawn is None:
            return None
        low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
        return low, high

    def estimate(self, *sizes: float) -> Estimate:
        """Returns the error at one point."""
        return Estimate.of(float(self.predict(*sizes)), self.draw(*sizes))

    def labels_for(self, error: float, *others: float) -> Estimate:
        """Returns how many of the first factor reach an error; infinite if none does.

        The error is in the unit of the fit; `others` are the sizes of the other factors.
        """
        drawn = None if self.samples is None else inverse(self.samples, error, others)
        return Estimate.of(float(inverse(self.parameters[None], error, others)[0]), drawn)

    @property
    def floor(self) -> Estimate:
        """C."""
        return Estimate.of(
            float(self.parameters[-1]), None if self.samples is None else self.samples[:, -1]
        )

    @property
    def scale(self) -> Estimate:
        """D."""
        drawn = None if self.samples is None else np.exp(self.samples[:, 0])
        return Estimate.of(float(np.exp(self.parameters[0])), drawn)

    def exponent(self, k: int = 0) -> Estimate:
        """Returns the exponent of factor `k`."""
        drawn = None if self.samples is None else self.samples[:, 1 + k]
        return Estimate.of(float(self.parameters[1 + k]), drawn)

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers."""
        return {
            "confidence": CONFIDENCE,
            "D": self.scale.as_json(),
            "exponents": {f: self.exponent(k).as_json() for k, f in enumerate(self.factors)},
            "C": self.floor.as_json(),
            "ranges": {f: list(r) for f, r in zip(self.factors, self.ranges, strict=True)},
            "notes": list(self.notes),
        }

    def _values(self, parameters: Floats, sizes: Sequence[ArrayLike]) -> Floats:
        arrays = np.broadcast_arrays(*[np.asarray(s, dtype=float) for s in sizes])
        x = np.log(np.stack([a.ravel() for a in arrays], axis=1))
        shape = (len(parameters), *arrays[0].shape)
        return np.exp(logarithm(x, parameters)).reshape(shape)


def inverse(parameters: Floats, error: ArrayLike, others: Sequence[float] = ()) -> Floats:
    """Returns the first size at which each law reaches `error`, infinite where it never does."""
    log_d, exponent, floor = parameters[:, 0], parameters[:, 1], parameters[:, -1]
    for k, size in enumerate(others):
        log_d = log_d - parameters[:, 2 + k] * np.log(size)
    gap = np.asarray(error, dtype=float) - floor
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        labels = np.exp((log_d - np.log(gap)) / exponent)
    return np.where((gap > 0) & (exponent > 0), labels, np.inf)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Errors at one combination of sizes.

    Attributes:
        sizes: one for each factor.
        errors: one for each seed.
    """

    sizes: tuple[float, ...]
    errors: tuple[float, ...]


def fit_law(
    data: Sequence[Measured], *, factors: Sequence[str] = ("labels",), floor: bool = True,
    seed: int = 0,
) -> Law:  # fmt: skip
    """Fits a law to the logarithms of errors and draws laws from its uncertainty.

    Sizes count by the standard error of their mean log error over the seeds. Laws are drawn by
    a parametric bootstrap: the means are scattered about the fit with these standard errors
    (widened where the fit misses the means by more) and fitted anew.

    Args:
        data: errors by size; the order does not matter.
        factors: names of the sizes.
        floor: whether C is fitted; else it is 0.
        seed: of the bootstrap.

    Raises:
        DataError: fewer than three sizes of a factor, or an error that is not positive.
    """
    return _fit(tuple(data), tuple(factors), floor, seed)


# a report, a plan and a picture ask for the same laws, each of which is thousands of fits
@lru_cache(maxsize=64)
def _fit(data: tuple[Measured, ...], names: tuple[str, ...], floor: bool, seed: int) -> Law:
    x = np.log(np.array([m.sizes for m in data], dtype=float).reshape(len(data), len(names)))
    _check(data, x, names)
    logs = [np.log(np.array(m.errors)) for m in data]
    means = np.array([log.mean() for log in logs])
    errors, freedom = _standard_errors(logs)
    weights = np.ones(len(data)) if errors is None else (errors.min() / errors) ** 2
    best = solve(x, means[None], weights, floor=floor)
    fitted = logarithm(x, best)[0]
    spare = len(data) - _n_free(best[0], floor)
    if errors is None:
        freedom = spare
        if spare > 0:
            square = ((means - fitted) ** 2).sum() / spare
            errors = np.full(len(data), np.sqrt(square))
    elif spare > 0:
        excess = (((means - fitted) / errors) ** 2).sum() / spare
        errors = errors * np.sqrt(max(1.0, excess))
    samples = None
    if errors is not None:
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((N_SAMPLES, len(data))) * errors
        noise /= np.sqrt(rng.chisquare(freedom, (N_SAMPLES, 1)) / freedom)
        samples = solve(x, fitted + noise, weights, floor=floor)
        samples.setflags(write=False)
    best.setflags(write=False)
    columns = zip(*(m.sizes for m in data), strict=True)
    law = Law(
        factors=names,
        parameters=best[0],
        samples=samples,
        ranges=tuple((float(min(c)), float(max(c))) for c in columns),
    )
    flat = [k for k in range(len(names)) if not _falls(law, x, k)]
    return replace(law, falls=not flat, notes=tuple(_notes(law, floor, flat)))


def _check(data: Sequence[Measured], x: Floats, names: tuple[str, ...]) -> None:
    for name, column in zip(names, x.T, strict=True):
        found = np.unique(np.exp(column).round(9))
        if len(found) < 3:
            raise DataError(
                f"a law needs three or more sizes of {name}, but there are {len(found)} "
                f"({', '.join(f'{n:g}' for n in found) or 'none'}); measure more sizes"
            )
    if len(names) > 1 and len(data) < len(names) + 2:
        raise DataError(f"{len(data)} points are too few for a law of {' and '.join(names)}")
    for measured in data:
        values = np.array(measured.errors)
        if not values.size or not (np.isfinite(values) & (values > 0)).all():
            raise DataError(
                f"the errors at size {', '.join(f'{n:g}' for n in measured.sizes)} are "
                f"{values.tolist()}; a law on log scales needs positive numbers"
            )


def _standard_errors(logs: Sequence[Floats]) -> tuple[Floats | None, float]:
    """Returns standard errors of the means and their degrees of freedom; None without repeats."""
    counts = np.array([len(log) for log in logs])
    freedom = float((counts - 1).sum())
    if freedom == 0:
        return None, 0.0
    squares = np.array([((log - log.mean()) ** 2).sum() for log in logs])
    pooled = squares.sum() / freedom
    if pooled == 0:  # repeats that agree to the last bit: nothing random, no information
        return None, 0.0
    variance = (squares + _SHRINKAGE * pooled) / (counts - 1 + _SHRINKAGE)
    return np.sqrt(variance / counts), freedom


def _n_free(parameters: Floats, floor: bool) -> int:
    """Parameters that are not at a bound."""
    return 1 + int((parameters[1:-1] > 0).sum()) + int(floor and parameters[-1] > 0)


def _falls(law: Law, x: Floats, k: int) -> bool:
    """Whether the error falls from the smallest to the largest size of a factor, for all we know.

    Without intervals the law itself has to.
    """
    few = np.exp(x.mean(axis=0))
    many = few.copy()
    few[k], many[k] = law.ranges[k]
    ratio = law.predict(*few) / law.predict(*many)
    first, last = law.draw(*few), law.draw(*many)
    if first is not None and last is not None:
        return Estimate.of(float(ratio), first / last).low >= _FLAT
    return bool(ratio >= _FLAT)


def _notes(law: Law, floor: bool, flat: Sequence[int]) -> list[str]:
    """Says what the data do not identify."""
    notes = []
    for k, name in enumerate(law.factors):
        found = law.exponent(k)
        if k in flat:
            notes.append(
                f"the error does not surely fall with {name} between {law.ranges[k][0]:g} and "
                f"{law.ranges[k][1]:g}"
            )
        elif found.high > _VAGUE * found.low or found.high >= 0.999 * STEEPEST:
            notes.append(
                f"the exponent of {name} is not identified ({found.low:.2g} to {found.high:.2g}): "
                "measure a wider range of sizes, or more seeds"
            )
    if law.samples is None:
        notes.append("no intervals: as many sizes as parameters, and no repeats with other seeds")
    elif floor and law.floor.low <= 1e-3 * law.predict(*[r[1] for r in law.ranges]):
        notes.append(f"C is not identified: anything from 0 to {law.floor.high:.3g} fits")
    return notes
