"""What a transfer strategy decides; the training loop knows nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from tlpot.models import DeltaPotential, Potential, level_parameters
from tlpot.transfer.context import TrainingData, TransferContext
from tlpot.transfer.defaults import StrategyDefaults

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
    defaults: ClassVar[StrategyDefaults | None]
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

    def training_data(self, context: TransferContext) -> TrainingData:
        """Returns what the training sees."""
        return TrainingData(dataset=context.dataset, split=context.split, levels=(context.level,))

    def epoch_frames(self, n_train: int) -> int:
        """Returns how many frames an epoch has at most, with `n_train` frames of the new level."""
        return n_train

    def elements(self, context: TransferContext) -> tuple[int, ...]:
        """Returns the atomic numbers that the model of `start` knows."""
        return context.parent.elements

    def saved_level(self, context: TransferContext) -> str:
        """Returns the level of the saved model that answers to the first that is learned."""
        return context.level

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the model before the first update.

        Args:
            context: where we are, with the dataset and the split of `training_data`.
            references: E0 of the first level of `training_data` by atomic number, eV.
        """
        grown = context.parent.with_level(context.level, references, parent=context.source)
        return grown if self.keeps_levels else grown.only(context.level)

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Returns the learning-rate factor of each weight that moves; the others are fixed.

        None moves without a `defaults`.

        Args:
            potential: what `start` returned.
            level: the one to learn.
        """
        moving = () if self.defaults is None else level_parameters(potential, level)
        return dict.fromkeys(moving, 1.0)

    def release(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Returns the share of the training after which a weight begins to move, if not at once."""
        return {}

    def penalty(self, potential: Potential, context: TransferContext) -> Penalty | None:
        """Returns what is added to the loss; `potential` is what `start` returned."""
        return None

    def finish(self, potential: Potential, context: TransferContext) -> Potential | DeltaPotential:
        """Returns the trained model in the form that is saved."""
        return potential
