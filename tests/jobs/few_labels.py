"""Some of the shipped labels, as structures in memory."""

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from tlpot.data import open_dataset
from tlpot.models import LIBRARY

CC, DFT = "ccsd(t)/cbs(dt)", "wb97x/6-31g*"
SPLIT = {"by": "random", "validation": 12, "test": 6, "train": 16}


def labelled_atoms(level, n=40):
    """Structures of the shipped data, with their labels as results of a calculator."""
    dataset = open_dataset(LIBRARY / "tlpot-qm.h5")
    chosen = np.flatnonzero(dataset.labelled(CC))[:: 400 // n][:n]
    found = []
    for frame in dataset.read(chosen):
        atoms, labels = frame.system.to_atoms(), frame.labels[level]
        results = {"energy": labels.energy}
        if labels.forces is not None:
            results["forces"] = labels.forces
        atoms.calc = SinglePointCalculator(atoms, **results)
        found.append(atoms)
    return found
