"""What a force field was made from: labels by kind of fragment and level of theory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from tlpot.data import Dataset, frames_of
from tlpot.errors import DataError

_SHOWN = 4
"""Names of sources in a row; more are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataRow:
    """The labels of one kind of fragment at one level.

    Attributes:
        kind: of the fragment.
        level: of theory.
        n_atoms: of a fragment; the largest, if they differ.
        n_energies: frames with an energy.
        n_forces: frames with forces.
        energy_range: highest less lowest energy, eV; NaN if the fragments of the kind differ in
            their atoms or there are fewer than two.
        force_rms: of all force components, eV/Å; NaN without forces.
        source: what the frames are from.
    """

    kind: str
    level: str
    n_atoms: int
    n_energies: int
    n_forces: int
    energy_range: float
    force_rms: float
    source: str


def data_used(dataset: Dataset, levels: Collection[str] | None = None) -> tuple[DataRow, ...]:
    """Returns a row for each kind and level that has labels.

    Args:
        dataset: it is read once for each level.
        levels: canonical names; None for all.

    Raises:
        DataError: the file is damaged.
        UnknownLevelError: no such level.
    """
    names = kind_names(dataset)
    sources = _sources(dataset)
    rows = []
    for level in dataset.levels if levels is None else levels:
        labelled = dataset.labelled(level)
        for group, name in enumerate(names):
            indices = np.flatnonzero(labelled & (dataset.group_idx == group))
            if len(indices):
                rows.append(_row(dataset, level, indices, name, sources))
    return tuple(rows)


def kind_names(dataset: Dataset) -> tuple[str, ...]:
    """Returns what to call each group of a dataset, all different.

    Groups of a fragment file have a name for people and a key; the key is taken where two kinds
    have the same name.
    """
    keys, names = tuple(dataset.group_names), fragment_names(dataset)
    return tuple(n if names.count(n) == 1 else k for n, k in zip(names, keys, strict=True))


def fragment_names(dataset: Dataset) -> tuple[str, ...]:
    """Returns the name of each group as models by fragment know it; kinds may share one.

    Fragments of one name differ where their caps do: a methyl group of the protein is no cap.
    """
    return tuple(str(dataset.attributes(key).get("kind", key)) for key in dataset.group_names)


def _row(
    dataset: Dataset,
    level: str,
    indices: np.ndarray,
    name: str,
    sources: np.ndarray | None,
) -> DataRow:
    energies, compositions = [], set()
    n_forces = n_components = 0
    squares = 0.0
    for frame in frames_of(dataset, indices, levels=(level,)):
        labels = frame.labels[level]
        energies.append(labels.energy)
        compositions.add(tuple(sorted(frame.system.atomic_numbers.tolist())))
        if labels.forces is not None and np.isfinite(labels.forces).all():
            n_forces += 1
            n_components += labels.forces.size
            squares += float(np.square(labels.forces).sum())
    comparable = len(compositions) == 1 and len(energies) > 1
    return DataRow(
        kind=name,
        level=level,
        n_atoms=int(dataset.sizes[indices].max()),
        n_energies=len(indices),
        n_forces=n_forces,
        energy_range=float(np.ptp(energies)) if comparable else float("nan"),
        force_rms=(squares / n_components) ** 0.5 if n_components else float("nan"),
        source=dataset.path.name if sources is None else _listed(sources[indices]),
    )


def _sources(dataset: Dataset) -> np.ndarray | None:
    for column in ("source", "sample_method"):
        try:
            return dataset.column(column)
        except DataError:
            continue
    return None


def _listed(values: np.ndarray) -> str:
    names, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    texts = [f"{names[k]} ({counts[k]})" for k in order[:_SHOWN]]
    more = len(names) - len(texts)
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")
