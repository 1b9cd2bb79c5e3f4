"""A warning, once, of structures unlike those that a model was trained on."""

from __future__ import annotations

import warnings

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from tlpot.energy import EnergyModel
from tlpot.errors import TLPotWarning
from tlpot.models import FEW_FRAMES, WARNING_LEVEL, LevelView, TrainingDomain


class DomainWarning(TLPotWarning):
    """A structure that is unlike those that the model was trained on."""


class DomainCheck:
    """Warns the first time that a structure is outside.

    Args:
        model: knows what it was trained on, see `tlpot.energy.DomainModel`.
    """

    def __init__(self, model: EnergyModel) -> None:
        self._model = model
        self._done = False

    def warn(self, domain: float, atoms: Atoms) -> None:
        """Warns with a `DomainWarning` if it is time to.

        Args:
            domain: of the structure.
            atoms: the structure.
        """
        if self._done or domain >= WARNING_LEVEL:
            return
        reason = self._reason(atoms)
        known = getattr(self._model, "training_domain", None)
        if not reason and isinstance(known, TrainingDomain) and known.n_frames < FEW_FRAMES:
            return
        self._done = True
        warnings.warn(
            f"{atoms.get_chemical_formula()} is outside of what {_called(self._model)} was trained "
            f"on (domain {domain:.2g}, below {WARNING_LEVEL:g}{reason}): energies and "
            "forces may be far off, here and in what follows. Compare some with a calculation at "
            "the level of theory, or train on such structures",
            DomainWarning,
            stacklevel=2,
        )

    def _reason(self, atoms: Atoms) -> str:
        """Names elements that no training frame had, or charges."""
        known = getattr(self._model, "training_domain", None)
        if not isinstance(known, TrainingDomain):
            return ""
        contents = [part.content for part in known.parts]
        counts = np.sum([content.atoms.tolist() for content in contents], axis=0)
        trained = zip(self._model.elements, counts.tolist(), strict=True)
        never = {z for z, count in trained if not count} & set(np.unique(atoms.numbers).tolist())
        if never:
            symbols = ", ".join(chemical_symbols[z] for z in sorted(never))
            return f"; no training frame has {symbols}"
        state = [int(atoms.info.get("charge", 0)), int(atoms.info.get("spin", 1))]
        states = [one for content in contents for one in content.states.tolist()]
        if known.reads_charge and state not in states:
            return f"; no training frame has charge {state[0]:+d} and multiplicity {state[1]}"
        return ""


def _called(model: EnergyModel) -> str:
    if isinstance(model, LevelView):
        return f"the model {model.potential.card.name!r}"
    return "the model"
