"""An engine in the place of a model that is evaluated: one level of theory, on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from ase import Atoms

from tlpot.energy import EVERYTHING
from tlpot.engines import label_name, parse_engine
from tlpot.errors import GeometryError
from tlpot.jobs.calculator import EnergyMethod
from tlpot.jobs.evaluate import ModelSource, open_model
from tlpot.levels import canonical_level, choose_level
from tlpot.models import CalculatorModel, ModelCard

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
