"""The shipped model of protein fragments does what its card says."""

import numpy as np
import pytest
from needs import needs

from tlpot.calculators import FragmentCalculator, TLPotCalculator
from tlpot.models import load
from tlpot.structures import build_peptide

LOW, HIGH = "gfn2-xtb", "pbe-d3bj/def2-svp"


def test_it_has_both_levels_and_the_elements_of_proteins():
    model = load("tlpot-fragments")
    assert model.levels == (LOW, HIGH)
    assert model.elements == (1, 6, 7, 8, 16)


@pytest.mark.parametrize("residue", ["ALA", "SER", "PHE"])
def test_forces_of_a_capped_residue_are_near_those_of_its_low_level(residue):
    """The test frames of the parent have a force MAE of 33 meV/Å; built peptides are colder."""
    tblite = needs("tblite.ase")
    atoms = build_peptide([residue], conformation="ppii")
    atoms.rattle(0.03, seed=1)
    atoms.calc = tblite.TBLite(method="GFN2-xTB", verbosity=0)
    expected = atoms.get_forces()
    atoms.calc = TLPotCalculator("tlpot-fragments", level=LOW)
    assert 1e3 * np.abs(atoms.get_forces() - expected).mean() < 80.0


def test_two_layers_come_from_one_file():
    atoms = build_peptide("AA")
    settings = {"low": "tlpot-fragments", "level": HIGH, "low_level": LOW, "dtype": "float64"}
    atoms.calc = FragmentCalculator(atoms, "tlpot-fragments", "mfcc", **settings)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-9)
    atoms.calc = TLPotCalculator("tlpot-fragments", level=HIGH, dtype="float64")
    # what a two-layer sum leaves out is the long range of a difference
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1.0)
