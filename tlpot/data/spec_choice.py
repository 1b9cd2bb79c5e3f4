"""What the user says beside a description: which level, and other names of arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast, get_args

from tlpot.data.spec import DataSpec, LevelSpec
from tlpot.errors import ConfigError, UnknownLevelError, nearest
from tlpot.levels import canonical_level
from tlpot.targets import Kind, check_name, is_property

_STRUCTURE_KEYS = (
    "numbers",
    "coordinates",
    "offsets",
    "counts",
    "cell",
    "pbc",
    "charge",
    "spin",
    "group",
)
_LABEL_KEYS = ("energy", "forces", "stress")
_OF_EXTXYZ = ("charge", "spin", "group")
_FIXED = "Lattice and pbc, and species and pos in Properties"


def select_level(
    spec: DataSpec, level: str | None, where: str, keys: Mapping[str, str] | None = None
) -> DataSpec:
    """Keeps one level of theory or one property, or all of them when `level` is None.

    Args:
        spec: the description.
        level: the only one to read; where the file does not say which level its energies are of,
            that level, and properties are read beside it.
        where: the file, for messages.
        keys: names from the user; those of properties, such as ``{"gap@pbe": "gap_pbe, eV,
            intensive"}``, are added to the description.

    Raises:
        UnknownLevelError: no such level, or the file does not say which level it holds and
            none was named.
        ConfigError: a property that is not well described.
    """
    given = keys or {}
    stated = {name: _property(name, given[name]) for name in given if is_property(name)}
    if stated:
        asked = None if level is None else canonical_level(level)
        if asked in stated or (asked is None and spec.one_level):
            only = stated if asked is None else {asked: stated[asked]}
            return replace(spec, levels=only, one_level=False, other_levels=None)
        rest = select_level(spec, level, where)
        return replace(rest, levels={**rest.levels, **stated})
    if level is None:
        if spec.one_level:
            known = ", ".join(spec.levels) or "any name, such as 'wb97x/6-31g*'"
            raise UnknownLevelError(
                f"{where} does not say which level of theory its labels have; "
                f"name it with level=... ({known}); properties, with "
                "keys={'gap@pbe': 'COLUMN, UNIT, intensive'}; several levels, with a description "
                "(spec=..., docs/data.md)"
            )
        return spec
    name = canonical_level(level)
    chosen = spec.levels.get(name, spec.other_levels)
    if chosen is None:
        remedy = "; for another, describe the file yourself (data_specs/README.md)"
        raise UnknownLevelError(
            f"{where} has no level {level!r}{nearest(name, spec.levels)}"
            f"{remedy if spec.one_level else ''}"
        )
    if is_property(name) and chosen.value is None:
        raise ConfigError(
            f"{where} does not say where {name} is; name it with keys={{{name!r}: "
            f"'COLUMN, UNIT, intensive'}} (--keys '{name}=COLUMN, UNIT, intensive')"
        )
    # arrays of the levels that were not asked for are no surprise
    others = {key for other in spec.levels.values() for key in other.keys} - {*chosen.keys}
    return replace(
        spec,
        levels={name: chosen},
        one_level=False,
        other_levels=None,
        unread=(*spec.unread, *sorted(others - {*spec.unread})),
    )


def _property(name: str, text: str) -> LevelSpec:
    """Reads ``COLUMN, UNIT, intensive``, with a kind behind it where that is not scalar."""
    check_name(name)
    words = [word.strip() for word in text.split(",")]
    kind = words.pop() if words[-1] in get_args(Kind) else "scalar"
    pooling = words.pop() if words else ""
    unit = words.pop() if len(words) > 1 and kind != "yes_no" else None
    if pooling not in ("intensive", "extensive") or (unit is None) != (kind == "yes_no"):
        raise ConfigError(
            f"keys: {name} is {text!r}; expected its column, its unit (nothing between commas for "
            "none), intensive (as a gap) or extensive (as a total), and positive if it is learned "
            "as its logarithm: 'gap_pbe, eV, intensive'; or 'is_metal, intensive, yes_no'"
        )
    column, extensive = ", ".join(words), pooling == "extensive"
    return LevelSpec(value=column, unit=unit, extensive=extensive, kind=cast(Kind, kind))


def _with_units(
    spec: DataSpec, labels: Mapping[str, str]
) -> tuple[DataSpec, dict[str, str | None]]:
    """Takes the units out of the names of labels: ``REF_forces, hartree/bohr, gradient``.

    Where one label has a unit, those without are not read: nothing tells that theirs is eV and Å.
    A virial has the unit of the energies.

    Returns:
        The description with the units and the sign, and the names.

    Raises:
        ConfigError: one label has a unit and another has none; not extended XYZ or the like; an
            unknown unit.
    """
    parted = {k: [word.strip() for word in text.split(",")] for k, text in labels.items()}
    names = {quantity: words[0] or None for quantity, words in parted.items()}
    if not any(len(words) > 1 for words in parted.values()):
        return spec, names
    if spec.container != "extxyz":
        raise ConfigError("keys: units are for extended XYZ; other files have a description")
    units: dict[str, Any] = {}
    sign, stress_sign = spec.sign, spec.stress_sign
    for quantity, (name, *more) in parted.items():
        if not labels[quantity].strip():
            continue
        if quantity == "forces" and more and more[-1] == "gradient":
            sign, more = "gradient", more[:-1]
        if quantity == "stress" and len(more) > 1 and more[-1] == "compressive":
            stress_sign, more = "compressive", more[:-1]
        if len(more) != ("virial" not in name.lower() if quantity == "stress" else 1):
            raise ConfigError(
                f"keys: {quantity} is {labels[quantity]!r}; expected its name and its unit, as "
                "other labels have one: 'REF_energy, hartree', 'REF_forces, hartree/bohr' (and "
                "', gradient' if it is that), 'REF_stress, gpa' (and ', compressive' if it is "
                "positive under compression), or a virial without"
            )
        units |= {quantity: more[0]} if more else {}
    # free atoms of the description stay as they are
    free = spec.units.isolated_atoms or spec.units.of_energy
    names |= dict.fromkeys({"forces", "stress"} - labels.keys())
    stated = replace(spec.units, isolated_atoms=free, **units)
    return replace(spec, units=stated, sign=sign, stress_sign=stress_sign), names


def _number(key: str) -> str | int:
    """Returns what states a charge or multiplicity: a whole number, or the name of an array."""
    return int(key) if re.fullmatch(r"\s*[+-]?\d+\s*", key) else key


def with_keys(spec: DataSpec, keys: Mapping[str, str]) -> DataSpec:
    """Returns the description with arrays renamed: ``{"energy": "energy_xtb"}``.

    Of extended XYZ the name of a label may have a unit: ``REF_energy, hartree``. An empty name for
    ``forces``, ``stress``, ``charge`` or ``spin`` has none read, and a whole number for the last
    two is that of every frame. Names of properties are for
    `select_level`.

    Raises:
        ConfigError: not a quantity, or a label where there are several levels.
    """
    keys = {quantity: key for quantity, key in keys.items() if not is_property(quantity)}
    for quantity in keys:
        valid = (*_STRUCTURE_KEYS, *_LABEL_KEYS)
        if quantity not in valid:
            raise ConfigError(f"keys: unknown quantity {quantity!r}{nearest(quantity, valid)}")
        if spec.container == "extxyz" and quantity not in (*_LABEL_KEYS, *_OF_EXTXYZ):
            raise ConfigError(
                f"keys: {quantity} of extended XYZ and the like has one name ({_FIXED}); valid: "
                f"{', '.join((*_LABEL_KEYS, *_OF_EXTXYZ))}"
            )
    labels = {quantity: key for quantity, key in keys.items() if quantity in _LABEL_KEYS}
    levels = dict(spec.levels)
    if labels:
        energies = [name for name, level in levels.items() if level.value is None]
        if len(energies) != 1:
            raise ConfigError(
                f"keys {sorted(labels)} are ambiguous with {len(energies)} levels of theory; "
                "name one with level=..."
            )
        name = energies[0]
        spec, renamed = _with_units(spec, labels)
        levels[name] = replace(levels[name], **renamed)  # type: ignore[arg-type]
    structure: dict[str, str | int | None] = {
        quantity: _number(key) if quantity in ("charge", "spin") else key
        for quantity, key in keys.items()
        if quantity in _STRUCTURE_KEYS
    }
    for quantity, key in keys.items():
        if not key.partition(",")[0].strip():
            if key.strip() or quantity not in ("charge", "spin", "forces", "stress"):
                raise ConfigError(f"keys: {quantity} needs the name of an array")
            structure |= {quantity: None} if quantity in structure else {}
    named = tuple(sorted({*spec.named, *keys}))
    return replace(spec, levels=levels, named=named, **structure)  # type: ignore[arg-type]
