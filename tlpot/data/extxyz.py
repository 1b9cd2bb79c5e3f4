"""Extended XYZ files as datasets."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import NoReturn

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.data.dataset import Problem
from tlpot.data.program_comments import COMMENT_ENERGY
from tlpot.data.spec import DataSpec, LevelSpec
from tlpot.data.store import MemoryStore, Section
from tlpot.data.xyz_file import XYZFrame, read_xyz
from tlpot.data.xyz_labels import (
    QUANTITIES,
    FrameLabels,
    LabelKeys,
    Quantity,
    energy_levels,
    frame_labels,
    label_keys,
    other_unit,
    usual_names,
)
from tlpot.errors import DataError, GeometryError, UnreadLabelWarning
from tlpot.numbers import counted
from tlpot.total_charge import StatedCharge, charge_and_spin, stated_charge
from tlpot.units import energy_factor

_LEVEL_KEYS = ("head", "level", "level_of_theory", "theory", "method", "functional", "xc", "basis")
"""Under which frames say how they were computed, as those for several heads of MACE do."""
_SHOWN_LEVELS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """A frame with what was understood of it."""

    name: str
    frame: XYZFrame
    group: str | None
    labels: FrameLabels
    stated: StatedCharge
    isolated: bool

    @property
    def kind(self) -> tuple[str | None, bytes]:
        """Rows of one kind can be stacked."""
        return self.group, self.frame.numbers.tobytes()

    @property
    def held(self) -> set[str]:
        """Keys and columns of the frame but for its structure."""
        nameless = {f"{self.frame.nameless} columns without a name"} if self.frame.nameless else ()
        return {*self.frame.info, *self.frame.arrays, *nameless}


def read_extxyz(path: Path, spec: DataSpec) -> tuple[MemoryStore, DataSpec]:
    """Reads a file into memory.

    A label is looked for in the comment line and in the columns, under ``energy``, ``forces`` and
    ``stress`` also as ``REF_energy`` and so on; a stress also as virial. Charge and multiplicity
    are understood under their usual names, see `tlpot.total_charge`. Single atoms whose
    ``config_type`` is ``isolated_atom`` (in any spelling) give the level's isolated atoms and are
    not frames.

    Where the description has several levels of theory, each has the keys that it names and no
    others, and one that no frame has is left out.

    Args:
        path: the file.
        spec: its description.

    Returns:
        The columns, and the description of these columns.

    Raises:
        DataError: not extended XYZ, no frame has labels, two keys contradict each other, a
            charge or multiplicity that cannot be, or two energies of one free atom.

    Warns:
        UserWarning: frames lack a label and hold something that looks like it.
    """
    return understood(read_xyz(path), path, spec)


def understood(
    structures: Iterable[XYZFrame], path: Path, spec: DataSpec, *, named_by: str | None = None
) -> tuple[MemoryStore, DataSpec]:
    """Does what `read_extxyz` does, for frames that are read already.

    Args:
        structures: the frames.
        path: for messages.
        spec: the description.
        named_by: what in `info` names a frame in messages; None for its number.
    """
    energies = energy_levels(spec)
    structures = list(structures)
    keys = label_keys(structures, spec)
    rows = [_extxyz_row(frame, path, spec, keys, named_by) for frame in structures]
    frames = [row for row in rows if not row.isolated]
    sections, columns = [], []
    fillers = _declared(frames, spec)
    for _, equal in groupby(frames, key=lambda row: row.kind):
        run = list(equal)
        found = _columns(run, spec) | {
            key: np.array([row.frame.info.get(key, absent) for row in run])
            for key, absent in fillers.items()
        }
        columns.append(found)
        read = _used(run, spec) | {*spec.columns}
        sections.append(
            Section(
                group=run[0].group,
                label=path.name,
                shapes={key: column.shape for key, column in found.items()},
                first_row=run[0].frame.number,
                unread=frozenset().union(*(row.held for row in run)) - read,
                row_names=tuple(row.name for row in run) if named_by else (),
            )
        )
    present = {key for found in columns for key in found}
    _check_present(path, rows, spec, present)
    for row in rows:
        if row.frame.units and (wrong := other_unit(row.frame, spec, keys, row.labels.keys)):
            raise DataError(f"{path}: {row.name} {wrong}")
    charge, spin = _state_columns(spec)
    # else, only properties are asked for
    problems = _similar_problems(frames, keys) if energies else []
    for problem in problems:
        warnings.warn(f"{path}: {problem.what}", UnreadLabelWarning, stacklevel=4)
    problems += _several_levels(frames, energies)
    # what is said of some frames need not be said of the file
    said = {key for row in frames for _, key in row.labels.similar}
    # and who names a label leaves out its other names on purpose
    said |= {key for q in QUANTITIES if q in spec.named for key in usual_names(q)}
    said_of_all = {"columns": json.dumps(dict.fromkeys(fillers, ""))} if fillers else {}
    read_from = {each: _label_keys(frames, each, found) for each, found in energies.items()}
    levels = {each: found for each, found in spec.levels.items() if each not in energies}
    for each, level in energies.items():
        names = _column_names(each, spec)
        there = {kind: name if name in present else None for kind, name in names.items()}
        levels[each] = replace(
            level,
            energy=names["energy"],
            forces=there["forces"],
            stress=there["stress"],
            isolated_atoms=_isolated_atoms(path, rows, spec, each),
        )
    return MemoryStore(path, sections, columns, problems, said_of_all, read_from), replace(
        spec,
        unread=(*spec.unread, *sorted(said - {*spec.unread})),
        numbers="numbers",
        coordinates="coordinates",
        group=None,
        levels=levels,
        cell="cell",
        pbc="pbc",
        charge=charge if charge in present else None,
        spin=spin if spin in present else None,
    )


def _column_names(level: str, spec: DataSpec) -> dict[Quantity, str]:
    """Returns what the columns of a level's labels are called, by what they are."""
    prefix = f"{level}." if len(energy_levels(spec)) > 1 else ""
    return {quantity: f"{prefix}{quantity}" for quantity in QUANTITIES}


def _label_keys(rows: Sequence[_Row], name: str, level: LevelSpec) -> list[str]:
    """Returns the keys that labels of a level were read from, energies first."""
    used = set().union(*(row.labels.keys[name] for row in rows))
    usual = [*level.energy_keys, level.forces or "", level.stress or ""]
    kinds = {key: k for k, name in enumerate(usual) for key in (name, f"REF_{name}")}
    return sorted(used, key=lambda key: (kinds.get(key, len(usual)), key))


def _declared(frames: Sequence[_Row], spec: DataSpec) -> dict[str, str | float]:
    """Returns the columns of the description that a frame has, with what stands for no value."""
    found: dict[str, str | float] = {}
    for key in spec.columns:
        values = [row.frame.info[key] for row in frames if key in row.frame.info]
        if values:
            numbers = all(np.ndim(v) == 0 and np.asarray(v).dtype.kind in "iuf" for v in values)
            whole = len(values) == len(frames)
            found[key] = "" if whole or not numbers else np.nan
    return found


def frame_of(atoms: Atoms, number: int, where: str = "atoms") -> XYZFrame:
    """Returns an `ase.Atoms` as a frame, with the results of its calculator.

    Args:
        atoms: the structure.
        number: of the frame.
        where: what it is from, for messages.

    Raises:
        DataError: the calculator has no results for the structure as it is now, or others than
            ``info`` or ``arrays`` say.
    """
    info = {str(key): value for key, value in atoms.info.items()}
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    if atoms.calc is not None:
        results = {k: v for k, v in atoms.calc.results.items() if k in QUANTITIES}
        if not results or atoms.calc.check_state(atoms):
            raise DataError(
                f"{where}[{number}] has a calculator without results for its present positions; "
                "call atoms.get_forces() first, or set atoms.calc = None"
            )
        energy, free = (atoms.calc.results.get(key) for key in ("energy", "free_energy"))
        if free is not None and free != energy:  # else it says nothing
            results["free_energy"] = free
        for key, value in results.items():
            place = arrays if key == "forces" else info
            if key in place and not np.array_equal(place[key], value):
                raise DataError(
                    f"{where}[{number}]: its calculator has another {key} than atoms."
                    f"{'arrays' if key == 'forces' else 'info'}[{key!r}]; remove one of them"
                )
            place[key] = value
    return XYZFrame(
        number=number,
        numbers=np.asarray(atoms.numbers, dtype=np.int64),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell.array, dtype=np.float64),
        pbc=np.array(atoms.pbc, dtype=bool),
        info=info,
        arrays=arrays,
    )


def _extxyz_row(
    frame: XYZFrame,
    path: Path,
    spec: DataSpec,
    keys: Mapping[str, LabelKeys],
    named_by: str | None,
) -> _Row:
    name, which = f"{path.name}[{frame.number}]", f"frame {frame.number}"
    if named_by:
        name, which = f"{path.name}/{frame.info[named_by]}", str(frame.info[named_by])
    group = str(frame.info[spec.group]) if spec.group and spec.group in frame.info else None
    try:
        stated = _stated(frame, spec)
    except GeometryError as error:
        raise DataError(
            f"{path}: {which}: {error}. To name the keys: charge=KEY and spin=KEY "
            "(keys=..., --keys), with nothing for KEY to read none"
        ) from None
    return _Row(
        name=name,
        frame=frame,
        group=group,
        labels=frame_labels(frame, name, spec, keys),
        stated=stated,
        isolated=_is_free_atom(frame),
    )


def _is_free_atom(frame: XYZFrame) -> bool:
    kind = str(frame.info.get("config_type", "")).lower().replace("_", "").replace(" ", "")
    return len(frame) == 1 and kind == "isolatedatom"


def _stated(frame: XYZFrame, spec: DataSpec) -> StatedCharge:
    """Reads charge and multiplicity; a stated multiplicity must be one that the electrons have."""
    properties = {level.value for level in spec.levels.values()}
    info = {key: value for key, value in frame.info.items() if key not in properties}
    arrays = dict(frame.arrays)
    keys: dict[str, str | None] = {}
    for quantity, key in (("charge", spec.charge), ("spin", spec.spin)):
        if isinstance(key, int):  # free atoms are neutral, each with a multiplicity of its own
            keys[f"{quantity}_key"] = f"stated {quantity}"
            info |= {} if _is_free_atom(frame) else {f"stated {quantity}": key}
            continue
        only = quantity in spec.named or key not in (None, quantity)
        # a key that no frame has reads nothing
        keys[f"{quantity}_key"] = (key or "") if only else None
    n_protons, periodic = int(frame.numbers.sum()), bool(frame.pbc.any())
    stated = stated_charge(info, arrays, n_protons, periodic=periodic, **keys)
    if stated.spin is not None:
        charge_and_spin(info, arrays, n_protons, periodic=periodic, **keys)
    return stated


def _columns(run: Sequence[_Row], spec: DataSpec) -> dict[str, NDArray]:
    first = run[0].frame
    columns: dict[str, NDArray] = {
        "numbers": first.numbers,
        "coordinates": np.stack([row.frame.positions for row in run]),
        "cell": np.stack([row.frame.cell for row in run]),
        "pbc": np.stack([row.frame.pbc for row in run]),
    }
    for level in energy_levels(spec):
        for quantity, column in _column_names(level, spec).items():
            values = [row.labels.values[level].get(quantity) for row in run]
            shape = next((value.shape for value in values if value is not None), None)
            if shape is not None:
                absent = np.full(shape, np.nan)
                columns[column] = np.stack([absent if v is None else v for v in values])
    for key in {key: None for row in run for key in row.labels.properties}:
        columns[key] = np.array([row.labels.properties.get(key, np.nan) for row in run])
    charges, spins = [r.stated.charge for r in run], [r.stated.spin for r in run]
    names = _state_columns(spec)
    for key, stated, default in zip(names, (charges, spins), (0, 1), strict=True):
        if any(value is not None for value in stated):
            columns[key] = np.array([default if v is None else v for v in stated])
    # what the file calls so and is not read must not pass for what is read
    taken = {*_used(run, spec), *columns, *QUANTITIES, "charge", "spin"}
    for key, value in first.info.items():
        everywhere = all(key in row.frame.info for row in run)
        if key not in taken and np.ndim(value) == 0 and everywhere:
            columns[key] = np.array([row.frame.info[key] for row in run])
    return columns


def _state_columns(spec: DataSpec) -> tuple[str, str]:
    """Returns what the columns of charge and multiplicity are called; properties come first."""
    properties = {level.value for level in spec.levels.values()}
    charge, spin = (f"total {k}" if k in properties else k for k in ("charge", "spin"))
    return charge, spin


def _used(run: Sequence[_Row], spec: DataSpec) -> set[str]:
    used = {spec.group} if spec.group else set()
    return used.union(*(row.labels.used | row.stated.keys for row in run))


def _isolated_atoms(
    path: Path, rows: Sequence[_Row], spec: DataSpec, level: str
) -> dict[str, float]:
    """Energies of the free atoms, in the unit that the description gives for them.

    Raises:
        DataError: an element has two different ones, or the atom is an ion.
    """
    factor = energy_factor(spec.units.of_energy)
    factor /= energy_factor(spec.units.isolated_atoms or spec.units.of_energy)
    found = dict(spec.levels[level].isolated_atoms)
    whose = dict.fromkeys(found, "the description")
    for row in rows:
        if not row.isolated or "energy" not in row.labels.values[level]:
            continue
        symbol = chemical_symbols[row.frame.numbers[0]]
        energy = float(row.labels.values[level]["energy"]) * factor
        if row.stated.charge:
            raise DataError(
                f"{path}: {row.name} is the free atom of {symbol} with charge "
                f"{row.stated.charge:+d}; expected the neutral one"
            )
        if found.setdefault(symbol, energy) != energy:
            raise DataError(
                f"{path}: two energies of the free atom {symbol}: {found[symbol]:.8g} in "
                f"{whose[symbol]} and {energy:.8g} in {row.name}; keep one of them as isolated_atom"
            )
        whose[symbol] = row.name
    return found


def _check_present(
    path: Path, rows: Sequence[_Row], spec: DataSpec, present: Collection[str]
) -> None:
    """Checks that what was asked for under a name of its own is there."""
    if not present:
        return
    for each, found in spec.levels.items():
        if found.value is not None and found.value not in present:
            held = set().union(*(row.held for row in rows))
            raise DataError(
                f"{path}: no frame has {each} under {found.value!r}; the file has "
                f"{', '.join(sorted(held)) or 'no keys at all'}"
            )
    energies = {name: level for name, level in energy_levels(spec).items() if level.keys}
    columns = {name: _column_names(name, spec) for name in energies}
    there = [name for name in energies if {*columns[name].values()} & {*present}]
    for name in there or energies:
        level = energies[name]
        asked: Mapping[Quantity, Sequence[str | None]] = {
            "energy": level.energy_keys, "forces": (level.forces,), "stress": (level.stress,)
        }  # fmt: skip
        forces = columns[name]["forces"] in present
        for quantity, keys in asked.items():
            named = [key for key in keys if key and (key != quantity or quantity in spec.named)]
            if columns[name][quantity] not in present and (
                named or (quantity == "energy" and not forces)
            ):
                _raise_absent(path, rows, quantity, named)
    keys_of = (spec.charge_key, spec.spin_key)
    stated = zip(("charge", "spin"), keys_of, _state_columns(spec), strict=True)
    for state, key, column in stated:
        named = [key] if key and (key != state or state in spec.named) else []
        if energies and named and column not in present:
            _raise_absent(path, rows, state, named)
    if energies and spec.group and not any(spec.group in row.frame.info for row in rows):
        raise DataError(f"{path}: no frame has the key {spec.group!r} that should name its group")


def _raise_absent(
    path: Path, rows: Sequence[_Row], quantity: str, named: Sequence[str]
) -> NoReturn:
    held = set().union(*(row.held for row in rows))
    remedy = f"Name the right one with keys={{{quantity!r}: ...}}"
    said = {key: unit for row in rows for key, unit in row.frame.units.items()}
    if COMMENT_ENERGY in held:
        said.setdefault(COMMENT_ENERGY, "UNIT")
    if quantity == "energy" and said:
        key, unit = next(iter(said.items()))
        remedy += f" (of these, {key!r} with its unit: --keys 'energy={key}, {unit}')"
    if not any(_may_be(quantity, key, row.frame) for row in rows for key in row.held):
        remedy = "None of them could be one: these are structures, for 'tlpot label'"
    raise DataError(
        f"{path}: no frame has {quantity} under {' + '.join(named) or repr(quantity)}; "
        f"the file has {', '.join(sorted(held)) or 'no labels at all'}. {remedy}"
    )


def _may_be(quantity: str, key: str, frame: XYZFrame) -> bool:
    """Whether what a frame has under a key has the type and the size of a quantity."""
    array = np.asarray(frame.info.get(key, frame.arrays.get(key, "")))
    sizes = {"energy": (1,), "forces": (3 * len(frame),), "stress": (6, 9)}
    return array.dtype.kind in "iuf" and array.size in sizes.get(quantity, (1, len(frame)))


def _similar_problems(rows: Sequence[_Row], keys: Mapping[str, LabelKeys]) -> list[Problem]:
    """Reports frames that lack a label and hold what looks like it."""
    withheld = {key: why for own in keys.values() for key, why in own.withheld.items()}
    counts = Counter(pair for row in rows for pair in row.labels.similar)
    found = []
    for (kind, key), n in sorted(counts.items()):
        names = tuple(row.name for row in rows if (kind, key) in row.labels.similar)
        frames = f"{counted(n, 'frame')} ({names[0]}{', ...' if n > 1 else ''})"
        they, lack = ("these frames", "lack") if n > 1 else ("this frame", "lacks")
        remedy = f"name it with keys={{{kind!r}: {key!r}}} (--keys {kind}={key})"
        if kind == "unit":
            what = (
                f"{key!r} looks like a unit, but all numbers are read in eV and Å; for others, "
                "name them with the labels: keys={'energy': 'KEY, UNIT'} (--keys "
                "'energy=KEY, UNIT')"
            )
        elif key in withheld:
            what = (
                f"{key!r} is not read, although it is a usual name of {kind}, which {they} "
                f"{lack}: it {withheld[key]}. If it is of this level, {remedy}; if no {kind} "
                f"are wanted, with keys={{{kind!r}: ''}} (--keys {kind}=)"
            )
        else:
            what = (
                f"{key!r} is not read, although it looks like {kind}, which {they} {lack}; if it "
                f"is, {remedy}"
            )
        if kind == "forces" and any(word in key.lower() for word in ("grad", "grd", "unnamed")):
            what += f"; if it is the gradient, with keys={{'forces': '{key}, UNIT, gradient'}}"
        found.append(Problem(severity="warning", what=f"{frames}: {what}"))
    return found


def _several_levels(rows: Sequence[_Row], levels: Mapping[str, LevelSpec]) -> list[Problem]:
    """Reports frames that say of themselves that they are of several levels of theory."""
    found = []
    for key in _LEVEL_KEYS if len(levels) == 1 else ():
        said = Counter(str(row.frame.info[key]) for row in rows if key in row.frame.info)
        if len(said) > 1:
            shown = ", ".join(f"{value} ({n})" for value, n in said.most_common(_SHOWN_LEVELS))
            what = (
                f"{key!r} says that frames are of {len(said)} kinds ({shown}), and all are read as "
                f"{next(iter(levels))}; if these are levels of theory, write a file for each"
            )
            found.append(Problem(severity="warning", what=what))
    return found
