"""Steps that are too long for the lightest atom that moves."""

import warnings

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength

from tlpot.dynamics import MDSettings, run_md
from tlpot.errors import TLPotWarning


def run(atoms, timestep, path):
    settings = MDSettings(timestep=timestep, steps=1, ensemble="nve", temperature=10)
    return run_md(atoms, EMT(), settings, path / "md", progress=False)


@pytest.mark.fault
def test_two_femtoseconds_with_hydrogen_are_warned_of(tmp_path):
    """They ran without a word, and drifted."""
    with pytest.warns(TLPotWarning, match=r"steps of 2 fs are long for H of 1.01 u.*1\.1 fs"):
        run(molecule("H2O"), 2.0, tmp_path)


@pytest.mark.parametrize("timestep", [0.5, 1.0])
def test_usual_steps_are_not(tmp_path, timestep):
    with warnings.catch_warnings():
        warnings.simplefilter("error", TLPotWarning)
        run(molecule("H2O"), timestep, tmp_path)


def test_masses_and_what_is_fixed_count(tmp_path):
    heavy = molecule("H2O")
    heavy.set_masses(np.where(heavy.numbers == 1, 4.0, heavy.get_masses()))
    still = molecule("H2O")
    still.set_constraint(FixAtoms([1, 2]))
    rigid = molecule("H2O")
    rigid.set_constraint(FixBondLength(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", "steps of", TLPotWarning)
        for k, (atoms, timestep) in enumerate(
            [(heavy, 2.0), (still, 3.0), (rigid, 2.0), (bulk("Cu", cubic=True), 5.0)]
        ):
            folder = tmp_path / str(k)
            folder.mkdir()
            run(atoms, timestep, folder)
