"""A potential: one backbone, a head for each level, fixed physics terms; names of its weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from ase.data import chemical_symbols, ground_state_magnetic_moments
from torch import Tensor, nn

from tlpot.energy import Properties, evaluate, implemented
from tlpot.errors import ConfigError, GeometryError, UnknownElementError
from tlpot.graph import AtomGraph, Layout, build_graph
from tlpot.kernels import kernels_by_name
from tlpot.levels import canonical_level, choose_level
from tlpot.models.architecture import AnyArchitecture
from tlpot.models.backbone import Head, make_backbone, make_repulsion, reference_list
from tlpot.models.description import ModelCard
from tlpot.models.domain import TrainingDomain
from tlpot.models.features import select_features
from tlpot.models.fused import FusedLevels
from tlpot.models.mace import MaceBackbone
from tlpot.models.regressors import Correction, process_spread
from tlpot.models.spread import Calibration, LastLayerRigidity, Spread, rigid_forces_std, rigid_std
from tlpot.models.trained import LevelView
from tlpot.nn import Edges
from tlpot.system import NO_CELL, NO_PBC, System
from tlpot.torch_mode import plain_torch


class Potential(nn.Module):
    """E_i = E0^level(z_i) + readout^level(backbone) + corrections^level(backbone) + repulsion.

    Made by `Potential.create` or `load`, not by its constructor.

    Attributes:
        architecture: sizes.
        levels: names of the levels of theory.
        card: provenance.
    """

    index: Tensor

    def __init__(
        self, architecture: AnyArchitecture, heads: Mapping[str, Head], kernels: str = "auto"
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.card = ModelCard()
        self.levels = tuple(heads)
        self.backbone = make_backbone(architecture, kernels_by_name(kernels))
        self.repulsion = make_repulsion(architecture)
        self.heads = nn.ModuleList(heads.values())
        index = torch.full((len(chemical_symbols),), -1)
        index[list(architecture.elements)] = torch.arange(len(architecture.elements))
        self.register_buffer("index", index, persistent=False)
        self.fused_levels = FusedLevels()

    @classmethod
    @plain_torch()
    def create(
        cls,
        architecture: AnyArchitecture,
        levels: Mapping[str, Mapping[int, float]],
        *,
        scale: float = 1.0,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        kernels: str = "auto",
    ) -> Potential:
        """Makes a potential with random weights.

        Args:
            architecture: sizes.
            levels: E0 by atomic number, eV, for each level of theory.
            scale: of the readouts, eV.
            seed: of the weights; torch's global generator is left as it was.
            dtype: precision; the same seed gives the same weights in each, to rounding.
            kernels: ``auto``, ``fused``, ``compiled``, ``torch`` or ``torch_scatter``, see
                `tlpot.kernels.kernels_by_name`.

        Raises:
            ConfigError: a level lacks an E0 for one of the elements.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads = {
                canonical_level(level): Head(
                    architecture, reference_list(architecture, level, references), scale
                )
                for level, references in levels.items()
            }
            return cls(architecture, heads, kernels).to(dtype)

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å."""
        return self.architecture.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the potential knows."""
        return self.architecture.elements

    @property
    def uses_charge(self) -> bool:
        """Whether the energy depends on total charge and multiplicity."""
        return self.architecture.charge_spin

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network; reference energies and sums are float64 always."""
        return self.backbone.species.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.species.device

    @property
    def kernels(self) -> str:
        """Name of the implementation of the sums, see `tlpot.kernels`."""
        return self.backbone.edges.kernels.name

    @property
    def layout(self) -> Layout:
        """How the pairs should be laid out: sorted for compiled kernels, which need no padding."""
        kernels, l_max = self.backbone.edges.kernels, self.architecture.l_max
        return "sorted" if kernels.compiled(self.device, self.dtype, l_max) else "auto"

    def at(self, level: str | None = None) -> LevelPotential:
        """Returns the energy model of one level of theory; it shares the weights.

        Raises:
            UnknownLevelError: no such level, or none was named and there are several.
        """
        return LevelPotential(self, choose_level(level, self.levels, f"model {self.card.name!r}"))

    def head(self, level: str) -> Head:
        """Returns the head of a level by its canonical name."""
        return self.heads[self.levels.index(level)]  # type: ignore[return-value]

    def corrections(self, level: str) -> list[Correction]:
        """Returns the closed-form regressors that add to a level's energy; mostly none."""
        return list(self.head(level).corrections)  # type: ignore[arg-type]

    def references(self, level: str) -> dict[int, float]:
        """Returns E0 by atomic number, eV."""
        values = self.head(level).references.value.tolist()
        return dict(zip(self.elements, values, strict=True))

    def with_level(
        self, level: str, references: Mapping[int, float], *, parent: str | None = None
    ) -> Potential:
        """Returns a copy with one more level, or with a level's reference energies replaced.

        Args:
            level: name of the level.
            references: E0 by atomic number, eV.
            parent: the level whose readout the new one inherits; None is the level of that
                name if it is there, else the only one.

        Raises:
            ConfigError: an E0 is missing.
            UnknownLevelError: no such parent, or several levels to choose from.
        """
        name = canonical_level(level)
        if parent is None and name in self.levels:
            parent = name
        source = self.at(parent).level
        head = copy.deepcopy(self.head(source))
        head.forget()
        head.domain = None
        values = reference_list(self.architecture, level, references)
        head.references.value = torch.tensor(values, dtype=torch.float64, device=self.device)
        grown = copy.deepcopy(self)
        heads = {**dict(zip(self.levels, grown.heads, strict=True)), name: head}
        grown.levels = tuple(heads)
        grown.heads = nn.ModuleList(heads.values())
        return grown

    def only(self, level: str) -> Potential:
        """Returns a copy that has just this level.

        Raises:
            UnknownLevelError: no such level.
        """
        return self.keeping((level,))

    def keeping(self, levels: Sequence[str]) -> Potential:
        """Returns a copy that has just these levels, in this order.

        Raises:
            UnknownLevelError: no such level.
        """
        names = [self.at(level).level for level in levels]
        kept = copy.deepcopy(self)
        heads = [kept.head(name) for name in names]
        kept.levels, kept.heads = tuple(names), nn.ModuleList(heads)
        return kept

    def with_rigidity(self, level: str, rigidity: LastLayerRigidity) -> Potential:
        """Returns a copy with the uncertainty of a level, by its canonical name, replaced.

        Raises:
            ConfigError: see `check_rigidity`.
        """
        self.check_rigidity(level)
        grown = copy.deepcopy(self)
        grown.head(level).rigidity = rigidity.to(self.device)
        return grown

    def check_rigidity(self, level: str) -> None:
        """Checks that the energy of a level, by its canonical name, is that of its readout.

        Raises:
            ConfigError: the level has corrections, of which the last layer knows nothing.
        """
        kinds = [correction.info.kind for correction in self.corrections(level)]
        if kinds:
            raise ConfigError(
                f"level {level!r} of model {self.card.name!r} has corrections in closed form "
                f"({', '.join(kinds)}), of which a last-layer uncertainty would know nothing; "
                "join several such models with 'tlpot ensemble', or use strategy frozen-gp, which "
                "has standard deviations of its own"
            )

    def without_uncertainty(self) -> Potential:
        """Returns a copy whose levels have no uncertainty, as any change of weights needs."""
        plain = copy.deepcopy(self)
        for level in plain.levels:
            plain.head(level).forget()
        return plain

    def species(self, atomic_numbers: Tensor) -> Tensor:
        """Returns the index of each atom's element.

        Raises:
            UnknownElementError: the message lists the elements that are known.
        """
        species = self.index.index_select(0, atomic_numbers)
        if bool((species < 0).any()):
            unknown = sorted({chemical_symbols[z] for z in atomic_numbers[species < 0].tolist()})
            known = ", ".join(chemical_symbols[z] for z in self.elements)
            raise UnknownElementError(
                f"model {self.card.name!r} does not know {', '.join(unknown)}; it was trained on "
                f"{known}. Use a model with these elements, or train one"
            )
        return species


class LevelPotential(LevelView[Potential]):
    """A potential at one level of theory: an energy model."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the level knows: those with an E0, which may be fewer than all."""
        references = self.potential.references(self.level)
        return tuple(z for z, energy in references.items() if not math.isnan(energy))

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`."""
        return implemented(*self.potential.corrections(self.level))

    def invariants(self, graph: AtomGraph) -> tuple[Tensor, list[Tensor], Edges]:
        """Returns the index of each atom's element, and what the backbone returns.

        Raises:
            UnknownElementError: an element that the potential, or the level, does not know.
            GeometryError: a charge or spin that the potential does not read.
        """
        found = self.invariants_of_all_levels(graph)
        values = self.potential.head(self.level).references.value
        if bool(values.isnan().any()) and bool(values.index_select(0, found[0]).isnan().any()):
            self._refuse_elements(graph)
        return found

    def invariants_of_all_levels(self, graph: AtomGraph) -> tuple[Tensor, list[Tensor], Edges]:
        """Returns what `invariants` does; the level need not know the elements.

        Raises:
            UnknownElementError: an element that the potential does not know at any level.
            GeometryError: a charge or spin that the potential does not read.
        """
        potential = self.potential
        species = potential.species(graph.atomic_numbers)
        unread = (graph.charge != 0) | (graph.spin != 1)
        if not self.uses_charge and bool(unread.any()):
            k = int(unread.nonzero()[0])
            place = f"structure {k} of {len(unread)}" if len(unread) > 1 else "the structure"
            raise GeometryError(
                f"{place} has charge {graph.charge[k]:+g} and multiplicity {graph.spin[k]:g}, "
                f"but model {potential.card.name!r} describes neutral "
                "singlets only; if each kind of molecule has always the same charge, train with "
                "data.charges=ignore, or take a model that was (tlpot-fragments), or an imported "
                "one that reads charges"
            )
        scalars, edges = potential.backbone(graph, species)
        return species, scalars, edges

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns E0 + interaction energy of each atom, [n_atoms], eV, float64.

        Raises:
            UnknownElementError: an element that the potential does not know.
            GeometryError: a charge or spin that the potential does not read.
        """
        found = self.potential.fused_levels.energies(self, graph)
        return self.energies_of(graph, *self.invariants(graph)) if found is None else found[0]

    def fused(
        self, graph: AtomGraph, *, forces: bool, stress: bool, domain: bool
    ) -> Properties | None:
        """Returns energies and their derivatives by the fused call, None where it cannot serve.

        See `tlpot.energy.FusedModel`.

        Raises:
            GeometryError: stress was asked for and no structure has a volume.
            KernelError: the fused call was asked for by name and does not know such a model.
        """
        return self.potential.fused_levels.properties(self, graph, forces, stress, domain)

    def beyond_references(self) -> dict[int, float]:
        """Returns what an atom of each element has by itself beyond its E0, eV.

        Nothing in a network of tlpot. A MACE may give it an energy, see
        `MaceArchitecture.isolated_at_reference`; where it reads multiplicities, that of the
        neutral atom in its ground state.

        Raises:
            GeometryError: the potential reads multiplicities, but not that of one of the atoms.
        """
        references = self.potential.references(self.level)
        if self.potential.architecture.isolated_at_reference:
            return dict.fromkeys(references, 0.0)
        atoms = [
            System(
                atomic_numbers=np.array([z]), positions=np.zeros((1, 3)), cell=NO_CELL, pbc=NO_PBC,
                spin=1 + int(ground_state_magnetic_moments[z]) if self.uses_charge else 1,
            )
            for z in self.elements
        ]  # fmt: skip
        graph = build_graph(atoms, self.cutoff, layout=self.potential.layout)
        graph = graph.to(self.potential.device)
        try:
            energies = evaluate(self, graph, forces=False).energy.tolist()
        except GeometryError as error:
            raise GeometryError(f"atoms by themselves, in their ground states: {error}") from error
        return {z: e - references[z] for z, e in zip(self.elements, energies, strict=True)}

    @property
    def training_domain(self) -> TrainingDomain | None:
        """What the level was trained on; None if it was never told."""
        return self.potential.head(self.level).domain

    @property
    def has_domain(self) -> bool:
        """Whether the level knows what it was trained on."""
        return self.training_domain is not None

    def energies_and_domain(self, graph: AtomGraph) -> tuple[Tensor, Tensor]:
        """Returns what `atomic_energies` does, and the domain of each structure, [n_systems].

        Raises:
            ConfigError: the level does not know what it was trained on.
            UnknownElementError, GeometryError: see `atomic_energies`.
        """
        domain = self.training_domain
        if domain is None:
            raise ConfigError(f"level {self.level!r} does not know what it was trained on")
        found = self.potential.fused_levels.energies(self, graph, domain=True)
        if found is not None:
            assert found[1] is not None
            return found[0], found[1]
        species, scalars, edges = self.invariants(graph)
        inside = domain(
            scalars, species, graph.system_idx, graph.n_systems, graph.charge, graph.spin,
            compiled=self.potential.layout == "sorted",
        )  # fmt: skip
        return self.energies_of(graph, species, scalars, edges), inside

    def _refuse_elements(self, graph: AtomGraph) -> None:
        known = ", ".join(chemical_symbols[z] for z in self.elements)
        unknown = sorted(set(graph.atomic_numbers.tolist()) - set(self.elements))
        others = [name for name in self.potential.levels if name != self.level]
        raise UnknownElementError(
            f"level {self.level!r} of model {self.potential.card.name!r} had labels of molecules "
            f"of {known} only, not of {', '.join(chemical_symbols[z] for z in unknown)}; take "
            f"another of its levels ({', '.join(others)})"
        )

    def energies_of(
        self, graph: AtomGraph, species: Tensor, scalars: list[Tensor], edges: Edges
    ) -> Tensor:
        """Returns what `atomic_energies` does from what `invariants` gave.

        That may be what it gave of another level of the same potential.
        """
        potential = self.potential
        head = potential.head(self.level)
        energies = head.readout(scalars)
        if potential.repulsion is not None:
            pairs = potential.repulsion(edges, species)
            scale = head.repulsion_scale
            energies = energies + (pairs if scale is None else scale.value * pairs)
        total = head.references.value.index_select(0, species) + energies.double()
        if head.embedding is not None:
            start = cast(MaceBackbone, potential.backbone).initial(graph, species)
            total = total + head.embedding(start)[:, 0].double()
        for correction in potential.corrections(self.level):
            features = select_features(scalars, head.readout, correction.info.blocks)
            total = total + correction(features, species, graph.system_idx, graph.n_systems)
        return total

    def features(self, graph: AtomGraph) -> Tensor:
        """Returns what the last weights of the readout multiply, [n_atoms, n_features], float64.

        Raises:
            UnknownElementError, GeometryError: see `atomic_energies`.
        """
        _, scalars, _ = self.invariants(graph)
        return self.potential.head(self.level).readout.features(scalars).double()

    @property
    def has_uncertainty(self) -> bool:
        """Whether `predict` is possible: the head has a last-layer rigidity or a process."""
        head = self.potential.head(self.level)
        return head.rigidity is not None or head.process is not None

    @property
    def calibration(self) -> Calibration | None:
        """How the standard deviations were scaled; None if they were not."""
        rigidity = self.potential.head(self.level).rigidity
        return None if rigidity is None else rigidity.calibration

    def predict(
        self,
        graph: AtomGraph,
        *,
        forces: bool = True,
        stress: bool = False,
        forces_std: bool = False,
        domain: bool = False,
        calibrated: bool = True,
    ) -> tuple[Properties, Spread]:
        """Evaluates energies, derivatives and standard deviations; see `UncertainModel`.

        The energies' take one more pass without derivatives, the forces' a pass of derivatives
        for each feature. Those of a Gaussian process are of its labels and not calibrated.

        Raises:
            ConfigError: the level has no uncertainty, or no forces.
            UnknownElementError, GeometryError: see `atomic_energies`.
        """
        head = self.potential.head(self.level)
        if not self.has_uncertainty:
            raise ConfigError(
                f"model {self.potential.card.name!r} has no uncertainty at level {self.level!r}; "
                "'tlpot calibrate' gives it one"
            )
        found = evaluate(self, graph, forces=forces or forces_std, stress=stress, domain=domain)
        if head.process is not None:
            return found, process_spread(head.process, self._process_inputs, graph, forces_std)
        assert head.rigidity is not None
        rigid = rigid_forces_std if forces_std else rigid_std
        spread = rigid(head.rigidity, self.features, graph)
        return found, spread.scaled(self.calibration if calibrated else None)

    def _process_inputs(self, graph: AtomGraph) -> tuple[Tensor, Tensor]:
        """Returns the features that the head's process reads, and the index of each element."""
        head = self.potential.head(self.level)
        assert head.process is not None
        species, scalars, _ = self.invariants(graph)
        return select_features(scalars, head.readout, head.process.info.blocks), species
