"""Invariant features of every atom, by the semantic block that makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tlpot.errors import ConfigError, nearest
from tlpot.graph import AtomGraph, segment_sum
from tlpot.models.architecture import AnyArchitecture, EngineArchitecture
from tlpot.nn import Readout

if TYPE_CHECKING:
    from tlpot.models.level_potential import LevelPotential

HIDDEN = "readout"
"""The block of the readout's hidden layer."""
KNOWN = "known value"
"""The block of a property that the model is told, see `tlpot.models.known_columns`."""
DESCRIPTOR = "descriptor"
"""The block of the features of an engine."""


def feature_blocks(architecture: AnyArchitecture) -> dict[str, int]:
    """Returns the number of features by block: ``layer 1``, ``layer 2``, …, ``readout``.

    An engine has one, ``descriptor``.
    """
    if isinstance(architecture, EngineArchitecture):
        return {DESCRIPTOR: architecture.n_channels}
    sizes = {f"layer {k + 1}": architecture.n_channels for k in range(architecture.n_layers)}
    return {**sizes, HIDDEN: architecture.readout_hidden}


def check_blocks(blocks: Sequence[str], architecture: AnyArchitecture) -> tuple[str, ...]:
    """Returns the blocks as they are; none at all means the scalars of all layers.

    Raises:
        ConfigError: no such block, or one is named twice.
    """
    known = feature_blocks(architecture)
    for name in blocks:
        if name not in known:
            raise ConfigError(f"there are no features {name!r} in the model{nearest(name, known)}")
    if len(set(blocks)) != len(blocks):
        raise ConfigError(f"features {', '.join(blocks)}: a block is named twice")
    return tuple(blocks) or tuple(name for name in known if name != HIDDEN)


def select_features(scalars: Sequence[Tensor], readout: Readout, blocks: Sequence[str]) -> Tensor:
    """Joins the features of some blocks.

    Args:
        scalars: invariants of each layer, [n_atoms, n_channels].
        readout: of the level.
        blocks: as `check_blocks` returns them.

    Returns:
        [n_atoms, n_features], float64.
    """
    parts = {f"layer {k + 1}": x for k, x in enumerate(scalars)}
    parts[DESCRIPTOR] = scalars[0]
    if HIDDEN in blocks:
        parts[HIDDEN] = readout.mlp.hidden(scalars[-1])
    return torch.cat([parts[name] for name in blocks], dim=1).double()


def atomic_features(model: LevelPotential, graph: AtomGraph, blocks: Sequence[str]) -> Tensor:
    """Evaluates features of every atom, differentiable in the positions.

    All are zero for an atom without neighbours, if the architecture is ``isolated_at_reference``.

    Args:
        model: a potential at one level; only the ``readout`` depends on which.
        graph: a batch.
        blocks: as `check_blocks` returns them.

    Returns:
        [n_atoms, n_features], float64.

    Raises:
        UnknownElementError: an element that the potential does not know.
        GeometryError: a charge or spin that the potential does not read.
    """
    _, scalars, _ = model.invariants(graph)
    return select_features(scalars, model.potential.head(model.level).readout, blocks)


def pool_features(
    features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int, n_elements: int
) -> Tensor:
    """Sums features over the atoms of each element.

    Args:
        features: [n_atoms, n_features].
        species: [n_atoms], index of each atom's element.
        system_idx: [n_atoms], which structure each atom belongs to.
        n_systems: number of structures.
        n_elements: elements of the potential.

    Returns:
        [n_systems, n_elements, n_features].
    """
    index = system_idx * n_elements + species
    return segment_sum(features, index, n_systems * n_elements).view(n_systems, n_elements, -1)


def pooled_rows(model: LevelPotential, graph: AtomGraph, blocks: Sequence[str]) -> Tensor:
    """Returns the pooled features of each structure, [n_systems, n_kinds · n_features].

    Sums over the atoms of each element; of a property over all atoms, or the means where it is
    intensive. See `LevelPotential.regressor_inputs`.
    """
    species, scalars, _ = model.invariants(graph)
    features, kinds = model.regressor_inputs(graph, species, scalars, blocks)
    where = (kinds, graph.system_idx, graph.n_systems, model.n_kinds)
    return pool_features(features, *where).flatten(1)
