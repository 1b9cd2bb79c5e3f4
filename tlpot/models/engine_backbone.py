"""The features and the energy of an engine where a network would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlpot.errors import ConfigError, GeometryError
from tlpot.graph import AtomGraph
from tlpot.kernels import Kernels
from tlpot.models.architecture import EngineArchitecture
from tlpot.system import NO_CELL, NO_PBC, System


class FeatureSource(Protocol):
    """An engine that is asked for structures; what it says of them never changes."""

    def energies(self, systems: Sequence[System]) -> list[float]:
        """Returns the energy of each structure, eV."""
        ...

    def features(self, systems: Sequence[System]) -> list[NDArray[np.float64]]:
        """Returns the features of the atoms of each structure, [n_atoms, n_features]."""
        ...


class _Kernels(NamedTuple):
    """Who would do the sums over neighbours, of which there are none."""

    kernels: Kernels


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineStructures:
    """Structures of a batch, and the engine that can be asked for them.

    Attributes:
        systems: one for each structure.
        system_idx: [n_atoms], which structure each atom belongs to.
        source: the engine.
    """

    systems: Sequence[System]
    system_idx: Tensor
    source: FeatureSource


class EngineBackbone(nn.Module):
    """The features of an engine, without derivatives and without weights.

    A model file says which engine that was, but not how to start it: whoever opens the file has
    to name it, since an engine is a program, and loading a model runs none.

    Args:
        architecture: of what engine.
        kernels: who would do the sums.

    Attributes:
        source: the engine; None until it is given. Copies share it.
    """

    species: Tensor

    def __init__(self, architecture: EngineArchitecture, kernels: Kernels) -> None:
        super().__init__()
        self.architecture = architecture
        self.edges = _Kernels(kernels)
        self.source: FeatureSource | None = None
        self.register_buffer("species", torch.zeros(len(architecture.elements)), persistent=False)

    def forward(self, graph: AtomGraph, species: Tensor) -> tuple[list[Tensor], EngineStructures]:
        """Returns the features of all atoms, [n_atoms, n_features], and the structures.

        Raises:
            ConfigError: the engine has not been given.
            GeometryError: it gives another number of features than of other structures.
            LabelError: it fails for a structure.
        """
        if self.source is None:
            name = self.architecture.engine
            raise ConfigError(
                f"the model reads energies and features of {name}, and a model file starts no "
                "program: name the engine with --engine, or load it with tlpot.load(FILE, "
                "engine=...); the recipe in the model's card has it as parent"
            )
        systems = graph_systems(graph)
        rows = self.source.features(systems)
        for system, row in zip(systems, rows, strict=True):
            if row.shape[1] != self.architecture.n_channels:
                raise GeometryError(
                    f"{self.architecture.engine} gives {row.shape[1]} features of "
                    f"{system.to_atoms().get_chemical_formula()}, expected "
                    f"{self.architecture.n_channels} as of the others"
                )
        found = torch.from_numpy(np.concatenate(rows))
        scalars = found.to(device=self.species.device, dtype=self.species.dtype)
        where = EngineStructures(systems=systems, system_idx=graph.system_idx, source=self.source)
        return [scalars], where


class EngineEnergy(nn.Module):
    """The energy of an engine, shared evenly by the atoms of each structure."""

    def forward(self, edges: EngineStructures, species: Tensor) -> Tensor:
        """Returns E / n of each atom, [n_atoms], eV, float64.

        Raises:
            LabelError: the engine fails for a structure.
        """
        sizes = np.array([len(system) for system in edges.systems])
        shares = torch.from_numpy(np.array(edges.source.energies(edges.systems)) / sizes)
        return shares.to(edges.system_idx.device).index_select(0, edges.system_idx)


def graph_systems(graph: AtomGraph) -> list[System]:
    """Returns the structures of a batch."""
    positions = graph.positions.detach().cpu().numpy()
    numbers = graph.atomic_numbers.cpu().numpy()
    sizes = torch.bincount(graph.system_idx, minlength=graph.n_systems).cpu().numpy()
    cells = None if graph.cell is None else graph.cell.detach().cpu().numpy()
    pbc = None if graph.pbc is None else graph.pbc.cpu().numpy()
    found = []
    for k, (end, size) in enumerate(zip(np.cumsum(sizes), sizes, strict=True)):
        rows = slice(end - size, end)
        found.append(
            System(
                atomic_numbers=numbers[rows],
                positions=positions[rows],
                cell=NO_CELL if cells is None else cells[k],
                pbc=NO_PBC if pbc is None else pbc[k],
                charge=int(graph.charge[k]),
                spin=int(graph.spin[k]),
            )
        )
    return found
