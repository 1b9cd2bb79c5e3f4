"""Energies and forces of many structures at once, for programs that ask for them so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ase import Atoms

from tlpot.calculators import FragmentMethod, energy_model
from tlpot.energy import (
    EnergyModel,
    Properties,
    described_states,
    describes_state,
    evaluate,
    has_domain,
    layout_of,
)
from tlpot.errors import ConfigError, GeometryError, UnknownElementError
from tlpot.fragments import is_ai2bmd
from tlpot.graph import build_graph
from tlpot.jobs import EnergyMethod, warn_of_contacts
from tlpot.models import LevelView
from tlpot.system import System
from tlpot.topology import symbol
from tlpot.uncertainty import DomainCheck


class BatchEvaluator:
    """One model for batches of structures, which may be others in each call.

    Args:
        method: what computes energies and forces; a scheme holds for structures of any kind.

    Raises:
        ConfigError: arguments that make no sense together, or a model of a difference.
        ModelFileError, UnknownLevelError: see `TLPotCalculator`.
    """

    def __init__(self, method: EnergyMethod) -> None:
        opened = method.opened()
        self.model: EnergyModel
        if method.scheme is not None:
            if isinstance(opened.model, dict):
                raise ConfigError("models by fragment are for one structure; give one model")
            fragments = FragmentMethod(
                scheme=method.scheme,
                low=opened.low,
                charges=method.charges,
                dispersion=method.dispersion,
                trained_charges=method.trained_charges,
            )
            self.model = fragments.force_field(opened.model, device=method.device)
            if not self.model.scheme.smooth:
                raise ConfigError(
                    f"the energy of scheme {fragments.name} jumps, so it is for single points "
                    "only; take mfcc_mbe2 or mfcc"
                )
            if method.low is None and not is_ai2bmd(fragments.name):
                warn_of_contacts(self.model.scheme)
        else:
            calculator, _ = opened.calculator(Atoms())  # refuses what is no potential by itself
            self.model = energy_model(calculator)
        high = opened.model
        self.device = high.potential.device if isinstance(high, LevelView) else torch.device("cpu")
        self._domain = DomainCheck(self.model) if has_domain(self.model) else None

    def __call__(
        self, systems: Sequence[System], *, forces: bool = True, stress: bool = False
    ) -> Properties:
        """Returns energies and what else is wanted; structures without a volume have stress 0.

        Raises:
            UnknownElementError: the model does not know an element.
            GeometryError: an unusable structure, or a charge that the model does not read.
        """
        for system in systems:
            self.check(system)
        graph = build_graph(systems, self.model.cutoff, layout=layout_of(self.model))
        graph = graph.to(self.device)
        bulk = stress and any(system.pbc.all() for system in systems)
        known = self._domain is not None
        found = evaluate(self.model, graph, forces=forces, stress=bulk, domain=known)
        if self._domain is not None and found.domain is not None:
            farthest = int(found.domain.argmin())
            self._domain.warn(float(found.domain[farthest]), systems[farthest].to_atoms())
        return found

    def check(self, system: System) -> None:
        """Checks elements and charge of a structure.

        Raises:
            UnknownElementError, GeometryError: see `__call__`.
        """
        check_elements(system.atomic_numbers.tolist(), self.model)
        if not describes_state(self.model, system.charge, system.spin):
            raise GeometryError(
                f"charge is {system.charge} and spin {system.spin}, but the model describes "
                f"{described_states(self.model)}; leave them out if it was trained on this state"
            )


def check_elements(numbers: Sequence[int], model: Any, names: Sequence[str] | None = None) -> None:
    """Checks that a model, or some model of a mapping, knows all elements.

    Args:
        numbers: atomic numbers.
        model: an energy model, or several by name.
        names: what to call each atom, for messages.

    Raises:
        UnknownElementError: it does not; the first such atom is named.
    """
    models = list(model.values()) if isinstance(model, Mapping) else [model]
    known = {z for one in models for z in one.elements}
    for k, number in enumerate(numbers):
        if number not in known:
            has = " ".join(symbol(z) for z in sorted(known))
            where = f" ({names[k]})" if names else ""
            raise UnknownElementError(
                f"the model does not know {symbol(number)}{where}; it knows {has}. Leave such "
                "atoms out, or take a model with this element"
            )
