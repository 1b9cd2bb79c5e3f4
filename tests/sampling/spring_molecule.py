"""A toy force field: springs on the bonds and angles that a structure has, soft walls elsewhere."""

import os
import signal
import time

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from tlpot.engines import LabelError
from tlpot.topology import MolecularGraph


class Springs(Calculator):
    """E = ½ k Σ (r - r0)² over pairs within two bonds; a repulsion (2 Å / r)¹² elsewhere."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, atoms, stiffness=20.0):
        super().__init__()
        molecule = MolecularGraph(atoms)
        linked = np.eye(len(atoms), dtype=int)
        linked[tuple(molecule.bonds.T)] = linked[tuple(molecule.bonds.T[::-1])] = 1
        near = np.triu(linked @ linked > 0, 1)
        self.pairs = np.argwhere(near)
        self.others = np.argwhere(np.triu(~near, 1))
        self.rest = atoms.get_all_distances()[tuple(self.pairs.T)]
        self.stiffness = stiffness
        self.calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        forces = np.zeros((len(atoms), 3))
        energy = 0.0
        for pairs, rest in ((self.pairs, self.rest), (self.others, None)):
            vectors = atoms.positions[pairs[:, 1]] - atoms.positions[pairs[:, 0]]
            r = np.linalg.norm(vectors, axis=1)
            if rest is None:
                values, slopes = 0.01 * (2.0 / r) ** 12, -0.12 * (2.0 / r) ** 12 / r
            else:
                values, slopes = 0.5 * self.stiffness * (r - rest) ** 2, self.stiffness * (r - rest)
            energy += values.sum()
            pull = (slopes / r)[:, None] * vectors
            np.add.at(forces, pairs[:, 0], pull)
            np.add.at(forces, pairs[:, 1], -pull)
        self.results = {"energy": energy, "forces": forces}


def springs(atoms):
    return Springs(atoms)


class Unlucky(Springs):
    """Fails at every fourth geometry, as an SCF that does not converge."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.calls > 1 and self.calls % 4 == 0:
            raise LabelError("SCF not converged in 9 cycles")


def slow_or_deadly(atoms):
    """Springs; a molecule with carbon takes for ever, one with nitrogen kills its process."""
    if "N" in atoms.get_chemical_symbols():
        os.kill(os.getpid(), signal.SIGKILL)
    if "C" in atoms.get_chemical_symbols():
        time.sleep(600.0)
    return Springs(atoms)
