"""Labels of a file as a calculator, so that what was computed once serves any assembly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from tlpot.data import Labels, frames_of, open_dataset
from tlpot.errors import DataError

_SAME = 1e-5
"""Å."""

Entry = tuple[NDArray[np.float64], Labels]


@dataclass(frozen=True, kw_only=True)
class KnownLabels:
    """Geometries with labels, by elements and charge.

    Attributes:
        path: of the file.
        level: of theory.
        entries: positions and labels.
    """

    path: Path
    level: str
    entries: dict[tuple[bytes, int], list[Entry]]

    @classmethod
    def read(cls, path: Path, level: str) -> KnownLabels:
        """Reads the labels of a file.

        Raises:
            DataError, UnknownLevelError: no such file or level.
        """
        dataset = open_dataset(path)
        entries: dict[tuple[bytes, int], list[Entry]] = {}
        frames = np.flatnonzero(dataset.labelled(level))
        for frame in frames_of(dataset, frames, levels=[level]):
            system = frame.system
            key = system.atomic_numbers.astype("<i8").tobytes(), system.charge
            entries.setdefault(key, []).append((system.positions, frame.labels[level]))
        return cls(path=path, level=level, entries=entries)

    def find(self, atoms: Atoms) -> Labels:
        """Returns the labels of a geometry.

        Raises:
            DataError: it has none.
        """
        key = atoms.numbers.astype("<i8").tobytes(), int(atoms.info.get("charge", 0))
        for positions, labels in self.entries.get(key, ()):
            if np.abs(positions - atoms.positions).max() < _SAME:
                return labels
        raise DataError(
            f"{self.path} has no label at {self.level} of a geometry of "
            f"{atoms.get_chemical_formula()}; see {self.path}.failures.txt for those that failed"
        )

    def calculator(self) -> Calculator:
        """Returns a calculator that knows these geometries, and no others."""
        return _Lookup(self)


class _Lookup(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, known: KnownLabels) -> None:
        super().__init__()
        self.known = known

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        labels = self.known.find(self.atoms)
        self.results = {"energy": labels.energy}
        if labels.forces is not None:
            self.results["forces"] = labels.forces
