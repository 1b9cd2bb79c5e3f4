"""A potential and a correction to it: one energy model, E = E_low + ΔE, and its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, device, dtype, nn, stack, zeros_like

from tlpot.config import parse
from tlpot.energy import implemented
from tlpot.errors import ConfigError, ModelFileError
from tlpot.graph import AtomGraph, Layout
from tlpot.levels import canonical_level, choose_level, difference_level, difference_parts
from tlpot.models.description import DELTA_FORMAT, ModelCard
from tlpot.models.level_potential import LevelPotential
from tlpot.models.model_file import FORMATS, FileFormat, card_mapping, read_part, write_part
from tlpot.models.potential import Potential
from tlpot.models.property_target import PropertyTarget
from tlpot.models.regressors import Correction
from tlpot.models.trained import LevelView


class DeltaPotential(nn.Module):
    """The sum of a potential at its low level and of a network for the difference.

    Delta learning after Ramakrishnan et al., doi:10.1021/acs.jctc.5b00099. Both networks are
    evaluated on one neighbour list, that of the larger cutoff; pairs beyond its own cutoff
    add nothing to a network, because its envelope is zero there.

    A sum cannot tell its uncertainty; one that a part has is left out.

    Args:
        low: has one level, that of E_low.
        delta: has one level, named ``high - low``.

    Raises:
        ConfigError: a part has other levels, the parts have no element in common, or they are
            on different devices or in different precision.

    Attributes:
        low: the potential of the low level.
        delta: the network of the difference.
        levels: one name, that of the high level.
        card: provenance of the sum; that of the low level is ``low.card``.
    """

    def __init__(self, low: Potential, delta: Potential) -> None:
        super().__init__()
        self.low, self.delta = _certain(low), _certain(delta)
        self.card = ModelCard()
        if len(low.levels) != 1 or len(delta.levels) != 1:
            raise ConfigError(
                f"the parts of a sum have one level each, not {low.levels} and {delta.levels}; "
                "see Potential.only"
            )
        parts = difference_parts(delta.levels[0])
        if parts is None or difference_level(parts[0], low.levels[0]) != delta.levels[0]:
            raise ConfigError(
                f"a network for the level {delta.levels[0]!r} cannot be added to one for "
                f"{low.levels[0]!r}; expected 'high - {low.levels[0]}'"
            )
        self.levels = (canonical_level(parts[0]),)
        self._check_properties()
        if not self.elements:
            raise ConfigError("the two parts of the sum have no element in common")
        for name in ("dtype", "device"):
            a, b = getattr(low, name), getattr(delta, name)
            if a != b:
                raise ConfigError(f"the low part has {name} {a}, the difference {b}; move one")

    def _check_properties(self) -> None:
        low, delta = (part.target(part.levels[0]) for part in (self.low, self.delta))
        if (low is None) != (delta is None) or (
            low is not None
            and delta is not None
            and (low.link is not None or low.quantity != delta.quantity)
        ):
            said = [t.quantity.words if t is not None else "total energies" for t in (low, delta)]
            raise ConfigError(
                f"{self.low.levels[0]} ({said[0]}) and {self.delta.levels[0]} ({said[1]}) do not "
                "add up; a sum is of energies, or of one scalar property at two levels"
            )

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å: the larger of the two."""
        return max(self.low.cutoff, self.delta.cutoff)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that both parts know."""
        return tuple(z for z in self.low.elements if z in self.delta.elements)

    @property
    def dtype(self) -> dtype:
        """Precision of the networks."""
        return self.low.dtype

    @property
    def device(self) -> device:
        """Where the weights are."""
        return self.low.device

    @property
    def kernels(self) -> str:
        """Name of the implementation of the sums."""
        return self.low.kernels

    @property
    def layout(self) -> Layout:
        """How the pairs should be laid out."""
        layouts = (self.low.layout, self.delta.layout)
        return "sorted" if layouts == ("sorted", "sorted") else "auto"

    @property
    def uses_charge(self) -> bool:
        """Whether a part reads charge and multiplicity; the other may refuse them."""
        return self.low.uses_charge or self.delta.uses_charge

    def at(self, level: str | None = None) -> DeltaLevel:
        """Returns the energy model; it shares the weights.

        Raises:
            UnknownLevelError: not the level of the sum.
        """
        return DeltaLevel(self, choose_level(level, self.levels, f"model {self.card.name!r}"))

    def corrections(self, level: str) -> list[Correction]:
        """Returns the terms on frozen features that the low level has."""
        self.at(level)
        return self.low.corrections(self.low.levels[0])

    def references(self, level: str) -> dict[int, float]:
        """Returns E0 of the sum by atomic number, eV."""
        self.at(level)
        low = self.low.references(self.low.levels[0])
        delta = self.delta.references(self.delta.levels[0])
        return {z: low[z] + delta[z] for z in self.elements}


def _certain(part: Potential) -> Potential:
    known = any(part.at(level).has_uncertainty for level in part.levels)
    return part.without_uncertainty() if known else part


class DeltaLevel(LevelView[DeltaPotential]):
    """A sum at its level of theory: an energy model."""

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`."""
        return implemented(self.potential.low.at(), self.potential.delta.at())

    @property
    def target(self) -> PropertyTarget | None:
        """The property that the level is of; None for energies."""
        return self.potential.low.at().target

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns E_low + ΔE of each atom, [n_atoms], eV, float64.

        Raises:
            UnknownElementError: an element that one of the parts does not know.
            GeometryError: a charge or spin that one of the parts does not read.
        """
        low, delta = (part.atomic_energies(told) for part, told in self._told(graph))
        return low + delta

    def _told(self, graph: AtomGraph) -> list[tuple[LevelPotential, AtomGraph]]:
        """Each part with what it is told: charges that its training ignored only if it reads them.

        The card of the sum knows of that training, that of a difference need not.
        """
        neutral = graph
        if self.potential.card.implies_charges:
            neutral = replace(graph, charge=zeros_like(graph.charge))
        parts = (self.potential.low.at(), self.potential.delta.at())
        return [(part, graph if part.uses_charge else neutral) for part in parts]

    @property
    def has_domain(self) -> bool:
        """Whether a part knows what it was trained on."""
        return self.potential.low.at().has_domain or self.potential.delta.at().has_domain

    @property
    def domain_parts(self) -> tuple[LevelPotential, ...]:
        """What knows of the training: both parts."""
        return self.potential.low.at(), self.potential.delta.at()

    def energies_and_domain(self, graph: AtomGraph) -> tuple[Tensor, Tensor]:
        """Returns what `atomic_energies` does, and the smaller of the parts' domains.

        Raises:
            ConfigError: no part knows what it was trained on.
            UnknownElementError, GeometryError: see `atomic_energies`.
        """
        energies: list[Tensor] = []
        inside: list[Tensor] = []
        for part, told in self._told(graph):
            if part.has_domain:
                own, found = part.energies_and_domain(told)
                inside.append(found)
            else:
                own = part.atomic_energies(told)
            energies.append(own)
        if not inside:
            raise ConfigError(f"level {self.level!r} does not know what it was trained on")
        return energies[0] + energies[1], stack(inside).amin(dim=0)


def _write(potential: DeltaPotential) -> tuple[dict[str, Any], dict[str, Tensor]]:
    low, low_tensors = write_part(potential.low, "low.")
    delta, delta_tensors = write_part(potential.delta, "delta.")
    metadata = {
        "parts": {"low": low, "delta": delta},
        "levels": list(potential.levels),
        "card": card_mapping(potential.card),
    }
    return metadata, low_tensors | delta_tensors


def _read(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    name: str,
    dtype: torch.dtype | None,
    kernels: str,
) -> DeltaPotential:
    try:
        parts = {part: metadata["parts"][part] for part in ("low", "delta")}
        levels = list(metadata["levels"])
        card = parse(ModelCard, metadata["card"], name)
    except (KeyError, TypeError, ConfigError) as error:
        raise ModelFileError(f"{name}: the sum's description is damaged: {error}") from error
    low, rest = read_part(parts["low"], tensors, "low.", f"{name}: low", dtype, kernels)
    delta, rest = read_part(parts["delta"], rest, "delta.", f"{name}: delta", dtype, kernels)
    if rest:
        raise ModelFileError(f"{name} has unknown weights {sorted(rest)[:3]} for a sum")
    try:
        potential = DeltaPotential(low, delta)
    except ConfigError as error:
        raise ModelFileError(f"{name} is damaged: {error}") from error
    if list(potential.levels) != levels:
        raise ModelFileError(
            f"{name} is damaged: it states levels {levels}, but its parts give "
            f"{list(potential.levels)}"
        )
    potential.card = card
    return potential


FORMATS[DELTA_FORMAT] = FileFormat(kind=DeltaPotential, write=_write, read=_read)
