"""What a frozen model leaves over, and how structures look to a regressor."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
import torch

from tlpot.data import Dataset, evaluation_batches
from tlpot.errors import ConfigError, MissingExtraError
from tlpot.evaluation import evaluated, system_features
from tlpot.models import (
    HIDDEN,
    KNOWN,
    N_KNOWN,
    EngineBackbone,
    LevelPotential,
    Potential,
    check_blocks,
    same_readout,
)
from tlpot.numbers import Floats, Ints
from tlpot.transfer.adaptation import (
    Adaptation,
    aligned,
    check_enough,
    density_ratio,
    discrepancy,
    matched,
)
from tlpot.transfer.pseudo_labels import bare_systems
from tlpot.transfer.ridge import missing_latent
from tlpot.transfer.strategy import Strategy, StrategyDefaults, TransferContext
from tlpot.transfer.summed_features import PooledFeatures, pooled_features

_LEAST_SPREAD = 0.3
"""Share of the root mean square of all spreads; with 0.1 to 1 the errors are much the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Residuals:
    """Training frames as a regressor of energies sees them.

    Attributes:
        blocks: whose features.
        pooled: the features.
        targets: [n_frames], label − energy of the model at step 0, eV; of a property, its latent
            values.
        weights: [n_frames], how much each counts; None for all alike.
        notes: what is said of the adaptation to another domain; empty for none.
        of_property: whether the targets are those of a property.
    """

    blocks: tuple[str, ...]
    pooled: PooledFeatures
    targets: Floats
    weights: Floats | None = None
    notes: Mapping[str, float] = field(default_factory=dict)
    of_property: bool = False

    def fact(self, name: str, thousandths: float) -> dict[str, float]:
        """Returns a number for the description of a fit: meV, or latent values of a property."""
        return {name: thousandths / 1e3} if self.of_property else {f"{name}_mev": thousandths}


def residuals(
    potential: Potential,
    context: TransferContext,
    blocks: tuple[str, ...],
    adapt: Adaptation | None = None,
) -> Residuals:
    """Returns the training frames as a regressor sees them; `potential` becomes float64."""
    model = potential.double().at(context.level)
    chosen = tuple(model.block_sizes(blocks))
    train = context.split.train
    seen = Residuals(
        blocks=chosen,
        pooled=pooled_features(model, context.dataset, train, chosen, cache=context.cache),
        targets=missing_energies(model, context.dataset, train, context.level),
        of_property=context.level in context.targets,
    )
    return seen if adapt is None else _adapted(seen, model, context, adapt)


def _adapted(
    seen: Residuals, model: LevelPotential, context: TransferContext, adapt: Adaptation
) -> Residuals:
    """Weighs training structures, or moves their features, towards those of the target domain."""
    target = bare_systems(adapt.files, adapt.spec, context)
    check_enough(adapt, len(target), len(seen.pooled.rows), context.dataset.path)
    # what the model is told of a structure is no feature of it
    blocks = [block for block in seen.blocks if block != KNOWN]
    there = system_features(model, target, blocks)
    n = there.shape[1]
    here = seen.pooled.rows[:, :n]
    ratio = density_ratio(here, there, seed=context.seed, quiet=not adapt.weights)
    notes = {"target_structures": len(there), "domains_told_apart": ratio.told_apart}
    pooled, weights = seen.pooled, None
    if adapt.weights:
        weights = ratio.weights
        notes["effective_frames"] = ratio.effective
    if adapt.align:
        moved = seen.pooled.rows.copy()
        by_kernels = adapt.align == "mmd"
        onto = matched(here, there, seed=context.seed) if by_kernels else aligned(here, there)
        moved[:, :n] = onto
        notes["domains_told_apart_when_aligned"] = density_ratio(
            onto, there, seed=context.seed, quiet=True
        ).told_apart
        for name, rows in (("", here), ("_when_aligned", onto)):
            notes[f"discrepancy{name}"] = discrepancy(rows, there, seed=context.seed)
        sums = moved.reshape(pooled.sums.shape)
        pooled = replace(pooled, sums=sums, squares=np.square(sums).sum(axis=0))
    return replace(seen, pooled=pooled, weights=weights, notes=notes)


def missing_energies(
    model: LevelPotential,
    dataset: Dataset,
    indices: Ints,
    level: str,
    *,
    batch_size: int = 64,
) -> Floats:
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


def floored(scale: Floats, potential: Potential, blocks: tuple[str, ...]) -> Floats:
    """Returns what features are divided by; for those of an engine no less than a share of the rms.

    They have one unit. Many hardly vary over few training frames, as where a kind of neighbour is
    at the edge of what the model sees, and as large as the others they would decide on the energy
    of molecules that have more of it.

    Args:
        scale: spread of each feature, [..., n_features]; infinite for one that is left out.
        potential: whose features.
        blocks: of what; a value that the model is told has a unit of its own, and comes last.
    """
    n = scale.shape[-1] - (N_KNOWN if KNOWN in blocks else 0)
    own = scale[..., :n]
    used = own[np.isfinite(own)]
    if not isinstance(potential.backbone, EngineBackbone) or not len(used):
        return scale
    least = _LEAST_SPREAD * np.sqrt(np.mean(used**2))
    return np.concatenate([np.maximum(own, least), scale[..., n:]], axis=-1)


def zero_readout(potential: Potential, level: str) -> None:
    """Makes the readout of a level, with its corrections, add nothing; in place."""
    head = potential.head(level)
    head.readout.scale.zero_()
    if isinstance(potential.backbone, EngineBackbone) and head.repulsion_scale is not None:
        head.repulsion_scale.value.zero_()  # the energy of an engine is no wall to be kept
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


def check_adapted(chosen: Strategy, context: TransferContext) -> None:
    """Checks that a strategy's `adapt`, if it has one, can be done.

    Raises:
        ConfigError: the level is no property.
        MissingExtraError: scikit-learn is not there.
    """
    if chosen.adapt is None:
        return
    need_sklearn(f"{chosen.name} with adapt")
    if context.level not in context.targets:
        raise ConfigError(
            f"strategy.adapt applies to scalar properties, and {context.level} is a level of "
            "energies; leave it out"
        )


@dataclass(frozen=True, kw_only=True)
class Frozen(Strategy):
    """No weight moves; `finish` adds a regressor on the parent's features to the new level.

    Attributes:
        blocks: whose features: ``layer 1``, …, ``readout``; left out: scalars of all layers. An
            engine has ``descriptor`` only.
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
        target, parent = context.targets.get(context.level), context.parent
        of_source = parent.target(context.source)
        if HIDDEN in self.blocks and not same_readout(
            context.level, target, context.source, of_source
        ):
            raise ConfigError(
                f"strategy.blocks names {HIDDEN}, and that of {context.level} would be a new one "
                f"with random weights, because the parent's {context.source} is another quantity; "
                "leave it out, and take layers (layer 1, ...)"
            )
        check_adapted(self, context)
        grown = super().start(context, references)
        if self.on == "total":
            zero_readout(grown, context.level)
        return grown
