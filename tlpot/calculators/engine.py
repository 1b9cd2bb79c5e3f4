"""Engines as ASE calculators, and what makes calculators or energy models of their names."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from tlpot.calculators.opened_model import (
    Model,
    SharedCalculator,
    one_at_a_time,
    only_energy_level,
    open_model,
)
from tlpot.calculators.tlpot import TLPotCalculator, given_atoms
from tlpot.config import parse, read_yaml
from tlpot.data import Labels
from tlpot.energy import EnergyModel
from tlpot.engines import (
    METHODS,
    MMFF94,
    Describing,
    Deviating,
    Engine,
    EngineName,
    EngineSpec,
    LabelError,
    MMFF94Calculator,
    ModelEngine,
    ModelSettings,
    check_electrons,
    make_engine,
    parse_engine,
    xtb_calculator,
)
from tlpot.errors import ConfigError
from tlpot.levels import canonical_level
from tlpot.models import CalculatorModel, LevelView, TrainedModel, load
from tlpot.numbers import Floats
from tlpot.system import System, stated_charge_of
from tlpot.targets import is_property

Source = Model | Any
"""What can evaluate structures: whatever `TLPotCalculator` takes, the name of an engine, an ASE
calculator, or a function from ase.Atoms to one."""


class EngineCalculator(SharedCalculator):
    """An engine behind ASE; charge and multiplicity come from ``atoms.info``.

    One that knows how far its networks differ, such as the ensemble of AIMNet2, adds
    ``energy_std`` (eV) and ``forces_std`` ([n_atoms, 3], eV/Å) to the results, as an ensemble
    of tlpot's own does; neither is calibrated.

    Args:
        engine: see `tlpot.engines.make_engine`.
    """

    name = "tlpot-engine"

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.implemented_properties = ["energy", "free_energy"]
        if engine.has_forces:
            self.implemented_properties.append("forces")
        if getattr(engine, "has_stress", False):
            self.implemented_properties.append("stress")
        self.implemented_properties += getattr(engine, "deviations", ())

    def identity(self) -> dict[str, Any]:
        """Returns what decides its energies, see `tlpot.models.identity`."""
        engine = self.engine
        return {"kind": "engine", "level": engine.level, "definition": dict(engine.definition)}

    @property
    def level(self) -> str:
        """Level of theory of the engine."""
        return self.engine.level

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
        """Computes energy and, if they exist, forces.

        Raises:
            LabelError: the program fails, or this structure cannot be done.
            ConfigError: the engine does not cover an element.
        """
        # what was asked for before at this structure stays available
        wanted = {*properties} if system_changes else {*properties, *self.results}
        super().calculate(atoms, properties, system_changes)
        system = self._checked(atoms)
        options = {"stress": True} if "stress" in wanted else {}
        try:
            labels, spread = self._computed(system, **options)
        except LabelError as error:
            hint = f"{self.engine.level} max_iterations=2000"
            remedy = f"; settings go after the name of the engine, such as {hint!r}"
            raise LabelError(f"{error}{remedy if 'not converged' in str(error) else ''}") from error
        self.results = {"energy": labels.energy, "free_energy": labels.energy}
        if labels.forces is not None:
            self.results["forces"] = np.array(labels.forces)
        if labels.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(labels.stress)
        for name, values in spread.items():
            self.results[name] = values if values.ndim else float(values)

    def _computed(self, system: System, **options: bool) -> tuple[Labels, dict[str, Floats]]:
        """Returns the labels and the standard deviations that come with them."""
        options |= {"forces": self.engine.has_forces}
        if getattr(self.engine, "deviations", ()):
            engine = cast(Deviating, self.engine)
            return engine.compute_with_deviations(system, log=io.StringIO(), **options)
        return self.engine.compute(system, log=io.StringIO(), **options), {}

    @one_at_a_time
    def get_descriptors(self, atoms: Atoms | None = None) -> Floats:
        """Returns the engine's features of the atoms, [n_atoms, n_features].

        Raises:
            ConfigError: the engine has none.
            LabelError: the program fails.
        """
        if not isinstance(self.engine, Describing):
            raise ConfigError(
                f"the engine of {self.level} has no descriptors; env:, ase: and torch: engines may"
            )
        return self.engine.descriptors(self._checked(atoms), io.StringIO())

    def _checked(self, atoms: Atoms | None) -> System:
        system = System.from_atoms(given_atoms(self, atoms))
        if not system.pbc.any():
            check_electrons(system)
        numbers = sorted(set(system.atomic_numbers.tolist()))
        self.engine.check(numbers, periodic=bool(system.pbc.any()))
        return system


def charge_changes(before: Atoms | None, now: Atoms) -> list[str]:
    """Returns which of charge and spin differ between two structures as they state them."""
    if before is None:
        return []
    old, new = stated_charge_of(before), stated_charge_of(now)
    return ["charge"] * ((old.charge or 0) != (new.charge or 0)) + ["spin"] * (old.spin != new.spin)


def named_calculator(
    name: str, *, level: str | None = None, label: str | None = None
) -> Calculator:
    """Returns the ASE calculator of a name, see `tlpot.engines.parse_engine`.

    Args:
        name: of an engine, or a model file or the name of a model.
        level: of a model with several.
        label: of an ``ase:`` engine a name for its level of theory, by default that of the class;
            others have one.

    Raises:
        ConfigError: no such engine or setting.
        ModelFileError, UnknownLevelError: see `TLPotCalculator`.
        MissingExtraError: the engine's program is not installed.
    """
    parsed = parse_engine(name, bare_models=True)
    if parsed.kind == "model":
        return TLPotCalculator(
            parsed.target, level=_one_level(parsed, level), **_model_settings(parsed)
        )
    if level is not None:
        raise ConfigError(f"{parsed.text} has no levels to choose from; leave level={level!r} out")
    spec = EngineSpec(name=name, level=parsed.class_name and (label or parsed.class_name))
    return EngineCalculator(make_engine(spec))


def named_source(name: str, *, on_done: Callable[[], object] | None = None) -> Any:
    """Returns what a name stands for, as `FragmentCalculator` takes it.

    Args:
        name: a model file, the name of a model or of an engine; or a YAML file that maps names of
            fragments to any of these, ``"*"`` to that of all others.
        on_done: called after each calculation of an engine.

    Raises:
        ConfigError: no such engine or setting, or an unreadable YAML file.
        MissingExtraError: the engine's program is not installed.
    """
    if name.endswith((".yaml", ".yml")):
        return _by_fragment(Path(name), on_done)
    parsed = parse_engine(name, bare_models=True)
    if parsed.kind != "model":
        return CalculatorModel(named_calculator(name), on_done=on_done)
    if parsed.level is None and not parsed.settings:
        return parsed.target
    return load(parsed.target, **_model_settings(parsed)).at(parsed.level)


def energy_model(
    source: Source, *, level: str | None = None, kind: str | None = None, **options: Any
) -> EnergyModel:
    """Returns the energy model in whatever was given, see `FragmentCalculator`.

    Args:
        source: what has energies.
        level: of a model with several levels of theory; what has none to choose from must be of
            that very level.
        kind: of the fragments that it is for, by its name in a map of models.
        options: see `open_model`.

    Raises:
        ConfigError: nothing that has energies, an argument that does not apply, or another level.
        ModelFileError, UnknownLevelError: see `TLPotCalculator`.
    """
    is_calculator = hasattr(source, "get_potential_energy")
    known = getattr(source, "model", None) if is_calculator else None
    if isinstance(known, EnergyModel):  # of a calculator of tlpot's
        return known
    if isinstance(source, str):
        parsed = parse_engine(source, bare_models=True)
        if parsed.kind == "model":
            source, level = parsed.target, _one_level(parsed, level)
            options = {**options, **_model_settings(parsed)}
        else:
            source = named_source(source)
    is_factory = callable(source) and not isinstance(source, EnergyModel | TrainedModel)
    if is_calculator or is_factory:
        _check_own_level(source, level, kind)
        return CalculatorModel(source)
    if isinstance(source, LevelView):
        _check_own_level(source, level, kind)
        level, source = source.level, source.potential
    opened = open_model(source, **options)
    if isinstance(opened, TrainedModel):
        found = opened.at(level or only_energy_level(opened))
        if is_property(found.level):
            raise ConfigError(f"{found.level} is a property; here a level of energies is needed")
        return found
    _check_own_level(opened, level, kind)
    return opened


def _check_own_level(model: Any, level: str | None, kind: str | None) -> None:
    """Checks that what is of one level, or of none, is of the level that is wanted, if any."""
    source = model.calculator if isinstance(model, CalculatorModel) else model
    own = getattr(source, "level", None)
    if level is None or (isinstance(own, str) and canonical_level(own) == canonical_level(level)):
        return
    where = "the model" if kind is None else f"the model for {kind}"
    if not isinstance(own, str):
        others = "" if kind is None else ", and name that of the others one by one: 'FILE@LEVEL'"
        raise ConfigError(
            f"{where} has no levels of theory to choose from, and level is {level!r}; leave level "
            f"out{others}"
        )
    remedy = "leave level out" if kind is None else "take one level for all kinds"
    raise ConfigError(
        f"{where} is of the level {own!r}, and level is {level!r}; {remedy}, or another model"
    )


@dataclass(frozen=True)
class LevelCalculator:
    """Makes calculators of an engine, in any process.

    Attributes:
        engine: as plain data.
    """

    engine: EngineSpec

    def __call__(self, atoms: Atoms) -> Calculator:
        """Returns a calculator; it reads charge and multiplicity of the atoms."""
        return EngineCalculator(make_engine(self.engine))


@dataclass(frozen=True, kw_only=True, slots=True)
class CalculatorFactory:
    """Makes a calculator for each molecule of a sampling, in any process; see `of`.

    Attributes:
        name: ``gfn2-xtb``, ``gfn1-xtb``, ``mmff94``, or a model file or the name of a model; with
            a function whatever the calculator is called.
        level: level of theory; of a model with several the one to use.
        factory: a function of a module, for calculators of one's own: it is given the atoms.
    """

    name: str = "gfn2-xtb"
    level: str | None = None
    factory: Callable[[Atoms], Calculator] | None = None

    @classmethod
    def of(cls, engine: EngineSpec | str, level: str | None = None) -> CalculatorFactory:
        """Returns the factory of an engine.

        xTB without settings is tblite's own calculator, which starts each density from the one
        before, and MMFF94 keeps the bonds of the molecule; with settings, and for all other
        engines, each energy is independent.

        Args:
            engine: the engine; as text also a model file or the name of a model.
            level: of a model with several; of an ``ase:`` engine a name for its level of theory.

        Raises:
            ConfigError: no such engine or setting, or a level that does not apply.
            MissingExtraError: its program is not installed.
        """
        if isinstance(engine, EngineSpec):
            parsed, spec = engine.parsed, engine
        else:
            parsed = parse_engine(engine, bare_models=True)
            spec = EngineSpec(name=engine, level=level)
        if parsed.kind in (*METHODS, MMFF94) and not parsed.settings:
            if level is not None:
                raise ConfigError(f"level={level!r} does not apply to {parsed.kind}")
            return cls(name=parsed.kind)
        if parsed.kind == "model" and not parsed.settings:
            return cls(name=parsed.target, level=_one_level(parsed, level))
        return cls(name=spec.name, level=make_engine(spec).level, factory=LevelCalculator(spec))

    @property
    def label_level(self) -> str:
        """The level of theory of the energies; that of a model has the model's name.

        Raises:
            ConfigError: a function without a level, or a level beside xTB.
            ModelFileError: no such model.
        """
        if self.factory is not None:
            if self.level is None:
                raise ConfigError("name the level of theory of your calculator: level='...'")
            return self.level
        if self.name in (*METHODS, MMFF94):
            if self.level is not None:
                raise ConfigError(f"level={self.level!r} does not apply to {self.name}")
            return self.name
        return self._model_engine().level

    @property
    def factory_name(self) -> str | None:
        """What tells one function from another: where it is, or the object in words."""
        if self.factory is None:
            return None
        name = getattr(self.factory, "__qualname__", None)
        return repr(self.factory) if name is None else f"{self.factory.__module__}:{name}"

    @property
    def definition(self) -> str:
        """How the energies are computed: JSON as of labels, or of one's own function words."""
        if self.factory is not None and not isinstance(self.factory, LevelCalculator):
            return f"calculator of {self.factory_name}"
        if self.factory is not None:
            engine = make_engine(self.factory.engine)
        elif self.name in (*METHODS, MMFF94):
            engine = make_engine(EngineSpec(name=self.name))
        else:
            engine = self._model_engine()
        return json.dumps(dict(engine.definition), ensure_ascii=False)

    def _model_engine(self) -> ModelEngine:
        return ModelEngine(self.name, ModelSettings(device="cpu"), level=self.level, label=None)

    def calculator(self, atoms: Atoms) -> Calculator:
        """A calculator that knows the charge and multiplicity of a molecule.

        Without ``info["charge"]`` and ``info["spin"]`` these are 0 and 1.

        Raises:
            MissingExtraError: tblite is not installed.
            ModelFileError: neither a method nor a model file.
        """
        if self.factory is not None:
            return self.factory(atoms)
        if self.name in METHODS:
            return xtb_calculator(atoms, self.name, f"sampling with {METHODS[self.name][0]}")
        if self.name == MMFF94:
            return MMFF94Calculator(atoms)
        return TLPotCalculator(self.name, level=self.level, device="cpu")


def _one_level(name: EngineName, level: str | None) -> str | None:
    if name.level is None or level is None:
        return level if name.level is None else name.level
    if canonical_level(name.level) != canonical_level(level):
        raise ConfigError(f"{name.text} is named at {name.level!r}, and level is {level!r}")
    return name.level


def _model_settings(name: EngineName) -> dict[str, Any]:
    settings = parse(ModelSettings, name.settings, f"engine {name.text}")
    return {} if settings.device is None else {"device": settings.device}


def _by_fragment(path: Path, on_done: Callable[[], object] | None) -> dict[str, Source]:
    found = read_yaml(path)
    if not all(isinstance(v, str) for v in found.values()):
        raise ConfigError(
            f"{path} is no list of models by fragment; expected lines such as "
            "'ACE-ALA-NME: ala.safetensors', and '\"*\": other.safetensors' for all others"
        )
    opened = {text: named_source(text, on_done=on_done) for text in set(found.values())}
    return {str(key): opened[text] for key, text in found.items()}
