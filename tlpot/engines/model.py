"""A tlpot model as an engine: labels of another level for pretraining or comparison."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from ase.data import chemical_symbols

from tlpot._version import __version__
from tlpot.config import parse
from tlpot.data import Labels
from tlpot.energy import described_states, describes_state, has_forces
from tlpot.engines.engine import LabelError, check_model_name, is_theory
from tlpot.engines.registry import EngineName
from tlpot.errors import ConfigError
from tlpot.evaluation import evaluate_systems
from tlpot.levels import canonical_level, difference_parts
from tlpot.models import TrainedModel, library_file, load
from tlpot.system import System
from tlpot.targets import is_property

_NO_NAME = ("", "unnamed")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """Settings of a model.

    Attributes:
        device: where it runs; None for CUDA if there is one, else the CPU.
    """

    device: str | None = None


def make_engine(name: EngineName, label: str | None) -> ModelEngine:
    """Makes the engine of a name, see `tlpot.engines.registry`."""
    settings = parse(ModelSettings, name.settings, f"engine {name.text}")
    return ModelEngine(name.target, settings, level=name.level, label=label)


class ModelEngine:
    """A model file at one of its levels.

    Its labels are those of the model and carry its name: they differ from the level of theory that
    it was fitted to by its errors, and nothing may take the one for the other.

    Args:
        path: of the file, or the name of a shipped model.
        settings: where it runs.
        level: of the model, if there are several.
        label: a name for the labels; None for that of the model.

    Raises:
        ModelFileError: no such file or name, or an unusable file.
        UnknownLevelError: no such level, or none was named and there are several.
        ConfigError: the level is a property or the difference of two levels, or the name is that
            of a level of theory.
    """

    def __init__(
        self, path: str, settings: ModelSettings, *, level: str | None, label: str | None
    ) -> None:
        potential = load(path, device=settings.device).eval().requires_grad_(False)
        self._model = potential.at(level)
        self._level = self._model.level
        if difference_parts(self._level):
            raise ConfigError(
                f"{path} at {self._level!r} gives a difference, not a total energy, so it "
                "cannot label; use a model of total energies"
            )
        if is_property(self._level):
            raise ConfigError(
                f"{path} at {self._level!r} gives a property, not a total energy, so it cannot "
                f"label; tlpot predict {path} STRUCTURES --level {self._level} -o TABLE.csv writes "
                "its values"
            )
        self._name = label_name(potential, library_file(path), label)
        self._hash = hashlib.sha256(library_file(path).read_bytes()).hexdigest()
        self._device = next(potential.parameters()).device
        self.has_forces = self.has_stress = has_forces(self._model)

    @property
    def level(self) -> str:
        """Name of the model."""
        return self._name

    @property
    def definition(self) -> Mapping[str, Any]:
        """Hash of the file and the version of tlpot."""
        return {
            "engine": "model",
            "model_sha256": self._hash,
            "model_level": self._level,
            "program": f"tlpot {__version__}",
        }

    def check(self, elements: Sequence[int], *, periodic: bool) -> None:
        """Checks that the model knows the elements.

        Raises:
            ConfigError: it does not.
        """
        unknown = sorted(set(elements) - set(self._model.elements))
        if unknown:
            names = ", ".join(chemical_symbols[z] for z in unknown)
            raise ConfigError(f"the model does not know {names}; leave these structures out")

    def compute(self, system: System, *, forces: bool, log: TextIO, stress: bool = False) -> Labels:
        """Evaluates the model.

        Raises:
            LabelError: a charge or multiplicity that the model does not read.
        """
        (found,) = self._labels([system], forces=forces, stress=stress)
        return found

    takes_batches = True

    def compute_batch(
        self, systems: Sequence[System], *, forces: bool, log: TextIO
    ) -> list[Labels]:
        """Evaluates the model for several structures at once.

        Raises:
            LabelError: see `compute`.
        """
        return self._labels(systems, forces=forces, stress=False)

    def _labels(self, systems: Sequence[System], *, forces: bool, stress: bool) -> list[Labels]:
        for system in systems:
            if not describes_state(self._model, system.charge, system.spin):
                raise LabelError(
                    f"charge {system.charge} and multiplicity {system.spin}, but the model "
                    f"describes {described_states(self._model)}"
                )
        found = evaluate_systems(
            self._model, systems, device=self._device, forces=forces, stress=stress
        )
        sizes = [len(system) for system in systems]
        own = np.split(found.forces, np.cumsum(sizes)[:-1]) if forces else [None] * len(systems)
        strains = found.stress if stress else [None] * len(systems)
        return [
            Labels(energy=float(energy), forces=vectors, stress=strain)
            for energy, vectors, strain in zip(found.energy, own, strains, strict=True)
        ]

    def use_threads(self, n: int | None) -> int:
        """Sets torch's threads."""
        if n is not None:
            torch.set_num_threads(n)
        return torch.get_num_threads()


def label_name(
    model: TrainedModel, source: str | os.PathLike[str], asked: str | None = None
) -> str:
    """Returns the name of the labels of a model: its own, and never that of a level of theory.

    Args:
        model: the model.
        source: its file or name, where the model has no name.
        asked: another name for the labels.

    Raises:
        ConfigError: it is asked for by the name of a level of theory.
    """
    card = model.card.name
    if asked is not None:
        return check_model_name(asked, card, model.levels)
    stem = Path(source).stem
    plain = re.sub(r"[^\w.+()*]+", "-", stem if card in _NO_NAME else card).strip("-")
    name = canonical_level(plain) or "model"
    return f"model-{name}" if is_theory(name, model.levels) else name
