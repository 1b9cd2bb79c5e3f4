"""What a transfer strategy decides; the training loop knows nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from tlpot.models import DeltaPotential, Potential, level_parameters
from tlpot.transfer.context import Lessons, Situation
from tlpot.transfer.defaults import Recipe

Penalty = Callable[[nn.Module], Tensor]
"""Added to the loss of each batch."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Which weights start where, which of them move how fast, and on what data.

    A strategy is a frozen dataclass whose fields are its settings, so that a setting of another
    strategy is an unknown key. What is not overridden: everything starts at the parent's
    weights, all of them move at the full rate, and only the new level is learned and kept.
    """

    name: ClassVar[str]
    """As written on the command line."""
    summary: ClassVar[str]
    """What was done, for the model card: ``all weights fine-tuned from``."""
    recipe: ClassVar[Recipe | None]
    """Defaults of the training settings; None if nothing is trained by gradients."""
    caution: ClassVar[str] = ""
    """What the user should know before choosing it; empty if nothing."""
    inherits: ClassVar[bool] = True
    """Whether the model at step 0 is the parent, so that E0s are fitted on its residuals."""
    learns_difference: ClassVar[bool] = False
    """Whether the labels are differences of levels, of which the parent's E0s say nothing."""
    needs_levels: ClassVar[bool] = False
    """Whether labels of other levels than the one to learn are of use, if the data has them."""
    keeps_levels: ClassVar[bool] = False
    """Whether the parent's levels stay in the model, as good as they were."""

    def lessons(self, situation: Situation) -> Lessons:
        """Returns what the training sees."""
        return Lessons(dataset=situation.dataset, split=situation.split, levels=(situation.level,))

    def epoch_frames(self, n_train: int) -> int:
        """Returns how many frames an epoch has at most, with `n_train` frames of the new level."""
        return n_train

    def elements(self, situation: Situation) -> tuple[int, ...]:
        """Returns the atomic numbers that the model of `start` knows."""
        return situation.parent.elements

    def saved_level(self, situation: Situation) -> str:
        """Returns the level of the saved model that answers to the first level of `lessons`."""
        return situation.level

    def start(self, situation: Situation, references: Mapping[int, float]) -> Potential:
        """Returns the model before the first update.

        Args:
            situation: where we are, with the dataset and the split of `lessons`.
            references: E0 of the first level of `lessons` by atomic number, eV.
        """
        grown = situation.parent.with_level(situation.level, references, parent=situation.source)
        return grown if self.keeps_levels else grown.only(situation.level)

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Returns the learning-rate factor of each weight that moves; the others are fixed.

        None moves without a `recipe`.

        Args:
            potential: what `start` returned.
            level: the one to learn.
        """
        moving = () if self.recipe is None else level_parameters(potential, level)
        return dict.fromkeys(moving, 1.0)

    def release(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Returns the share of the training after which a weight begins to move, if not at once."""
        return {}

    def penalty(self, potential: Potential, situation: Situation) -> Penalty | None:
        """Returns what is added to the loss; `potential` is what `start` returned."""
        return None

    def finish(self, potential: Potential, situation: Situation) -> Potential | DeltaPotential:
        """Returns the trained model in the form that is saved."""
        return potential
