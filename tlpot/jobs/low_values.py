"""The low level of delta learning where an engine computes it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tlpot.data import Dataset, LowValues, Split, frames_of
from tlpot.engines import EngineSpec, make_engine, parse_engine
from tlpot.errors import ConfigError, DataError, TLPotWarning
from tlpot.labelling import engine_key, kept_labels
from tlpot.levels import canonical_level
from tlpot.numbers import Floats, counted
from tlpot.transfer import Delta, Strategy

LOW_LABELS = "low-labels.journal"


def low_engine(chosen: Strategy, dataset: Dataset) -> EngineSpec | None:
    """Returns the engine that a strategy names as low level; None if it names none.

    What the dataset has labels of is no engine.

    Raises:
        ConfigError: an engine that is misspelt.
    """
    if not isinstance(chosen, Delta) or chosen.low == "parent":
        return None
    try:
        if canonical_level(chosen.low) in dataset.levels:
            return None
        name = parse_engine(chosen.low)
    except ConfigError as error:
        if ":" not in chosen.low:
            return None  # a level that the dataset lacks, which is said where levels are looked up
        raise ConfigError(f"strategy.low: {error}") from error
    return EngineSpec(name=chosen.low, level=name.class_name)


def low_identity(chosen: Strategy, dataset: Dataset) -> Mapping[str, Any]:
    """Returns what decides the values of such an engine; empty if there is none."""
    spec = low_engine(chosen, dataset)
    if spec is None:
        return {}
    engine = make_engine(spec)
    return {"low": engine_key(engine.level, engine.definition)}


def engine_values(
    chosen: Strategy, dataset: Dataset, split: Split, level: str, folder: Path
) -> LowValues | None:
    """Computes the low level of the frames of a split, each geometry once.

    Args:
        chosen: the strategy.
        dataset: where the frames are.
        split: those that are used.
        level: the high level, whose forces say whether they are needed.
        folder: where the values are kept, unless the strategy says.

    Returns:
        The values; None if the strategy names no engine.

    Raises:
        DataError: the engine fails for all frames.
        TLPotError: something is wrong with the engine.
    """
    spec = low_engine(chosen, dataset)
    if spec is None:
        return None
    engine = make_engine(spec)
    assert isinstance(chosen, Delta)
    frames = np.unique(np.concatenate([split.train, split.validation, split.test]))
    forces = engine.has_forces and "forces" in dataset.levels[level].kinds
    taken = list(frames_of(dataset, frames, levels=()))
    path = folder / LOW_LABELS if chosen.low_labels is None else Path(chosen.low_labels)
    systems, names = [frame.system for frame in taken], [frame.name for frame in taken]
    found = kept_labels(systems, names, spec, path, forces=forces)
    failed = [k for k, outcome in enumerate(found) if outcome.energy is None]
    if failed:
        k, again = failed[0], f"failures are kept: to try again, remove {path}"
        words = f"{counted(len(failed), 'frame')} ({names[k]}: {found[k].error})"
        if len(failed) == len(found):
            raise DataError(f"strategy.low: {engine.level} fails for all of {words}; {again}")
        warnings.warn(
            f"{engine.level} fails for {words}, left out; {again}", TLPotWarning, stacklevel=2
        )
    energies, n = np.full(len(dataset), np.nan), len(dataset)
    slopes: list[Floats | None] = [None] * n
    stresses: list[Floats | None] = [None] * n
    for frame, outcome in zip(frames.tolist(), found, strict=True):
        if outcome.energy is not None:
            energies[frame], slopes[frame] = outcome.energy, outcome.forces
            stresses[frame] = outcome.stress
    return LowValues(
        level=engine.level,
        energies=energies,
        forces=slopes,
        stresses=stresses,
        origin=engine_key(engine.level, engine.definition),
        definition=engine.definition,
    )
