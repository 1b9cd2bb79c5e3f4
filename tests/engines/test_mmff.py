"""MMFF94 as an engine and as a calculator for trajectories."""

import io
import sys

import numpy as np
import pytest
from ase.build import molecule as g2
from needs import needs

from tlpot.calculators import CalculatorFactory
from tlpot.engines import EngineSpec, LabelError, MMFF94Calculator, make_engine
from tlpot.engines.mmff import MMFF94Engine
from tlpot.errors import ConfigError, MissingExtraError
from tlpot.structures import build_peptide, smiles_atoms
from tlpot.system import System

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(autouse=True)
def _rdkit():
    needs("rdkit")


def test_forces_are_derivatives_of_the_energy():
    atoms = smiles_atoms("CC(=O)[O-]")
    atoms.calc = MMFF94Calculator(atoms)
    atoms.rattle(0.05, seed=1)
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 0.1
    for atom, axis in ((0, 0), (2, 1), (5, 2)):
        ends = []
        for step in (1e-4, -1e-4):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions[atom, axis] += step
            ends.append(moved.get_potential_energy())
        assert -(ends[0] - ends[1]) / 2e-4 == pytest.approx(forces[atom, axis], abs=1e-5)


def test_the_engine_perceives_what_the_calculator_knows():
    atoms = smiles_atoms("C[NH3+]")
    engine = make_engine(EngineSpec(name="mmff94"))
    atoms.calc = MMFF94Calculator(atoms)
    for seed in range(3):
        atoms.rattle(0.02, seed=seed)
        found = engine.compute(System.from_atoms(atoms), forces=True, log=io.StringIO())
        assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        assert np.allclose(found.forces, atoms.get_forces(), atol=1e-8)
    other = System.from_atoms(build_peptide("K"))
    assert np.isfinite(engine.compute(other, forces=False, log=io.StringIO()).energy)
    assert "RDKit" in engine.definition["program"]


def test_without_rdkit_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(MissingExtraError, match=r"tlpot\[rdkit\]"):
        MMFF94Engine()


def test_two_molecules_feel_each_other():
    pair = g2("H2O") + g2("H2O")
    pair.positions[3:] += [0.0, 0.0, 3.0]
    near = MMFF94Calculator(pair)
    apart = pair.copy()
    apart.positions[3:] += [0.0, 0.0, 30.0]
    assert abs(near.get_potential_energy(pair) - near.get_potential_energy(apart)) > 0.01


def test_what_it_does_not_describe_is_one_line():
    engine = make_engine(EngineSpec(name="mmff94"))
    with pytest.raises(ConfigError, match="no parameters for B"):
        engine.check([1, 5], periodic=False)
    with pytest.raises(ConfigError, match="periodic"):
        engine.check([1], periodic=True)
    with pytest.raises(ConfigError, match="no settings"):
        make_engine(EngineSpec(name="mmff94", settings={"cutoff": 3}))
    with pytest.raises(ConfigError, match="no radicals"):
        CalculatorFactory.of("mmff94").calculator(smiles_atoms("[CH3]"))
    radical = System.from_atoms(smiles_atoms("[CH3]"))
    with pytest.raises(LabelError, match="no radicals"):
        engine.compute(radical, forces=True, log=io.StringIO())
    with pytest.raises(ConfigError, match="lacks parameters"):
        MMFF94Calculator(smiles_atoms("B(C)(C)C"))
    with pytest.raises(ConfigError, match="does not apply"):
        CalculatorFactory.of("mmff94", level="x")
