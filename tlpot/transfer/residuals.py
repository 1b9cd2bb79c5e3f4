"""What a frozen model leaves over, and how structures look to a regressor."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tlpot.data import Dataset, evaluation_batches
from tlpot.errors import MissingExtraError
from tlpot.evaluation import evaluated
from tlpot.models import LevelPotential, Potential, check_blocks
from tlpot.transfer.ridge import missing_latent
from tlpot.transfer.strategy import Strategy, StrategyDefaults, TransferContext
from tlpot.transfer.summed_features import PooledFeatures, pooled_features


@dataclass(frozen=True, kw_only=True, slots=True)
class Residuals:
    """Training frames as a regressor of energies sees them.

    Attributes:
        blocks: whose features.
        pooled: the features.
        targets: [n_frames], label − energy of the model at step 0, eV; of a property, its latent
            values.
    """

    blocks: tuple[str, ...]
    pooled: PooledFeatures
    targets: NDArray[np.float64]


def residuals(potential: Potential, context: TransferContext, blocks: tuple[str, ...]) -> Residuals:
    """Returns the training frames as a regressor sees them; `potential` becomes float64."""
    model = potential.double().at(context.level)
    chosen = tuple(model.block_sizes(blocks))
    train = context.split.train
    return Residuals(
        blocks=chosen,
        pooled=pooled_features(model, context.dataset, train, chosen, cache=context.cache),
        targets=missing_energies(model, context.dataset, train, context.level),
    )


def missing_energies(
    model: LevelPotential,
    dataset: Dataset,
    indices: NDArray[np.int64],
    level: str,
    *,
    batch_size: int = 64,
) -> NDArray[np.float64]:
    """Returns label − energy of the model for each frame, eV; NaN without a label."""
    order = np.argsort(dataset.sizes[indices], kind="stable")
    parts = []
    batches = evaluation_batches(
        model, dataset, indices[order], (level,), device=model.potential.device,
        batch_size=batch_size, show=False,
    )  # fmt: skip
    for batch, found, _ in evaluated(model, batches, forces=False):
        parts.append(missing_latent(model, batch.targets[level].energy, found.energy).cpu())
    return torch.cat(parts).numpy()[np.argsort(order)]


def zero_readout(potential: Potential, level: str) -> None:
    """Makes the readout of a level, with its corrections, add nothing; in place."""
    head = potential.head(level)
    head.readout.scale.zero_()
    if head.embedding is not None:
        head.embedding.weight.detach().zero_()
    while len(head.corrections):
        del head.corrections[-1]


def need_sklearn(strategy: str) -> None:
    """Checks that scikit-learn is there.

    Raises:
        MissingExtraError: it is not.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise MissingExtraError("scikit-learn", "sklearn", f"strategy {strategy}")


@dataclass(frozen=True, kw_only=True)
class Frozen(Strategy):
    """No weight moves; `finish` adds a regressor on the parent's features to the new level.

    Attributes:
        blocks: whose features: ``layer 1``, …, ``readout``; left out: scalars of all layers.
        on: ``residual`` corrects the parent's energy; ``total`` replaces its readout, so that
            only its features are used.
    """

    defaults: ClassVar[StrategyDefaults | None] = None
    keeps_levels: ClassVar[bool] = True

    blocks: tuple[str, ...] = ()
    on: Literal["residual", "total"] = "residual"

    @property
    def inherits(self) -> bool:  # type: ignore[override]
        """Without the parent's energy step 0 is nothing but reference energies."""
        return self.on == "residual"

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the parent with one more level, whose readout is silent if it is replaced.

        Raises:
            ConfigError: no such block.
        """
        check_blocks(self.blocks, context.parent.architecture)
        grown = super().start(context, references)
        if self.on == "total":
            zero_readout(grown, context.level)
        return grown
