"""Any energy model as a calculator of the Atomic Simulation Environment."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    InputError,
    PropertyNotImplementedError,
    all_changes,
)
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress

from tlpot.calculators.opened_model import (
    STD,
    Model,
    PackedModel,
    SharedCalculator,
    one_at_a_time,
    only_energy_level,
    open_model,
    property_levels,
    property_values,
)
from tlpot.energy import (
    EnergyModel,
    check_forces,
    described_states,
    describes_state,
    evaluate,
    has_domain,
    has_forces,
    hessian,
    implies_charges,
    layout_of,
)
from tlpot.errors import ConfigError, GeometryError, TLPotWarning, UnknownElementError
from tlpot.levels import difference_parts
from tlpot.models import LevelView, Spread, TrainedModel, identity, uncertain
from tlpot.neighbors import is_endless
from tlpot.numbers import Floats
from tlpot.system import System, stated_charge_of
from tlpot.targets import of_difference
from tlpot.torch_mode import choose_device, plain_torch
from tlpot.total_charge import impossible_spin
from tlpot.uncertainty import DomainCheck
from tlpot.verlet_list import VerletList

STANDARD_DEVIATIONS = ("energy_std", "forces_std")
"""Results of models that know their uncertainty; ASE has no names for them."""


class ElementRefusedError(UnknownElementError, InputError):
    """An element that the model was not trained on."""


class ChargeRefusedError(GeometryError, InputError):
    """A charge or multiplicity that the model cannot represent."""


class StressRefusedError(GeometryError, PropertyNotImplementedError):
    """Stress of a structure without a volume."""


def given_atoms(calculator: Calculator, atoms: Atoms | None) -> Atoms:
    """Returns the atoms, or where there are none those of the last calculation.

    Raises:
        ConfigError: nothing was calculated before.
    """
    found = calculator.atoms if atoms is None else atoms
    if found is None:
        raise ConfigError("the calculator has no atoms yet; pass some")
    return found


class TLPotCalculator(SharedCalculator):
    """Energy, forces and stress of an energy model, for everything in ASE.

    One evaluation gives energy and forces together; stress joins in from the first time it is
    asked for. Total charge and multiplicity are ``atoms.info["charge"]`` (0 if absent) and
    ``atoms.info["spin"]`` (2S + 1; 1 if absent); other usual keys, initial charges and magnetic
    moments are understood where they leave no doubt. A structure with an odd number of electrons
    is no singlet: a model that reads the multiplicity refuses it without one, any other warns
    once, but for crystals and surfaces.

    Positions and sums over atoms are float64 in any precision of the network. float32 does for
    dynamics; relaxations to below 1 meV/Å and vibrations want ``dtype="float64"``.

    A model that knows its uncertainty, see `tlpot.models.UncertainModel`, adds ``energy_std``
    (eV) and ``forces_std`` ([n_atoms, 3], eV/Å) to the results. Those of the forces come
    always with an ensemble; with a last-layer uncertainty or a Gaussian process they are
    expensive and join in from the first time that they are asked for, as
    ``calc.get_property("forces_std", atoms)``.

    A scalar property among the levels of the model, such as ``gap@hse06``, is a result of its own
    name and unit: ``calc.get_property("gap@hse06", atoms)``. A calculator at such a level has no
    energy and no forces. A model that knows its uncertainty has ``gap@hse06_std`` beside it.

    A model that knows what it was trained on adds ``domain`` to the results: 1 for a structure
    such as those of its training, 0 far away from them. It is the share of held-out frames that
    are as far away. Below 0.05 there is a `DomainWarning`, once for each calculator.

    Torch decides how many threads an evaluation uses. Small molecules are fastest with one:
    call ``torch.set_num_threads(1)``, which is a setting of the whole process and therefore
    not made here. Threads of Python may share a calculator, and wait for each other; one for
    each of them is faster.

    Args:
        model: a model file, the name of a shipped model, a `Potential`, an `Ensemble`, or any
            `EnergyModel`. A potential or ensemble is copied, so that training it further does
            not change this calculator; any other energy model is used as it is.
        level: level of theory; may be left out when the model has just one, properties aside,
            which `get_property` names.
        device: such as ``"cuda:1"``. None means, for a file or name, CUDA if there is one and
            else the CPU; for a potential, where it is; for another energy model, the CPU.
        dtype: ``"float32"`` or ``"float64"``, or torch's own; None means as stored.
        skin: Å added to the range of the neighbour search, see `VerletList`.
        kernels: ``auto`` (on a CPU one compiled call where possible, else compiled kernels, else
            torch), ``fused``, ``compiled``, ``torch`` or ``torch_scatter``; for a file or name.

    Raises:
        ModelFileError: no such file or name, or an unusable file.
        UnknownLevelError: no such level, or none was named and there are several.
        ConfigError: an argument that does not apply to such a model, no such device, or a model
            of the difference of two levels (see `DeltaCalculator`).
    """

    name = "tlpot"
    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012
    # dynamics ask three times a step whether the atoms are those of the last calculation
    _calculated: tuple[Atoms, dict[str, object]] | None = None
    _endless: tuple[bytes, bool] | None = None

    def __init__(
        self,
        model: Model,
        *,
        level: str | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        skin: float = 0.5,
        kernels: str = "auto",
    ) -> None:
        super().__init__()
        self._source = open_model(model, device=device, dtype=dtype, kernels=kernels)
        self._stress_wanted = self._forces_std_wanted = self._warned_of_electrons = False
        if isinstance(self._source, TrainedModel):
            given = isinstance(model, LevelView | TrainedModel)
            self._home = str(self._source.device) if given or device is not None else None
            if isinstance(model, LevelView) and level is None:
                level = model.level
            level = level or only_energy_level(self._source)
        else:
            self._home = "cpu" if device is None else str(device)
            if level is not None:
                raise self._no_levels()
        self._choose(level)
        self._pairs = self._list(skin)

    def _choose(self, level: str | None) -> None:
        self._level: str | None
        self._model: EnergyModel
        if isinstance(self._source, TrainedModel):
            chosen = self._source.at(level)
            if difference_parts(chosen.level) is not None:
                raise ConfigError(of_difference(chosen.level))
            self._model, self._level, self.device = chosen, chosen.level, self._source.device
            self.parameters["level"] = chosen.level
        else:
            self._model, self._level = self._source, None
            self.device = choose_device(self._home)
        self._known = frozenset(self._model.elements)
        self._derived = has_forces(self._model)
        self._uncertain = uncertain(self._model)
        self._domain = DomainCheck(self._model) if has_domain(self._model) else None
        self.implemented_properties = list(type(self).implemented_properties)
        if self._uncertain is not None:
            self.implemented_properties += STANDARD_DEVIATIONS if self._derived else ("energy_std",)
        if self._domain is not None:
            self.implemented_properties += ("domain",)
        named = property_levels(self._source)
        if self._level in named:
            known = ["domain"] if self._domain is not None else []
            self.implemented_properties = known
        self.implemented_properties += named
        if isinstance(self._source, TrainedModel):
            sure = [name for name in named if uncertain(self._source.at(name)) is not None]
            self.implemented_properties += [f"{name}{STD}" for name in sure]
        self._property_checks: dict[str, DomainCheck] = {}

    def _list(self, skin: float) -> VerletList:
        layout = layout_of(self._model)
        return VerletList(self._model.cutoff, skin, layout=layout, device=self.device)

    def _no_levels(self) -> ConfigError:
        return ConfigError("the model has no levels of theory to choose from; leave level out")

    @property
    def model(self) -> EnergyModel:
        """The energy model in use."""
        return self._model

    def identity(self) -> dict[str, Any]:
        """Returns what decides its energies, see `tlpot.models.identity`."""
        return identity(self._model)

    @property
    def level(self) -> str | None:
        """Level of theory, None for an energy model without levels; setting it clears results.

        Raises:
            UnknownLevelError: no such level.
            ConfigError: the energy model has no levels.
        """
        return self._level

    @level.setter
    def level(self, level: str) -> None:
        if not isinstance(self._source, TrainedModel):
            raise self._no_levels()
        with self.lock:
            self._choose(level)
            self.reset()

    def set(self, **parameters: Any) -> dict[str, Any]:
        """ASE's way to change parameters; there is one, ``level``.

        Raises:
            ConfigError: another parameter.
        """
        unknown = parameters.keys() - {"level"}
        if unknown:
            raise ConfigError(
                f"cannot set {', '.join(sorted(unknown))}: only level can change; "
                "make a new TLPotCalculator for anything else"
            )
        changed = {k: v for k, v in parameters.items() if v != self._level}
        if changed:
            self.level = changed["level"]
        return changed

    @one_at_a_time
    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Returns what has changed since the last calculation, charge and spin included.

        Everything is compared exactly, whatever `tol`, which takes a tenth of the time of ASE's
        own check. Initial charges and magnetic moments do not count: no model reads them.
        """
        if self.atoms is None:
            return [*all_changes, "charge", "spin"]
        if self._calculated is None or self._calculated[0] is not self.atoms:
            self._calculated = self.atoms, _fingerprint(self.atoms)
        new = _fingerprint(atoms)
        return [name for name, value in self._calculated[1].items() if value != new[name]]

    @one_at_a_time
    @plain_torch()
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluates the model and stores the results.

        Raises:
            GeometryError: NaN, coincident atoms, a singular cell, no atoms at all.
            ElementRefusedError: the model does not know an element.
            ChargeRefusedError: a charge or multiplicity that the model does not read.
            StressRefusedError: stress was asked for and there is no volume.
            ForcesRefusedError: the model has energies only, and more was asked for.
        """
        self.results = {}
        self.atoms = given_atoms(self, atoms).copy()
        system = self._system(self.atoms)
        own = property_levels(self._source)
        asked = (p if p in own else p.removesuffix(STD) for p in properties if "@" in p)
        named = list(dict.fromkeys(asked))
        if named or self._level in self.implemented_properties:
            wanted = [name for name in named or [str(self._level)] if name != "domain"]
            self.results = property_values(
                self._source, wanted, self.atoms, system, self._property_checks
            )
            return
        with_forces = self._derived
        if not with_forces and {"forces", "stress", "forces_std"} & set(properties):
            check_forces(self._model)
        has_volume = bool(system.pbc.all() and np.linalg.det(system.cell) != 0.0)
        if "stress" in properties:
            if not has_volume:
                raise StressRefusedError(
                    f"stress needs three lattice vectors, periodic in all three directions; pbc is "
                    f"{system.pbc.tolist()}, cell {system.cell.tolist()}. For a slab or chain in "
                    "vacuum set pbc=True, and mind that the volume counts the vacuum"
                )
            self._stress_wanted = True
        self._forces_std_wanted |= "forces_std" in properties
        graph, stress = self._pairs.graph(system), self._stress_wanted and has_volume
        spread: Spread | None = None
        known = self._domain is not None
        if self._uncertain is None:
            found = evaluate(self._model, graph, forces=with_forces, stress=stress, domain=known)
        else:
            found, spread = self._uncertain.predict(
                graph,
                forces=with_forces,
                stress=stress,
                forces_std=self._forces_std_wanted and with_forces,
                domain=known,
            )
        energy = float(found.energy)
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": found.energies.cpu().numpy(),
        }
        if found.forces is not None:
            self.results["forces"] = found.forces.cpu().numpy()
        if found.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(found.stress[0].cpu().numpy())
        if self._domain is not None and found.domain is not None:
            self.results["domain"] = float(found.domain)
            self._domain.warn(self.results["domain"], self.atoms)
        if spread is not None:
            self.results["energy_std"] = float(spread.energy_std)
            if spread.forces_std is not None:
                self.results["forces_std"] = spread.forces_std.cpu().numpy()

    @one_at_a_time
    @plain_torch()
    def get_hessian(
        self, atoms: Atoms | None = None, *, on_row: Callable[[int, int], object] | None = None
    ) -> Floats:
        """Returns ∂²E/∂r∂r, [3 n_atoms, 3 n_atoms], eV/Å², symmetric, from automatic derivatives.

        `tlpot.frequencies` makes frequencies of it, and so does
        ``ase.vibrations.VibrationsData.from_2d(atoms, hessian)``.

        Args:
            atoms: the structure; None is the last one.
            on_row: see `tlpot.energy.hessian`.

        Raises:
            ConfigError: no atoms were given and none were calculated before.
            GeometryError, ElementRefusedError, ChargeRefusedError: see `calculate`.
        """
        atoms = given_atoms(self, atoms)
        graph = self._pairs.graph(self._system(atoms))
        size = 3 * len(atoms)
        found = hessian(self._model, graph, on_row=on_row).reshape(size, size)
        matrix: Floats = found.cpu().numpy()
        return 0.5 * (matrix + matrix.T)

    def _system(self, atoms: Atoms) -> System:
        system = System.from_atoms(atoms)
        unknown = set(system.atomic_numbers.tolist()) - self._known
        if unknown:
            raise ElementRefusedError(
                f"the model does not know {_symbols(unknown)}; it was trained on "
                f"{_symbols(self._model.elements)}. Use a model with these elements, or train one"
            )
        if not describes_state(self._model, system.charge, system.spin):
            raise ChargeRefusedError(
                f"atoms.info says charge {system.charge} and spin {system.spin}, but the model "
                f"describes {described_states(self._model)}. Use a model that reads the charge, "
                "or, if it was trained on just this state, remove 'charge' and 'spin' from "
                "atoms.info"
            )
        self._check_electrons(system)
        return system

    def _check_electrons(self, system: System) -> None:
        n_electrons = int(system.atomic_numbers.sum()) - system.charge
        if (n_electrons + system.spin) % 2 and system.spin - 1 <= n_electrons:
            return
        what = impossible_spin(n_electrons, system.charge, system.spin)
        if self._model.uses_charge:
            raise ChargeRefusedError(what)
        crystal = (system.charge, system.spin) == (0, 1) and self._is_endless(system)
        if not crystal and not self._warned_of_electrons:
            self._warned_of_electrons = True
            warnings.warn(
                f"{what.partition(';')[0]}, and the model reads neither: its result is for "
                "whatever state it was trained on. "
                + (
                    "Say the charge of an ion in atoms.info['charge']; radicals it does not know"
                    if implies_charges(self._model)
                    else "Use a model that reads charge and multiplicity"
                ),
                TLPotWarning,
                stacklevel=2,
            )

    def _is_endless(self, system: System) -> bool:
        """Whether it is a crystal or surface, looked at once for a run of the same atoms."""
        kind = system.atomic_numbers.tobytes() + system.pbc.tobytes()
        if self._endless is None or self._endless[0] != kind:
            self._endless = kind, is_endless(system)
        return self._endless[1]

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the neighbour list, and packs a potential as the bytes of a model file."""
        state = self.__dict__.copy()
        state["_pairs"] = self._pairs.skin
        if isinstance(self._source, TrainedModel):
            state["_source"] = PackedModel.pack(self._source, self._home)
        state["_calculated"] = None
        del state["_model"], state["_uncertain"], state["_domain"], state["device"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self._source, PackedModel):
            self._source = self._source.unpack()
        self._choose(self._level)
        self._pairs = self._list(state["_pairs"])


def _fingerprint(atoms: Atoms) -> dict[str, object]:
    stated = stated_charge_of(atoms)
    return {
        "positions": atoms.positions.tobytes(),
        "numbers": atoms.numbers.tobytes(),
        "cell": atoms.cell.array.tobytes(),
        "pbc": atoms.pbc.tobytes(),
        "charge": stated.charge or 0,
        "spin": stated.spin,
        # as text, since arrays do not compare to one truth value
        "info": {key: repr(value) for key, value in atoms.info.items() if "@" in str(key)},
    }


def _symbols(numbers: Sequence[int] | set[int]) -> str:
    return ", ".join(chemical_symbols[z] for z in sorted(numbers))
