"""Many fragments, in this process or several, to one dataset."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from tlpot.data import (
    ArrayDataset,
    DataSpec,
    LevelSpec,
    MemoryStore,
    Section,
    UnitSpec,
    write_dataset,
)
from tlpot.errors import ConfigError, OutputError
from tlpot.files import atomic_file, make_folder, sole_use
from tlpot.presentation import progress_bar
from tlpot.sampling.calculators import SamplingEngine
from tlpot.sampling.fragment import Fragment, FragmentSamples, sample_fragment
from tlpot.sampling.parts import Parts
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


_BAR = "{desc} {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"


def sample(
    fragments: Sequence[Fragment],
    out: str | os.PathLike[str],
    settings: SamplingSettings,
    engine: SamplingEngine | None = None,
    *,
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> list[FragmentSamples]:
    """Samples fragments and writes one dataset.

    Each finished fragment is kept in the folder ``OUT.parts`` until the dataset is written, so
    that a run that was interrupted goes on with those that are missing when it is started
    again. The result does not depend on the number of processes.

    Args:
        fragments: with different names; those cut from proteins are given as any other.
        out: the HDF5 file.
        settings: how.
        engine: what calculates; None is GFN2-xTB.
        executor: of processes; None is this one.
        overwrite: replace the file and what is there of an interrupted run.
        progress: show a bar with the time left, taken to grow with the square of the atoms.

    Returns:
        In the order of the fragments.

    Raises:
        ConfigError: two fragments have one name, or there are none.
        OutputError: the file exists, or parts of another sampling do.
        SimulationError: a fragment falls apart or has no geometry left; the others are kept.
    """
    make_folder(Path(out).parent)
    with sole_use(Path(out), "tlpot sample"):
        return _sample(
            fragments, out, settings, engine or SamplingEngine(), executor, overwrite, progress
        )


def _sample(
    fragments: Sequence[Fragment],
    out: str | os.PathLike[str],
    settings: SamplingSettings,
    engine: SamplingEngine,
    executor: Executor | None,
    overwrite: bool,
    progress: bool,
) -> list[FragmentSamples]:
    names = [fragment.name for fragment in fragments]
    if not names:
        raise ConfigError("there are no fragments to sample")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"fragments {', '.join(twice)} occur twice; give each a name of its own")
    target = Path(out)
    parts = Parts(target.with_name(target.name + ".parts"), settings, engine)
    if overwrite:
        shutil.rmtree(parts.folder, ignore_errors=True)
    elif target.exists():
        raise OutputError(f"{target} exists; replace it with --overwrite (overwrite=True)")
    level = engine.label_level
    done = {f.name: found for f in fragments if (found := parts.load(f)) is not None}
    # large ones first, so that no process ends up alone with them
    todo = sorted((f for f in fragments if f.name not in done), key=lambda f: -len(f.atoms))
    weights = {f.name: float(len(f.atoms)) ** 2 for f in fragments}
    with progress_bar(
        total=sum(weights.values()),
        initial=sum(weights[name] for name in done),
        bar_format=_BAR,
        desc="sampling",
        disable=not progress,
        dynamic_ncols=True,
    ) as bar:
        bar.set_postfix_str(f"{len(done)}/{len(fragments)} fragments")
        for fragment, found in _results(todo, settings, engine, executor):
            parts.save(fragment, found)
            done[fragment.name] = found
            bar.set_postfix_str(f"{len(done)}/{len(fragments)} fragments", refresh=False)
            bar.update(weights[fragment.name])
    ordered = [done[name] for name in names]
    write_samples(ordered, target, level=level, settings=settings, definition=engine.definition)
    shutil.rmtree(parts.folder)
    return ordered


def _results(
    todo: Sequence[Fragment],
    settings: SamplingSettings,
    engine: SamplingEngine,
    executor: Executor | None,
) -> Iterator[tuple[Fragment, FragmentSamples]]:
    if executor is None:
        for fragment in todo:
            yield fragment, sample_fragment(fragment, settings, engine)
        return
    futures = {executor.submit(sample_fragment, f, settings, engine): f for f in todo}
    failure: Exception | None = None
    try:
        for future in as_completed(futures):
            try:
                found = future.result()
            except Exception as error:  # the others are waited for, and kept
                failure = failure or error
            else:
                yield futures[future], found
    finally:
        for future in futures:
            future.cancel()
    if failure is not None:
        raise failure
