"""Engines in jobs: the low level of delta learning, and one evaluated in the place of a model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from ase import Atoms

from tlpot.data import Dataset, LowValues, Split, frames_of
from tlpot.energy import EVERYTHING
from tlpot.engines import EngineSpec, label_name, make_engine, parse_engine
from tlpot.errors import ConfigError, DataError, GeometryError, TLPotWarning
from tlpot.jobs.calculator import EnergyMethod
from tlpot.jobs.evaluate import ModelSource, open_model
from tlpot.labelling import engine_key, kept_labels
from tlpot.levels import canonical_level, choose_level
from tlpot.models import CalculatorModel, ModelCard
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


T = TypeVar("T")


class EngineLevel(CalculatorModel):
    """The energy model of an engine.

    Attributes:
        level: canonical name.
    """

    def __init__(self, calculator: Any) -> None:
        super().__init__(calculator)
        self.level = canonical_level(calculator.level)

    @property
    def implements(self) -> frozenset[str]:
        """What the engine computes."""
        given: Any = self.calculator
        return EVERYTHING.intersection(given.implemented_properties)


class NamedEngine:
    """An engine with what jobs ask of a trained model.

    Args:
        calculator: of the engine, as ASE has it.
        name: as the user wrote it.

    Attributes:
        at_once: structures in a batch.
        levels: the engine's.
        card: with the name.
        elements: atomic numbers; the engine itself refuses those that it cannot do.
        device: the CPU.
    """

    device = torch.device("cpu")
    at_once = 1

    def __init__(self, calculator: Any, name: str) -> None:
        self._model = EngineLevel(calculator)
        self.levels = (self._model.level,)
        self.card = ModelCard(name=name)
        self.elements = self._model.elements

    def at(self, level: str | None = None) -> EngineLevel:
        """Returns the energy model.

        Raises:
            UnknownLevelError: not the level of the engine.
        """
        choose_level(level, self.levels, f"the engine {self.card.name}")
        return self._model


def named_failures(results: Iterator[T], model: Any, names: Sequence[str]) -> Iterator[T]:
    """Passes results on, of an engine one for each structure, which a failure then names.

    Raises:
        GeometryError: the engine fails.
    """
    if not isinstance(model, NamedEngine):
        yield from results
        return
    for name in names:
        try:
            yield next(results)
        except GeometryError as error:
            raise GeometryError(f"{name}: {error}") from error


def open_named(model: ModelSource, device: str | torch.device | None) -> Any:
    """Returns a model to be evaluated, which may be an engine by its name.

    Raises:
        ConfigError: an engine that cannot be understood, or a device for it.
        MissingExtraError: its program is not installed.
        ModelFileError: see `open_model`.
    """
    name = os.fspath(model) if isinstance(model, str | os.PathLike) else None
    if name is None or parse_engine(name, bare_models=True).kind == "model":
        return open_model(model, device, frozen=True)
    method = EnergyMethod(model=name, device=None if device is None else str(device))
    return NamedEngine(method.calculator(Atoms())[0], name)


def name_of_labels(model: Any, source: str | os.PathLike[str]) -> str:
    """Returns the name of the labels that a model makes; those of an engine are by its level."""
    return model.levels[0] if isinstance(model, NamedEngine) else label_name(model, source)
