"""What a transfer strategy decides; the training loop knows nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tlpot.models import Potential


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Training settings that suit a strategy, used where the user sets nothing.

    Attributes:
        learning_rate: peak rate.
        ema: decay of the averaged weights.
        clip: largest gradient norm.
        weight_decay: towards zero, hence 0 when starting from a parent.
    """

    learning_rate: float
    ema: float
    clip: float
    weight_decay: float = 0.0


class Strategy(Protocol):
    """Which weights start where, and which of them move how fast."""

    @property
    def name(self) -> str:
        """As written on the command line."""
        ...

    @property
    def recipe(self) -> Recipe:
        """Defaults of the training settings."""
        ...

    @property
    def caution(self) -> str:
        """What the user should know before choosing it; empty if nothing."""
        ...

    @property
    def summary(self) -> str:
        """What was done, for the model card: ``all weights fine-tuned from``."""
        ...

    @property
    def uses_weights(self) -> bool:
        """Whether the model at step 0 is the parent, so that E0s are fitted on its residuals."""
        ...

    @property
    def keeps_levels(self) -> bool:
        """Whether the parent's levels stay in the model, as good as they were."""
        ...

    def start(
        self,
        parent: Potential,
        level: str,
        references: Mapping[int, float],
        *,
        source: str,
        seed: int,
    ) -> Potential:
        """Returns the model before the first update; the parent is left alone.

        Args:
            parent: the pretrained potential.
            level: the new level of theory, canonical.
            references: E0 of the new level by atomic number, eV.
            source: the level of the parent to start from.
            seed: of weights that are drawn anew.
        """
        ...

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Returns the learning-rate factor of each weight that moves; the others are fixed."""
        ...
