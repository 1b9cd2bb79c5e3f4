"""Frames joined into one graph, with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlpot.data.dataset import Frame, Labels
from tlpot.graph import AtomGraph, Layout, build_graph, join_graphs
from tlpot.neighbors import Neighbors


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """Labels of a batch at one level of theory, float64, NaN where absent.

    Attributes:
        energy: [n_systems], total energies, eV.
        forces: [n_atoms, 3], eV/Å.
        stress: [n_systems, 3, 3], eV/Å³.
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor

    def to(self, device: torch.device | str) -> Targets:
        """Returns the targets on another device."""
        return Targets(
            energy=self.energy.to(device),
            forces=self.forces.to(device),
            stress=self.stress.to(device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """A graph with its targets.

    Attributes:
        graph: the joined structures.
        sizes: [n_systems], atoms per structure.
        targets: by level of theory; exactly the levels that were asked for.
        level_idx: [n_systems], the one of these levels at which each structure has labels here;
            None where each has all that it has.
        molecule_idx: [n_systems], the same number for structures of one molecule; None where
            nothing is known of molecules.
        weights: [n_systems], what the error of each counts in the loss of a property; None for
            all alike.
    """

    graph: AtomGraph
    sizes: Tensor
    targets: Mapping[str, Targets]
    level_idx: Tensor | None = None
    molecule_idx: Tensor | None = None
    weights: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """Returns the batch on another device."""
        return replace(
            self,
            graph=self.graph.to(device),
            sizes=self.sizes.to(device),
            targets={level: targets.to(device) for level, targets in self.targets.items()},
            level_idx=None if self.level_idx is None else self.level_idx.to(device),
            molecule_idx=None if self.molecule_idx is None else self.molecule_idx.to(device),
            weights=None if self.weights is None else self.weights.to(device),
        )


def collate(
    frames: Sequence[Frame],
    cutoff: float,
    levels: Sequence[str],
    *,
    layout: Layout = "auto",
    neighbors: Sequence[Neighbors] | None = None,
    level_idx: NDArray[np.int64] | None = None,
    known: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> Batch:
    """Builds the graph of some frames and gathers their labels at `levels`.

    Args:
        frames: at least one.
        cutoff: Å.
        levels: canonical names; a frame without a level gets NaN there.
        layout: see `build_graph`.
        neighbors: of each frame at this cutoff, where they are known.
        level_idx: the one of `levels` whose labels to take, for each frame; None for all.
        known: the property that the model is told, of each frame; None for none.
        weights: what the error of each frame counts; None for all alike.

    Raises:
        GeometryError: a frame is unusable; the message names it.
    """
    systems = [frame.system for frame in frames]
    if neighbors is None:
        names = [frame.name for frame in frames]
        graph = build_graph(systems, cutoff, layout=layout, names=names)
    else:
        graph = join_graphs(systems, neighbors, cutoff, layout=layout)
    if known is not None:
        graph = replace(graph, known=torch.from_numpy(known))
    sizes = torch.tensor([len(frame.system) for frame in frames])
    return Batch(
        graph=graph,
        sizes=sizes,
        targets={
            level: _targets(frames, level, None if level_idx is None else level_idx == k)
            for k, level in enumerate(levels)
        },
        level_idx=None if level_idx is None else torch.from_numpy(level_idx),
        molecule_idx=torch.from_numpy(
            np.unique([frame.group for frame in frames], return_inverse=True)[1]
        ),
        weights=None if weights is None else torch.from_numpy(weights),
    )


def _targets(frames: Sequence[Frame], level: str, chosen: NDArray[np.bool_] | None) -> Targets:
    none = Labels()
    labels = [
        frame.labels.get(level, none) if chosen is None or chosen[k] else none
        for k, frame in enumerate(frames)
    ]
    forces = [
        np.full((len(frame.system), 3), np.nan) if label.forces is None else label.forces
        for frame, label in zip(frames, labels, strict=True)
    ]
    stress = np.full((len(frames), 3, 3), np.nan)
    for row, label in zip(stress, labels, strict=True):
        if label.stress is not None:
            row[:] = label.stress
    return Targets(
        energy=torch.tensor([x.energy for x in labels], dtype=torch.float64),
        forces=torch.from_numpy(np.concatenate(forces)),
        stress=torch.from_numpy(stress),
    )
