"""What the labels of a file cost, for planning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlpot.data import geometry_groups, open_hdf5
from tlpot.errors import DataError, UnknownLevelError, nearest
from tlpot.labelling.geometry_file import group_systems, stored_levels
from tlpot.labelling.label_file import COST_COLUMNS
from tlpot.labelling.task import geometry_key
from tlpot.levels import canonical_level


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
    rows: dict[str, list[NDArray[np.float64]]] = {}
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


def _gflop(row: NDArray[np.float64]) -> float:
    return float(row[COST_COLUMNS.index("cpu_seconds")] * row[COST_COLUMNS.index("gflops")])
