"""Backbones: from a graph to the invariant features of every atom, by a network or an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from tlpot.errors import ConfigError, GeometryError
from tlpot.graph import AtomGraph
from tlpot.kernels import Kernels
from tlpot.models.architecture import AnyArchitecture, Architecture, EngineArchitecture
from tlpot.models.description import complete_references
from tlpot.models.domain import TrainingDomain
from tlpot.models.mace import MaceArchitecture, MaceBackbone, MaceRepulsion
from tlpot.models.property_target import PropertyTarget
from tlpot.models.regressors import GaussianCorrection
from tlpot.models.spread import LastLayerRigidity
from tlpot.nn import (
    ChannelLinear,
    Convolution,
    DoubleBuffer,
    EdgeEmbedding,
    Edges,
    Interaction,
    Readout,
    ZBLRepulsion,
    elemental_features,
)
from tlpot.numbers import Floats
from tlpot.system import NO_CELL, NO_PBC, System


class FeatureSource(Protocol):
    """An engine that is asked for structures; what it says of them never changes."""

    def energies(self, systems: Sequence[System]) -> list[float]:
        """Returns the energy of each structure, eV."""
        ...

    def features(self, systems: Sequence[System]) -> list[Floats]:
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


class Backbone(nn.Module):
    """The equivariant network of MACE (arXiv:2206.07697), without its readouts.

    Args:
        architecture: sizes.
        kernels: who does the sums.
    """

    def __init__(self, architecture: Architecture, kernels: Kernels) -> None:
        super().__init__()
        a = architecture
        self.edges = EdgeEmbedding(a.l_max, a.cutoff, a.n_basis, a.envelope_power, kernels)
        self.species = nn.Parameter(torch.randn(len(a.elements), a.n_species))
        if a.species == "elemental":
            known = torch.from_numpy(elemental_features()[list(a.elements)])
            self.species = nn.Parameter(known.to(self.species.dtype))
        self.embedding = ChannelLinear(a.n_species, a.n_channels)
        self.charge_spin = nn.Parameter(torch.zeros(2, a.n_channels)) if a.charge_spin else None
        self.interactions = nn.ModuleList(_interaction(a, layer) for layer in range(a.n_layers))

    def forward(self, graph: AtomGraph, species: Tensor) -> tuple[list[Tensor], Edges]:
        """Returns the invariants of each layer, [n_atoms, c], and the embedded pairs.

        Args:
            graph: a batch.
            species: index of each atom's element, [n_atoms].
        """
        edges = self.edges(graph, self.species.dtype)
        elements = self.embedding(self.species)
        table: Tensor | None = elements
        features = elements.index_select(0, species)
        if self.charge_spin is not None:
            state = torch.stack([graph.charge, graph.spin - 1], dim=1).to(features)
            shift = state @ self.charge_spin
            features = features + shift.index_select(0, graph.system_idx)
            table = None
        degrees = [features[:, None]]
        scalars = []
        for interaction in self.interactions:
            degrees = interaction(degrees, edges, self.species, species, table)
            table = None
            scalars.append(degrees[0][:, 0])
        return scalars, edges


def _interaction(a: Architecture, layer: int) -> Interaction:
    l_in = 0 if layer == 0 else a.l_hidden
    return Interaction(
        convolution=Convolution(
            l_in=l_in,
            l_edge=a.l_max,
            l_out=a.l_max,
            n_channels=a.n_channels,
            n_basis=a.n_basis,
            radial_hidden=a.radial_hidden,
            avg_neighbors=a.avg_neighbors,
        ),
        l_edge=a.l_max,
        l_in=l_in,
        l_out=0 if layer == a.n_layers - 1 else a.l_hidden,
        correlation=a.correlation,
        n_channels=a.n_channels,
        n_species=a.n_species,
        first=layer == 0,
    )


class Head(nn.Module):
    """What belongs to one level of theory.

    Args:
        architecture: sizes.
        references: E0 of each element, eV, in the order of ``architecture.elements``; of a
            property, what an atom of the element adds to the latent value, or to the mean.
        scale: see `Readout`; that of a property is the spread of its labels.
        target: the property, if the level is none of energies.

    Attributes:
        corrections: closed-form regressors that add to the readout's energy; mostly none.
        rigidity: what the level's uncertainty is computed from; None if it has none. It belongs
            to these very weights and has to go when they change. A head with corrections has
            none, since it would not know of them.
        repulsion_scale: factor of the nuclear repulsion, or of an engine's energy; None where it
            has none of its own.
        embedding: reads an energy from the features that the first layer gets; mostly None.
        domain: what the level was trained on; None if it was never told. It belongs to these very
            weights of the backbone and has to go when they change.
        target: the property that the level is of; None for energies.
        attention: scores the atoms, where the property is pooled so.
    """

    rigidity: LastLayerRigidity | None
    domain: TrainingDomain | None
    attention: ChannelLinear | None
    repulsion_scale: DoubleBuffer | None
    embedding: ChannelLinear | None

    def __init__(
        self,
        architecture: AnyArchitecture,
        references: list[float],
        scale: float,
        target: PropertyTarget | None = None,
    ) -> None:
        super().__init__()
        a = architecture
        self.target = target
        attends = target is not None and target.pooling == "attention"
        self.attention = ChannelLinear(a.n_channels, 1) if attends else None
        self.rigidity = None
        self.domain = None
        self.references = DoubleBuffer(torch.tensor(references, dtype=torch.float64))
        mace = a if isinstance(a, MaceArchitecture) else None
        self.readout = Readout(
            n_layers=a.n_layers,
            n_channels=a.n_channels,
            n_hidden=a.readout_hidden,
            scale=scale if target is None else target.spread,
            last_only=mace is not None and mace.last_readout_only,
            biased=mace is not None and mace.readout_biased,
        )
        self.repulsion_scale = self.embedding = None
        if isinstance(a, EngineArchitecture) or (mace is not None and mace.repulsion is not None):
            self.repulsion_scale = DoubleBuffer(torch.tensor(1.0))
        if mace is not None and mace.embedding_readout:
            self.embedding = ChannelLinear(a.n_channels, 1)
        self.corrections = nn.ModuleList()

    @property
    def process(self) -> GaussianCorrection | None:
        """The Gaussian process that was fitted to all that the rest of the head leaves over.

        None if there is none, or if it has forgotten how sure it is.
        """
        last = self.corrections[-1] if len(self.corrections) else None
        known = isinstance(last, GaussianCorrection) and last.cholesky is not None
        return last if known else None  # type: ignore[return-value]

    def forget(self) -> None:
        """Drops all uncertainty, as a change of weights or level needs; energies stay."""
        self.rigidity = None
        for correction in self.corrections:
            if isinstance(correction, GaussianCorrection):
                correction.cholesky = None


def make_backbone(
    architecture: AnyArchitecture, kernels: Kernels
) -> Backbone | MaceBackbone | EngineBackbone:
    """Makes the network of an architecture, of whatever family, with random weights."""
    if isinstance(architecture, EngineArchitecture):
        return EngineBackbone(architecture, kernels)
    if isinstance(architecture, MaceArchitecture):
        return MaceBackbone(architecture, kernels)
    return Backbone(architecture, kernels)


def make_repulsion(
    architecture: AnyArchitecture,
) -> ZBLRepulsion | MaceRepulsion | EngineEnergy | None:
    """Makes the fixed term of an architecture, mostly a nuclear repulsion; None if it has none."""
    if isinstance(architecture, EngineArchitecture):
        return EngineEnergy()
    if isinstance(architecture, MaceArchitecture):
        if architecture.repulsion is None:
            return None
        return MaceRepulsion(architecture.elements, architecture.radii, architecture.repulsion)
    if not architecture.zbl:
        return None
    return ZBLRepulsion(architecture.elements, architecture.envelope_power)


def reference_list(
    architecture: AnyArchitecture, level: str, references: Mapping[int, float]
) -> list[float]:
    """Returns E0 in the order of the elements, eV.

    Args:
        architecture: says which elements there are.
        level: for messages.
        references: E0 by atomic number, eV; NaN for an element that the level does not know,
            as where none of its labels is of a molecule with it.

    Raises:
        ConfigError: one is missing, or infinite, or none is a number.
    """
    missing = [chemical_symbols[z] for z in architecture.elements if z not in references]
    if missing:
        raise ConfigError(
            f"level {level!r}: no reference energy E0 for {', '.join(missing)}; every element "
            "of the model needs one"
        )
    values = [float(references[z]) for z in architecture.elements]
    if not complete_references(np.array(values)):
        raise ConfigError(
            f"level {level!r}: the reference energies hold infinity, or no number: {values}"
        )
    return values
