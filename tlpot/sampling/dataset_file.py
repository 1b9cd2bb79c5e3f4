"""Samples as a dataset in tlpot's own layout."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from tlpot.atomic_file import atomic_file
from tlpot.data import write_dataset
from tlpot.data.arrays import ArrayDataset
from tlpot.data.spec import DataSpec, LevelSpec, UnitSpec
from tlpot.data.store import MemoryStore, Section
from tlpot.sampling.fragment import FragmentSamples
from tlpot.sampling.settings import SamplingSettings

PROVENANCE = ("sample_method", "sample_temperature", "sample_seed", "sample_step")
"""Arrays of each group beside geometry and labels, one value for each frame."""


def write_samples(
    samples: Sequence[FragmentSamples],
    path: str | os.PathLike[str],
    *,
    level: str,
    settings: SamplingSettings,
    definition: str = "",
) -> None:
    """Writes geometries with the energies and forces of the calculator that sampled them.

    One group for each fragment, with an attribute ``molecule`` and, beside geometry, charge and
    labels, the arrays of `PROVENANCE`: how each geometry was made, at which temperature (K; NaN
    where there is none), from which seed, and at which step. The settings are JSON in the root
    attribute ``sampling``.

    Args:
        samples: of fragments with different names.
        path: the HDF5 file.
        level: of the energies.
        settings: of the sampling.
        definition: of the level, in words.

    Raises:
        OutputError: the file could not be written; an existing one is left as it was.
    """
    sections, columns = [], []
    for each in samples:
        count = len(each.chosen)
        column = {
            "numbers": each.atoms.numbers,
            "coordinates": np.array([c.positions for c in each.chosen]),
            "charge": np.full(count, int(each.atoms.info.get("charge", 0))),
            "spin": np.full(count, int(each.atoms.info.get("spin", 1))),
            "energy": np.array([c.energy for c in each.chosen]),
            "forces": np.array([c.forces for c in each.chosen]),
        }
        columns.append(column)
        shapes = {name: array.shape for name, array in column.items()}
        sections.append(Section(group=each.name, label=each.name, shapes=shapes))
    spec = DataSpec(
        container="hdf5",
        units=UnitSpec(coordinates="angstrom", energy="ev", forces="ev/angstrom"),
        numbers="numbers",
        charge="charge",
        spin="spin",
        sign="force",
        levels={level: LevelSpec(energy="energy", forces="forces", definition=definition)},
    )
    dataset = ArrayDataset(MemoryStore(Path(path), sections, columns), spec)
    with atomic_file(path) as temporary:
        write_dataset(dataset, temporary)
        with h5py.File(temporary, "r+") as handle:
            handle.attrs["sampling"] = json.dumps(asdict(settings))
            for each in samples:
                group = handle[each.name]
                group["sample_method"] = np.array([c.method for c in each.chosen], dtype="S8")
                group["sample_temperature"] = np.array([c.temperature for c in each.chosen])
                group["sample_seed"] = np.array([c.seed for c in each.chosen], dtype=np.int64)
                group["sample_step"] = np.array([c.step for c in each.chosen], dtype=np.int64)
