"""A protein from its fragments: the method, and the ASE calculator."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ase import Atoms
from ase.calculators.calculator import all_changes
from numpy.typing import ArrayLike

from tlpot.calculators.engine import Source, energy_model, named_source
from tlpot.calculators.opened_model import SharedCalculator, one_at_a_time
from tlpot.calculators.tlpot import TLPotCalculator, given_atoms
from tlpot.energy import EnergyModel
from tlpot.engines import dispersion_model
from tlpot.errors import ConfigError
from tlpot.fragments import (
    AI2BMD,
    DEFAULT_SCHEME,
    SKIN,
    VACUUM_ONLY,
    FragmentForceField,
    Layer,
    ModelLayer,
    NonbondedLayer,
    Scheme,
    TypedModel,
    amber_parameters,
    choose_scheme,
    is_ai2bmd,
    parse_scheme,
)
from tlpot.models import LevelView, identity
from tlpot.numbers import Floats
from tlpot.system import System
from tlpot.topology import Topology, perceive_topology
from tlpot.torch_mode import plain_torch


class FragmentCalculator(SharedCalculator):
    """Energy, forces and stress of a protein from its fragments.

    E = E_low(whole) + Σ c (E_high − E_low)(fragment), or Σ c E_high(fragment) without a low
    level. The bonds of `atoms`, and nothing else, decide about residues, caps and charges;
    forces are the exact derivative of the energy. Results also hold ``energies``, per atom,
    those of the caps with the atoms that they are bound to.

    There is no ``energy_std`` and no ``forces_std``, whatever the models: of an ensemble the mean
    is used. Errors of overlapping fragments are correlated, so no standard deviation of their sum
    follows from those of the fragments; make a calculator for each member to see a spread.

    Periodic structures have stress. Atoms may be wrapped into the cell or not; fragments are
    molecules in vacuum, of those periodic images that are close to each other.

    Args:
        atoms: the structure, with all hydrogen atoms. The calculator is for it alone, in any
            conformation and cell.
        high: the model of fragments: a file, the name of a model or of an engine such as
            ``gfn2-xtb``, a potential, any energy model, an ASE calculator, a function from
            ase.Atoms to one, or a mapping from fragment names such as ``ACE-ALA-NME`` to any of
            these, with ``"*"`` for all others, at one level of theory.
        scheme: ``mfcc_mbe2`` (the default), ``mfcc``, ``mfcc2``, ``mfcc3``, ..., ``gmfcc``,
            ``sphere``, ``ai2bmd`` (mfcc with AMBER terms between atoms that share no fragment),
            ``direct`` (the whole structure at once), or a `Scheme` with settings of its own.
        low: a model of the whole structure, like `high`.
        level: level of theory of `high`, if it has several; in a mapping of those that do, and
            engines must be of that very level.
        low_level: level of theory of `low`.
        charges: point charges for Coulomb terms between atoms that no fragment has together:
            [n_atoms] in e, or ``"amber"`` to have OpenMM assign those of ff14SB.
        dispersion: dispersion of the whole structure to add, such as ``d3bj:b3lyp``; the labels
            of the high level must be without it.
        trained_charges: see `FragmentForceField`.
        skin: see `FragmentForceField`.
        topology: of `atoms`, if it is known already.
        device: see `TLPotCalculator`.
        dtype: see `TLPotCalculator`.
        kernels: see `TLPotCalculator`.

    Raises:
        GeometryError: valences that do not close, overlapping atoms, molecules that are bound to
            their own periodic images and so on; atoms are named.
        ConfigError: no such scheme, or arguments that make no sense together, such as charges in
            a periodic structure, or models of different levels. Names of fragments that there
            are not are refused at the first evaluation.
        ModelFileError, UnknownLevelError: see `TLPotCalculator`.
        MissingExtraError: OpenMM, dftd3 or dftd4 is needed and missing.
    """

    name = "tlpot-fragments"
    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    @plain_torch()
    def __init__(
        self,
        atoms: Atoms,
        high: Source | Mapping[str, Source],
        scheme: str | Scheme = DEFAULT_SCHEME,
        *,
        low: Source | None = None,
        level: str | None = None,
        low_level: str | None = None,
        charges: ArrayLike | str | None = None,
        dispersion: str | None = None,
        trained_charges: bool = False,
        skin: float = SKIN,
        topology: Topology | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        kernels: str = "auto",
    ) -> None:
        super().__init__()
        labels = atoms.arrays.get("residue_label")
        self.topology = topology or perceive_topology(
            System.from_atoms(atoms), labels=None if labels is None else list(map(str, labels))
        )
        parity = is_ai2bmd(scheme)
        chosen = choose_scheme("mfcc" if parity else scheme)
        if low is None and low_level is not None:
            raise ConfigError("low_level is the level of low, which is not given")
        if parity and charges is not None:
            raise ConfigError("scheme ai2bmd has AMBER charges of its own; leave charges out")
        if (parity or charges is not None) and atoms.pbc.any():
            raise ConfigError(VACUUM_ONLY)
        options: dict[str, Any] = {"device": device, "dtype": dtype, "kernels": kernels}
        layers: list[Layer] = []
        if low is not None:
            model = energy_model(low, level=low_level, **options)
            layers.append(ModelLayer(model, charge=model.uses_charge or not trained_charges))
        if parity:
            amber = amber_parameters(self.topology)
            layers.append(NonbondedLayer(amber.charges, amber.sigma, amber.epsilon))
        elif isinstance(charges, str):
            if charges != "amber":
                raise ConfigError(f"charges is {charges!r}, expected 'amber' or one value per atom")
            layers.append(NonbondedLayer(amber_parameters(self.topology).charges))
        elif charges is not None:
            layers.append(NonbondedLayer(charges))
        if dispersion is not None:
            layers.append(ModelLayer(dispersion_model(dispersion), subtract=False))
        fragments: EnergyModel
        if isinstance(high, Mapping):
            fragments = TypedModel(
                {
                    name: energy_model(one, level=level, kind=name, **options)
                    for name, one in high.items()
                },
                all_used=True,
            )
        else:
            fragments = energy_model(high, level=level, **options)
        self.force_field = FragmentForceField(
            fragments,
            chosen,
            layers=layers,
            topology=self.topology,
            trained_charges=trained_charges,
            skin=skin,
        )
        # the graphs have to be where the weights are, wherever these were loaded to
        home = device or _home(fragments) or (None if low is None else _home(model))
        self._inner = TLPotCalculator(self.force_field, device=home)
        self.device = self._inner.device
        self.parameters["scheme"] = "ai2bmd" if parity else chosen.name
        if "stress" not in self.force_field.implements:
            self.implemented_properties = [
                name for name in type(self).implemented_properties if name != "stress"
            ]

    @property
    def model(self) -> EnergyModel:
        """The force field as an energy model."""
        return self.force_field

    def identity(self) -> dict[str, Any]:
        """Returns what decides its energies, see `tlpot.models.identity`."""
        return identity(self.force_field)

    @one_at_a_time
    def forget(self) -> None:
        """Forgets results and lists, so that what follows is the same, whatever came before.

        Without it energies still depend on the atoms alone, but for rounding, which dynamics
        amplify.
        """
        self.reset()
        self.force_field.forget()

    @one_at_a_time
    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Returns what has changed since the last calculation, charge and spin included."""
        if self.atoms is None:
            return list(all_changes)
        return self._inner.check_state(self._charged(atoms), tol)

    @one_at_a_time
    @plain_torch()
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluates the force field and stores the results.

        Raises:
            GeometryError: broken bonds, other atoms than at the start, another charge.
            ElementRefusedError: the models do not know an element.
            StressRefusedError: stress was asked for and there is no volume.
        """
        self.results = {}
        self.atoms = given_atoms(self, atoms).copy()
        self._inner.calculate(self._charged(self.atoms), properties, system_changes)
        self.results = dict(self._inner.results)

    @one_at_a_time
    def get_hessian(
        self, atoms: Atoms | None = None, *, on_row: Callable[[int, int], object] | None = None
    ) -> Floats:
        """Returns ∂²E/∂r∂r, [3 n_atoms, 3 n_atoms], eV/Å²; see `TLPotCalculator.get_hessian`.

        Raises:
            ConfigError: an ASE calculator takes part; differentiate its forces numerically.
        """
        return self._inner.get_hessian(self._charged(given_atoms(self, atoms)), on_row=on_row)

    def _charged(self, atoms: Atoms) -> Atoms:
        """The total charge follows from the bonds; where it is given it must agree."""
        copy: Atoms = atoms.copy()
        copy.info.setdefault("charge", self.topology.charge)
        return copy


def _home(model: EnergyModel) -> str | None:
    """Returns the device of a trained model, None for other models, which have none."""
    if isinstance(model, TypedModel):
        return next((home for one in model.models.values() if (home := _home(one))), None)
    return str(model.potential.device) if isinstance(model, LevelView) else None


@dataclass(frozen=True, kw_only=True)
class FragmentMethod:
    """How structures are put together from fragments, whatever the model of the fragments.

    Attributes:
        scheme: name, `Scheme`, or a mapping with ``name`` and settings, see
            `tlpot.fragments.parse_scheme`.
        low: see `FragmentCalculator`; also the name of an engine, see `named_source`.
        low_level: level of theory of `low`.
        charges: see `FragmentCalculator`.
        dispersion: see `FragmentCalculator`.
        trained_charges: see `FragmentCalculator`.
    """

    scheme: str | Scheme | Mapping[str, Any] = DEFAULT_SCHEME
    low: Source | None = None
    low_level: str | None = None
    charges: ArrayLike | str | None = None
    dispersion: str | None = None
    trained_charges: bool = False

    @property
    def name(self) -> str:
        """Name of the scheme, as it was given."""
        if isinstance(self.scheme, Mapping):
            return str(self.scheme.get("name"))
        return self.scheme if isinstance(self.scheme, str) else self.scheme.name

    def text(self) -> str:
        """Returns the scheme with its settings and the layers, in words."""
        words = [self.name]
        if isinstance(self.scheme, Mapping):
            words += [f"{key}={value}" for key, value in self.scheme.items() if key != "name"]
        for option in ("low", "charges", "dispersion"):
            value = getattr(self, option)
            if value is not None:
                shown = isinstance(value, str | os.PathLike)
                words.append(f"{option}={value if shown else type(value).__name__}")
        return " ".join(words)

    def parsed(self) -> Scheme:
        """Returns the scheme; that of ``ai2bmd`` is ``mfcc``.

        Raises:
            ConfigError: no such scheme or setting.
        """
        if not is_ai2bmd(self.name):
            return parse_scheme(self.scheme)
        if isinstance(self.scheme, Mapping) and len(self.scheme) > 1:
            raise ConfigError("scheme ai2bmd has no settings; leave them out")
        return parse_scheme("mfcc")

    def calculator_scheme(self) -> Scheme | str:
        """Returns the scheme as `FragmentCalculator` takes it: ``ai2bmd`` by its name.

        Raises:
            ConfigError: no such scheme or setting.
        """
        scheme = self.parsed()
        return AI2BMD if is_ai2bmd(self.name) else scheme

    def calculator(
        self,
        atoms: Atoms,
        high: Source | Mapping[str, Source],
        *,
        level: str | None = None,
        topology: Topology | None = None,
        on_done: Callable[[], object] | None = None,
        device: Any = None,
        skin: float = SKIN,
    ) -> FragmentCalculator:
        """Makes the calculator of a structure.

        `high` is the model of fragments, also by name, see `named_source`; `on_done` is called
        after each calculation of an engine; the others are those of `FragmentCalculator`.

        Raises:
            TLPotError: see `FragmentCalculator`.
        """
        return FragmentCalculator(
            atoms,
            _opened(high, on_done),
            self.calculator_scheme(),
            low=_opened(self.low, on_done),
            level=level,
            low_level=self.low_level,
            charges=self.charges,
            dispersion=self.dispersion,
            trained_charges=self.trained_charges,
            topology=topology,
            device=device,
            skin=skin,
        )

    def force_field(self, model: EnergyModel, *, device: Any = None) -> FragmentForceField:
        """Makes the force field for structures of any kind.

        `model` is that of the fragments, `device` that of `low`.

        Raises:
            ConfigError: charges, which are those of one structure, or another mistake.
        """
        if self.charges is not None or is_ai2bmd(self.name):
            raise ConfigError(
                "AMBER charges belong to one structure, and a dataset may hold several; leave "
                "charges and scheme ai2bmd to fragment and md"
            )
        if self.low is None and self.low_level is not None:
            raise ConfigError("low_level is the level of low, which is not given")
        layers: list[Layer] = []
        if self.low is not None:
            low = energy_model(_opened(self.low, None), level=self.low_level, device=device)
            layers.append(ModelLayer(low, charge=low.uses_charge or not self.trained_charges))
        if self.dispersion is not None:
            layers.append(ModelLayer(dispersion_model(self.dispersion), subtract=False))
        return FragmentForceField(
            model, self.parsed(), layers=layers, trained_charges=self.trained_charges, skin=0.0
        )


def _opened(source: Any, on_done: Callable[[], object] | None) -> Any:
    if isinstance(source, str | os.PathLike):
        return named_source(os.fspath(source), on_done=on_done)
    return source
