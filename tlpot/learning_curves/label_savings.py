"""What a pretraining is worth, in expensive labels.

Reading a transferred model's error on the curve of a model trained from scratch is what Hoffmann et
al. do, doi:10.1039/d3dd00030c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlpot.learning_curves.power_law import N_SAMPLES, Estimate, Law, Measured, inverse


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
        if self.extra is None:
            if self.labels < self.needed.low < np.inf:
                start += f"more than {self.needed.low - self.labels:.0f} extra labels; "
            return start + "scratch never reaches this error by its law"
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

    Args:
        data: errors of the transfer by number of labels.
        scratch: law in the number of labels.
        seed: of the samples.
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
