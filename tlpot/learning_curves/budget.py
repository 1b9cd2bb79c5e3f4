"""What labels to buy: the strategies compared by what an error costs, or a budget brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlpot.config import check_least
from tlpot.errors import ConfigError
from tlpot.learning_curves.convergence import convergence
from tlpot.learning_curves.power_law import Estimate, Law, inverse
from tlpot.learning_curves.record import Curve, Series
from tlpot.numbers import Floats

FAR = 3.0
"""Times the largest measured size, beyond which a forecast is called far outside the data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """What labels cost and what is wanted.

    Attributes:
        cost_ratio: price of an expensive label in cheap ones; all costs are in cheap labels.
        target: error to reach, in the unit of the records (meV, Å).
        budget: to be spent.
        pretraining_paid: whether the pretraining is paid already.
        have: expensive labels that are there already, for training and validation together.
        basis: how the price was measured, where it was.
    """

    cost_ratio: float
    target: float | None = None
    budget: float | None = None
    pretraining_paid: bool = False
    have: int = 0
    basis: str = ""

    def __post_init__(self) -> None:
        for name in ("cost_ratio", "target", "budget"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise ConfigError(f"{name} is {value}, expected a positive number")
        check_least(self, have=0)
        if self.target is None and self.budget is None:
            raise ConfigError("nothing to plan: give a target or a budget")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelAllocation:
    """What one strategy asks for, or gives.

    Attributes:
        label: of the series.
        labels: for training, to buy or to have.
        cost: of these, the validation labels and the pretraining, as far as not paid.
        error: with them.
        best_share: share of the drawn laws by which this strategy is the best; None without
            intervals.
        notes: what should not be believed too easily.
        doubt: ``under-trained`` if its law does not say what labels can do because trainings were
            too short, ``not known`` if they may have been; empty if they were not.
    """

    label: str
    labels: Estimate
    cost: Estimate
    error: Estimate
    best_share: float | None
    notes: tuple[str, ...]
    doubt: str = ""

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers."""
        return {
            "label": self.label,
            "labels": self.labels.as_json(),
            "cost": self.cost.as_json(),
            "error": self.error.as_json(),
            "favourite": self.best_share,
            "notes": list(self.notes),
            "doubt": self.doubt,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A strategy with a law, and what it has cost before the first expensive label.

    Attributes:
        label: of the series.
        law: error against expensive labels.
        pretraining: cost of the cheap labels, 0 if there are none or if they are paid.
        doubt: as in `LabelAllocation`.
    """

    label: str
    law: Law
    pretraining: float
    doubt: str = ""


def candidates(
    curve: Curve, quantity: str, prices: Prices
) -> tuple[list[Candidate], dict[str, str]]:
    """Returns the strategies that have a law, and why the others do not take part.

    Raises:
        ConfigError: no such error, or the cost of the pretraining is not known, and it is not paid.
    """
    curve.check_quantity(quantity)
    found, left_out = [], {}
    for series in curve.series:
        law = series.law(quantity)
        if isinstance(law, str):
            left_out[series.label] = law
            continue
        found.append(
            Candidate(
                label=series.label,
                law=law,
                pretraining=pretraining_cost(series, prices),
                doubt=convergence(series, quantity).doubt,
            )
        )
    return found, left_out


def pretraining_cost(series: Series, prices: Prices) -> float:
    """Returns the price of the cheap labels that a series has still to pay.

    Raises:
        ConfigError: the parent's card does not say how many there were.
    """
    if prices.pretraining_paid or series.is_scratch:
        return 0.0
    if series.pretraining is None:
        raise ConfigError(
            f"the card of {series.parent} does not say how many labels it was trained with, so "
            "its cost is not known; use --pretraining-paid to leave it out"
        )
    return float(series.pretraining)


def allocations_for_target(
    found: Sequence[Candidate], target: float, prices: Prices, n_validation: int
) -> list[LabelAllocation]:
    """Returns what each strategy asks for an error, the cheapest first."""
    costs = [
        None
        if c.law.samples is None
        else _cost(inverse(c.law.samples, target), c, prices, n_validation)
        for c in found
    ]
    rows = []
    for k, candidate in enumerate(found):
        labels = candidate.law.labels_for(target)
        cost = float(_cost(np.array(labels.value), candidate, prices, n_validation))
        rows.append(
            LabelAllocation(
                label=candidate.label,
                labels=labels,
                cost=Estimate.of(cost, costs[k]),
                error=Estimate(value=target, low=target, high=target),
                best_share=_best_share(costs, k),
                notes=tuple(_target_notes(candidate, labels, target)),
                doubt=candidate.doubt,
            )
        )
    return sorted(rows, key=lambda row: row.cost.value)


def allocations_for_budget(
    found: Sequence[Candidate], budget: float, prices: Prices, n_validation: int
) -> tuple[list[LabelAllocation], dict[str, str]]:
    """Returns what each strategy gives for a budget, the best first, and who cannot pay."""
    affordable, poor = [], {}
    for candidate in found:
        n = (budget - candidate.pretraining) / prices.cost_ratio + prices.have - n_validation
        if n < 1:
            least = float(_cost(np.array(1.0), candidate, prices, n_validation))
            poor[candidate.label] = (
                f"the budget does not pay the pretraining ({candidate.pretraining:g}), "
                f"{n_validation} labels for validation and one for training: {least:g} in all"
                + (f" with the {prices.have} that are there" if prices.have else "")
            )
        else:
            affordable.append((candidate, float(np.floor(n))))
    errors = [c.law.draw(n) for c, n in affordable]
    rows = []
    for k, (candidate, n) in enumerate(affordable):
        labels = Estimate(value=n, low=n, high=n)
        rows.append(
            LabelAllocation(
                label=candidate.label,
                labels=labels,
                cost=Estimate(value=budget, low=budget, high=budget),
                error=candidate.law.estimate(n),
                best_share=_best_share(errors, k),
                notes=tuple(range_notes(n, candidate.law.ranges[0], "labels")),
                doubt=candidate.doubt,
            )
        )
    return sorted(rows, key=lambda row: row.error.value), poor


def range_notes(size: float, measured: tuple[float, float], name: str) -> list[str]:
    """Says how far a size is from what was measured."""
    low, high = measured
    if not np.isfinite(size):
        return []
    if size > FAR * high:
        return [
            f"far outside the data: {size / high:.3g} times the largest measured number of "
            f"{name} ({high:g})"
        ]
    if size > high:
        return [f"beyond the measured {name}, which end at {high:g}"]
    if size < low:
        return [f"below the measured {name}, which begin at {low:g}"]
    return []


def _cost(labels: Floats, candidate: Candidate, prices: Prices, n_validation: int) -> Floats:
    # there is no part of a label, and no training without one
    bought = np.maximum(np.ceil(np.maximum(labels, 1.0)) + n_validation - prices.have, 0.0)
    return prices.cost_ratio * bought + candidate.pretraining


def _best_share(values: Sequence[Floats | None], k: int) -> float | None:
    """Share of the draws in which row `k` is the smallest finite one; ties are shared."""
    if any(v is None for v in values):
        return None
    table = np.stack([v for v in values if v is not None])
    least = table.min(axis=0)
    first = (table == least) & np.isfinite(least)
    return float((first[k] / np.maximum(first.sum(axis=0), 1)).mean())


def _target_notes(candidate: Candidate, labels: Estimate, target: float) -> list[str]:
    law = candidate.law
    if np.isfinite(labels.value):
        return range_notes(labels.value, law.ranges[0], "labels")
    if candidate.doubt:  # more updates may lower C
        return []
    note = f"the target lies below the error that the law tends to, C = {law.floor.value:.3g}"
    if np.isfinite(labels.low):
        note += f"; C may be lower, then {labels.low:.0f} labels or more"
    return [note]
