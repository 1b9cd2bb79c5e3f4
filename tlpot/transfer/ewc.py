"""Fine-tuning that holds the weights that the old level depends on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tlpot.config import check_least
from tlpot.errors import ConfigError
from tlpot.models import Potential
from tlpot.transfer.anchor import Anchor
from tlpot.transfer.context import TransferContext
from tlpot.transfer.defaults import SMALL_RATE, StrategyDefaults
from tlpot.transfer.fisher import fisher_information
from tlpot.transfer.source_data import open_source, source_frames
from tlpot.transfer.strategy import Penalty, Strategy


@dataclass(frozen=True, kw_only=True)
class EWC(Strategy):
    """Elastic weight consolidation (Kirkpatrick et al., doi:10.1073/pnas.1611835114).

    Adds strength/2 · Σ F (θ − θ_parent)² with the diagonal Fisher information F of the parent,
    divided by its mean so that the strength means the same as that of ``l2sp``.

    F belongs to what the parent has learned: with `files`, it is estimated at geometries of that
    data, for the kinds of labels that these have. Without, the training geometries stand in,
    and the parent's energies and forces there.

    Attributes:
        files: source data; none for the training geometries.
        spec: layout of the source data, if it is not tlpot's own.
        strength: of the penalty.
        frames: at which F is estimated, at random from the source data.
        samples: random directions for each of them.
    """

    name: ClassVar[str] = "ewc"
    summary: ClassVar[str] = "all weights fine-tuned, the important ones held near those of"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE

    files: tuple[Path, ...] = ()
    spec: str | None = None
    strength: float = 1e-3
    frames: int = 64
    samples: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.strength < 1e12:
            raise ConfigError(f"strength is {self.strength}, expected a positive number; "
                              "without a penalty use strategy 'full'")  # fmt: skip
        if self.spec is not None and not self.files:
            raise ConfigError("spec does not apply without files: it is the layout of these")
        check_least(self, frames=1, samples=1)

    def penalty(self, potential: Potential, context: TransferContext) -> Penalty:
        """Estimates the Fisher information and returns the penalty; it is 0 at step 0.

        Raises:
            DataError: the source data cannot be read, has no frame with a label of the parent's
                level, or elements that the parent does not know.
        """
        names = self.rates(potential, context.level)
        train = context.split.train
        dataset, forces = context.dataset, True
        chosen = train[:: max(1, len(train) // self.frames)][: self.frames]
        if self.files:
            dataset = open_source(self.files, self.spec, context)
            forces = "forces" in dataset.levels[context.source].kinds
            chosen = source_frames(dataset, context)[: self.frames]
        # at step 0 the new readout is the source level's, so it stands for the parent
        fisher = fisher_information(
            potential, context.level, dataset, chosen,
            names=names, samples=self.samples, seed=context.seed, forces=forces,
        )  # fmt: skip
        return Anchor(potential, names, self.strength, fisher)
