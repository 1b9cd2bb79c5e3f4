"""A potential: one backbone, a head for each level of theory, fixed physics terms."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from tlpot.errors import ConfigError, GeometryError, UnknownElementError
from tlpot.graph import AtomGraph, Layout
from tlpot.kernels import kernels_by_name
from tlpot.levels import canonical_level, choose_level
from tlpot.models.architecture import Architecture
from tlpot.models.backbone import Backbone
from tlpot.models.card import ModelCard
from tlpot.models.correction import Correction
from tlpot.models.features import select_features
from tlpot.models.gaussian import GaussianCorrection
from tlpot.nn.constant import DoubleBuffer
from tlpot.nn.edges import Edges
from tlpot.nn.readout import Readout
from tlpot.nn.repulsion import ZBLRepulsion


class Head(nn.Module):
    """What belongs to one level of theory.

    Args:
        architecture: sizes.
        references: E0 of each element, eV, in the order of ``architecture.elements``.
        scale: see `Readout`.

    Attributes:
        corrections: closed-form regressors that add to the readout's energy; mostly none.
    """

    def __init__(self, architecture: Architecture, references: list[float], scale: float) -> None:
        super().__init__()
        self.references = DoubleBuffer(torch.tensor(references, dtype=torch.float64))
        self.readout = Readout(
            n_layers=architecture.n_layers,
            n_channels=architecture.n_channels,
            n_hidden=architecture.readout_hidden,
            scale=scale,
        )
        self.corrections = nn.ModuleList()


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
        self, architecture: Architecture, heads: Mapping[str, Head], kernels: str = "auto"
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.card = ModelCard()
        self.levels = tuple(heads)
        self.backbone = Backbone(architecture, kernels_by_name(kernels))
        self.repulsion = (
            ZBLRepulsion(architecture.elements, architecture.envelope_power)
            if architecture.zbl
            else None
        )
        self.heads = nn.ModuleList(heads.values())
        index = torch.full((len(chemical_symbols),), -1)
        index[list(architecture.elements)] = torch.arange(len(architecture.elements))
        self.register_buffer("index", index, persistent=False)

    @classmethod
    def create(
        cls,
        architecture: Architecture,
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
            kernels: ``auto``, ``compiled``, ``torch`` or ``torch_scatter``, see `tlpot.kernels`.

        Raises:
            ConfigError: a level lacks an E0 for one of the elements.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads = {
                canonical_level(level): Head(
                    architecture, _reference_list(architecture, level, references), scale
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
    def dtype(self) -> torch.dtype:
        """Precision of the network; reference energies and sums are float64 always."""
        return self.backbone.species.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.species.device

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
        values = _reference_list(self.architecture, level, references)
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
        name = self.at(level).level
        kept = copy.deepcopy(self)
        kept.levels, kept.heads = (name,), nn.ModuleList([kept.head(name)])
        return kept

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


class LevelPotential:
    """A potential at one level of theory: an energy model.

    Attributes:
        potential: the potential.
        level: canonical name.
    """

    def __init__(self, potential: Potential, level: str) -> None:
        self.potential, self.level = potential, level

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å."""
        return self.potential.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the potential knows."""
        return self.potential.elements

    @property
    def uses_charge(self) -> bool:
        """Whether the energy depends on total charge and multiplicity."""
        return self.potential.architecture.charge_spin

    @property
    def layout(self) -> Layout:
        """See `Potential.layout`."""
        return self.potential.layout

    @property
    def has_forces(self) -> bool:
        """Whether the energy can be differentiated in the positions."""
        return all(c.has_forces for c in self.potential.corrections(self.level))

    def invariants(self, graph: AtomGraph) -> tuple[Tensor, list[Tensor], Edges]:
        """Returns the index of each atom's element, and what the backbone returns.

        Raises:
            UnknownElementError: an element that the potential does not know.
            GeometryError: a charge or spin that the potential does not read.
        """
        potential = self.potential
        species = potential.species(graph.atomic_numbers)
        if not self.uses_charge and bool((graph.charge != 0).any() | (graph.spin != 1).any()):
            raise GeometryError(
                f"a structure has charge {graph.charge.tolist()[:4]} and spin "
                f"{graph.spin.tolist()[:4]}, but model {potential.card.name!r} describes neutral "
                "singlets only; train with model.charge_spin=true, or leave charge and spin out "
                "of the data if they are the same everywhere"
            )
        scalars, edges = potential.backbone(graph, species)
        return species, scalars, edges

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns E0 + interaction energy of each atom, [n_atoms], eV, float64.

        Raises:
            UnknownElementError: an element that the potential does not know.
            GeometryError: a charge or spin that the potential does not read.
        """
        potential = self.potential
        head = potential.head(self.level)
        species, scalars, edges = self.invariants(graph)
        energies = head.readout(scalars)
        if potential.repulsion is not None:
            energies = energies + potential.repulsion(edges, species)
        total = head.references.value.index_select(0, species) + energies.double()
        for correction in potential.corrections(self.level):
            features = select_features(scalars, head.readout, correction.info.blocks)
            total = total + correction(features, species, graph.system_idx, graph.n_systems)
        return total

    @torch.no_grad()
    def energy_std(self, graph: AtomGraph) -> Tensor:
        """Returns the standard deviation of a Gaussian process's energies, [n_systems], eV.

        It is that of the process alone and is not calibrated.

        Raises:
            ConfigError: no Gaussian process is part of this level.
        """
        head = self.potential.head(self.level)
        processes = [c for c in head.corrections if isinstance(c, GaussianCorrection)]
        if not processes:
            raise ConfigError(
                f"level {self.level} of model {self.potential.card.name!r} has no Gaussian "
                "process to give a standard deviation; make one with strategy frozen-gp"
            )
        species, scalars, _ = self.invariants(graph)
        variance = graph.positions.new_zeros(graph.n_systems)
        for process in processes:
            features = select_features(scalars, head.readout, process.info.blocks)
            std = process.energy_std(features, species, graph.system_idx, graph.n_systems)
            variance = variance + std.square()
        return variance.sqrt()


def _reference_list(
    architecture: Architecture, level: str, references: Mapping[int, float]
) -> list[float]:
    missing = [chemical_symbols[z] for z in architecture.elements if z not in references]
    if missing:
        raise ConfigError(
            f"level {level!r}: no reference energy E0 for {', '.join(missing)}; every element "
            "of the model needs one"
        )
    values = [float(references[z]) for z in architecture.elements]
    if not all(map(math.isfinite, values)):
        raise ConfigError(f"level {level!r}: the reference energies hold NaN or infinity: {values}")
    return values
