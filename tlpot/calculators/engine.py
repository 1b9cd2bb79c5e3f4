"""Labelling engines as ASE calculators, and whatever a command line names as a model."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from tlpot.calculators.fragment import Source
from tlpot.config import read_yaml, with_overrides
from tlpot.engines import Engine, EngineSpec, LabelError, check_electrons, make_engine
from tlpot.errors import ConfigError
from tlpot.models import CalculatorModel
from tlpot.system import System

_KINDS = ("gfn1-xtb", "gfn2-xtb", "pyscf", "ase")
"""First words of the engines of `tlpot.engines.ENGINES` that are no models of tlpot."""


class EngineCalculator(Calculator):
    """An engine of `tlpot label` behind ASE; charge and multiplicity come from ``atoms.info``.

    Args:
        engine: see `tlpot.engines.make_engine`.
    """

    name = "tlpot-engine"

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.implemented_properties = ["energy", "free_energy"]
        if engine.has_forces:
            self.implemented_properties.append("forces")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Computes energy and, if they exist, forces.

        Raises:
            LabelError: the program fails, or this structure cannot be done.
            ConfigError: the engine does not cover an element.
        """
        super().calculate(atoms, properties, system_changes)
        if self.atoms is None:
            raise ConfigError("the calculator has no atoms yet; pass some")
        system = System.from_atoms(self.atoms)
        if not system.pbc.any():
            check_electrons(system)
        numbers = sorted(set(system.atomic_numbers.tolist()))
        self.engine.check(numbers, periodic=bool(system.pbc.any()))
        try:
            labels = self.engine.compute(system, forces=self.engine.has_forces, log=io.StringIO())
        except LabelError as error:
            hint = f"{self.engine.level} max_iterations=2000"
            remedy = f"; settings go after the name of the engine, such as {hint!r}"
            raise LabelError(f"{error}{remedy if 'not converged' in str(error) else ''}") from error
        self.results = {"energy": labels.energy, "free_energy": labels.energy}
        if labels.forces is not None:
            self.results["forces"] = np.array(labels.forces)


def named_source(name: str, *, on_done: Callable[[], object] | None = None) -> Any:
    """Returns what a name on the command line stands for, as `FragmentCalculator` takes it.

    Args:
        name: a model file or shipped model; ``gfn2-xtb``, ``gfn1-xtb``, ``pyscf:METHOD/BASIS`` or
            ``ase:MODULE:CLASS``, settings of the engine after spaces; or a YAML file that maps
            names of fragments to any of these, ``"*"`` to that of all others.
        on_done: called after each calculation of an engine.

    Raises:
        ConfigError: no such engine or setting.
        ConfigError: an unreadable YAML file.
        MissingExtraError: the engine's program is not installed.
    """
    if name.endswith((".yaml", ".yml")):
        return _by_fragment(Path(name), on_done)
    kind = name.partition(":")[0].split(" ")[0].lower()
    if kind not in _KINDS:
        return name
    engine, *settings = name.split()
    level = engine.rpartition(":")[2].lower() if kind == "ase" else None
    spec = EngineSpec(name=engine, settings=with_overrides({}, settings), level=level)
    return CalculatorModel(EngineCalculator(make_engine(spec)), on_done=on_done)


def _by_fragment(path: Path, on_done: Callable[[], object] | None) -> dict[str, Source]:
    found = read_yaml(path)
    if not all(isinstance(v, str) for v in found.values()):
        raise ConfigError(
            f"{path} is no list of models by fragment; expected lines such as "
            "'ACE-ALA-NME: ala.safetensors', and '\"*\": other.safetensors' for all others"
        )
    opened = {text: named_source(text, on_done=on_done) for text in set(found.values())}
    return {str(key): opened[text] for key, text in found.items()}
