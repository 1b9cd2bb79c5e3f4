"""Where a force field comes from: its labels, what they cost, and models with their ancestors."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlpot._version import __version__
from tlpot.config import to_mapping
from tlpot.data import Dataset, frames_of
from tlpot.errors import DataError, ModelFileError
from tlpot.files import PathLike
from tlpot.labelling import label_costs
from tlpot.models import ModelCard, content_hash, library_file, library_names, load
from tlpot.numbers import Ints

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

    The dataset is read once for each level; `levels` are canonical names, None for all.

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
                rows.append(_data_row(dataset, level, indices, name, sources))
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


def _data_row(
    dataset: Dataset, level: str, indices: Ints, name: str, sources: np.ndarray | None
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


@dataclass(frozen=True, kw_only=True, slots=True)
class CostRow:
    """One kind of work.

    Attributes:
        what: such as ``label`` or ``training``.
        level: of theory; empty where it does not apply.
        count: how many were done.
        seconds: median of one by the clock; NaN if not known.
        total_seconds: of all by the clock of the workers, added up.
        total_cpu_seconds: likewise of the processors; NaN if not known.
    """

    what: str
    level: str = ""
    count: int
    seconds: float = float("nan")
    total_seconds: float
    total_cpu_seconds: float = float("nan")


def labelling_cost(paths: Sequence[Path]) -> tuple[CostRow, ...]:
    """Returns a row for each level whose labels have a cost in outputs of ``tlpot label``.

    Raises:
        DataError: not a dataset in the native layout.
    """
    return tuple(
        CostRow(
            what="label",
            level=level,
            count=cost.labels,
            seconds=cost.seconds,
            total_seconds=cost.total_seconds,
            total_cpu_seconds=cost.total_cpu_seconds,
        )
        for level, cost in sorted(label_costs(paths).items())
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRecord:
    """A model that took part.

    Attributes:
        role: such as ``model``, ``parent`` or ``model of ACE-ALA-NME``.
        source: file or name.
        sha256: of the file; empty of a model in memory.
        kind: class of the model.
        levels: of theory.
        card: what the file says of itself.
    """

    role: str
    source: str
    sha256: str
    kind: str
    levels: tuple[str, ...]
    card: ModelCard


@dataclass(frozen=True, kw_only=True, slots=True)
class DataRecord:
    """A data file that took part.

    Attributes:
        source: the file.
        sha256: of its content, as model cards name it.
        n_frames: number of frames.
        levels: definition of each level of theory in words; empty if the file has none.
    """

    source: str
    sha256: str
    n_frames: int
    levels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Everything that the figures depend on.

    Attributes:
        models: the model first, then its ancestors.
        missing: hash of the oldest parent that is named but not at hand; empty if none is.
        data: the data files.
        settings: of the examination: scheme, reference, dynamics.
        versions: of the programs that made this report.
    """

    models: tuple[ModelRecord, ...]
    missing: str = ""
    data: tuple[DataRecord, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Returns plain dicts."""
        return to_mapping(self)


def model_chain(
    source: PathLike, ancestors: Sequence[PathLike] = (), role: str = "model"
) -> tuple[tuple[ModelRecord, ...], str]:
    """Returns a model and its ancestors, and the hash of the first that is not at hand.

    `ancestors` are files or names that may be among them; models with a name are looked at, too.

    Raises:
        ModelFileError: a file cannot be used.
    """
    known = {content_hash(a): os.fspath(a) for a in reversed(ancestors)}
    for name in library_names():
        try:
            known.setdefault(content_hash(name), name)
        except ModelFileError:  # a name of two models stands for neither
            continue
    records = [_record(source, role)]
    seen = {records[0].sha256}
    while records[-1].card.parent:
        parent = records[-1].card.parent
        if parent not in known or parent in seen:
            return tuple(records), "" if parent in seen else parent
        records.append(_record(known[parent], "parent" if len(records) == 1 else "ancestor"))
        seen.add(parent)
    return tuple(records), ""


def data_record(dataset: Dataset) -> DataRecord:
    """Describes a dataset."""
    return DataRecord(
        source=dataset.path.name,
        sha256=dataset.content_hash,
        n_frames=len(dataset),
        levels={name: info.definition for name, info in dataset.levels.items()},
    )


def versions() -> dict[str, str]:
    """Returns the versions in use."""
    import ase

    return {
        "tlpot": __version__,
        "torch": str(torch.__version__),
        "ase": ase.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _record(source: PathLike, role: str) -> ModelRecord:
    model = load(source, device="cpu")
    name = os.fspath(source)
    # a report travels; the folders of this machine mean nothing elsewhere
    shown = library_file(source).name if Path(name).is_file() else name
    return ModelRecord(
        role=role,
        source=shown,
        sha256=content_hash(source),
        kind=type(model).__name__,
        levels=tuple(model.levels),
        card=model.card,
    )
