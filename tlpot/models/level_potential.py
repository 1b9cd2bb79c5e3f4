"""A potential at one of its levels: energies and features of atoms, domain, uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from ase.data import chemical_symbols, ground_state_magnetic_moments
from torch import Tensor, zeros_like

from tlpot.energy import ENERGY_ONLY, Properties, described_states, evaluate, implemented
from tlpot.errors import ConfigError, GeometryError, UnknownElementError
from tlpot.graph import AtomGraph, build_graph
from tlpot.models.backbone import EngineBackbone
from tlpot.models.domain import TrainingDomain
from tlpot.models.features import KNOWN, check_blocks, feature_blocks, select_features
from tlpot.models.mace import MaceBackbone
from tlpot.models.property_target import (
    N_KNOWN,
    PropertyTarget,
    attention_weights,
    known_columns,
    known_term,
    shares,
)
from tlpot.models.regressors import process_spread
from tlpot.models.spread import Calibration, Spread, rigid_forces_std, rigid_std
from tlpot.models.trained import LevelView
from tlpot.nn import Edges
from tlpot.system import NO_CELL, NO_PBC, System

if TYPE_CHECKING:
    from tlpot.models.potential import Potential  # noqa: F401  a parameter of the base class


class LevelPotential(LevelView["Potential"]):
    """A potential at one level of theory: an energy model."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the level knows: those with an E0, which may be fewer than all."""
        references = self.potential.references(self.level)
        return tuple(z for z, energy in references.items() if not math.isnan(energy))

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`; a property or engine has no forces."""
        if self.target is not None or isinstance(self.potential.backbone, EngineBackbone):
            return ENERGY_ONLY
        return implemented(*self.potential.corrections(self.level))

    @property
    def target(self) -> PropertyTarget | None:
        """The property that the level is of; None for energies."""
        return self.potential.target(self.level)

    @property
    def link(self) -> Callable[[Tensor], Tensor] | None:
        """See `tlpot.energy.evaluate`."""
        return None if self.target is None else self.target.link

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
        unread = graph.spin != 1
        if not self.implies_charges:
            unread = unread | (graph.charge != 0)
        if not self.uses_charge and bool(unread.any()):
            k = int(unread.nonzero()[0])
            place = f"structure {k} of {len(unread)}" if len(unread) > 1 else "the structure"
            raise GeometryError(
                f"{place} has charge {graph.charge[k]:+g} and multiplicity {graph.spin[k]:g}, "
                f"but model {potential.card.name!r} describes "
                f"{described_states(self)}; if each kind of molecule has always the same charge, "
                "train with data.charges=ignore, or take a model that was (tlpot-peptides), or an "
                "imported one that reads charges"
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
        if self.target is not None:
            # nothing is seen of an atom without neighbours, and its zeros are near some prototype;
            # an energy knows it, a property does not
            alone = (scalars[0] == 0).all(dim=1).to(inside)
            per_system = torch.zeros_like(inside).index_add(0, graph.system_idx, alone)
            inside = torch.where(per_system > 0, 0.0, inside)
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
        if head.target is not None:
            return self._property_parts(graph, species, scalars)
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

    def _property_parts(self, graph: AtomGraph, species: Tensor, scalars: list[Tensor]) -> Tensor:
        """Returns what each atom adds to the latent value of the structure, [n_atoms], float64."""
        head = self.potential.head(self.level)
        share = shares(head.target, graph)
        references = head.references.value.index_select(0, species)
        values = head.readout(scalars).double()
        if head.attention is not None:
            scores = head.attention(scalars[-1])[:, 0].double()
            values = values * attention_weights(scores, graph)
        elif share is not None:
            values = values * share
        total = values + (references if share is None else references * share)
        if head.target is not None and head.target.known is not None:
            told = self._known_columns(graph)
            total = total + known_term(head.target.known, told)
        for correction in self.potential.corrections(self.level):
            inputs = self.regressor_inputs(graph, species, scalars, correction.info.blocks)
            total = total + correction(*inputs, graph.system_idx, graph.n_systems)
        return total

    def _known_columns(self, graph: AtomGraph) -> Tensor:
        """Returns `known_columns`, divided among the atoms of each structure, [n_atoms, 2].

        Raises:
            ConfigError: the value is not given.
        """
        assert self.target is not None
        assert self.target.known is not None
        if graph.known is None:
            name = self.target.known.level
            raise ConfigError(
                f"model {self.potential.card.name!r} at {self.level!r} has to be told {name} of "
                "each structure, and is not; give a file that has it (with spec or keys), or "
                f"atoms.info[{name!r}] to a calculator"
            )
        columns = known_columns(self.target.known, graph.known)
        counts = torch.bincount(graph.system_idx, minlength=graph.n_systems).double()
        return (columns / counts[:, None]).index_select(0, graph.system_idx)

    def block_sizes(self, blocks: Sequence[str] = ()) -> dict[str, int]:
        """Returns the blocks of features that a regressor reads, with their sizes.

        Args:
            blocks: as `check_blocks` takes them; a value that the model is told comes in addition.

        Raises:
            ConfigError: no such block.
        """
        sizes = feature_blocks(self.potential.architecture)
        own = [block for block in blocks if block != KNOWN]
        found = {block: sizes[block] for block in check_blocks(own, self.potential.architecture)}
        if self.target is not None and self.target.known is not None:
            found[KNOWN] = N_KNOWN
        return found

    @property
    def n_kinds(self) -> int:
        """Kinds of atoms that a regressor tells apart: elements; all are alike for a property."""
        return 1 if self.target is not None else len(self.potential.elements)

    def regressor_inputs(
        self, graph: AtomGraph, species: Tensor, scalars: list[Tensor], blocks: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Returns features [n_atoms, n_features] as a regressor sums them, and kinds [n_atoms].

        Those of an intensive property are divided by the number of atoms, so that sums are means.
        """
        readout = self.potential.head(self.level).readout
        own = [block for block in blocks if block != KNOWN]
        features = select_features(scalars, readout, own) if own else graph.positions[:, :0]
        if self.target is None:
            return features, species
        if (share := shares(self.target, graph)) is not None:
            features = features * share[:, None]
        if KNOWN in blocks:
            features = torch.cat([features, self._known_columns(graph)], dim=1)
        return features, zeros_like(species)

    def features(self, graph: AtomGraph) -> Tensor:
        """Returns what the last weights of the readout multiply, [n_atoms, n_features], float64.

        Those of a property are so that they add up, too: divided by the number of atoms, or
        weighted.

        Raises:
            UnknownElementError, GeometryError: see `atomic_energies`.
        """
        _, scalars, _ = self.invariants(graph)
        head = self.potential.head(self.level)
        features = head.readout.features(scalars).double()
        if head.attention is not None:
            scores = head.attention(scalars[-1])[:, 0].double()
            return features * attention_weights(scores, graph)[:, None]
        share = shares(head.target, graph)
        return features if share is None else features * share[:, None]

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
            spread = process_spread(head.process, self._process_inputs, graph, forces_std)
        else:
            assert head.rigidity is not None
            rigid = rigid_forces_std if forces_std else rigid_std
            spread = rigid(head.rigidity, self.features, graph)
            spread = spread.scaled(self.calibration if calibrated else None)
        if self.target is None:
            return found, spread
        # to first order, as both are of the latent value
        slope = self.target.slope(found.energy)
        return found, replace(spread, energy_std=spread.energy_std * slope)

    def _process_inputs(self, graph: AtomGraph) -> tuple[Tensor, Tensor]:
        """Returns the features that the head's process reads, and the index of each element."""
        head = self.potential.head(self.level)
        assert head.process is not None
        species, scalars, _ = self.invariants(graph)
        return self.regressor_inputs(graph, species, scalars, head.process.info.blocks)
