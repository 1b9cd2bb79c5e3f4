"""Fine-tuning that holds the weights that the old level depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tlpot.errors import ConfigError
from tlpot.models import Potential
from tlpot.transfer.anchor import Anchor
from tlpot.transfer.fisher import fisher_information
from tlpot.transfer.recipe import SMALL_RATE, Recipe
from tlpot.transfer.situation import Situation
from tlpot.transfer.strategy import Penalty, Strategy


@dataclass(frozen=True, kw_only=True)
class EWC(Strategy):
    """Elastic weight consolidation (Kirkpatrick et al., doi:10.1073/pnas.1611835114).

    Adds strength/2 · Σ F (θ − θ_parent)² with the diagonal Fisher information F of the parent,
    divided by its mean so that the strength means the same as that of ``l2sp``.

    Attributes:
        strength: of the penalty.
        frames: training frames at which F is estimated.
        samples: random directions for each of them.
    """

    name: ClassVar[str] = "ewc"
    summary: ClassVar[str] = "all weights fine-tuned, the important ones held near those of"
    recipe: ClassVar[Recipe | None] = SMALL_RATE

    strength: float = 1e-3
    frames: int = 64
    samples: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.strength < 1e12:
            raise ConfigError(f"strength is {self.strength}, expected a positive number; "
                              "without a penalty use strategy 'full'")  # fmt: skip
        for name in ("frames", "samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 1 or more")

    def penalty(self, potential: Potential, situation: Situation) -> Penalty:
        """Estimates the Fisher information and returns the penalty; it is 0 at step 0."""
        names = self.rates(potential, situation.level)
        train = situation.split.train
        chosen = train[:: max(1, len(train) // self.frames)][: self.frames]
        fisher = fisher_information(
            potential, situation.level, situation.dataset, chosen,
            names=names, samples=self.samples, seed=situation.seed,
        )  # fmt: skip
        return Anchor(potential, names, self.strength, fisher)
