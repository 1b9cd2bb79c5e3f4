"""Any ASE calculator with a learned correction: E = E_low + ΔE."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from tlpot import models
from tlpot.calculators.engine import EngineCalculator, charge_changes, named_calculator
from tlpot.calculators.opened_model import Model, SharedCalculator, one_at_a_time, open_model
from tlpot.calculators.tlpot import (
    STANDARD_DEVIATIONS,
    ChargeRefusedError,
    TLPotCalculator,
    given_atoms,
)
from tlpot.energy import Properties
from tlpot.engines import definition_differences, parse_engine
from tlpot.errors import ConfigError, GeometryError, UnknownLevelError
from tlpot.graph import AtomGraph, Layout
from tlpot.levels import canonical_level, difference_parts
from tlpot.numbers import Floats, result_fault
from tlpot.system import System
from tlpot.targets import is_property


class DeltaCalculator(SharedCalculator):
    """The energy, forces and stress of another calculator plus a learned difference.

    Delta learning after Ramakrishnan et al., doi:10.1021/acs.jctc.5b00099. Results also hold
    ``energy_low`` and ``energy_delta``, which sum to ``energy``, and ``domain``, the smaller of
    those that the parts give, if any. What the low calculator cannot give (forces, stress) this
    one cannot either. ``energy_std`` and ``forces_std`` are those of the difference, where it
    knows how sure it is; the low level counts as exact.

    Results are kept while the structure stays; after changing a setting of the low calculator
    call ``reset()``.

    Args:
        low: any ASE calculator, or the name of an engine or model such as ``gfn2-xtb``. It must be
            at the level that the difference was learned for, with the same settings; of the
            calculators of tlpot the level is checked, and of an engine for which the difference
            was learned by ``strategy.low=ENGINE`` the settings and the hashes of its files. A
            named model of several levels is opened at that of the difference.
        delta: a file that ``tlpot finetune --strategy delta strategy.low=LEVEL`` wrote, the
            potential in it, or an ensemble of such.
        level: which difference, if there are several.
        low_level: says that `low` is at this level of theory, the one that the difference was
            learned for, where its own name for it is another.
        device: of the difference, see `TLPotCalculator`.
        dtype: of the difference, see `TLPotCalculator`.
        skin: of the neighbour search for the difference, see `TLPotCalculator`.
        kernels: for a file or name, see `TLPotCalculator`.

    Raises:
        ModelFileError: no such file or name, or an unusable file.
        UnknownLevelError: no such level, or none was named and there are several.
        ConfigError: `low` is no calculator or one of another level, `delta` is a whole
            potential, a sum or of a property, or an argument makes no sense.
    """

    name = "tlpot-delta"

    def __init__(
        self,
        low: Any,
        delta: Model,
        *,
        level: str | None = None,
        low_level: str | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        skin: float = 0.5,
        kernels: str = "auto",
    ) -> None:
        super().__init__()
        if isinstance(delta, models.LevelPotential) and level is None:
            level = delta.level
        source = open_model(delta, device=device, dtype=dtype, kernels=kernels)
        if isinstance(source, models.DeltaPotential):
            raise ConfigError(
                f"the model of {source.levels[0]} holds its low level already and gives totals; "
                "use TLPotCalculator, without low"
            )
        if not isinstance(source, models.Potential | models.Ensemble):
            raise ConfigError(
                f"delta is a {type(source).__name__}; expected a model file, a Potential or an "
                "Ensemble"
            )
        model = source.at(level)
        parts = difference_parts(model.level)
        if parts is None:
            raise ConfigError(
                f"the model's level is {model.level!r}, a total energy and no difference; use "
                "TLPotCalculator, or a model from 'tlpot finetune --strategy delta "
                "strategy.low=LEVEL'"
            )
        if is_property(model.level):
            raise ConfigError(
                f"{model.level} is the difference of a property, which adds to no energy; "
                "tlpot.evaluate takes it where there are labels"
            )
        self.level, self.low_level = parts
        learned = learned_on_model(source.card.dataset.get("low", {}), low)
        if learned is not None:
            low, low_level = named_calculator(low, level=learned), self.low_level
        elif isinstance(low, str):
            low = _named_low(low, self.low_level)
        given = set(getattr(low, "implemented_properties", ()))
        if "energy" not in given or not hasattr(low, "get_potential_energy"):
            raise ConfigError(
                f"low is a {type(low).__name__}; expected an ASE calculator that gives energies"
            )
        known = getattr(low, "level", None) if isinstance(low, _LEVELLED) else None
        if low_level is not None:
            known = canonical_level(low_level)
        if known is not None and known != self.low_level:
            same = f"low_level={self.low_level!r} (--low-level)"
            remedy = f", or, where both names mean the same energies, say so with {same}"
            raise ConfigError(
                f"the difference is from {self.low_level}, but the low calculator is at {known}; "
                f"give one of {self.low_level}{remedy if low_level is None else ''}"
            )
        if isinstance(low, EngineCalculator):
            check_definition(
                source.card.dataset.get("low", {}),
                low.engine.definition,
                "the difference was learned on a low level",
            )
        self.low = low
        self._difference = _Difference(model)
        self._delta = TLPotCalculator(self._difference, device=source.device, skin=skin)
        self.implemented_properties = [
            name
            for name in ("energy", "free_energy", "forces", "stress")
            if name in given or name == "free_energy"
        ]
        own = self._delta.implemented_properties
        self.implemented_properties += [name for name in STANDARD_DEVIATIONS if name in own]
        self.parameters["level"] = self.level

    @property
    def difference(self) -> _Difference:
        """The energy model of the difference."""
        return self._difference

    def identity(self) -> dict[str, Any]:
        """Returns what decides its energies, see `tlpot.models.identity`."""
        parts = {"low": models.identity(self.low), "delta": models.identity(self.difference.model)}
        return {"kind": "DeltaCalculator", **parts}

    @one_at_a_time
    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Returns what has changed since the last calculation, charge and spin included."""
        return [*super().check_state(atoms, tol), *charge_changes(self.atoms, atoms)]

    @one_at_a_time
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluates both parts and stores the results.

        Raises:
            GeometryError: the low calculator gives NaN, infinity or arrays of another shape, or
                the structure is unusable.
            ElementRefusedError, ChargeRefusedError, StressRefusedError: see `TLPotCalculator`;
                or the low calculator has a charge or multiplicity of its own that is another.
        """
        # what was asked for before at this structure stays available
        wanted = {*properties} if system_changes else {*properties, *self.results}
        self.results = {}
        structure: Atoms = given_atoms(self, atoms).copy()
        self.atoms = structure
        results: dict[str, Any] = {}
        # the difference first: it is cheap, and refuses what neither part should be asked
        delta = self._delta.get_property("energy", structure)
        if "forces_std" in wanted:
            self._delta.get_property("forces_std", structure)
        told = self._told(structure)
        for name, get in (("forces", "get_forces"), ("stress", "get_stress")):
            if name in wanted:
                correction = self._delta.get_property(name, structure)
                value = self._checked(name, getattr(self.low, get)(told), structure)
                if name == "stress" and value.shape == (3, 3):
                    value = full_3x3_to_voigt_6_stress(value)
                results[name] = value + correction
        low = self._checked("energy", self.low.get_potential_energy(told), structure).item()
        free = getattr(self.low, "results", {}).get("free_energy")
        free = low if free is None else self._checked("energy", free, structure).item()
        self.results = {
            "energy": low + delta,
            "free_energy": free + delta,
            "energy_low": low,
            "energy_delta": delta,
            **results,
        }
        for name in STANDARD_DEVIATIONS:
            if name in self._delta.results:
                self.results[name] = self._delta.results[name]
        parts = [getattr(part, "results", {}).get("domain") for part in (self._delta, self.low)]
        known = [domain for domain in parts if domain is not None]
        if known:
            self.results["domain"] = min(known)

    def _told(self, structure: Atoms) -> Atoms:
        """A copy that says charge and multiplicity wherever the low calculator may look."""
        system = System.from_atoms(structure)
        found = models.contradiction(self.low, system.charge, system.spin)
        if found is not None:
            raise ChargeRefusedError(
                f"the low calculator {type(self.low).__name__} was made with {found}, but the "
                f"structure has charge {system.charge} and multiplicity {system.spin}; state both "
                "in atoms.info['charge'] and atoms.info['spin'], where the difference reads them"
            )
        copy: Atoms = structure.copy()
        models.mark_charge(copy, system.charge, system.spin)
        return copy

    def _checked(self, name: str, value: Any, structure: Atoms) -> Floats:
        if (fault := result_fault({name: value}, len(structure))) is not None:
            raise GeometryError(
                f"the low calculator {type(self.low).__name__} gives {fault} for "
                f"{structure.get_chemical_formula()}; look at the structure and at the "
                "calculator's own output"
            )
        return np.array(value, dtype=np.float64)


def check_definition(learned: Mapping[str, Any], given: Mapping[str, Any], words: str) -> None:
    """Refuses another model or other settings under the same name; versions may differ.

    Args:
        learned: definition of the engine that a model was fitted on; empty where it is not known.
        given: of the engine that it is used with.
        words: how the message begins.

    Raises:
        ConfigError: they differ.
    """
    if not learned:
        return
    then, now = ({k: v for k, v in each.items() if k != "program"} for each in (learned, given))
    found = definition_differences(then, now)
    if found:
        raise ConfigError(
            f"{words} of another definition than that of the engine given ({'; '.join(found)}); "
            "give the same, or fit the model again"
        )


_LEVELLED = (TLPotCalculator, DeltaCalculator, EngineCalculator)
"""Calculators that know their level of theory."""


def learned_on_model(learned: Mapping[str, Any], low: Any) -> str | None:
    """Returns the level of a named model that a difference was learned on, see ``strategy.low``.

    Labels of a model have its name, and not that of the level that it stands for.

    Args:
        learned: what the card says of the low level.
        low: a name, a file, or something else.

    Returns:
        None if the difference was not learned on a model, or `low` names none.

    Raises:
        ConfigError: it is another model.
        ModelFileError: there is no such model.
    """
    if learned.get("engine") != "model" or not isinstance(low, str):
        return None
    parsed = parse_engine(low, bare_models=True)
    if parsed.kind != "model":
        return None
    found = hashlib.sha256(models.library_file(parsed.target).read_bytes()).hexdigest()
    given = {**learned, "model_sha256": found}
    check_definition(learned, given, "the difference was learned on a low level")
    return str(learned["model_level"])


def _named_low(name: str, level: str) -> Any:
    """Returns the calculator of a name; a model with several levels is opened at `level`."""
    try:
        return named_calculator(name, label=level)
    except UnknownLevelError:
        return named_calculator(name, level=level, label=level)


class _Difference:
    """A model at the level of a difference, which is no total energy, as an energy model."""

    def __init__(self, model: models.LevelPotential | models.LevelEnsemble) -> None:
        self.model = model

    @property
    def cutoff(self) -> float:
        return self.model.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        return self.model.elements

    @property
    def uses_charge(self) -> bool:
        return self.model.uses_charge

    @property
    def implies_charges(self) -> bool:
        return self.model.implies_charges

    @property
    def layout(self) -> Layout:
        return self.model.layout

    @property
    def implements(self) -> frozenset[str]:
        return self.model.implements

    @property
    def has_domain(self) -> bool:
        return self.model.has_domain

    @property
    def domain_parts(self) -> tuple[models.LevelPotential, ...]:
        model = self.model
        return model.domain_parts if isinstance(model, models.LevelEnsemble) else (model,)

    @property
    def has_uncertainty(self) -> bool:
        return self.model.has_uncertainty

    @property
    def calibration(self) -> models.Calibration | None:
        return self.model.calibration

    def predict(self, graph: AtomGraph, **options: bool) -> tuple[Properties, models.Spread]:
        return self.model.predict(graph, **options)

    def energies_and_domain(self, graph: AtomGraph) -> tuple[Tensor, Tensor]:
        return self.model.energies_and_domain(graph)

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        return self.model.atomic_energies(graph)
