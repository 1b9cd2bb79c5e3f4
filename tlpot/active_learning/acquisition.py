"""What a property is wanted to be, and how promising a candidate is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tlpot.errors import ConfigError
from tlpot.numbers import Bools, Floats, Ints, mae

Goal = Literal["learn", "maximise", "minimise", "window"]
"""``learn`` asks for a good model of all candidates, the others for candidates with a value."""

_TOP = 0.02
_FEWEST = 5
"""Share, and least number, of all candidates that are among the best."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DesignTarget:
    """What is asked of a property.

    Attributes:
        goal: see `Goal`.
        window: lowest and highest value that are wanted, for ``goal: window``.
    """

    goal: Goal
    window: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.goal == "window") != (self.window is not None):
            raise ConfigError(
                "goal=window and window=[LOWEST, HIGHEST] (--goal window --window LOWEST HIGHEST) "
                "go together"
            )
        if self.window is not None and not (
            len(self.window) == 2 and self.window[0] < self.window[1]
        ):
            raise ConfigError(
                f"window is {list(self.window)}, expected two numbers, the lower one first"
            )

    @property
    def method(self) -> str:
        """How candidates are chosen, in words."""
        words = {"learn": "uncertainty", "window": "probability to be in the window"}
        return words.get(self.goal, "expected improvement")

    def words(self, unit: str) -> str:
        """Returns what is wanted."""
        if self.window is None:
            return self.goal
        return f"{self.window[0]:g} to {self.window[1]:g} {unit}".rstrip()

    def score(self, mean: Floats, std: Floats, labels: Floats) -> Floats:
        """Returns how promising candidates are, [n]; larger is better.

        That is σ for ``learn``; the expected improvement on the best label for ``maximise`` and
        ``minimise`` (Jones, Schonlau and Welch, doi:10.1023/A:1008306431147); the probability of
        being in the window, of a normal distribution.

        Args:
            mean: predictions, [n].
            std: their standard deviations, [n], not negative.
            labels: what is known already, at least one.
        """
        from scipy.special import ndtr

        if self.goal == "learn" or not len(mean):
            return std
        sigma = np.maximum(std, 1e-12 * max(float(np.abs(mean).max()), 1e-300))
        if self.window is not None:
            low, high = self.window
            inside: Floats = ndtr((high - mean) / sigma) - ndtr((low - mean) / sigma)
            # far away all probabilities round to zero: the nearest is still the best
            return inside - 1e-12 * np.maximum(np.maximum(low - mean, mean - high), 0.0) / sigma
        gain = mean - labels.max() if self.goal == "maximise" else labels.min() - mean
        z = gain / sigma
        density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
        improvement: Floats = gain * ndtr(z) + sigma * density
        return improvement

    def wanted(self, values: Floats) -> Bools:
        """Returns which of all candidates, whose values are known, one would like to find, [n].

        The best 2 % (at least 5), those in the window, or all for ``learn``.
        """
        if self.goal == "learn":
            return np.ones(len(values), dtype=bool)
        if self.window is not None:
            return self.inside(values)
        n = min(len(values), max(_FEWEST, round(_TOP * len(values))))
        found = np.zeros(len(values), dtype=bool)
        found[self.order(values)[:n]] = True
        return found

    def inside(self, values: Floats) -> Bools:
        """Returns which values are in the window, [n]; none without one."""
        if self.window is None:
            return np.zeros(len(values), dtype=bool)
        return (values >= self.window[0]) & (values <= self.window[1])

    def order(self, values: Floats) -> Ints:
        """Returns candidates, the most promising by a guess of their values first, [n]."""
        if self.window is not None:
            values = np.abs(values - np.mean(self.window))
        return np.argsort(-values if self.goal == "maximise" else values, kind="stable")

    def best(self, values: Floats) -> float:
        """Returns the best of some values; of a window the one nearest to its middle."""
        if self.window is not None:
            return float(values[np.abs(values - np.mean(self.window)).argmin()])
        return float(values.min() if self.goal == "minimise" else values.max())


def choose(score: Floats, groups: Ints, count: int, *, spread: bool, seed: int) -> Ints:
    """Returns the candidates with the highest scores, the best first.

    Args:
        score: [n].
        groups: [n], such as formulas.
        count: how many; all if there are fewer.
        spread: take another of a group only when every group has had its turn: where polymorphs
            are alike, the second teaches little.
        seed: of the order of equal scores, as where a model is equally unsure of all.
    """
    drawn = np.random.default_rng([seed, 5]).permutation(len(score))
    order = drawn[np.argsort(-score[drawn], kind="stable")]
    if spread:
        seen: dict[int, int] = {}
        turns = np.zeros(len(order), dtype=np.int64)
        for place, group in enumerate(groups[order].tolist()):
            turns[place] = seen[group] = seen.get(group, -1) + 1
        order = order[np.argsort(turns, kind="stable")]
    return order[:count]


def calibration(labels: Floats, mean: Floats, std: Floats) -> dict[str, float]:
    """Returns how predictions fared that were made before the labels were known.

    ``mae``, and ``within``: the share of labels within one standard deviation, 0.683 for normal
    errors; NaN without any.
    """
    error = np.abs(labels - mean)
    return {"mae": mae(error), "within": float((error <= std).mean()) if len(error) else np.nan}
