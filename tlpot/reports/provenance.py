"""Where a force field comes from: files with their hashes, back to the first ancestor."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tlpot._version import __version__
from tlpot.config import to_mapping
from tlpot.data import Dataset
from tlpot.errors import ModelFileError
from tlpot.models import ModelCard, content_hash, library_file, library_names, load


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
        found: dict[str, Any] = to_mapping(self)
        return found


def model_chain(
    source: str | os.PathLike[str],
    ancestors: Sequence[str | os.PathLike[str]] = (),
    role: str = "model",
) -> tuple[tuple[ModelRecord, ...], str]:
    """Returns a model and its ancestors, and the hash of the first that is not at hand.

    Args:
        source: file or name.
        ancestors: files or names that may be among them; models with a name are looked at too.
        role: of the model.

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
    import numpy as np

    return {
        "tlpot": __version__,
        "torch": str(torch.__version__),
        "ase": ase.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _record(source: str | os.PathLike[str], role: str) -> ModelRecord:
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
