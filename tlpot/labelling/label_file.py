"""Labels of an HDF5 file: looked at, put there from the journal, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import voigt_6_to_full_3x3_stress

from tlpot.data import (
    Frame,
    add_structures,
    announce_level,
    geometry_groups,
    json_attribute,
    label_problems,
    make_column,
    open_dataset,
    open_hdf5,
    written_hdf5,
)
from tlpot.engines import definition_differences
from tlpot.errors import DataError, UnknownLevelError, nearest
from tlpot.labelling.structures import StoredLevel, Structures, group_systems, stored_levels
from tlpot.labelling.task import LabelOutcome, geometry_key
from tlpot.levels import canonical_level
from tlpot.numbers import Floats
from tlpot.system import System
from tlpot.units import energy_factor, force_factor, stress_factor

MOST = 512
"""Labels that are looked at."""


def label_suspicions(
    level: str, systems: Sequence[System], outcomes: Sequence[LabelOutcome]
) -> tuple[str, ...]:
    """Looks at labels as ``tlpot data validate`` does, which a calculator of one's own may need.

    Args:
        level: of theory.
        systems: the structures; of many, some are looked at.
        outcomes: of each.

    Returns:
        What is suspicious.
    """
    frames = []
    stride = -(-len(systems) // MOST) or 1
    for system, outcome in list(zip(systems, outcomes, strict=True))[::stride]:
        if outcome.energy is None:
            continue
        atoms = system.to_atoms()
        results = {"energy": outcome.energy, "forces": outcome.forces, "stress": outcome.stress}
        given = {name: value for name, value in results.items() if value is not None}
        atoms.calc = SinglePointCalculator(atoms, **given)
        frames.append(atoms)
    if not frames:
        return ()
    dataset = open_dataset(frames, level=level)
    found = []
    for problem in label_problems(dataset, level, np.arange(len(dataset))):
        refused = "TRAINING WILL REFUSE THESE LABELS: " if problem.severity == "error" else ""
        found.append(f"{refused}{problem.what}")
    return tuple(found)


COST_COLUMNS = ("seconds", "cpu_seconds", "threads", "gflops")
"""Columns of the dataset ``<key>.cost``, see `tlpot.labelling.task.Cost`."""


def labelled_geometries(path: Path, level: str, *, forces: bool) -> set[str]:
    """Returns the keys of the geometries that a file has labels for.

    Args:
        path: in the native layout.
        level: canonical.
        forces: whether a label without forces does not count.

    Raises:
        DataError: the file is damaged.
    """
    stored = stored_levels(path).get(level)
    if stored is None:
        return set()
    done: set[str] = set()
    with open_hdf5(path) as handle:
        for group in geometry_groups(handle):
            if f"{stored.key}.energy" not in group:
                continue
            has = np.isfinite(group[f"{stored.key}.energy"][()]).reshape(-1)
            if forces:
                name = f"{stored.key}.forces"
                if name not in group:
                    continue
                has &= np.isfinite(group[name][()]).all(axis=(1, 2))
            systems = group_systems(group, path)
            done |= {geometry_key(systems[k]) for k in np.flatnonzero(has)}
    return done


def check_same_definition(path: Path, level: str, definition: Mapping[str, Any]) -> None:
    """Checks that labels may be added to those that a file has at a level.

    Raises:
        DataError: they were computed in another way, or it is not known how.
    """
    stored = stored_levels(path).get(level)
    if stored is None:
        return
    found = _differences(stored, definition)
    if found:
        raise DataError(
            f"{path} has labels at {level!r} that were computed in another way "
            f"({'; '.join(found)}). Labels of one level must come from one program with one "
            "set of settings: use these, or call the new level something else with level=... "
            "(--level), or write to another file"
        )


def assemble(
    structures: Structures,
    output: Path,
    level: str,
    definition: Mapping[str, Any],
    found: Callable[[str], LabelOutcome | None],
) -> None:
    """Writes the file: what it has, or else the structures, with the labels added.

    Args:
        structures: what was labelled.
        output: the HDF5 file; if it exists, everything in it is kept.
        level: canonical name of the level of theory.
        definition: of the level.
        found: gives the outcome of a geometry by its key, or None.

    Raises:
        DataError: an existing file is damaged.
        OutputError: it could not be written; an existing file is left as it was.
    """
    home = output if output.exists() else structures.home
    with written_hdf5(output, structures.write if home is None else home) as handle:
        if output.exists() and structures.frames:
            _add_frames(handle, output, structures.frames)
        text = json.dumps(dict(definition), ensure_ascii=False)
        key, units = announce_level(handle, output, level, text)
        for group in geometry_groups(handle):
            _fill(group, output, key, units, found)


def _add_frames(handle: h5py.File, path: Path, frames: Sequence[Frame]) -> None:
    """Adds groups with the geometries that the file does not hold."""
    held = {
        geometry_key(system)
        for group in geometry_groups(handle)
        for system in group_systems(group, path)
    }
    new = [frame for frame in frames if geometry_key(frame.system) not in held]
    units = json_attribute(handle, "units", path)
    if new and units.get("coordinates", "angstrom") != "angstrom":
        raise DataError(
            f"{path} has coordinates in {units['coordinates']!r}, and geometries in Å cannot be "
            "added to them; write to another file"
        )
    add_structures(handle, new)


def _fill(
    group: h5py.Group,
    path: Path,
    key: str,
    units: Mapping[str, str],
    found: Callable[[str], LabelOutcome | None],
) -> None:
    systems = group_systems(group, path)
    n, n_atoms = len(systems), len(group["atomic_numbers"])
    shapes = {
        "energy": (n,),
        "forces": (n, n_atoms, 3),
        "stress": (n, 3, 3),
        "cost": (n, len(COST_COLUMNS)),
    }
    columns = {}
    for kind, shape in shapes.items():
        name = f"{key}.{kind}"
        here = group[name][()] if name in group else np.full(shape, np.nan)
        if kind == "stress" and here.shape == (n, 6):
            here = np.array([voigt_6_to_full_3x3_stress(row) for row in here])
        columns[kind] = np.asarray(here, dtype=np.float64).reshape(shape)
    per_energy = energy_factor(units["energy"])
    per_force = force_factor(units["forces"])
    per_stress = stress_factor(units["stress"])
    for k, system in enumerate(systems):
        outcome = found(geometry_key(system))
        if outcome is None or outcome.energy is None:
            continue
        columns["energy"][k] = outcome.energy / per_energy
        if outcome.forces is not None:
            columns["forces"][k] = outcome.forces / per_force
        if outcome.stress is not None:
            columns["stress"][k] = outcome.stress / per_stress
        if outcome.cost is not None:
            columns["cost"][k] = [getattr(outcome.cost, name) for name in COST_COLUMNS]
    for kind, values in columns.items():
        name = f"{key}.{kind}"
        if name in group:
            del group[name]
        if np.isfinite(values).any():
            make_column(group, name, values.shape, "f8", np.nan)[...] = values
            if kind == "cost":
                group[name].attrs["columns"] = json.dumps(COST_COLUMNS)


def _differences(stored: StoredLevel, definition: Mapping[str, Any]) -> list[str]:
    try:
        known = json.loads(stored.definition)
    except ValueError:
        known = None
    if not isinstance(known, dict):
        said = stored.definition or "nothing"
        return [f"the file says {said!r} about them, the engine is {definition.get('engine')}"]
    return definition_differences(known, definition)


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelCost:
    """What labels of one level cost.

    Attributes:
        labels: how many there are with a cost.
        seconds: median by the clock.
        cpu_seconds: median.
        gflop: median of the processor's time in floating-point operations of a matrix product
            (1e9), which does not depend on the machine.
        total_seconds: by the clock, of all of them.
        total_cpu_seconds: of all of them.
        each: those of each label, by the key of its geometry.
    """

    labels: int
    seconds: float
    cpu_seconds: float
    gflop: float
    total_seconds: float
    total_cpu_seconds: float
    each: Mapping[str, float]


def label_costs(paths: Iterable[Path]) -> dict[str, LevelCost]:
    """Returns the costs by canonical level; levels without are left out.

    Raises:
        DataError: not a dataset in the native layout.
    """
    rows: dict[str, list[Floats]] = {}
    each: dict[str, dict[str, float]] = {}
    for path in paths:
        levels = stored_levels(path)
        with open_hdf5(path) as handle:
            for group in geometry_groups(handle):
                keys = [geometry_key(system) for system in group_systems(group, path)]
                for level, stored in levels.items():
                    if f"{stored.key}.cost" not in group:
                        continue
                    values = np.asarray(group[f"{stored.key}.cost"])
                    for k in np.flatnonzero(np.isfinite(values).all(axis=1)):
                        rows.setdefault(level, []).append(values[k])
                        each.setdefault(level, {})[keys[k]] = _gflop(values[k])
    found = {}
    for level, costs in rows.items():
        table = np.stack(costs)
        found[level] = LevelCost(
            labels=len(table),
            seconds=float(np.median(table[:, COST_COLUMNS.index("seconds")])),
            cpu_seconds=float(np.median(table[:, COST_COLUMNS.index("cpu_seconds")])),
            gflop=float(np.median([_gflop(row) for row in table])),
            total_seconds=float(table[:, COST_COLUMNS.index("seconds")].sum()),
            total_cpu_seconds=float(table[:, COST_COLUMNS.index("cpu_seconds")].sum()),
            each=each[level],
        )
    return found


def cost_ratio(costs: Mapping[str, LevelCost], high: str, low: str) -> tuple[float, int]:
    """Returns the price of a label at `high` in labels at `low`, and how many geometries it is of.

    It is the median over the geometries that have both; where there are none (0), the ratio of
    the medians.

    Raises:
        UnknownLevelError: a level has no costs.
        DataError: the cheap labels took no measurable time.
    """
    pair = []
    for name in (high, low):
        level = canonical_level(name)
        if level not in costs:
            raise UnknownLevelError(
                f"no file has costs of labels at {name!r}{nearest(level, costs)}; tlpot label "
                "records them"
            )
        pair.append(costs[level])
    both = [g for g in pair[0].each if pair[1].each.get(g, 0.0) > 0]
    if both:
        return float(np.median([pair[0].each[g] / pair[1].each[g] for g in both])), len(both)
    if not pair[1].gflop > 0:
        raise DataError(f"labels at {low!r} took no measurable time; give the ratio yourself")
    return pair[0].gflop / pair[1].gflop, 0


def _gflop(row: Floats) -> float:
    return float(row[COST_COLUMNS.index("cpu_seconds")] * row[COST_COLUMNS.index("gflops")])
