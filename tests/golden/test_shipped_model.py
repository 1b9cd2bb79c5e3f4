"""Numbers of the shipped models: they must not move when code does.

Energies and the largest force component of tlpot-tiny and of the peptide models in float64, at
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
    # model, level, molecule: energy (eV), largest force component (eV/Å)
    ("tlpot-peptides-tiny", "aimnet2", "H2O"): (-2081.04861669, 0.62485377),
    ("tlpot-peptides-tiny", "aimnet2", "CH3SH"): (-11939.97567178, 0.17954737),
    ("tlpot-peptides-tiny", "aimnet2", "CH3CONH2"): (-5697.00015010, 1.19607523),
    ("tlpot-peptides-tiny", "gfn2-xtb", "CH3SH"): (-201.68243621, 0.47896329),
    ("tlpot-peptides-tiny", "gfn2-xtb", "CH3CONH2"): (-376.03421198, 1.44803017),
    ("tlpot-peptides-tiny", "ani-1ccx", "H2O"): (-2078.50160614, 0.64996638),
    ("tlpot-peptides-tiny", "ani-1ccx", "CH3CONH2"): (-5687.60980771, 0.89514944),
    ("tlpot-peptides", "aimnet2", "H2O"): (-2081.05217377, 0.62384700),
    ("tlpot-peptides", "aimnet2", "CH3SH"): (-11939.95244391, 0.20478028),
    ("tlpot-peptides", "aimnet2", "CH3CONH2"): (-5696.99192351, 1.22847083),
    ("tlpot-peptides", "gfn2-xtb", "CH3SH"): (-201.68247743, 0.50168088),
    ("tlpot-peptides", "gfn2-xtb", "CH3CONH2"): (-376.02978799, 1.47607641),
    ("tlpot-peptides", "ani-1ccx", "H2O"): (-2078.48820162, 0.62958709),
    ("tlpot-peptides", "ani-1ccx", "CH3CONH2"): (-5687.60053486, 0.82562680),
}


@pytest.mark.parametrize(("model", "level", "name"), PEPTIDES)
def test_energy_and_largest_force_of_the_peptide_models(model, level, name):
    atoms = molecule(name)
    atoms.calc = TLPotCalculator(model, level=level, device="cpu", dtype="float64")
    energy, force = PEPTIDES[model, level, name]
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)
    assert np.abs(atoms.get_forces()).max() == pytest.approx(force, abs=1e-6)
