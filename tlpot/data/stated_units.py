"""Units that a file states itself, beside those of its description."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from tlpot.data.spec import DataSpec
from tlpot.data.xyz_file import XYZFrame
from tlpot.data.xyz_labels import LabelKeys
from tlpot.errors import ConfigError, DataError
from tlpot.units import energy_factor, force_factor, stress_factor

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
