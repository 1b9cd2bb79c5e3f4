"""The plan: what to buy, from measured learning curves and prices; what a pretraining saves.

Reading a transferred model's error on the curve of a model trained from scratch is what Hoffmann et
al. do, doi:10.1039/d3dd00030c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlpot.errors import ConfigError
from tlpot.learning_curves import joint_budget
from tlpot.learning_curves.budget import (
    LabelAllocation,
    Prices,
    allocations_for_budget,
    allocations_for_target,
    candidates,
)
from tlpot.learning_curves.convergence import convergence, doubts, law_remedies
from tlpot.learning_curves.power_law import N_SAMPLES, Estimate, Law, Measured, inverse
from tlpot.learning_curves.record import Curve
from tlpot.presentation import Result


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Plan(Result):
    """Offers of the strategies and, with a law of both sizes, divisions of the money.

    Attributes:
        curve: what was measured.
        quantity: which error.
        prices: prices and aims.
        target: offers for the target, the cheapest first.
        budget: offers for the budget, the best first.
        joint: laws of both sizes.
        budget_splits: of the money between cheap and expensive labels.
        left_out: strategies that do not take part, and why.
        remedies: what would give a law to those that have none, with command lines.
        doubts: about laws of trainings that were too short or may have been, with what to do.
        unpaid: strategies with a law whose first label for training the budget does not pay.
    """

    curve: Curve
    quantity: str
    prices: Prices
    target: tuple[LabelAllocation, ...]
    budget: tuple[LabelAllocation, ...]
    joint: tuple[joint_budget.JointLaw, ...]
    budget_splits: tuple[joint_budget.BudgetSplit, ...]
    left_out: Mapping[str, str]
    remedies: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    unpaid: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers; costs are in cheap labels."""
        return {
            "quantity": self.quantity,
            "cost_ratio": self.prices.cost_ratio,
            "n_validation": self.curve.n_validation,
            "target": [allocation.as_json() for allocation in self.target],
            "budget": [allocation.as_json() for allocation in self.budget],
            "joint laws": {j.label: j.law.as_json() for j in self.joint},
            "divisions": [budget_split.as_json() for budget_split in self.budget_splits],
            "left out": dict(self.left_out),
            "remedies": list(self.remedies),
            "doubts": list(self.doubts),
        }

    def text(self) -> str:
        """Returns what to read."""
        t, kind = self.prices, self.quantity.replace("_", " ")
        lines = [t.basis] if t.basis else []
        lines += [
            f"{kind} at {self.curve.level}; costs in cheap labels, of which one expensive label "
            f"costs {t.cost_ratio:g};",
            f"{self.curve.n_validation} expensive labels for validation are included, the "
            f"pretraining is {'paid already' if t.pretraining_paid else 'included'}"
            + (f", {t.have} expensive labels are there already" if t.have else ""),
        ]
        if t.target is not None:
            lines += ["", f"to reach {t.target:.4g} {self.curve.unit_of(self.quantity)}"]
            for allocation in self.target:
                n = allocation.labels
                if np.isinf(n.value) and allocation.doubt:
                    what = "cannot be said by its law (see the doubts below)"
                elif np.isinf(n.value) and n.low == n.high:
                    what = "never, by its law"
                else:
                    what = f"{_count(n)} training labels, cost {_count(allocation.cost)}"
                lines += [f"  {allocation.label}: {what}", *_remarks(allocation)]
            lines += self._verdict(self.target, "cheapest")
        if t.budget is not None:
            lines += ["", f"for a budget of {t.budget:g}"]
            for allocation in self.budget:
                error = f"{_plain(allocation.error)} {self.curve.unit_of(self.quantity)}"
                what = f"{allocation.labels.value:.0f} training labels, error {error}"
                lines += [f"  {allocation.label}: {what}", *_remarks(allocation)]
            lines += self._verdict(self.budget, "best")
        for joint in self.joint:
            lines += ["", *_joint_text(joint, t.cost_ratio)]
            for budget_split in (d for d in self.budget_splits if d.label == joint.label):
                lines += self._division(budget_split)
        for title, rows in (
            ("left out", [f"{label}: {why}" for label, why in self.left_out.items()]),
            (f"what would give a law of the {kind}", self.remedies),
            ("doubts: a law is that of the labels only if training was long enough", self.doubts),
        ):
            lines += ["", title, *(f"  {row}" for row in rows)] if rows else []
        return "\n".join(lines)

    def _verdict(self, allocations: tuple[LabelAllocation, ...], word: str) -> list[str]:
        if not allocations and word == "best" and self.unpaid:
            return ["  it does not pay the first label of any strategy that has a law (see below)"]
        if not allocations:
            return ["  no strategy has a law"]
        first, doubted = allocations[0], [row.label for row in allocations if row.doubt]
        if not np.isfinite(first.cost.value):
            if doubted:
                return ["  whether one of the strategies reaches it cannot be said by their laws"]
            return ["  none of the strategies reaches it by its law"]
        if len(allocations) == 1:
            return []
        share = first.best_share
        sure = "" if share is None else f" (by {100 * share:.0f} % of the laws that fit the data)"
        if doubted:
            sure += f", but see the doubts about {', '.join(doubted)} below"
        return [f"{word}: {first.label}{sure}"]

    def _division(self, d: joint_budget.BudgetSplit) -> list[str]:
        unit = self.curve.unit_of(self.quantity)
        aim = "the best division of the budget" if d.aim == "budget" else "the cheapest way there"
        if np.isinf(d.high.value) and d.doubt:
            return [f"  {aim}: cannot be said by the law (see the doubts below)"]
        lines = [
            f"  {aim}: {_count(d.high)} expensive and {_count(d.low)} cheap labels in all, cost "
            f"{_count(d.cost)}, error {_plain(d.error)} {unit}"
        ]
        for name, error in d.alone.items():
            lines.append(f"    all of it on {name} labels: error {error:.4g} {unit}")
        return lines + [f"    note: {note}" for note in d.notes]


def make_plan(
    curve: Curve, quantity: str, prices: Prices, *, pretraining: Curve | None = None,
    folder: Path | None = None,
) -> Plan:  # fmt: skip
    """Plans what to buy.

    The learning curve of the low level itself, `pretraining`, is used where the transfer was not
    measured with several parents; `folder` is that of the curve, for command lines.

    Raises:
        ConfigError: no such error, or terms that make no sense.
        DataError: the pretraining has no law.
    """
    quantity = curve.check_quantity(quantity)
    found, left_out = candidates(curve, quantity, prices)
    n_validation = curve.n_validation
    for_target: list[LabelAllocation] = []
    for_budget: list[LabelAllocation] = []
    poor: Mapping[str, str] = {}
    if prices.target is not None:
        for_target = allocations_for_target(found, prices.target, prices, n_validation)
    if prices.budget is not None:
        for_budget, poor = allocations_for_budget(found, prices.budget, prices, n_validation)
        left_out |= {f"{label}, budget": why for label, why in poor.items()}
    joint, without = joint_budget.measured_laws(curve, quantity)
    left_out |= {f"{label}, law of both sizes": why for label, why in without.items()}
    if pretraining is not None:
        joint += joint_budget.assumed_laws(curve, pretraining, quantity)
    have_low = 0.0
    if prices.pretraining_paid:
        have_low = float(max((s.pretraining or 0 for s in curve.series), default=0))
    budget_splits = []
    for law in joint:
        if prices.budget is not None:
            try:
                budget_splits.append(
                    joint_budget.divide_budget(law, prices.budget, prices, n_validation, have_low)
                )
            except ConfigError as error:
                left_out[f"{law.label}, division of the budget"] = str(error)
        if prices.target is not None:
            budget_splits.append(
                joint_budget.divide_target(law, prices.target, prices, n_validation, have_low)
            )
    return Plan(
        curve=curve,
        quantity=quantity,
        prices=prices,
        target=tuple(for_target),
        budget=tuple(for_budget),
        joint=tuple(joint),
        budget_splits=tuple(budget_splits),
        left_out=left_out,
        remedies=tuple(law_remedies(curve, quantity, folder)),
        doubts=tuple(_doubts(curve, quantity, pretraining)),
        unpaid=tuple(poor),
    )


def _doubts(curve: Curve, quantity: str, pretraining: Curve | None) -> list[str]:
    lines = doubts((convergence(s, quantity) for s in curve.series), curve.config)
    if pretraining is not None and pretraining.scratch is not None:
        found = doubts([convergence(pretraining.scratch, quantity)], pretraining.config)
        lines += [f"the curve of the pretraining: {text}" for text in found]
    return lines


def _joint_text(joint: joint_budget.JointLaw, ratio: float) -> list[str]:
    alpha, beta = joint.law.exponent(0), joint.law.exponent(1)
    lines = [
        f"{joint.label}: err = D n_high^-α n_low^-β + C, α {_plain(alpha)}, β {_plain(beta)}, "
        f"C {_plain(joint.law.floor)}"
    ]
    if alpha.value > 0:
        lines.append(
            f"  both kinds pay alike at {ratio * beta.value / alpha.value:.3g} cheap labels for "
            "each expensive one; with fewer, buy cheap ones"
        )
    return lines + [f"  note: {note}" for note in joint.law.notes]


def _remarks(allocation: LabelAllocation) -> list[str]:
    return [f"    note: {note}" for note in allocation.notes]


def _count(found: Estimate) -> str:
    return _interval(found, lambda v: f"{v:,.0f}" if v < 1e6 else f"{v:.3g}")


def _plain(found: Estimate) -> str:
    return _interval(found, lambda v: f"{v:.4g}")


def _interval(found: Estimate, write: Any) -> str:
    def one(value: float) -> str:
        return write(value) if np.isfinite(value) else "∞"

    text = "never" if np.isinf(found.value) else one(found.value)
    if np.isnan(found.low) or found.low == found.high:
        return text
    return f"{text} [{one(found.low)}, {one(found.high)}]"


LARGEST_CLAIM = 10.0
"""Times the largest measured number of labels: beyond it no number is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSavings:
    """How many labels training from scratch needs for the error of a transfer.

    Attributes:
        labels: that the transfer had.
        error: it reached, mean over seeds (geometric).
        needed: labels with which scratch reaches it by its law; infinite if it never does.
        measured: smallest and largest number of labels that scratch was measured with.
    """

    labels: int
    error: float
    needed: Estimate
    measured: tuple[float, float]

    @property
    def extra(self) -> float | None:
        """Expensive labels that the pretraining replaces; None if scratch never gets there."""
        return self.needed.value - self.labels if np.isfinite(self.needed.value) else None

    @property
    def is_extrapolated(self) -> bool:
        """Whether `needed` lies outside what was measured from scratch."""
        low, high = self.measured
        return not low <= self.needed.value <= high

    def text(self) -> str:
        """Returns one line."""
        start = f"{self.labels:>8} labels, error {self.error:.4g}: "
        far = LARGEST_CLAIM * self.measured[1]
        least = min(far if np.isnan(self.needed.low) else self.needed.low, far)
        if self.extra is None:
            if self.labels < least:
                start += f"more than {least - self.labels:.0f} extra labels; "
            return start + "scratch never reaches this error by its law"
        if self.needed.value > far:
            return (
                f"{start}worth more than {max(least - self.labels, 0):.0f} extra labels; how many "
                f"more, {self.measured[1]:g} labels from scratch cannot say"
            )
        high = self.needed.high - self.labels
        interval = ""
        if not np.isnan(self.needed.low):
            top = f"{high:.0f}" if np.isfinite(high) else "no upper bound"
            interval = f" ({self.needed.low - self.labels:.0f} to {top})"
        note = ""
        if self.needed.value > self.measured[1]:
            note = f"; beyond the measured range of scratch, which ends at {self.measured[1]:g}"
        elif self.needed.value < self.measured[0]:
            note = f"; below the measured range of scratch, from {self.measured[0]:g}"
        return f"{start}worth {self.extra:.0f} extra labels{interval}{note}"

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers; ``extra`` is None if scratch never reaches the error."""
        return {
            "labels": self.labels,
            "error": self.error,
            "needed": self.needed.as_json(),
            "extra": self.extra,
            "extrapolated": self.is_extrapolated,
        }


def savings_of(data: Sequence[Measured], scratch: Law, *, seed: int = 0) -> list[LabelSavings]:
    """Reads each measured error of a transfer on the law of training from scratch.

    The intervals contain the uncertainty of the law and that of the transfer's mean error.

    `data` are errors of the transfer, `scratch` is a law, both in the number of labels.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for measured in data:
        logs = np.log(np.array(measured.errors))
        mean = float(np.exp(logs.mean()))
        samples = None
        if scratch.samples is not None:
            error = np.full(N_SAMPLES, logs.mean())
            if len(logs) > 1:
                width = logs.std(ddof=1) / np.sqrt(len(logs))
                error = error + width * rng.standard_t(len(logs) - 1, N_SAMPLES)
            samples = inverse(scratch.samples, np.exp(error))
        value = float(inverse(scratch.parameters[None], mean)[0])
        rows.append(
            LabelSavings(
                labels=int(measured.sizes[0]),
                error=mean,
                needed=Estimate.of(value, samples),
                measured=scratch.ranges[0],
            )
        )
    return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossover:
    """A transfer that beats the largest measured training from scratch; needs no law.

    Attributes:
        labels: fewest with which the transfer is better.
        error: it reached, geometric mean over seeds.
        scratch_labels: most that scratch was measured with.
        scratch_error: it reached with them.
    """

    labels: int
    error: float
    scratch_labels: int
    scratch_error: float

    def text(self) -> str:
        """Returns one line."""
        return (
            f"{self.labels} labels, error {self.error:.4g}, beat scratch with "
            f"{self.scratch_labels} labels, error {self.scratch_error:.4g}"
        )


def crossover(data: Sequence[Measured], scratch: Sequence[Measured]) -> Crossover | None:
    """Returns the fewest labels with which a transfer beats all of scratch's, or None."""

    def middle(measured: Measured) -> float:
        return float(np.exp(np.log(np.array(measured.errors)).mean()))

    if not scratch:
        return None
    largest = max(scratch, key=lambda m: m.sizes[0])
    for measured in sorted(data, key=lambda m: m.sizes[0]):
        if middle(measured) < min(middle(m) for m in scratch):
            return Crossover(
                labels=int(measured.sizes[0]),
                error=middle(measured),
                scratch_labels=int(largest.sizes[0]),
                scratch_error=middle(largest),
            )
    return None
