"""Any ASE calculator as an engine, in this Python or in another: Psi4, ORCA, foreign models."""

from __future__ import annotations

import importlib
import inspect
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.calculators.abc import GetPropertiesMixin
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from tlpot.data import Labels
from tlpot.engines.engine import LabelError, check_electrons, check_model_name
from tlpot.engines.other_python import TIMEOUT, OtherPython
from tlpot.engines.registry import EngineName
from tlpot.engines.setting_files import with_hashes, with_home
from tlpot.errors import ConfigError, nearest
from tlpot.levels import canonical_level
from tlpot.numbers import result_fault
from tlpot.system import System
from tlpot.total_charge import fixed_settings

_TOLD = ("charge", "spin")


def make_engine(name: EngineName, label: str | None) -> ASEEngine:
    """Makes the engine of a name, see `tlpot.engines.registry`."""
    return ASEEngine(name, label)


class ASEEngine:
    """A calculator class with its keyword arguments, in this Python or in another.

    Arguments that are the text ``{charge}`` or ``{spin}`` get the charge and the multiplicity of
    each structure. ``atoms.info`` holds both, too; ``reads_info=[charge, spin]`` says which of
    them the calculator takes from there. A charged or open-shell structure is refused where the
    calculator is not told.

    A trained model says so in a mapping ``about`` of its calculator, of ``name``, ``licence``,
    ``origin``, ``elements`` (symbols) and ``files``: its labels carry that name.

    One that computes several molecules at once has a method ``calculate_batch(frames,
    properties)``, which returns arrays with a row for each frame by name of the property.

    Args:
        name: of the engine; settings are keyword arguments of the class, but for ``reads_info``
            and, for another Python, ``timeout`` in s.
        level: name of the level of theory; None, in another Python, for the name of the model or
            else of the class.

    Raises:
        ConfigError: no such Python, module or class; no level, or for a trained model that of a
            level of theory.
    """

    def __init__(self, name: EngineName, level: str | None) -> None:
        # YAML takes {charge} for a mapping
        marks = {key: {key: None} for key in _TOLD}
        self._name = name
        settings = {
            key: next((f"{{{told}}}" for told, mark in marks.items() if value == mark), value)
            for key, value in name.settings.items()
        }
        self._reads = settings.pop("reads_info", [])
        if not isinstance(self._reads, list) or not set(self._reads) <= set(_TOLD):
            raise ConfigError(
                f"engine {name.text}: reads_info is {self._reads!r}, expected a list of charge "
                "and spin"
            )
        self._host: _ThisPython | OtherPython
        if name.python is None:
            self._settings = settings
            self._hashed = settings  # a file may be one that the calculator writes
            self._host = _ThisPython(name)
        else:
            timeout = settings.pop("timeout", TIMEOUT)
            if not isinstance(timeout, int | float) or not timeout > 0:
                raise ConfigError(f"engine {name.text}: timeout is {timeout!r}, expected seconds")
            self._settings = settings
            # before the worker reads them; what lies there later is not what it answers with
            self._hashed = with_hashes(settings)
            self._host = OtherPython(name, self._filled(0, 1), timeout)
        self._about = self._host.about
        if level is None and name.python is not None:
            level = self._about.get("name", name.attribute.lower())
        elif level is not None and "name" in self._about:
            check_model_name(level, self._about["name"])
        if level is None:
            raise ConfigError(
                f"engine {name.text} does not say what its level of theory is called; name it "
                "with level=... (--level on the command line)"
            )
        self._level = canonical_level(level)
        given = self._host.properties(self._filled(0, 1))
        self.has_forces, self.has_stress = "forces" in given, "stress" in given

    @property
    def level(self) -> str:
        """As given, or that of the model."""
        return self._level

    @property
    def definition(self) -> Mapping[str, Any]:
        """Class, keyword arguments and the version of the package; of a model what it says."""
        return {
            "engine": f"ase:{self._name.target}",
            "program": self._host.program,
            "settings": {**self._hashed, **({"reads_info": self._reads} if self._reads else {})},
            **{key: self._about[key] for key in ("licence", "origin") if key in self._about},
            **({"files": self._host.files} if self._host.files else {}),
        }

    def check(self, elements: Sequence[int], *, periodic: bool) -> None:
        """Checks the elements of a model that names them.

        Raises:
            ConfigError: it does not know one.
        """
        known = self._about.get("elements")
        unknown = {chemical_symbols[z] for z in elements} - set(known or ())
        if known is not None and unknown:
            raise ConfigError(
                f"{self._level} does not know {', '.join(sorted(unknown))} (only "
                f"{', '.join(known)}); leave these structures out"
            )

    def compute(self, system: System, *, forces: bool, log: TextIO, stress: bool = False) -> Labels:
        """Asks the calculator.

        Raises:
            LabelError: the calculator is not told the charge or multiplicity of the structure,
                or is told another; a worker in another Python dies; results of another shape, or
                not finite.
        """
        wanted = ["energy", *["forces"] * forces, *["stress"] * stress]
        found = self._evaluate(system, wanted, log)
        if (fault := result_fault(found, len(system))) is not None:
            raise LabelError(f"{self._name.text} gives {fault}")
        tensor = found.get("stress")
        if tensor is not None:
            six = tensor if tensor.shape == (6,) else full_3x3_to_voigt_6_stress(tensor)
            tensor = voigt_6_to_full_3x3_stress(six)
        return Labels(energy=found["energy"].item(), forces=found.get("forces"), stress=tensor)

    @property
    def takes_batches(self) -> bool:
        """Whether the calculator has a method ``calculate_batch``."""
        return self._host.takes_batches

    def compute_batch(
        self, systems: Sequence[System], *, forces: bool, log: TextIO
    ) -> list[Labels]:
        """Asks the calculator for several structures at once, those of one charge together.

        Raises:
            LabelError: see `compute`; or the answer has another shape.
        """
        wanted = ["energy", *["forces"] * forces]
        alike: dict[tuple[int, int], list[int]] = {}
        for k, system in enumerate(systems):
            alike.setdefault((system.charge, system.spin), []).append(k)
        labels: dict[int, Labels] = {}
        for (charge, spin), members in alike.items():
            frames = [self._atoms(systems[k]) for k in members]
            found = self._host.evaluate_batch(self._filled(charge, spin), frames, wanted, log)
            shapes = {"energy": (len(members),), "forces": (len(members), len(frames[0]), 3)}
            for name in wanted:
                if found[name].shape != shapes[name]:
                    raise LabelError(
                        f"{self._name.text}: calculate_batch gives {name} of shape "
                        f"{found[name].shape}, expected {shapes[name]}"
                    )
            for row, k in enumerate(members):
                own = found["forces"][row] if forces else None
                labels[k] = Labels(energy=float(found["energy"][row]), forces=own)
        return [labels[k] for k in range(len(systems))]

    def descriptors(self, system: System, log: TextIO) -> NDArray[np.float64]:
        """Returns the calculator's features of the atoms, [n_atoms, n_features].

        Raises:
            LabelError: it has no ``get_descriptors``, or see `compute`.
        """
        found = self._evaluate(system, ["descriptors"], log)["descriptors"]
        if found.ndim != 2 or len(found) != len(system.atomic_numbers):
            raise LabelError(
                f"{self._name.text}: get_descriptors gives {found.shape}, expected one row for "
                f"each of {len(system.atomic_numbers)} atoms"
            )
        return found

    def use_threads(self, n: int | None) -> int:
        """Returns the number in the environment; the program may have settings of its own."""
        return self._host.use_threads(n)

    def _evaluate(
        self, system: System, wanted: Sequence[str], log: TextIO
    ) -> dict[str, NDArray[np.float64]]:
        atoms = self._atoms(system)
        return self._host.evaluate(self._filled(system.charge, system.spin), atoms, wanted, log)

    def _atoms(self, system: System) -> Atoms:
        """Returns a structure as the calculator takes it, if it is told of its charge."""
        place = {"charge": system.charge, "spin": system.spin}
        told = [key for key in _TOLD if f"{{{key}}}" in self._settings.values()]
        for key, usual in zip(_TOLD, (0, 1), strict=True):
            if place[key] != usual and key not in told and key not in self._reads:
                raise LabelError(
                    f"the structure has {key} {place[key]}, of which the calculator is not told; "
                    f"give the keyword that takes it the value {{{key}}}, or say "
                    f"reads_info=[{key}] if it looks into atoms.info"
                )
        for key, value in fixed_settings(self._settings, system.charge, system.spin).items():
            if self._settings[key] != value:
                raise LabelError(
                    f"the structure has charge {system.charge} and multiplicity {system.spin}, but "
                    f"the calculator is told {key}={self._settings[key]}; give {key} the value "
                    "{charge} or {spin}"
                )
        if told or self._reads:
            check_electrons(system)  # of periodic structures, too
        return Atoms(
            numbers=system.atomic_numbers,
            positions=system.positions,
            cell=system.cell,
            pbc=system.pbc,
            info=place,
        )

    def _filled(self, charge: int, spin: int) -> dict[str, Any]:
        """Returns the keyword arguments for a structure."""
        texts = {"{charge}": charge, "{spin}": spin}
        return {
            key: texts.get(value, with_home(value)) if isinstance(value, str) else with_home(value)
            for key, value in self._settings.items()
        }


class _ThisPython:
    """A class of this Python; each structure gets a calculator and a folder of its own."""

    files: Mapping[str, str] = {}

    def __init__(self, name: EngineName) -> None:
        self._name, self._class = name, _find(name)
        self.about: Mapping[str, Any] = getattr(self._class, "about", {})
        package = name.module.partition(".")[0]
        try:
            self.program = f"{package} {version(package)}"
        except PackageNotFoundError:
            self.program = package

    def properties(self, settings: Mapping[str, Any]) -> Collection[str]:
        found = getattr(self._class, "implemented_properties", [])
        if isinstance(found, list | tuple):
            return found
        return self._make(settings).implemented_properties  # some compute them for each instance

    def evaluate(
        self, settings: Mapping[str, Any], atoms: Atoms, wanted: Sequence[str], log: TextIO
    ) -> dict[str, NDArray[np.float64]]:
        with tempfile.TemporaryDirectory(prefix="tlpot-label-") as folder:
            calculator = self._make(settings)
            if hasattr(calculator, "directory"):
                calculator.directory = folder
            atoms.calc = calculator
            if "descriptors" in wanted and not hasattr(calculator, "get_descriptors"):
                raise LabelError(f"{self._name.text} has no get_descriptors(atoms)")
            get = {
                "energy": atoms.get_potential_energy,
                "forces": atoms.get_forces,
                "stress": lambda: calculator.get_stress(atoms),  # as it is, to be checked
                "descriptors": lambda: calculator.get_descriptors(atoms),
            }
            try:
                return {name: np.array(get[name](), dtype=np.float64) for name in wanted}
            finally:
                log.write(_outputs(folder))

    @property
    def takes_batches(self) -> bool:
        return hasattr(self._class, "calculate_batch")

    def evaluate_batch(
        self, settings: Mapping[str, Any], frames: Sequence[Atoms], wanted: Sequence[str],
        log: TextIO,
    ) -> dict[str, NDArray[np.float64]]:  # fmt: skip
        found = self._make(settings).calculate_batch(frames, wanted)
        return {name: np.array(found[name], dtype=np.float64) for name in wanted}

    def use_threads(self, n: int | None) -> int:
        return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)

    def _make(self, settings: Mapping[str, Any]) -> Any:
        try:
            return self._class(**settings)
        except TypeError as error:
            raise ConfigError(f"engine {self._name.text}: {error}") from error


def _find(name: EngineName) -> type:
    try:
        module = importlib.import_module(name.module)
    except ImportError as error:
        raise ConfigError(f"engine {name.text}: cannot import {name.module} ({error})") from error
    found = getattr(module, name.attribute, None)
    if not inspect.isclass(found):
        names = {known.lower(): known for known in _calculators(module)}
        same = names.get(name.attribute.lower())
        hint = f"; did you mean {same!r}?" if same else nearest(name.attribute, names.values())
        raise ConfigError(
            f"engine {name.text}: {name.module} has no class {name.attribute!r}{hint}"
        )
    return found


def _calculators(module: ModuleType) -> list[str]:
    return [
        name
        for name, item in vars(module).items()
        if inspect.isclass(item) and issubclass(item, GetPropertiesMixin)
    ]


def _outputs(folder: str) -> str:
    """What the program left in its folder, the text files' ends."""
    parts = []
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_file() and entry.name.endswith((".out", ".log", ".err", ".txt")):
            with open(entry.path, encoding="utf-8", errors="replace") as handle:  # noqa: PTH123
                parts.append(f"--- {entry.name}\n{handle.read()}")
    return "\n".join(parts)
