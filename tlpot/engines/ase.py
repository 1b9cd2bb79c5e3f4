"""Any ASE calculator as an engine: Psi4, ORCA, and toys."""

from __future__ import annotations

import importlib
import inspect
import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.calculators.abc import GetPropertiesMixin

from tlpot.data import Labels
from tlpot.engines.engine import LabelError, check_electrons
from tlpot.engines.registry import EngineName
from tlpot.errors import ConfigError, nearest
from tlpot.system import System
from tlpot.total_charge import fixed_settings

_TOLD = ("charge", "spin")


def make_engine(name: EngineName, label: str | None) -> ASEEngine:
    """Makes the engine of a name, see `tlpot.engines.registry`."""
    return ASEEngine(name.target, name.settings, label)


class ASEEngine:
    """A calculator class with its keyword arguments.

    Arguments that are the text ``{charge}`` or ``{spin}`` get the charge and the multiplicity of
    each structure. A charged or open-shell structure is refused where the calculator is not told.

    Args:
        path: ``MODULE:CLASS``.
        settings: keyword arguments of the class.
        level: name of the level of theory.

    Raises:
        ConfigError: no such module or class, or no level.
    """

    def __init__(self, path: str, settings: Mapping[str, Any], level: str | None) -> None:
        # YAML takes {charge} for a mapping
        marks = {key: {key: None} for key in _TOLD}
        self._path = path
        self._settings = {
            name: next((f"{{{key}}}" for key, mark in marks.items() if value == mark), value)
            for name, value in settings.items()
        }
        self._class = _find(path)
        if level is None:
            raise ConfigError(
                f"engine ase:{path} does not say what its level of theory is called; name it "
                "with level=... (--level on the command line)"
            )
        self._level = level
        properties = getattr(self._class, "implemented_properties", [])
        if not isinstance(properties, list | tuple):  # some compute them for each instance
            properties = self._make({}).implemented_properties
        self.has_forces = "forces" in properties

    @property
    def level(self) -> str:
        """As given."""
        return self._level

    @property
    def definition(self) -> Mapping[str, Any]:
        """Class, keyword arguments and the version of the package."""
        package = self._path.partition(".")[0].partition(":")[0]
        try:
            program = f"{package} {version(package)}"
        except PackageNotFoundError:
            program = package
        return {"engine": f"ase:{self._path}", "program": program, "settings": self._settings}

    def check(self, elements: Sequence[int], *, periodic: bool) -> None:
        """Nothing is known in advance."""

    def compute(self, system: System, *, forces: bool, log: TextIO) -> Labels:
        """Asks the calculator, in a folder of its own that is removed afterwards.

        Raises:
            LabelError: the calculator is not told the charge or multiplicity of the structure,
                or is told another.
        """
        place = {"charge": system.charge, "spin": system.spin}
        for key, usual in zip(_TOLD, (0, 1), strict=True):
            if place[key] != usual and f"{{{key}}}" not in self._settings.values():
                raise LabelError(
                    f"the structure has {key} {place[key]}, of which the calculator is not told; "
                    f"give the keyword that takes it the value {{{key}}}"
                )
        for key, value in fixed_settings(self._settings, system.charge, system.spin).items():
            if self._settings[key] != value:
                raise LabelError(
                    f"the structure has charge {system.charge} and multiplicity {system.spin}, but "
                    f"the calculator is told {key}={self._settings[key]}; give {key} the value "
                    "{charge} or {spin}"
                )
        atoms = Atoms(
            numbers=system.atomic_numbers,
            positions=system.positions,
            cell=system.cell,
            pbc=system.pbc,
            info=dict(place),
        )
        with tempfile.TemporaryDirectory(prefix="tlpot-label-") as folder:
            if any(f"{{{key}}}" in self._settings.values() for key in place):
                check_electrons(system)  # of periodic structures, too
            calculator = self._make(place)
            if hasattr(calculator, "directory"):
                calculator.directory = folder
            atoms.calc = calculator
            try:
                return Labels(
                    energy=float(atoms.get_potential_energy()),
                    forces=np.array(atoms.get_forces()) if forces else None,
                )
            finally:
                log.write(_outputs(folder))

    def use_threads(self, n: int | None) -> int:
        """Returns the number in the environment; the program may have settings of its own."""
        return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)

    def _make(self, place: Mapping[str, int]) -> Any:
        texts = {f"{{{key}}}": value for key, value in place.items()}
        settings = {
            key: texts.get(value, value) if isinstance(value, str) else value
            for key, value in self._settings.items()
        }
        try:
            return self._class(**settings)
        except TypeError as error:
            raise ConfigError(f"engine ase:{self._path}: {error}") from error


def _find(path: str) -> type:
    name, colon, attribute = path.partition(":")
    if not colon or not name or not attribute:
        raise ConfigError(
            f"engine 'ase:{path}' is not of the form ase:MODULE:CLASS, such as "
            "ase:ase.calculators.psi4:Psi4"
        )
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"engine ase:{path}: cannot import {name} ({error})") from error
    found = getattr(module, attribute, None)
    if not inspect.isclass(found):
        names = {known.lower(): known for known in _calculators(module)}
        same = names.get(attribute.lower())
        hint = f"; did you mean {same!r}?" if same else nearest(attribute, names.values())
        raise ConfigError(f"engine ase:{path}: {name} has no class {attribute!r}{hint}")
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
