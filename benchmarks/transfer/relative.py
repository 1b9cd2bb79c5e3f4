"""Relative energies of conformers: errors after the mean of each molecule is taken off (task 3)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ase.units import kcal, mol
from conformers import B97
from labelled import GFN2
from numpy.typing import NDArray

from tlpot.data import Dataset, open_dataset
from tlpot.errors import DataError
from tlpot.evaluation import Predictions, predict
from tlpot.learning_curves import CurveConfig, curve_tasks
from tlpot.levels import difference_level
from tlpot.models import load


def relative_table(config: CurveConfig) -> str:
    """Returns the errors of all kept models of a curve, and of other methods, on its test frames.

    Raises:
        DataError: a model is not there.
    """
    dataset = open_dataset(list(config.data.files))
    tasks = curve_tasks(config)
    test = np.sort(tasks.split.test)
    groups = dataset.group_idx[test]
    label = _energies(dataset, test, tasks.level)
    sizes = sorted(config.sizes)
    lines = [
        f"MAE of mean-centred conformer energies, kcal/mol, {len(test)} conformers of "
        f"{len(np.unique(groups))} molecules, mean ± standard deviation over the seeds",
        f"  {'all conformers alike':24}{_error(np.zeros(len(test)), label, groups):.3f}",
        f"  {'GFN2-xTB itself':24}{_error(_energies(dataset, test, GFN2), label, groups):.3f}",
        f"  {'B97-3c itself':24}{_error(_energies(dataset, test, B97), label, groups):.3f}",
        f"  {'labels':24}" + "".join(f"{size:>16}" for size in sizes),
    ]
    for series in tasks.series:
        found: dict[int, list[float]] = {size: [] for size in sizes}
        for task in series.tasks:
            if task.model_file is None or not task.model_file.exists():
                raise DataError(f"{series.label}, {task.size} labels: the model is not there")
            energies = _predicted(task.model_file, dataset, test, tasks.level)
            found[task.size].append(_error(energies, label, groups))
        lines.append(f"  {series.label:24}" + "".join(f"{_cell(found[n]):>16}" for n in sizes))
    return "\n".join(lines)


def parent_error(parent: Path, config: CurveConfig) -> str:
    """Returns how far the parent is from the level that it has learned, on the same frames."""
    dataset = open_dataset(list(config.data.files))
    test = np.sort(curve_tasks(config).split.test)
    groups = dataset.group_idx[test]
    found = _by_index(predict(load(parent, device="cpu").at(GFN2), dataset, test, GFN2))
    energies = np.array([found[k] for k in test])
    own = _error(energies, _energies(dataset, test, GFN2), groups)
    high = _error(energies, _energies(dataset, test, config.level), groups)
    return f"the parent before any transfer: {own:.3f} from GFN2-xTB, {high:.3f} from the labels"


def _predicted(
    file: Path, dataset: Dataset, frames: NDArray[np.int64], level: str
) -> NDArray[np.float64]:
    model = load(file, device="cpu")
    difference = difference_level(level, GFN2)
    is_difference = difference in model.levels
    found = _by_index(
        predict(model.at(difference if is_difference else level), dataset, frames, level,
                forces=False)
    )  # fmt: skip
    energies = np.array([found[k] for k in frames])
    return energies + _energies(dataset, frames, GFN2) if is_difference else energies


def _by_index(predictions: Predictions) -> Mapping[int, float]:
    return dict(zip(predictions.indices.tolist(), predictions.energy[:, 1].tolist(), strict=True))


def _energies(dataset: Dataset, frames: NDArray[np.int64], level: str) -> NDArray[np.float64]:
    return np.array([frame.labels[level].energy for frame in dataset.read(frames, [level])])


def _error(
    energies: NDArray[np.float64], label: NDArray[np.float64], groups: NDArray[np.int64]
) -> float:
    difference = energies - label
    _, members = np.unique(groups, return_inverse=True)
    means = np.bincount(members, difference) / np.bincount(members)
    return float(np.abs(difference - means[members]).mean() / (kcal / mol))


def _cell(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"
