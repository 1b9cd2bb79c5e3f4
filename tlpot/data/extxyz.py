"""Extended XYZ files, plain or compressed, through ASE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from tlpot.data.spec import DataSpec, LevelSpec
from tlpot.data.store import MemoryStore, Section
from tlpot.errors import DataError
from tlpot.units import energy_factor

_ALIASES = {key: f"REF_{key}" for key in ("energy", "forces", "stress")}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    number: int
    label: str
    atoms: Atoms
    group: str | None

    @property
    def kind(self) -> tuple[str | None, bytes]:
        """Rows of one kind can be stacked."""
        return self.group, self.atoms.numbers.tobytes()


def read_extxyz(path: Path, spec: DataSpec) -> tuple[MemoryStore, DataSpec]:
    """Reads a file into memory.

    A label is looked for in the comment line, in the per-atom columns and in the calculator
    that ASE makes of them; ``energy``, ``forces`` and ``stress`` also as ``REF_energy`` and so
    on. Single atoms whose ``config_type`` is ``isolated_atom`` (in any spelling) give the
    level's isolated atoms and are not frames.

    Args:
        path: the file.
        spec: its description, with exactly one level.

    Returns:
        The columns, and the description of these columns.

    Raises:
        DataError: not extended XYZ, no frame has labels, or two keys contradict each other.
    """
    (name, level), *_ = spec.levels.items()
    rows = [
        _Row(number=k, label=f"{path.name}[{k}]", atoms=atoms, group=_group(atoms, spec))
        for k, atoms in enumerate(_read_frames(path))
    ]
    frames = [row for row in rows if not _is_isolated_atom(row.atoms)]
    sections, columns = [], []
    for _, equal in groupby(frames, key=lambda row: row.kind):
        run = list(equal)
        found = _columns(run, spec, level)
        columns.append(found)
        sections.append(
            Section(
                group=run[0].group,
                label=path.name,
                shapes={key: column.shape for key, column in found.items()},
                first_row=run[0].number,
            )
        )
    present = {key for found in columns for key in found}
    _check_present(path, rows, spec, level, present)
    return MemoryStore(path, sections, columns), replace(
        spec,
        numbers="numbers",
        coordinates="coordinates",
        group=None,
        levels={
            name: replace(
                level,
                energy="energy",
                forces="forces" if "forces" in present else None,
                stress="stress" if "stress" in present else None,
                isolated_atoms={**level.isolated_atoms, **_isolated_atoms(rows, spec, level)},
            )
        },
        cell="cell",
        pbc="pbc",
        charge="charge" if "charge" in present else None,
        spin="spin" if "spin" in present else None,
    )


def _read_frames(path: Path) -> list[Atoms]:
    import ase.io

    try:
        return list(ase.io.iread(path, index=":", format="extxyz"))
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except Exception as error:  # ASE's parser raises whatever its parts raise
        raise DataError(f"{path} is not complete extended XYZ ({error})") from error


def _columns(run: Sequence[_Row], spec: DataSpec, level: LevelSpec) -> dict[str, NDArray]:
    first = run[0].atoms
    columns: dict[str, NDArray] = {
        "numbers": first.numbers,
        "coordinates": np.stack([row.atoms.positions for row in run]),
        "cell": np.stack([row.atoms.cell.array for row in run]),
        "pbc": np.stack([row.atoms.pbc for row in run]),
    }
    for quantity, keys, absent in (
        ("energy", level.energy_keys, np.nan),
        ("forces", (level.forces,), np.full((len(first), 3), np.nan)),
        ("stress", (level.stress,), np.full((3, 3), np.nan)),
    ):
        found = [_label(row, quantity, keys) for row in run]
        if any(value is not None for value in found):
            columns[quantity] = np.stack([absent if v is None else v for v in found])
    for quantity, key, default in (("charge", spec.charge, 0), ("spin", spec.spin, 1)):
        if key and any(key in row.atoms.info for row in run):
            columns[quantity] = np.array([row.atoms.info.get(key, default) for row in run])
    used = {*columns, *level.keys, spec.charge, spec.spin, spec.group}
    for key, value in first.info.items():
        if key not in used and np.ndim(value) == 0 and all(key in r.atoms.info for r in run):
            columns[key] = np.array([row.atoms.info[key] for row in run])
    return columns


def _label(row: _Row, quantity: str, keys: Sequence[str | None]) -> NDArray | None:
    parts = [part for key in keys if key and (part := _find(row, key)) is not None]
    if not parts or len(parts) < len(keys):
        return None
    value = np.sum(parts, axis=0)
    if quantity == "stress":
        value = voigt_6_to_full_3x3_stress(value) if value.size == 6 else value.reshape(3, 3)
    expected = {"energy": (), "forces": (len(row.atoms), 3), "stress": (3, 3)}[quantity]
    if value.shape != expected:
        raise DataError(
            f"{row.label}: {'+'.join(str(k) for k in keys)} has shape {value.shape}, "
            f"expected {expected} for {quantity}"
        )
    return value


def _find(row: _Row, key: str) -> NDArray[np.float64] | None:
    """Returns the numbers that a frame holds under a key or its ``REF_`` alias, or None."""
    atoms = row.atoms
    places: list[Mapping[str, Any]] = [atoms.info, atoms.arrays]
    if atoms.calc is not None:
        places.append(atoms.calc.results)
    found = [place[key] for place in places if key in place]
    alias = _ALIASES.get(key, key)
    found += [place[alias] for place in places if alias != key and alias in place]
    try:
        numbers = [np.asarray(value, dtype=np.float64) for value in found]
    except (TypeError, ValueError):
        raise DataError(f"{row.label}: {key!r} is {found[0]!r}, expected numbers") from None
    if any(n.shape != numbers[0].shape or not np.allclose(n, numbers[0]) for n in numbers):
        raise DataError(
            f"{row.label} has {key!r} and {alias!r} (or two of one name) with different values; "
            f"say which with keys={{{key!r}: ...}}"
        )
    return numbers[0] if numbers else None


def _group(atoms: Atoms, spec: DataSpec) -> str | None:
    return str(atoms.info[spec.group]) if spec.group and spec.group in atoms.info else None


def _is_isolated_atom(atoms: Atoms) -> bool:
    kind = str(atoms.info.get("config_type", "")).lower().replace("_", "")
    return len(atoms) == 1 and kind == "isolatedatom"


def _isolated_atoms(rows: Sequence[_Row], spec: DataSpec, level: LevelSpec) -> dict[str, float]:
    """Energies in the unit that the description gives for isolated atoms."""
    factor = energy_factor(spec.units.energy)
    factor /= energy_factor(spec.units.isolated_atoms or spec.units.energy)
    return {
        row.atoms.get_chemical_symbols()[0]: float(energy) * factor
        for row in rows
        if _is_isolated_atom(row.atoms)
        and (energy := _label(row, "energy", level.energy_keys)) is not None
    }


def _check_present(
    path: Path, rows: Sequence[_Row], spec: DataSpec, level: LevelSpec, present: set[str]
) -> None:
    """Checks that what was asked for under a name of its own is there."""
    if not present:
        return
    asked = {
        "energy": level.energy_keys,
        "forces": (level.forces,),
        "stress": (level.stress,),
        "charge": (spec.charge,),
        "spin": (spec.spin,),
    }
    for quantity, keys in asked.items():
        named = [key for key in keys if key and key != quantity]
        if quantity not in present and (
            named or (quantity == "energy" and "forces" not in present)
        ):
            held: set[str] = set()
            for row in rows:
                held |= row.atoms.info.keys() | row.atoms.arrays.keys()
                held |= row.atoms.calc.results.keys() if row.atoms.calc is not None else set()
            raise DataError(
                f"{path}: no frame has {quantity} under {' + '.join(named) or repr(quantity)}; "
                f"the file has {', '.join(sorted(held))}. Name the right one with "
                f"keys={{{quantity!r}: ...}}"
            )
    if spec.group and not any(spec.group in row.atoms.info for row in rows):
        raise DataError(f"{path}: no frame has the key {spec.group!r} that should name its group")
