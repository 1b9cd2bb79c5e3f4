"""From columns as stored to eV, Å, forces and total energies, as a description says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from tlpot.data.dataset import LabelKind, Problem
from tlpot.data.spec import DataSpec, LevelSpec
from tlpot.data.store import Store, as_elements, as_numbers, as_periodic, as_whole, check_shapes
from tlpot.errors import DataError
from tlpot.targets import broken_values, broken_words
from tlpot.units import energy_factor, force_factor, length_factor, stress_factor


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """Structures of consecutive rows of a section.

    Attributes:
        numbers: [n_atoms], or [n_rows, n_atoms] where 0 marks unused places.
        positions: [n_rows, n_atoms, 3], Å.
        cell: [n_rows, 3, 3], Å, or None.
        pbc: [n_rows, 3], or None.
        charge: [n_rows], e.
        spin: [n_rows], multiplicity.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64] | None
    pbc: NDArray[np.bool_] | None
    charge: NDArray[np.int64]
    spin: NDArray[np.int64]

    @property
    def n_bytes(self) -> int:
        """Memory."""
        arrays = (self.numbers, self.positions, self.cell, self.pbc, self.charge, self.spin)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelLabels:
    """Labels of consecutive rows of a section at one level.

    Attributes:
        energy: [n_rows], total, eV, NaN where absent.
        forces: [n_rows, n_atoms, 3], eV/Å, or None.
        stress: [n_rows, 3, 3], eV/Å³, or None.
        has_forces: [n_rows], where every component is finite.
        has_stress: [n_rows].
        damaged: by kind, which rows hold numbers that are neither a label nor its absence, which
            is NaN throughout, [n_rows]; these rows have no label of the kind.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64] | None
    stress: NDArray[np.float64] | None
    has_forces: NDArray[np.bool_]
    has_stress: NDArray[np.bool_]
    damaged: Mapping[LabelKind, NDArray[np.bool_]]

    @property
    def n_bytes(self) -> int:
        """Memory."""
        arrays = (
            self.energy,
            self.forces,
            self.stress,
            self.has_forces,
            self.has_stress,
            *self.damaged.values(),
        )
        return sum(array.nbytes for array in arrays if array is not None)

    def present(self, kind: LabelKind) -> NDArray[np.bool_]:
        """Which rows carry a label, [n_rows]."""
        if kind == "energy":
            return np.isfinite(self.energy)
        return self.has_forces if kind == "forces" else self.has_stress


_CHARGED_ATOM = re.compile(r"\[[^\]]*?([+-]+)(\d*)(?::\d+)?\]")
_SCAN_ROWS = 65536
_STEP_SECTIONS = 256
_STEP_ROWS = 64
_STEP_MIN = 8
"""Different energies that have the digits of 32 bits by chance in no real file."""


class Decoder:
    """Turns the columns of a store into geometries and labels.

    Args:
        store: the file's columns.
        spec: what they mean.

    Raises:
        DataError: arrays have shapes that do not fit together, or a structural array that the
            description names, or one of labels that the user names, is nowhere in the file.
    """

    def __init__(self, store: Store, spec: DataSpec) -> None:
        self._store = store
        self._spec = spec
        self._numbers: dict[int, NDArray[np.int64]] = {}
        units = spec.units
        self._length = length_factor(units.coordinates)
        self._energy = energy_factor(units.of_energy)
        self._atom_energy = energy_factor(units.isolated_atoms or units.of_energy)
        self._force = force_factor(units.forces) if units.forces else np.nan
        if spec.sign == "gradient":
            self._force = -self._force
        self._stress = stress_factor(units.stress) if units.stress else np.nan
        if spec.stress_sign == "compressive":
            self._stress = -self._stress
        for key in (
            spec.cell, spec.pbc, spec.charge_key, spec.charge_smiles, spec.spin_key,
            *_named_labels(spec),
        ):  # fmt: skip
            held = [key in section.shapes for section in store.sections]
            if key and held and not any(held):
                raise DataError(
                    f"{store.path}: the description names {key!r}, which is nowhere in the file"
                )
        for section in store.sections:
            check_shapes(section, spec)

    @property
    def described_keys(self) -> tuple[str, ...]:
        """Every array the description mentions."""
        spec = self._spec
        keys = [spec.numbers, spec.coordinates, spec.offsets, spec.counts, spec.cell, spec.pbc]
        keys += [spec.charge_key, spec.charge_smiles, spec.spin_key, spec.group, *spec.columns]
        keys += [key for level in spec.levels.values() for key in level.keys]
        return tuple(key for key in keys if key)

    def n_rows(self, section: int) -> int:
        """Number of frames of a section."""
        return self._store.sections[section].shapes[self._spec.coordinates][0]

    def numbers(self, section: int, rows: slice | None = None) -> NDArray[np.int64]:
        """Returns atomic numbers: [n_atoms], or [n_rows, n_atoms] padded with zeros.

        Raises:
            DataError: not an element.
        """
        if self._numbers_by_row(section):
            return self._read_numbers(section, rows)
        if section not in self._numbers:
            self._numbers[section] = self._read_numbers(section)
        return self._numbers[section]

    def geometry(self, section: int, rows: slice) -> Geometry:
        """Reads the structures of some rows."""
        spec, n_rows = self._spec, rows.stop - rows.start
        positions = self._read(section, spec.coordinates, rows) * self._length
        cell = self._by_row(section, spec.cell, rows, 2)
        pbc = self._by_row(section, spec.pbc, rows, 1)
        charge = self._by_row(section, spec.charge_key, rows, 0)
        spin = self._by_row(section, spec.spin_key, rows, 0)
        if spec.charge_smiles:
            charge = np.full(n_rows, self._smiles_charge(section))
        return Geometry(
            numbers=self.numbers(section, rows),
            positions=positions,
            cell=None
            if cell is None
            else as_numbers(cell, self._where(section, spec.cell)) * self._length,
            pbc=None if pbc is None else as_periodic(pbc, self._where(section, spec.pbc)),
            charge=np.full(n_rows, spec.charge if isinstance(spec.charge, int) else 0, np.int64)
            if charge is None
            else as_whole(charge, self._where(section, spec.charge_key)),
            spin=np.full(n_rows, spec.spin if isinstance(spec.spin, int) else 1, np.int64)
            if spin is None
            else as_whole(spin, self._where(section, spec.spin_key)),
        )

    def has_level(self, section: int, level: str) -> bool:
        """Whether a section has an array of labels at a level."""
        spec, shapes = self._spec.levels[level], self._store.sections[section].shapes
        return any(_has(shapes, spec, kind) for kind in ("energy", "forces", "stress"))

    def labels(self, section: int, rows: slice, level: str, geometry: Geometry) -> LevelLabels:
        """Reads the labels of some rows at a level.

        Args:
            section: where.
            rows: which.
            level: canonical name.
            geometry: the structures of the same rows.
        """
        spec, shapes = self._spec.levels[level], self._store.sections[section].shapes
        n_rows = rows.stop - rows.start
        energy = np.full(n_rows, np.nan)
        damaged: dict[LabelKind, NDArray[np.bool_]] = {}
        if _has(shapes, spec, "energy"):
            parts = [self._read(section, key, rows).reshape(n_rows) for key in spec.energy_keys]
            damaged["energy"] = np.asarray(np.isinf(parts).any(axis=0))
            energy = np.sum(parts, axis=0)
            if spec.quantity is None:
                energy = energy * self._energy
            else:
                if spec.zeros == "missing":
                    energy = np.where(energy == 0, np.nan, energy)
                elif spec.zeros == "yes_no":
                    energy = np.where(np.isnan(energy), np.nan, energy == 0)
                damaged["energy"] |= broken_values(energy, spec.quantity)
                energy[damaged["energy"]] = np.nan
            if spec.energy_zero == "isolated_atoms":
                energy = energy + self._atom_table(level)[geometry.numbers].sum(axis=-1)
            energy[~np.isfinite(energy)] = np.nan
        forces = stress = None
        has_forces: NDArray[np.bool_] = np.zeros(n_rows, dtype=bool)
        has_stress: NDArray[np.bool_] = np.zeros(n_rows, dtype=bool)
        if spec.forces and _has(shapes, spec, "forces"):
            forces = self._read(section, spec.forces, rows, half=True) * self._force
            unused = np.broadcast_to(geometry.numbers == 0, forces.shape[:2])
            has_forces, damaged["forces"] = _complete(forces, unused[:, :, None])
        if spec.stress and _has(shapes, spec, "stress"):
            stress = self._read(section, spec.stress, rows, half=True) * self._stress
            if stress.shape[1:] == (6,):
                stress = np.array([voigt_6_to_full_3x3_stress(row) for row in stress])
            has_stress, damaged["stress"] = _complete(stress)
            # what has no volume has no stress; models give zero for it
            has_stress &= _periodic(geometry.pbc, n_rows)
        return LevelLabels(
            energy=energy,
            forces=forces,
            stress=stress,
            has_forces=has_forces,
            has_stress=has_stress,
            damaged=damaged,
        )

    def damage(self, level: str, kind: LabelKind) -> str:
        """Says what is wrong with labels that `labels` calls damaged, and what to do."""
        spec = self._spec.levels[level]
        keys = spec.energy_keys if kind == "energy" else (getattr(spec, kind),)
        if spec.quantity is not None:
            return f"{level}: {keys[0]!r} {broken_words(spec.quantity)}"
        what = "is infinite" if kind == "energy" else "holds infinities, or NaN beside numbers"
        return (
            f"{level}: {' + '.join(repr(key) for key in keys)} {what}; compute the frame again, "
            f"or, if it has no {kind}, write NaN throughout"
        )

    def occurs(self, level: str, kind: LabelKind) -> bool:
        """Whether at least one frame carries a label (stops at the first)."""
        spec = self._spec.levels[level]
        if kind == "stress":
            return any(meant for meant, _ in self._stresses(level))
        for k, section in enumerate(self._store.sections):
            if not _has(section.shapes, spec, kind):
                continue
            keys = spec.energy_keys if kind == "energy" else (getattr(spec, kind),)
            for rows in _pieces(self.n_rows(k)):
                columns = [
                    self._read(k, key, rows, half=kind != "energy").reshape(
                        rows.stop - rows.start, -1
                    )
                    for key in keys
                ]
                # padded atoms may hold NaN, so one finite number per frame must do here
                if np.all([np.isfinite(c).any(axis=1) for c in columns], axis=0).any():
                    return True
        return False

    def has_array(self, key: str) -> bool:
        """Whether a section has an array with anything in it."""
        return any(0 not in s.shapes[key] for s in self._store.sections if key in s.shapes)

    def energy_step(self, level: str) -> float:
        """Returns the distance of neighbouring energies as stored, eV; 0 where that is of 64 bits.

        Floats of 64 bits that all have the digits of 32 have lost the others before. A part of the
        rows is looked at.
        """
        spec, step = self._spec.levels[level], 0.0
        labelled = [k for k, s in enumerate(self._store.sections) if _has(s.shapes, spec, "energy")]
        for key in spec.energy_keys:
            seen: list[NDArray[np.float64]] = []
            for k in labelled[:: max(1, len(labelled) // _STEP_SECTIONS)]:
                rows = slice(0, min(self.n_rows(k), _STEP_ROWS))
                stored = self._store.read(k, key, rows).reshape(-1)
                numbers = as_numbers(stored, self._where(k, key))
                largest = np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0)
                if stored.dtype.kind in "iu" and largest:
                    step = max(step, self._energy)
                elif stored.dtype.kind == "f" and stored.dtype.itemsize < 8:
                    step = max(step, _step_of_32_bits(largest) * self._energy)
                seen.append(numbers)
            energies = np.unique(np.concatenate(seen or [np.zeros(0)]))
            energies = energies[np.isfinite(energies)]
            with np.errstate(over="ignore"):
                few_digits = (energies == energies.astype(np.float32)).all()
            if len(energies) >= _STEP_MIN and few_digits:
                step = max(step, _step_of_32_bits(np.abs(energies).max()) * self._energy)
        return step

    def cell_problems(self) -> list[Problem]:
        """Reports cells in which nothing is said to be periodic."""
        cell, pbc = self._spec.cell, self._spec.pbc
        boxes = [s for s in self._store.sections if cell in s.shapes and pbc not in s.shapes]
        if not boxes or self._spec.container == "extxyz":
            return []
        what = (
            f"{len(boxes)} groups ({boxes[0].label}, ...) have {cell!r} but no {pbc or 'pbc'!r}, "
            "so they are read as not periodic; write which directions are"
        )
        return [Problem(severity="warning", what=what)]

    def stress_problems(self) -> list[Problem]:
        """Reports stresses of structures that are not periodic in three directions.

        They are no labels. Zeros, which some programs write for molecules, are passed over.
        """
        found = []
        for level, spec in self._spec.levels.items():
            n = sum(lost for _, lost in self._stresses(level)) if spec.stress else 0
            if n:
                what = (
                    f"{level}: {n} frames have a stress in {spec.stress!r} but are not periodic in "
                    "three directions, so they have no volume and it is not read; say which "
                    "directions are periodic, or leave the stress out"
                )
                found.append(Problem(severity="warning", what=what))
        return found

    def _stresses(self, level: str) -> Iterator[tuple[bool, int]]:
        """Yields, for pieces of the file, whether a stress is a label, and how many others are."""
        spec = self._spec.levels[level]
        for k, section in enumerate(self._store.sections):
            if not spec.stress or not _has(section.shapes, spec, "stress"):
                continue
            for rows in _pieces(self.n_rows(k)):
                n_rows = rows.stop - rows.start
                stored = self._read(k, spec.stress, rows, half=True).reshape(n_rows, -1)
                pbc = self._by_row(k, self._spec.pbc, rows, 1)
                where = self._where(k, self._spec.pbc)
                periodic = _periodic(None if pbc is None else as_periodic(pbc, where), n_rows)
                numbers = np.isfinite(stored).all(axis=1)
                lost = numbers & ~periodic & (stored != 0).any(axis=1)
                yield bool((numbers & periodic).any()), int(lost.sum())

    def isolated_atoms(self, level: str) -> dict[int, float]:
        """Energies of the free atoms at a level by atomic number, eV."""
        return {
            atomic_numbers[symbol]: energy * self._atom_energy
            for symbol, energy in self._spec.levels[level].isolated_atoms.items()
        }

    def check_energy_zero(self, elements: tuple[int, ...]) -> None:
        """Checks that every element's free-atom energy is known where it must be added.

        Raises:
            DataError: one is missing.
        """
        for name, spec in self._spec.levels.items():
            missing = set(elements) - self.isolated_atoms(name).keys()
            if spec.energy_zero == "isolated_atoms" and missing:
                symbols = ", ".join(chemical_symbols[z] for z in sorted(missing))
                raise DataError(
                    f"{self._store.path}: energies at {name} are relative to free atoms, but the "
                    f"description gives no isolated_atoms for {symbols}"
                )

    def _atom_table(self, level: str) -> NDArray[np.float64]:
        table = np.full(len(chemical_symbols), np.nan)
        table[0] = 0.0
        for z, energy in self.isolated_atoms(level).items():
            table[z] = energy
        return table

    def _read_numbers(self, section: int, rows: slice | None = None) -> NDArray[np.int64]:
        key = self._spec.numbers
        return as_elements(self._store.read(section, key, rows), self._where(section, key))

    def _numbers_by_row(self, section: int) -> bool:
        return len(self._store.sections[section].shapes[self._spec.numbers]) == 2

    def _read(
        self, section: int, key: str, rows: slice, *, half: bool = False
    ) -> NDArray[np.float64]:
        stored = self._store.read(section, key, rows)
        return as_numbers(stored, self._where(section, key), half=half)

    def _where(self, section: int, key: str | None) -> str:
        return f"{self._store.sections[section].label}: {key!r}"

    def _by_row(self, section: int, key: str | None, rows: slice, n_dims: int) -> NDArray | None:
        """Reads a quantity given once or for every frame, as one item per frame."""
        shapes = self._store.sections[section].shapes
        if key is None or key not in shapes:
            return None
        n_rows = rows.stop - rows.start
        if len(shapes[key]) == n_dims + 1 and shapes[key][0] == self.n_rows(section):
            return self._store.read(section, key, rows)
        once = self._store.read(section, key).reshape((3,) * n_dims)
        return np.broadcast_to(once, (n_rows, *once.shape))

    def _smiles_charge(self, section: int) -> int:
        key = str(self._spec.charge_smiles)
        stored = self._store.read(section, key).reshape(-1)
        if not len(stored) or not isinstance(stored[0], str | bytes):
            raise DataError(f"{self._where(section, key)} holds no SMILES, so no charge is known")
        smiles = stored[0].decode() if isinstance(stored[0], bytes) else str(stored[0])
        return sum(
            (1 if signs[0] == "+" else -1) * (int(count) if count else len(signs))
            for signs, count in _CHARGED_ATOM.findall(smiles)
        )


def _named_labels(spec: DataSpec) -> list[str]:
    """Arrays of labels that the user has named; those of extended XYZ are looked for frame wise."""
    if spec.container == "extxyz":
        return []
    named: list[str] = []
    for level in spec.levels.values():
        named += level.energy_keys if "energy" in spec.named else ()
        named += [
            key
            for kind in ("forces", "stress")
            if kind in spec.named and (key := getattr(level, kind))
        ]
    return named


def _has(shapes: Mapping[str, tuple[int, ...]], spec: LevelSpec, kind: str) -> bool:
    """Whether a section has labels of a kind; an array without any element is none."""
    keys = spec.energy_keys if kind == "energy" else (getattr(spec, kind),)
    return bool(keys) and all(key in shapes and 0 not in shapes[key] for key in keys)


def _step_of_32_bits(value: float) -> float:
    return float(np.spacing(np.float32(min(value, float(np.finfo(np.float32).max) / 2))))


def _periodic(pbc: NDArray[np.bool_] | None, n_rows: int) -> NDArray[np.bool_]:
    """Returns which rows are periodic in three directions, [n_rows]."""
    if pbc is None:
        return np.zeros(n_rows, dtype=np.bool_)
    return np.asarray(pbc.all(axis=-1), dtype=np.bool_)


def _complete(
    values: NDArray[np.float64], unused: NDArray[np.bool_] | bool = False
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns which rows [n_rows, n, 3] are finite, and which are neither that nor all NaN."""
    complete = np.asarray((np.isfinite(values) | unused).all(axis=(1, 2)))
    absent = np.asarray((np.isnan(values) | unused).all(axis=(1, 2)))
    return complete, ~complete & ~absent


def _pieces(n_rows: int) -> Iterator[slice]:
    for start in range(0, n_rows, _SCAN_ROWS):
        yield slice(start, min(start + _SCAN_ROWS, n_rows))
