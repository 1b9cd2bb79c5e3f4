"""A tlpot model as an engine: labels of another level for pretraining or comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import torch
from ase.data import chemical_symbols

from tlpot._version import __version__
from tlpot.data import Labels
from tlpot.energy import evaluate, has_forces, layout_of
from tlpot.errors import ConfigError
from tlpot.graph import build_graph
from tlpot.labelling.engine import LabelError
from tlpot.levels import difference_parts
from tlpot.models import load
from tlpot.models.library import library_file
from tlpot.system import System


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """Settings of a model.

    Attributes:
        device: where it runs; None for CUDA if there is one, else the CPU.
    """

    device: str | None = None


class ModelEngine:
    """A model file at one of its levels.

    Args:
        source: ``PATH`` or ``PATH@LEVEL``; the path may be the name of a shipped model.
        settings: where it runs.

    Raises:
        ModelFileError: no such file or name, or an unusable file.
        UnknownLevelError: no such level, or none was named and there are several.
        ConfigError: the level is the difference of two.
    """

    def __init__(self, source: str, settings: ModelSettings) -> None:
        path, _, level = source.partition("@")
        potential = load(path, device=settings.device).eval().requires_grad_(False)
        self._model = potential.at(level or None)
        self._level = self._model.level
        if difference_parts(self._level):
            raise ConfigError(
                f"{path} at {self._level!r} gives a difference, not a total energy, so it "
                "cannot label; use a model of total energies"
            )
        self._hash = hashlib.sha256(library_file(path).read_bytes()).hexdigest()
        self._device = next(potential.parameters()).device
        self.has_forces = has_forces(self._model)

    @property
    def level(self) -> str:
        """Level of the model."""
        return self._level

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

    def compute(self, system: System, *, forces: bool, log: TextIO) -> Labels:
        """Evaluates the model.

        Raises:
            LabelError: a charge or multiplicity that the model does not read.
        """
        if not self._model.uses_charge and (system.charge, system.spin) != (0, 1):
            raise LabelError(
                f"charge {system.charge} and multiplicity {system.spin}, but the model describes "
                "neutral singlets only"
            )
        graph = build_graph([system], self._model.cutoff, layout=layout_of(self._model))
        found = evaluate(self._model, graph.to(self._device), forces=forces)
        return Labels(
            energy=float(found.energy),
            forces=None if found.forces is None else found.forces.cpu().numpy(),
        )

    def use_threads(self, n: int | None) -> int:
        """Sets torch's threads."""
        if n is not None:
            torch.set_num_threads(n)
        return torch.get_num_threads()
