"""tlpot's own layout: ANI-1x groups, with levels of theory and units as attributes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ase.data import atomic_numbers

from tlpot.data.hdf5 import dataset_names, json_attribute, open_hdf5
from tlpot.data.spec import DataSpec, LevelSpec, UnitSpec
from tlpot.errors import ConfigError, DataError, nearest
from tlpot.levels import canonical_level

OPTIONAL = ("cell", "pbc", "charge", "spin")
"""Datasets of a group beside ``atomic_numbers``, ``coordinates`` and labels."""

PROVENANCE = ("source", "trajectory")
"""Datasets of a group, one value per frame, that a split may keep together."""


def read_native_spec(path: Path) -> DataSpec:
    """Returns the description that a file in the native layout carries in its attributes.

    Raises:
        DataError: not HDF5, the attributes are missing or damaged, or a unit is unknown.
    """
    with open_hdf5(path) as handle:
        attributes = {
            name: json_attribute(handle, name, path)
            for name in ("levels", "units", "isolated_atoms", "definitions")
        }
        present = dataset_names(handle, path)
    for name in ("levels", "units"):
        if not attributes[name]:
            raise DataError(
                f"{path} has no root attribute {name!r}, so its {name} are not known; name a "
                "description with spec=... (for example spec='ani1x'), or write the file with "
                "'tlpot data convert'"
            )
    units, atoms = attributes["units"], attributes["isolated_atoms"]
    energies = {f"{key}.energy" for key in attributes["levels"]}
    _check_atoms(path, atoms, energies | {name for name in present if name.endswith("energy")})
    levels: dict[str, LevelSpec] = {}
    for key, name in attributes["levels"].items():
        level = canonical_level(str(name))
        if level in levels:
            raise DataError(f"{path}: attribute 'levels' names {level!r} twice")
        levels[level] = LevelSpec(
            energy=f"{key}.energy",
            forces=f"{key}.forces" if f"{key}.forces" in present else None,
            stress=f"{key}.stress" if f"{key}.stress" in present else None,
            isolated_atoms={
                symbol: float(energies[f"{key}.energy"])
                for symbol, energies in atoms.items()
                if f"{key}.energy" in energies
            },
            definition=next(iter(definitions := _definitions(attributes, key)), ""),
            other_definitions=definitions[1:],
        )
    costs = [f"{key}.cost" for key in attributes["levels"]]  # what tlpot label spent on each
    needed = ["coordinates", "energy"]
    needed += [
        kind for kind in ("forces", "stress") if any(getattr(x, kind) for x in levels.values())
    ]
    for quantity in needed:
        if quantity not in units:
            raise DataError(
                f"{path}: attribute 'units' does not give the unit of {quantity!r}; "
                'add it, for example "hartree" for energy'
            )
    try:
        return DataSpec(
            container="hdf5",
            units=UnitSpec(**{name: str(units[name]) for name in needed}),
            sign="force",
            levels=levels,
            columns=tuple(name for name in (*PROVENANCE, *costs) if name in present),
            **cast(dict[str, Any], {name: name for name in OPTIONAL if name in present}),
        )
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from error


def _definitions(attributes: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Returns how the labels of a level were computed: text, or a list where there are several."""
    said = attributes["definitions"].get(key, "")
    texts = said if isinstance(said, list) else [said]
    return tuple(dict.fromkeys(str(text) for text in texts if text))


def _check_atoms(path: Path, atoms: Mapping[str, Any], known: set[str]) -> None:
    """Refuses free atoms that would be passed over without a word."""
    for symbol, energies in atoms.items():
        if symbol not in atomic_numbers:
            raise DataError(f"{path}: attribute 'isolated_atoms': {symbol!r} is not an element")
        if not isinstance(energies, Mapping):
            raise DataError(
                f"{path}: attribute 'isolated_atoms' has {energies!r} for {symbol}, expected the "
                'energy by dataset, as {"H": {"LEVEL.energy": -0.5}}'
            )
        for name in sorted(energies.keys() - known):
            raise DataError(
                f"{path}: attribute 'isolated_atoms' has an energy of {symbol} for {name!r}, and "
                f"the file has no such dataset{nearest(name, sorted(known))}"
            )
