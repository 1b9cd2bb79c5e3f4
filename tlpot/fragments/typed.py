"""A model for each kind of fragment, as ITLFF has with its 21 networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tlpot.energy import EnergyModel, implemented, implies_charges
from tlpot.errors import ConfigError, nearest
from tlpot.fragments.batch import FragmentBatch, FragmentMap
from tlpot.graph import AtomGraph
from tlpot.models import identity

OTHERS = "*"
"""Name of the model for fragments without one of their own."""


class TypedModel:
    """Energy models by name of the fragment; used by `FragmentForceField` only.

    Args:
        models: by fragment name, see `fragment_name`; ``"*"`` is for all others.

    Raises:
        ConfigError: no model at all.
    """

    def __init__(self, models: Mapping[str, EnergyModel]) -> None:
        if not models:
            raise ConfigError("no model was given for any fragment")
        self.models = dict(models)

    def identity(self) -> dict[str, Any]:
        """Returns what decides its energies, see `tlpot.models.identity`."""
        return {name: identity(model) for name, model in sorted(self.models.items())}

    def of(self, name: str) -> EnergyModel:
        """Returns the model of a fragment.

        Raises:
            ConfigError: there is none; the nearest name is given.
        """
        found = self.models.get(name, self.models.get(OTHERS))
        if found is None:
            raise ConfigError(
                f"no model for the fragment {name}{nearest(name, self.models)}. Add one, or one "
                f"for all others under {OTHERS!r}"
            )
        return found

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å: the largest."""
        return max(model.cutoff for model in self.models.values())

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that any of the models knows."""
        return tuple(sorted({z for model in self.models.values() for z in model.elements}))

    @property
    def uses_charge(self) -> bool:
        """Whether all models read charges."""
        return all(model.uses_charge for model in self.models.values())

    @property
    def implies_charges(self) -> bool:
        """Whether none reads charges, and all know those of their fragments."""
        return all(implies_charges(model) for model in self.models.values())

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`."""
        return implemented(*self.models.values())

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Refuses: a graph does not say which fragments it holds.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "models by fragment name need a fragment scheme; 'direct' has only one fragment, the "
            "whole structure"
        )


class TypedBatch:
    """The fragments of a structure, sorted by the model that evaluates them.

    Args:
        batch: all fragments.
        names: of the fragments.
        models: by name.

    Raises:
        ConfigError: a fragment without a model.
    """

    def __init__(self, batch: FragmentBatch, names: Sequence[str], models: TypedModel) -> None:
        assembly = batch.assembly
        groups: dict[int, list[int]] = {}
        for k, name in enumerate(names):
            groups.setdefault(id(models.of(name)), []).append(k)
        self._groups = []
        for members in groups.values():
            chosen = torch.isin(assembly.fragment_idx, torch.tensor(members))
            part = FragmentMap([assembly.fragments[k] for k in members], assembly.n_atoms)
            own = FragmentBatch(part, skin=batch.skin)
            self._groups.append((models.of(names[members[0]]), own, chosen.nonzero()[:, 0]))

    def energies(self, positions: Tensor, *, first_order: bool, charge: bool) -> Tensor:
        """Returns the energy of each row of the whole batch, see `FragmentBatch.energies`."""
        found = torch.zeros(len(positions), dtype=torch.float64, device=positions.device)
        for model, batch, rows in self._groups:
            there = rows.to(positions.device)
            own = batch.energies(model, positions[there], first_order=first_order, charge=charge)
            found = found.index_add(0, there, own)
        return found
