"""Standard deviations in a calculator's results."""

import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces
from ase.io import read, write
from toys import E0, ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.errors import ConfigError, UnknownLevelError
from tlpot.models import Calibration, Ensemble, LastLayerRigidity, Potential, preset, save, to_bytes

SIZES = preset("tiny", (1, 6, 8), hidden_irreps="4x0e+4x1o", radial_hidden=(), cutoff=3.0)


def potential(seed=0):
    levels = {"low": E0, "high": {z: e + 1.0 for z, e in E0.items()}}
    return Potential.create(SIZES, levels, seed=seed, dtype=torch.float64)


@pytest.fixture
def ensemble():
    members = Ensemble([potential(0), potential(1), potential(2)])
    return members.with_calibration("high", Calibration(torch.linspace(1.0, 4.0, 30)))


@pytest.fixture
def rigid():
    n = len(potential().head("low").readout.last_weights())
    cholesky = torch.eye(n, dtype=torch.float64) * torch.linspace(0.1, 1.0, n)
    calibration = Calibration(torch.linspace(0.5, 1.5, 30))
    return potential().with_rigidity("high", LastLayerRigidity(cholesky, calibration))


def water(calculator, seed=0) -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=seed)
    atoms.calc = calculator
    return atoms


def test_an_ensemble_gives_means_and_standard_deviations(ensemble):
    atoms = water(TLPotCalculator(ensemble, level="high"))
    members = [water(TLPotCalculator(m, level="high")) for m in ensemble.potentials()]
    energies = [a.get_potential_energy() for a in members]
    forces = np.array([a.get_forces() for a in members])
    factor = ensemble.at("high").calibration.factor
    assert atoms.get_potential_energy() == pytest.approx(np.mean(energies), abs=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), forces.mean(axis=0), atol=1e-10)
    results = atoms.calc.results
    assert results["energy_std"] == pytest.approx(factor * np.std(energies, ddof=1), rel=1e-6)
    np.testing.assert_allclose(
        results["forces_std"], factor * forces.std(axis=0, ddof=1), rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(
        atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), atol=1e-6
    )


def test_a_level_without_calibration_gives_the_plain_spread(ensemble):
    atoms = water(TLPotCalculator(ensemble, level="low"))
    atoms.get_forces()
    low = atoms.calc.results["energy_std"]
    atoms.calc.level = "high"
    atoms.get_forces()
    factor = ensemble.at("high").calibration.factor
    ratio = atoms.calc.results["energy_std"] / low
    high = [water(TLPotCalculator(m, level="high")) for m in ensemble.potentials()]
    std = np.std([a.get_potential_energy() for a in high], ddof=1)
    assert ratio == pytest.approx(factor * std / low, rel=1e-6)


def test_ordinary_models_have_neither(rigid):
    for model, level in ((potential(), "low"), (rigid, "low"), (ToyModel(), None)):
        atoms = water(TLPotCalculator(model, level=level))
        atoms.get_forces()
        assert not {"energy_std", "forces_std"} & set(atoms.calc.results)
        assert "energy_std" not in atoms.calc.implemented_properties
        with pytest.raises(PropertyNotImplementedError):
            atoms.calc.get_property("energy_std", atoms)
    assert "energy_std" not in TLPotCalculator.implemented_properties


def test_last_layer_forces_come_only_when_asked_for(rigid):
    atoms = water(TLPotCalculator(rigid, level="high"))
    atoms.get_forces()
    assert atoms.calc.results["energy_std"] > 0
    assert "forces_std" not in atoms.calc.results
    assert atoms.calc.get_property("forces_std", atoms).shape == (3, 3)
    atoms.rattle(0.01, seed=1)
    atoms.get_potential_energy()
    assert "forces_std" in atoms.calc.results
    plain = water(TLPotCalculator(potential(), level="high"))
    again = water(TLPotCalculator(rigid, level="high"))
    assert plain.get_potential_energy() == again.get_potential_energy()


@pytest.mark.parametrize("kind", ["ensemble", "rigid"])
def test_files_copies_and_other_processes_agree(kind, request, tmp_path):
    model = request.getfixturevalue(kind)
    path = tmp_path / "model.safetensors"
    save(model, path)
    expected = water(TLPotCalculator(model, level="high"))
    expected.get_forces()
    made = TLPotCalculator(path, level="high", device="cpu")
    for calculator in (
        made,
        TLPotCalculator(model.at("high")),
        copy.deepcopy(made),
        pickle.loads(pickle.dumps(made)),
    ):
        atoms = water(calculator)
        atoms.get_forces()
        assert atoms.calc.results.keys() == expected.calc.results.keys()
        for name, value in expected.calc.results.items():
            assert np.array_equal(value, atoms.calc.results[name]), name
    single = water(TLPotCalculator(path, level="high", device="cpu", dtype="float32"))
    single.get_forces()
    assert single.calc.results["energy_std"] == pytest.approx(
        expected.calc.results["energy_std"], rel=1e-3
    )


def test_a_calculator_does_not_follow_its_ensemble(ensemble):
    atoms = water(TLPotCalculator(ensemble, level="high"))
    before, content = atoms.get_potential_energy(), to_bytes(ensemble)
    with torch.no_grad():
        ensemble.potentials()[0].backbone.species.mul_(2.0)
    atoms.calc.reset()
    assert atoms.get_potential_energy() == before
    assert to_bytes(ensemble) != content


def test_levels_are_chosen_as_for_a_potential(ensemble):
    with pytest.raises(UnknownLevelError, match="2 levels"):
        TLPotCalculator(ensemble)
    with pytest.raises(ConfigError, match="cannot set skin"):
        TLPotCalculator(ensemble, level="low").set(skin=1.0)


def test_ase_can_export_and_write_the_results(ensemble, tmp_path):
    atoms = water(TLPotCalculator(ensemble, level="high"))
    atoms.get_forces()
    assert "energy" in atoms.calc.export_properties()
    assert "energy_std" not in atoms.calc.export_properties()
    for ending in ("traj", "xyz"):
        path = tmp_path / f"water.{ending}"
        write(path, atoms)
        assert read(path).get_potential_energy() == pytest.approx(
            atoms.get_potential_energy(), abs=1e-6
        )
