"""How to divide a budget between cheap and expensive labels, by a law of both.

For err = D h^-α l^-β + C with h expensive and l cheap labels, spending on both has paid off when
l/h = r β/α, where r is the price of an expensive label in cheap ones: there another unit of money
buys the same with either. Hoffmann et al., doi:10.1039/d3dd00030c, Fig. 5, draw the same balance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlpot.errors import ConfigError, DataError
from tlpot.learning_curves.budget import Prices, range_notes
from tlpot.learning_curves.convergence import convergence
from tlpot.learning_curves.power_law import Estimate, Law, Measured, fit_law
from tlpot.learning_curves.record import Curve, Series
from tlpot.numbers import Floats


def best_split(
    parameters: Floats,
    budget: float,
    ratio: float,
    *,
    have_high: float = 0.0,
    have_low: float = 0.0,
) -> tuple[Floats, Floats]:
    """Returns the expensive and the cheap labels that minimise the error for a budget.

    Args:
        parameters: ln D, α, β, C of each law, [n_laws, 4].
        budget: to be spent, in prices of a cheap label.
        ratio: price of an expensive label in cheap ones.
        have_high: expensive labels that are there already, for nothing.
        have_low: cheap labels that are there already.
    """
    alpha, beta = parameters[:, 1], parameters[:, 2]
    total = budget + ratio * have_high + have_low
    with np.errstate(invalid="ignore"):
        share = np.where(alpha + beta > 0, alpha / (alpha + beta), 0.5)
    high = share * total / ratio
    # the objective is concave in the logarithms, so the nearest allowed point is the best
    high = np.clip(high, have_high, (total - have_low) / ratio)
    return high, total - ratio * high


def cheapest_labels(
    parameters: Floats,
    target: float,
    ratio: float,
    *,
    have_high: float = 0.0,
    have_low: float = 0.0,
) -> tuple[Floats, Floats]:
    """Returns the expensive and the cheap labels, at least 1, that reach an error at least cost.

    `target` is an error in the unit of the law; the others are as in `best_split`.

    Returns:
        Infinite numbers where a law never reaches the target.
    """
    log_d, alpha, beta, floor = parameters.T
    least_high, least_low = max(have_high, 1.0), max(have_low, 1.0)
    gap = target - floor
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        need = log_d - np.log(gap)  # = α ln h + β ln l
        log_high = (need - beta * np.log(ratio * beta / alpha)) / (alpha + beta)
        log_high = np.where(beta > 0, log_high, need / alpha)
        log_high = np.where(alpha > 0, log_high, -np.inf)
        high = np.maximum(np.exp(log_high), least_high)
        low = np.exp((need - alpha * np.log(high)) / beta)
        # too few of the one: its bound decides, and the other follows
        few = ~(low >= least_low) | (beta == 0)
        low = np.where(few, least_low, low)
        alone = np.exp((need - beta * np.log(least_low)) / alpha)
        high = np.where(few, np.maximum(np.where(alpha > 0, alone, np.inf), least_high), high)
    done = gap > 0
    reached = need - alpha * np.log(least_high) - beta * np.log(least_low) <= 0
    high = np.where(reached, least_high, high)
    low = np.where(reached, least_low, low)
    return np.where(done, high, np.inf), np.where(done, low, np.inf)


FACTORS = ("labels", "pretraining labels")


@dataclass(frozen=True, kw_only=True, slots=True)
class JointLaw:
    """err = D n_high^-α n_low^-β + C of one strategy.

    Attributes:
        label: of the strategy.
        law: in expensive and cheap labels.
        assumption: what was assumed rather than measured; empty if nothing was.
        doubt: as in `tlpot.learning_curves.budget.Offer`.
    """

    label: str
    law: Law
    assumption: str = ""
    doubt: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetSplit:
    """Expensive and cheap labels, and what they cost and bring.

    Attributes:
        label: of the strategy.
        aim: ``budget`` or ``target``.
        high: expensive labels for training, in all.
        low: cheap labels, in all.
        cost: of what has to be bought.
        error: with them.
        alone: for a budget, the errors of spending all on ``expensive`` or on ``cheap`` labels
            beside what there is; empty where one of them would be nothing.
        notes: what should not be believed too easily.
        doubt: as in `JointLaw`.
    """

    label: str
    aim: str
    high: Estimate
    low: Estimate
    cost: Estimate
    error: Estimate
    alone: dict[str, float]
    notes: tuple[str, ...]
    doubt: str = ""

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers."""
        return {
            "label": self.label,
            "aim": self.aim,
            "expensive labels": self.high.as_json(),
            "cheap labels": self.low.as_json(),
            "cost": self.cost.as_json(),
            "error": self.error.as_json(),
            "alone": self.alone,
            "notes": list(self.notes),
            "doubt": self.doubt,
        }


def measured_laws(curve: Curve, quantity: str) -> tuple[list[JointLaw], dict[str, str]]:
    """Fits the joint law of each strategy that was measured with several parents.

    Returns:
        The laws, and why a strategy with more than one parent has none.
    """
    by_strategy: dict[str, list[Series]] = {}
    for series in curve.series:
        if not series.is_scratch:
            by_strategy.setdefault(series.name, []).append(series)
    found, left_out = [], {}
    for label, lines in by_strategy.items():
        if len(lines) < 2:
            continue
        unknown = [s.parent for s in lines if s.pretraining is None]
        if unknown:
            left_out[label] = f"the card of {unknown[0]} does not give its number of labels"
            continue
        data = [
            Measured(sizes=(m.sizes[0], float(s.pretraining or 0)), errors=m.errors)
            for s in lines
            for m in s.measured(quantity)
        ]
        try:
            law = fit_law(data, factors=FACTORS)
        except DataError as error:
            left_out[label] = str(error)
            continue
        if law.falls:
            found.append(JointLaw(label=label, law=law, doubt=_doubt(lines, quantity)))
        else:
            left_out[label] = law.notes[0]
    return found, left_out


def assumed_laws(curve: Curve, pretraining: Curve, quantity: str) -> list[JointLaw]:
    """Joins each transfer's law with the slope of the pretraining's own learning curve.

    The low level's error falls as n_low^-β; that the transferred error falls likewise is an
    assumption, and a hopeful one: Hoffmann et al. find it to fall more slowly with the
    pretraining's size than with that of the expensive data. Several parents measure it.

    Raises:
        ConfigError: both curves are of the same level.
        DataError: the pretraining has no law.
    """
    if pretraining.level == curve.level:
        raise ConfigError(f"the curve of the pretraining is at {curve.level}, as is the transfer")
    pretraining.check_quantity(quantity)
    cheap = pretraining.scratch
    if cheap is None:
        raise DataError("the curve of the pretraining has no series of strategy 'scratch'")
    slope = fit_law(cheap.measured(quantity), floor=False)
    if not slope.falls:
        raise DataError(f"the curve of the pretraining: {slope.notes[0]}")
    beta = slope.exponent().value
    found = []
    for series in curve.series:
        if series.is_scratch or series.pretraining is None:
            continue
        law = series.law(quantity)
        if isinstance(law, Law):
            joined = _join(law, slope, float(series.pretraining))
            text = (
                "that the error falls with the cheap labels as the low level's own does "
                f"(n^-{beta:.2g}) is assumed; a curve over several parents measures it"
            )
            doubt = _doubt((series, cheap), quantity)
            found.append(JointLaw(label=series.label, law=joined, assumption=text, doubt=doubt))
    return found


def _doubt(lines: Sequence[Series], quantity: str) -> str:
    found = {convergence(line, quantity).doubt for line in lines}
    return next((doubt for doubt in ("under-trained", "not known") if doubt in found), "")


def _join(high: Law, low: Law, n_low: float) -> Law:
    def join(a: Floats, b: Floats) -> Floats:
        log_d = a[:, 0] + b[:, 1] * np.log(n_low)
        return np.column_stack([log_d, a[:, 1], b[:, 1], a[:, 2]])

    samples = None
    if high.samples is not None and low.samples is not None:
        samples = join(high.samples, low.samples)  # drawn independently of each other
    return Law(
        factors=FACTORS,
        parameters=join(high.parameters[None], low.parameters[None])[0],
        samples=samples,
        ranges=(high.ranges[0], low.ranges[0]),
        notes=(*high.notes, *low.notes),
    )


def divide_budget(
    joint: JointLaw, budget: float, prices: Prices, n_validation: int, have_low: float
) -> BudgetSplit:
    """Returns the labels that minimise the error.

    `n_validation` expensive labels are needed besides those for training; `have_low` cheap ones are
    paid already.

    Raises:
        ConfigError: the budget does not even pay the validation labels.
    """
    law, ratio = joint.law, prices.cost_ratio
    have = max(0, prices.have - n_validation)
    free = budget - ratio * max(0, n_validation - prices.have)
    if free <= 0:
        raise ConfigError(
            f"a budget of {budget:g} does not pay the {n_validation} labels for validation, "
            f"which cost {ratio * n_validation:g}"
        )
    paid = {"have_high": float(have), "have_low": have_low}
    high, low = (v[0] for v in best_split(law.parameters[None], free, ratio, **paid))
    drawn: Sequence[Floats | None] = (None, None)
    if law.samples is not None:
        drawn = best_split(law.samples, free, ratio, **paid)
    alone = {}
    if have_low > 0:
        alone["expensive"] = float(law.predict(have + free / ratio, have_low))
    if have > 0:
        alone["cheap"] = float(law.predict(have, have_low + free))
    return BudgetSplit(
        label=joint.label,
        aim="budget",
        high=Estimate.of(float(high), drawn[0]),
        low=Estimate.of(float(low), drawn[1]),
        cost=Estimate(value=budget, low=budget, high=budget),
        error=law.estimate(float(high), float(low)),
        alone=alone,
        notes=tuple(_notes(joint, float(high), float(low))),
        doubt=joint.doubt,
    )


def divide_target(
    joint: JointLaw, target: float, prices: Prices, n_validation: int, have_low: float
) -> BudgetSplit:
    """Returns the labels that reach an error at least cost; see `divide_budget`."""
    law, ratio = joint.law, prices.cost_ratio
    have = max(0, prices.have - n_validation)
    extra = ratio * max(0, n_validation - prices.have)

    def buy(parameters: Floats) -> tuple[Floats, Floats, Floats]:
        high, low = cheapest_labels(parameters, target, ratio, have_high=have, have_low=have_low)
        cost = ratio * np.maximum(high - have, 0) + np.maximum(low - have_low, 0) + extra
        return high, low, cost

    values = [float(v[0]) for v in buy(law.parameters[None])]
    drawn = (None, None, None) if law.samples is None else buy(law.samples)
    high, low, cost = (Estimate.of(v, d) for v, d in zip(values, drawn, strict=True))
    notes = _notes(joint, high.value, low.value)
    if not np.isfinite(high.value) and not joint.doubt:
        notes.append(f"the target lies below the error the law tends to, C = {law.floor.value:.3g}")
    return BudgetSplit(
        label=joint.label,
        aim="target",
        high=high,
        low=low,
        cost=cost,
        error=Estimate(value=target, low=target, high=target),
        alone={},
        notes=tuple(notes),
        doubt=joint.doubt,
    )


def _notes(joint: JointLaw, high: float, low: float) -> list[str]:
    notes = [joint.assumption] if joint.assumption else []
    for size, measured, name in zip((high, low), joint.law.ranges, FACTORS, strict=True):
        notes += range_notes(size, measured, name)
    return notes
