"""The driver that i-PI loads by the path of this file, see `tlpot.simulation.write_ipi_input`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ipi.pes.dummy import Dummy_driver

from tlpot.errors import DataError
from tlpot.jobs import EnergyMethod
from tlpot.numbers import Floats
from tlpot.simulation.batch import BatchEvaluator
from tlpot.stored_results import read_json
from tlpot.system import System

__DRIVER_NAME__ = "tlpot"
__DRIVER_CLASS__ = "TLPotDriver"  # i-PI reads both without running this file

WRITTEN_BY = "write the input again with tlpot.simulation.write_ipi_input, and run i-pi beside it"


class TLPotDriver(Dummy_driver):
    """Energies, forces and virials of all beads in one evaluation, in atomic units.

    Args:
        settings: a JSON file with ``numbers``, ``pbc``, ``charge``, ``spin`` and ``method``, the
            arguments of `tlpot.jobs.EnergyMethod`.
        options: what i-PI adds.

    Raises:
        DataError: no such file, or a damaged one.
        ConfigError, ModelFileError, UnknownLevelError: see `BatchEvaluator`.
    """

    def __init__(self, settings: str, **options: Any) -> None:
        given = read_json(Path(settings), WRITTEN_BY)
        if given is None:
            raise DataError(f"{Path(settings).resolve()} does not exist; {WRITTEN_BY}")
        self._numbers = np.array(given["numbers"], dtype=np.int64)
        self._pbc = np.array(given["pbc"], dtype=bool)
        self._charge, self._spin = int(given["charge"]), int(given["spin"])
        self._evaluator = BatchEvaluator(EnergyMethod(**given["method"]))
        super().__init__(**options)

    def compute(self, cell: Any, pos: Any) -> Any:
        """Returns (energy, forces, virial, text) of one structure, or of each in a list.

        Args:
            cell: [3, 3], columns, bohr, or a list of them.
            pos: [n_atoms, 3], bohr, or a list of them.

        Raises:
            TLPotError: the model cannot do a structure.
        """
        if not isinstance(cell, list):
            return self._batch([cell], [pos])[0]
        return self._batch(cell, pos)

    def _batch(self, cells: list[Floats], positions: list[Floats]) -> list[tuple[Any, ...]]:
        systems = [self._system(*pair) for pair in zip(cells, positions, strict=True)]
        bulk = bool(self._pbc.all())
        found = self._evaluator(systems, stress=bulk)
        assert found.forces is not None
        energies = found.energy.cpu().numpy() / units.Hartree
        forces = found.forces.cpu().numpy().reshape(len(systems), -1, 3)
        results = []
        for k, system in enumerate(systems):
            virial = system.positions.T @ forces[k]  # Σ r ⊗ f
            if bulk and found.stress is not None:
                virial = -np.linalg.det(system.cell) * found.stress[k].cpu().numpy()
            text = "" if found.domain is None else json.dumps({"domain": float(found.domain[k])})
            gradient = forces[k] * (units.Bohr / units.Hartree)
            results.append((float(energies[k]), gradient, virial / units.Hartree, text))
        return results

    def _system(self, cell: Floats, positions: Floats) -> System:
        rows = np.where(self._pbc[:, None], np.array(cell).T * units.Bohr, 0.0)
        return System(
            atomic_numbers=self._numbers,
            positions=np.array(positions) * units.Bohr,
            cell=rows,
            pbc=self._pbc,
            charge=self._charge,
            spin=self._spin,
        )
