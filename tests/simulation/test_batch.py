"""Batches of structures for programs that ask for them: results of single ones, and refusals."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from toys import ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.errors import ConfigError, GeometryError, TLPotWarning, UnknownElementError
from tlpot.jobs import EnergyMethod
from tlpot.models import Potential, preset, save
from tlpot.simulation import BatchEvaluator
from tlpot.system import System


def systems(*structures: Atoms) -> list[System]:
    return [System.from_atoms(atoms) for atoms in structures]


def test_a_batch_is_its_members():
    copper, water = bulk("Cu", cubic=True), molecule("H2O")
    found = BatchEvaluator(EnergyMethod(model=ToyModel()))(systems(copper, water), stress=True)
    for k, atoms in enumerate((copper, water)):
        atoms.calc = TLPotCalculator(ToyModel())
        assert float(found.energy[k]) == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(found.stress[0], copper.get_stress(voigt=False), atol=1e-12)
    assert not found.stress[1].any()


def test_molecules_alone_have_no_stress():
    found = BatchEvaluator(EnergyMethod(model=ToyModel()))(systems(molecule("H2O")), stress=True)
    assert found.stress is None


def test_a_calculator_and_a_delta_pair_are_models(tmp_path):
    sizes = preset("tiny", (1, 6, 7, 8))
    path = tmp_path / "delta.safetensors"
    none = {"high - low": dict.fromkeys((1, 6, 7, 8), 0.0)}
    save(Potential.create(sizes, none), path)
    water = molecule("H2O")
    with pytest.raises(ConfigError, match="difference"):
        BatchEvaluator(EnergyMethod(model=str(path)))
    low = TLPotCalculator(ToyModel())
    method = EnergyMethod(model=str(path), low=low)
    found = BatchEvaluator(method)(systems(water, water))
    expected, _ = method.calculator(water)
    water.calc = expected
    np.testing.assert_allclose(found.energy, [water.get_potential_energy()] * 2, rtol=1e-9)
    np.testing.assert_allclose(found.forces[:3], water.get_forces(), atol=1e-5)


@pytest.mark.parametrize("scheme", ["mfcc", "mfcc2"])
def test_a_scheme_in_which_distant_residues_feel_nothing_is_warned_of(scheme):
    with pytest.warns(TLPotWarning, match="run into each other"):
        BatchEvaluator(EnergyMethod(model=ToyModel(), scheme=scheme))


def test_a_scheme_that_keeps_residues_apart_is_not_warned_of(recwarn):
    BatchEvaluator(EnergyMethod(model=ToyModel(), scheme="mfcc_mbe2"))
    BatchEvaluator(EnergyMethod(model=ToyModel(), scheme="mfcc", low=ToyModel()))
    assert not [w for w in recwarn if "run into" in str(w.message)]


def test_what_the_model_cannot_do_is_refused():
    evaluator = BatchEvaluator(EnergyMethod(model=ToyModel()))
    with pytest.raises(UnknownElementError, match="Si"):
        evaluator(systems(bulk("Si")))
    charged = molecule("H2O")
    charged.info["charge"] = 1
    with pytest.raises(GeometryError, match="charge"):
        evaluator(systems(charged))
    with pytest.raises(ConfigError, match="jumps"):
        BatchEvaluator(EnergyMethod(model=ToyModel(), scheme="sphere"))
