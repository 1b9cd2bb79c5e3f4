"""Labels of one frame of an extended XYZ file, under usual names, in the units that it states."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from tlpot.data.spec import DataSpec, LevelSpec, is_own_unit, looks_like
from tlpot.data.xyz_file import UNNAMED_COLUMNS, XYZFrame
from tlpot.errors import ConfigError, DataError
from tlpot.units import energy_factor, force_factor, length_factor, stress_factor

_SAME_UNIT = 1e-4
"""Relative difference of two spellings of a unit; constants of nature have changed by less."""


def other_unit(
    frame: XYZFrame,
    spec: DataSpec,
    keys: Mapping[str, LabelKeys],
    read: Mapping[str, Collection[str]],
) -> str:
    """Returns what to say of a label that the frame states in another unit than it is read in.

    Args:
        frame: one.
        spec: the description, with the units of the labels.
        keys: where the labels of each level are looked for.
        read: the keys that those of each level were read from.
    """
    for each in spec.levels.values():
        stated = frame.units.get(each.value or "")
        if each.value is not None and stated and not _is_same(stated, each.unit or ""):
            return (
                f"says that {each.value!r} is in {stated}, and it is named with the unit "
                f"{each.unit!r}; name it with {stated!r}"
            )
    units = spec.units
    for level, own in keys.items():
        asked: Mapping[str, tuple[Collection[str], str, Callable[[str], float]]] = {
            "energy": (sum(own.energies, ()), units.of_energy, energy_factor),
            "forces": (own.forces, units.forces or "", force_factor),
            "stress": (own.stress, units.stress or "", stress_factor),
        }
        for quantity, (names, expected, factor) in asked.items():
            for key in sorted({*read[level]} & {*names} & frame.units.keys()):
                said = frame.units[key]
                if abs(factor(said) / factor(expected) - 1) > _SAME_UNIT:
                    return (
                        f"says that {key!r} is in {said}, and it is read in {expected}; name the "
                        f"unit, and with it that of each other label: keys={{{quantity!r}: "
                        f"'{key}, {said}'}} (--keys '{quantity}={key}, {said}')"
                    )
    return ""


def _is_same(one: str, other: str) -> bool:
    """Whether two units are one, by their factors where these are known."""
    for factor in (energy_factor, stress_factor):
        try:
            return abs(factor(one) / factor(other) - 1) <= _SAME_UNIT
        except DataError:
            continue
    return one.strip().lower() == other.strip().lower()


def with_stated_units(spec: DataSpec, stated: Mapping[str, str]) -> DataSpec:
    """Returns the description in the units that a file states itself.

    Where it states that of one label, those without are not read, as with `with_keys`.

    Args:
        spec: where energies, forces and stresses have no units of the user's.
        stated: units by key; what is no label is passed over.

    Raises:
        ConfigError: an unknown unit, or two for the parts of one energy.
    """
    levels = {name: level for name, level in spec.levels.items() if level.value is None}
    if len(levels) != 1:
        return spec
    ((name, level),) = levels.items()
    keys = {"energy": level.energy_keys, "forces": (level.forces,), "stress": (level.stress,)}
    units: dict[str, str] = {}
    for quantity, names in keys.items():
        found = sorted({stated[key] for key in names if key and key in stated})
        if len(found) > 1:
            raise ConfigError(f"{quantity} is stated in {' and '.join(found)}; expected one unit")
        if found:
            units[quantity] = found[0]
    if not units:
        return spec
    lacking = dict.fromkeys({"forces", "stress"} - units.keys())
    level = replace(level, **lacking)  # type: ignore[arg-type]
    return replace(
        spec,
        levels={**spec.levels, name: level},
        units=replace(spec.units, **units),  # type: ignore[arg-type]
    )


Quantity = Literal["energy", "forces", "stress"]
QUANTITIES: tuple[Quantity, ...] = ("energy", "forces", "stress")

_VIRIALS = ("virial", "virials", "REF_virial", "REF_virials")
_SYMMETRIC = 0.01
"""Largest asymmetry of a stress, as a share of its largest component."""

_SAME_STRESS = 1e-3
"""The same for the difference of a stress and the one that the virial gives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameLabels:
    """What a frame is labelled with, in the units of the file.

    Attributes:
        values: energy [], forces [n_atoms, 3] and stress [3, 3] where there are any, by level.
        keys: those that the labels of each level were read from.
        used: all keys that were read.
        similar: what looks like a label that the frame lacks: quantity and key.
        properties: those there are, by key, in the units of the file.
    """

    values: dict[str, dict[Quantity, NDArray[np.float64]]]
    keys: dict[str, frozenset[str]]
    used: frozenset[str]
    similar: tuple[tuple[str, str], ...]
    properties: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelKeys:
    """The keys that the labels of a file are looked for under.

    Attributes:
        energies: of each part of the energy, under which it may stand.
        forces: under which they may stand.
        stress: the same.
        virials: the same, of what becomes a stress.
        withheld: usual names that are not read, for they may be of another level of theory, with
            what tells so.
        left_out: quantities that the user wants none of.
    """

    energies: tuple[tuple[str, ...], ...] = ()
    forces: tuple[str, ...] = ()
    stress: tuple[str, ...] = ()
    virials: tuple[str, ...] = ()
    withheld: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[Quantity] = frozenset()


def energy_levels(spec: DataSpec) -> dict[str, LevelSpec]:
    """Returns the levels of theory of a description, without its properties."""
    return {name: level for name, level in spec.levels.items() if level.value is None}


def label_keys(frames: Sequence[XYZFrame], spec: DataSpec) -> dict[str, LabelKeys]:
    """Returns where to look for the labels of each level of theory.

    Where there are several, labels have no other usual names than those in the description, which
    could be of another level.

    Args:
        frames: of the whole file.
        spec: its description.
    """
    levels = energy_levels(spec)
    if len(levels) < 2:
        return {name: _keys_of_level(frames, spec, level) for name, level in levels.items()}
    closed = replace(spec, named=(*spec.named, *QUANTITIES))
    return {
        name: replace(_keys_of_level(frames, closed, level), withheld={}, left_out=frozenset())
        for name, level in levels.items()
    }


def _keys_of_level(frames: Sequence[XYZFrame], spec: DataSpec, level: LevelSpec) -> LabelKeys:
    """Returns where to look for labels.

    Where the user names one label, and the file has a usual name of it as well (``energy`` beside
    ``cc_energy``), the usual names of the other labels belong to that one: they are withheld, but
    for those of the family of the name that he chose (``REF_forces`` with ``REF_energy``).
    """
    energy = level.energy_keys[0] if level.energy_keys else None
    given = {"energy": energy, "forces": level.forces, "stress": level.stress}
    named = {q: given[q] or "" for q in QUANTITIES if q in spec.named}
    families: set[str | None] = set()
    why = ""
    for quantity, chosen in named.items():
        family = _family(chosen)
        others = [key for key in usual_names(quantity) if _family(key) != family]
        rival = next((key for key in others if _is_there(key, frames)), None)
        # of two usual stresses one is named for its sign, whatever the energy is called
        told = family is None or quantity != "stress"
        if told and rival and chosen and _is_there(chosen, frames):
            families.add(family)
            why = why or f"may belong to {rival!r}, in whose place {chosen!r} was named"
    unnamed = [key for q in QUANTITIES if q not in named for key in usual_names(q)]
    withheld = {key for key in unnamed if families - {_family(key)}}

    def usual(quantity: Quantity, key: str | None) -> tuple[str, ...]:
        if key is None or key != quantity or quantity in named:
            return (key,) if key else ()
        names = (key,) if f"REF_{key}" in spec.unread else (key, f"REF_{key}")
        return tuple(name for name in names if name not in withheld)

    stress = usual("stress", level.stress)
    virials: tuple[str, ...] = ()
    if level.stress == "stress" and "stress" not in named:
        virials = tuple(key for key in _VIRIALS if key not in withheld)
    elif "virial" in (level.stress or "").lower():
        stress, virials = (), stress
    energies = tuple(usual("energy", key) for key in level.energy_keys)
    return LabelKeys(
        energies=energies if all(energies) else (),
        forces=usual("forces", level.forces),
        stress=stress,
        virials=virials,
        withheld=dict.fromkeys(sorted(withheld), why),
        left_out=frozenset(quantity for quantity, chosen in named.items() if not chosen),
    )


def usual_names(quantity: Quantity) -> tuple[str, ...]:
    """Returns the names under which a label is found that nobody has named."""
    return (quantity, f"REF_{quantity}", *(_VIRIALS if quantity == "stress" else ()))


def _family(key: str) -> str | None:
    """Returns what usual names of one level have in common; None for a name of the user's own."""
    prefix = "REF_" if key.startswith("REF_") else ""
    usual = (*QUANTITIES, *_VIRIALS)
    return prefix if key.removeprefix(prefix) in usual else None


def _is_there(key: str, frames: Sequence[XYZFrame]) -> bool:
    """Whether a frame has numbers under a key, not all of them NaN."""
    for frame in frames:
        value = np.asarray(frame.info.get(key, frame.arrays.get(key, "")))
        if value.dtype.kind in "iuf" and not np.isnan(value).all():
            return True
    return False


def frame_labels(
    frame: XYZFrame, name: str, spec: DataSpec, keys: Mapping[str, LabelKeys]
) -> FrameLabels:
    """Reads the labels of a frame; a label that is NaN throughout is a missing one.

    A stress is also read from the virial, as −virial/V, where the frame has a cell.

    Args:
        frame: one frame.
        name: what to call it in a message.
        spec: the description of the file.
        keys: where to look for the labels of each level.

    Raises:
        DataError: a label is no number or has the wrong shape, or two keys contradict each
            other.
    """
    values, read_from = {}, {}
    for level, own in keys.items():
        read: set[str] = set()
        values[level] = _of_level(frame, name, spec, own, read)
        read_from[level] = frozenset(read)
    properties = _properties(frame, name, spec)
    used = frozenset(properties).union(*read_from.values())
    known = frozenset(kind for labels in values.values() for kind in labels)
    known |= {kind for own in keys.values() for kind in own.left_out}
    return FrameLabels(
        values=values,
        keys=read_from,
        used=used,
        similar=tuple(_similar(frame, known, {*used, *spec.unread})),
        properties=properties,
    )


def _of_level(
    frame: XYZFrame, name: str, spec: DataSpec, keys: LabelKeys, used: set[str]
) -> dict[Quantity, NDArray[np.float64]]:
    values: dict[Quantity, NDArray[np.float64]] = {}
    parts = [_agreed(frame, name, "energy", each, used) for each in keys.energies]
    if parts and all(part is not None for part in parts):
        values["energy"] = np.sum([part for part in parts if part is not None], axis=0)
    if (found := _agreed(frame, name, "forces", keys.forces, used)) is not None:
        values["forces"] = found
    if (stress := _stress(frame, name, spec, keys, used)) is not None:
        values["stress"] = stress
    return values


def _properties(frame: XYZFrame, name: str, spec: DataSpec) -> dict[str, float]:
    """Returns the properties that the description names, by key; NaN is none."""
    found = {}
    for each in spec.levels.values():
        if each.value is None or each.value not in frame.info:
            continue
        raw = np.asarray(frame.info[each.value])
        if raw.dtype.kind not in "biuf" or raw.size != 1:
            raise DataError(
                f"{name}: {each.value!r} is {frame.info[each.value]!r}, expected one number, or "
                "nothing where there is no value"
            )
        found[each.value] = float(raw.reshape(()))
    return found


def _stress(
    frame: XYZFrame, name: str, spec: DataSpec, keys: LabelKeys, used: set[str]
) -> NDArray[np.float64] | None:
    stress = _agreed(frame, name, "stress", keys.stress, used)
    other = _from_virial(frame, name, keys.virials, spec, used)
    if stress is not None and other is not None:
        largest = np.abs(stress).max()
        if not np.abs(stress - other).max() <= _SAME_STRESS * largest + 1e-6:
            raise DataError(
                f"{name}: the stress is not {'' if spec.stress_sign == 'compressive' else '-'}"
                f"virial/V ({_row(stress)} and {_row(other)} along the axes); say which is right "
                "with keys={'stress': 'stress'} or {'stress': 'virial'}"
            )
    return other if stress is None else stress


def _from_virial(
    frame: XYZFrame, name: str, keys: Sequence[str], spec: DataSpec, used: set[str]
) -> NDArray[np.float64] | None:
    if not frame.pbc.all() or not any(key in frame.info or key in frame.arrays for key in keys):
        return None
    virial = _agreed(frame, name, "stress", keys, used)
    volume = abs(float(np.linalg.det(frame.cell)))
    if virial is None or not volume:
        return None
    units = spec.units
    volume *= length_factor(units.coordinates) ** 3
    # the decoder will multiply by the unit of stress and its sign
    unit = energy_factor(units.of_energy) / stress_factor(units.stress or "ev/angstrom^3")
    sign = 1 if spec.stress_sign == "compressive" else -1
    return sign * virial * (unit / volume)


def _agreed(
    frame: XYZFrame, name: str, quantity: Quantity, keys: Sequence[str], used: set[str]
) -> NDArray[np.float64] | None:
    """Returns the one value that all keys give, None if it is missing under all of them."""
    first: tuple[str, NDArray[np.float64]] | None = None
    for key in keys:
        for place in (frame.info, frame.arrays):
            if key not in place:
                continue
            used.add(key)
            value = _shaped(place[key], frame, f"{name}: {key!r}", quantity)
            if np.isnan(value).all():
                continue
            if first is None:
                first = key, value
            elif not np.array_equal(first[1], value, equal_nan=True):
                both = f"{first[0]!r} and {key!r}" if key != first[0] else f"two {key!r}"
                raise DataError(
                    f"{name} has {both} with different values ({first[1].flat[0]:.10g} and "
                    f"{value.flat[0]:.10g}); say which with keys={{{quantity!r}: {key!r}}} or "
                    f"{{{quantity!r}: {first[0]!r}}}"
                )
    return None if first is None else first[1]


def _shaped(value: object, frame: XYZFrame, what: str, quantity: Quantity) -> NDArray[np.float64]:
    raw = np.asarray(value)
    if raw.dtype.kind not in "iuf":
        raise DataError(f"{what} is {value!r}, expected numbers")
    array = raw.astype(np.float64)
    expected = {"energy": (), "forces": (len(frame), 3), "stress": (3, 3)}[quantity]
    if quantity == "stress" and array.size in (6, 9):
        array = (
            voigt_6_to_full_3x3_stress(array.reshape(6)) if array.size == 6 else array.reshape(3, 3)
        )
        if np.isfinite(array).all():
            uneven = np.abs(array - array.T).max()
            if uneven > _SYMMETRIC * np.abs(array).max():
                raise DataError(
                    f"{what} is not symmetric (by {uneven:.3g}); expected xx yy zz yz xz xy, or "
                    "the nine components of a symmetric matrix"
                )
            array = (array + array.T) / 2
    if quantity == "energy" and array.size == 1:
        array = array.reshape(())
    if array.shape != expected:
        raise DataError(f"{what} has shape {array.shape}, expected {expected} for {quantity}")
    return array


def _similar(
    frame: XYZFrame, known: Collection[str], used: Collection[str]
) -> list[tuple[str, str]]:
    """Returns what looks like a label that is missing, or like a unit other than eV and Å."""
    found: list[tuple[str, str]] = []
    sizes = {"energy": {1}, "forces": {3 * len(frame)}, "stress": {6, 9}}
    for key, value in (*frame.info.items(), *frame.arrays.items()):
        kind = None if key in used else looks_like(key)
        if key == UNNAMED_COLUMNS and key not in used:
            kind = "forces"
        if kind == "unit":
            if isinstance(value, str) and not is_own_unit(value):
                found.append((kind, key))
        elif kind is not None and kind not in known:
            array = np.asarray(value)
            if array.dtype.kind in "iuf" and array.size in sizes[kind]:
                found.append((kind, key))
    return found


def _row(stress: NDArray[np.float64]) -> str:
    return " ".join(f"{x:.4g}" for x in np.diag(stress))
