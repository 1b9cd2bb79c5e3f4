"""Adaptation to structures without labels while a network is trained on a property.

Labelled structures count by how much they are like those that the model is for, or the network
learns features by which the two cannot be told apart: the distance of their distributions in a
batch of both is added to the loss (CORAL: Sun and Saenko, doi:10.1007/978-3-319-49409-8_35; MMD:
Long et al., arXiv:1502.02791).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from tlpot.energy import layout_of
from tlpot.errors import ConfigError
from tlpot.evaluation import system_features
from tlpot.graph import join_graphs
from tlpot.models import KNOWN, LevelPotential, Potential, TrainedModel, pooled_rows
from tlpot.neighbors import Neighbors, neighbor_list
from tlpot.numbers import Floats
from tlpot.system import System
from tlpot.transfer.adaptation import (
    check_enough,
    coral,
    density_ratio,
    discrepancy,
    kernel_distance,
)
from tlpot.transfer.pseudo_labels import bare_systems
from tlpot.transfer.residuals import Frozen, check_adapted
from tlpot.transfer.strategy import Penalty, Strategy, TransferContext

AT_ONCE = 16
"""Structures of either domain whose features are compared at each update."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingAdaptation:
    """What an adaptation does to a training.

    Attributes:
        weights: [n_frames of the dataset], what the error of each counts, in the loss and where
            the epoch is chosen (Sugiyama, Krauledat and Müller, JMLR 8, 985, 2007); the mean over
            either part is 1. None for all alike.
        penalty: added to the loss; None for nothing.
        notes: tells how alike the domains were, and are to a trained model.
    """

    weights: Floats | None
    penalty: Penalty | None
    notes: Callable[[TrainedModel], Mapping[str, float]]


class Alignment:
    """strength · distance of the features of labelled structures from those of the others.

    Features are those of all layers, pooled as the property is, in units of their spread over both
    domains, so that shrinking them is no way out. Which structures are compared depends on the
    seed and the number of updates alone.

    Args:
        level: whose pooling counts.
        here: labelled structures.
        there: of the domain that the model is for.
        by: ``coral`` or ``mmd``.
        strength: of the penalty.
        seed: of the draws.
    """

    def __init__(
        self,
        level: str,
        here: Sequence[System],
        there: Sequence[System],
        *,
        by: str,
        strength: float,
        seed: int,
    ) -> None:
        self.level, self.strength, self.seed = level, strength, seed
        self._distance = kernel_distance if by == "mmd" else coral
        self._domains = tuple(here), tuple(there)
        self._neighbors: dict[tuple[int, int], Neighbors] = {}

    def __call__(self, model: nn.Module, step: int) -> Tensor:
        """Returns the penalty, a scalar."""
        assert isinstance(model, Potential)
        rng = np.random.default_rng([self.seed, 17, step])
        chosen = [
            (domain, int(k))
            for domain, systems in enumerate(self._domains)
            for k in rng.permutation(len(systems))[:AT_ONCE]
        ]
        mine = model.at(self.level)
        graph = join_graphs(
            [self._domains[domain][k] for domain, k in chosen],
            [self._pairs(key, mine.cutoff) for key in chosen],
            mine.cutoff,
            layout=layout_of(mine),
        )
        rows = pooled_rows(mine, graph.to(model.device), own_blocks(mine)).double()
        n = sum(domain == 0 for domain, _ in chosen)
        # the gradient goes through the spread, too
        varies = rows.detach().std(dim=0) > 1e-9 * rows.detach().abs().amax(dim=0).clamp(min=1e-30)
        if not varies.any():
            return rows.sum() * 0.0
        rows = rows[:, varies]
        rows = (rows - rows.mean(dim=0)) / rows.std(dim=0)
        return self.strength * self._distance(rows[:n], rows[n:])

    def _pairs(self, key: tuple[int, int], cutoff: float) -> Neighbors:
        if key not in self._neighbors:
            self._neighbors[key] = neighbor_list(self._domains[key[0]][key[1]], cutoff)
        return self._neighbors[key]


def own_blocks(model: LevelPotential) -> list[str]:
    """Returns the blocks of features of a network, without what it is told of a structure."""
    return [name for name in model.block_sizes() if name != KNOWN]


def check_adaptable(chosen: Strategy, n_levels: int) -> None:
    """Checks that a strategy which learns so many levels can take an `adapt`, if it has one.

    Raises:
        ConfigError: it learns several, a difference, or nothing that could be adapted.
    """
    if chosen.adapt is None:
        return
    fits_nothing = chosen.defaults is None and not isinstance(chosen, Frozen)
    if n_levels > 1 or chosen.learns_difference or fits_nothing:
        raise ConfigError(
            f"strategy.adapt does not apply to {chosen.name}; take full, another strategy that "
            "learns one level by steps, or frozen-ridge"
        )


def training_adaptation(
    chosen: Strategy, start: Potential, context: TransferContext, moving: Collection[str]
) -> TrainingAdaptation | None:
    """Returns what the strategy's `adapt` does to a training; None without one.

    Args:
        chosen: the strategy, which learns by steps.
        start: the model before the first update.
        context: where we are.
        moving: names of the weights that move.

    Raises:
        ConfigError: it does not apply to the strategy or to the level, or there are too few
            structures.
        DataError: a file cannot be read.
    """
    adapt, level = chosen.adapt, context.level
    if adapt is None:
        return None
    check_adapted(chosen, context)
    if adapt.align and not any(name.startswith("backbone.") for name in moving):
        raise ConfigError(
            f"strategy.adapt.align does not apply to {chosen.name}, whose features do not move; "
            "leave it out, or take full"
        )
    parts = context.split.train, context.split.validation
    labelled = [frame.system for frame in context.dataset.read(np.concatenate(parts), ())]
    n_train = len(parts[0])
    here = labelled[:n_train]
    there = bare_systems(adapt.files, adapt.spec, context)
    check_enough(adapt, len(there), n_train, context.dataset.path)
    target = context.targets[level]
    zeros = dict.fromkeys(context.parent.elements, 0.0)
    # features that have been learned, also where the training begins anew
    seen = context.parent.with_level(level, zeros, parent=context.source, target=target).at(level)
    rows = [system_features(seen, systems, own_blocks(seen)) for systems in (labelled, there)]
    before = rows[0][:n_train], rows[1]
    ratio = density_ratio(*rows, seed=context.seed, quiet=not adapt.weights)
    weights = None
    first = {
        "target_structures": float(len(there)),
        "domains_told_apart": ratio.told_apart,
        "discrepancy": discrepancy(*before, seed=context.seed),
    }
    if adapt.weights:
        weights = np.ones(len(context.dataset))
        for frames, found in zip(parts, np.split(ratio.weights, [n_train]), strict=True):
            if len(frames):
                weights[frames] = found / found.mean()
        first["effective_structures"] = ratio.effective
    penalty: Penalty | None = None
    if adapt.align:
        penalty = Alignment(
            level, here, there, by="mmd" if adapt.align == "mmd" else "coral",
            strength=adapt.strength, seed=context.seed,
        )  # fmt: skip

    def notes(trained: TrainedModel) -> Mapping[str, float]:
        model = trained.at(level)
        assert isinstance(model, LevelPotential)
        after = [system_features(model, systems, own_blocks(model)) for systems in (here, there)]
        return {
            **first,
            "domains_told_apart_after": density_ratio(
                *after, seed=context.seed, quiet=True
            ).told_apart,
            "discrepancy_after": discrepancy(*after, seed=context.seed),
        }

    return TrainingAdaptation(weights=weights, penalty=penalty, notes=notes)


def both_penalties(first: Penalty | None, second: Penalty | None) -> Penalty | None:
    """Returns the sum of two penalties."""
    if first is None or second is None:
        return first or second
    return lambda model, step: first(model, step) + second(model, step)
