"""Structures with constraints: what is labelled is what is written."""

import numpy as np
import pytest
from ase.build import fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

import tlpot
from tlpot.errors import TLPotWarning

ENGINE = "ase:ase.calculators.emt:EMT"


def slab():
    atoms = fcc111("Cu", (2, 1, 2), vacuum=6.0)
    atoms.pbc = [True, True, False]
    return atoms


@pytest.mark.fault
@pytest.mark.parametrize("periodic", [True, False])
def test_labels_belong_to_the_geometries(periodic, tmp_path):
    """Fixed atoms stayed in what was evaluated and moved in what was written."""
    atoms = slab() if periodic else molecule("CH3OH")
    atoms.set_constraint(FixAtoms([0, 1]))
    engine = {"engine": ENGINE, "level": "emt"} if periodic else {"engine": "tlpot-tiny"}
    methods = "strain,noise,md" if periodic else "noise,modes,md"
    with pytest.warns(TLPotWarning, match="constraints are not kept"):
        tlpot.sample(
            {"it": atoms}, tmp_path / "x.h5", **engine, methods=methods, budget=8, window=5.0,
            interval=5, progress=False,
        )  # fmt: skip
    for frame in tlpot.open_dataset(tmp_path / "x.h5"):
        free = frame.system.to_atoms()
        free.calc = EMT() if periodic else tlpot.TLPotCalculator("tlpot-tiny")
        (labels,) = frame.labels.values()
        np.testing.assert_allclose(labels.energy, free.get_potential_energy(), atol=1e-3)
        np.testing.assert_allclose(labels.forces, free.get_forces(), atol=1e-3)
