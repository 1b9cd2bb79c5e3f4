"""Numbers of the shipped models: they must not move when code does.

Energies and the largest force component of tlpot-tiny and of tlpot-peptides-tiny in float64, at
ASE's G2 geometries, computed with tlpot 0.1.0, torch 2.13.0 and e3nn 0.6.0 on x86-64. They test
that a file gives the same potential as when it was made, not that the potential is good; that is
in benchmarks/RESULTS.md.
"""

import numpy as np
import pytest
from ase.build import molecule

from tlpot.calculators import TLPotCalculator

GOLDEN = {
    # molecule: energy (eV), largest force component (eV/Å)
    "H2O": (-2078.62899024, 0.28745634),
    "CH3OH": (-3147.82210595, 0.47049215),
    "HCN": (-2541.33760669, 2.88463099),
    "C2H6": (-2171.50631658, 0.06138795),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_energy_and_largest_force(name):
    atoms = molecule(name)
    atoms.calc = TLPotCalculator("tlpot-tiny", device="cpu", dtype="float64")
    energy, force = GOLDEN[name]
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)
    assert np.abs(atoms.get_forces()).max() == pytest.approx(force, abs=1e-6)


PEPTIDES = {
    # level, molecule: energy (eV), largest force component (eV/Å)
    ("aimnet2", "H2O"): (-2081.06162439, 0.62470290),
    ("aimnet2", "CH3SH"): (-11939.97416866, 0.20594440),
    ("aimnet2", "CH3CONH2"): (-5696.98017373, 1.20797000),
    ("gfn2-xtb", "CH3SH"): (-201.68112926, 0.50777339),
    ("gfn2-xtb", "CH3CONH2"): (-376.02122044, 1.39999993),
    ("ani-1ccx", "H2O"): (-2078.49250809, 0.65826624),
    ("ani-1ccx", "CH3CONH2"): (-5687.60412124, 0.91933465),
}


@pytest.mark.parametrize(("level", "name"), PEPTIDES)
def test_energy_and_largest_force_of_the_peptide_model(level, name):
    atoms = molecule(name)
    settings = {"level": level, "device": "cpu", "dtype": "float64"}
    atoms.calc = TLPotCalculator("tlpot-peptides-tiny", **settings)
    energy, force = PEPTIDES[level, name]
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)
    assert np.abs(atoms.get_forces()).max() == pytest.approx(force, abs=1e-6)
