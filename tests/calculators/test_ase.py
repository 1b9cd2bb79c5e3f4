"""The calculator: results, caching, refusals and life in ASE's algorithms."""

import copy
import multiprocessing
import pickle
import warnings

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import InputError, PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.nptberendsen import NPTBerendsen
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.vibrations import Vibrations, VibrationsData
from needs import needs
from toys import E0, ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.errors import (
    ConfigError,
    GeometryError,
    ModelFileError,
    UnknownElementError,
    UnknownLevelError,
)
from tlpot.models import Potential, preset, save

ELEMENTS = (1, 6, 8)


@pytest.fixture(scope="module")
def potential():
    shifted = {z: e + 1.0 for z, e in E0.items()}
    sizes = preset("tiny", ELEMENTS, hidden_irreps="4x0e+4x1o", cutoff=3.0)
    return Potential.create(sizes, {"low": E0}, dtype=torch.float64).with_level("high", shifted)


def water(calculator) -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=0)
    atoms.calc = calculator
    return atoms


def crystal(calculator) -> Atoms:
    cell = [[3.1, 0, 0], [0.8, 3.4, 0], [0.5, -0.7, 4.2]]
    atoms = Atoms("CO", scaled_positions=[[0.1, 0.2, 0.3], [0.6, 0.5, 0.4]], cell=cell, pbc=True)
    atoms.calc = calculator
    return atoms


def test_results_have_ase_units_shapes_and_signs():
    atoms = crystal(TLPotCalculator(ToyModel()))
    energy, stress = atoms.get_potential_energy(), atoms.get_stress()
    assert energy == atoms.get_potential_energy(force_consistent=True)
    assert energy == pytest.approx(atoms.get_potential_energies().sum(), abs=1e-12)
    assert atoms.get_forces().shape == (2, 3)
    assert stress.shape == (6,)
    np.testing.assert_allclose(
        atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), atol=1e-6
    )
    np.testing.assert_allclose(stress, calculate_numerical_stress(atoms, 1e-4), atol=1e-6)


class CountingModel(ToyModel):
    """A toy that counts its evaluations."""

    calls = 0

    def atomic_energies(self, graph):
        CountingModel.calls += 1
        return super().atomic_energies(graph)


def test_one_evaluation_serves_all_properties():
    CountingModel.calls = 0
    atoms = crystal(TLPotCalculator(CountingModel()))
    atoms.get_stress()
    atoms.get_forces()
    atoms.get_potential_energies()
    assert CountingModel.calls == 1
    atoms.positions[0, 0] += 0.01
    atoms.get_forces()
    atoms.get_stress()  # asked for before, so it came along
    assert CountingModel.calls == 2


def move(atoms):
    atoms.positions[1] += 0.1


def change_number(atoms):
    atoms.numbers[1] = 6


def change_cell(atoms):
    atoms.cell[0, 0] += 0.1


def change_pbc(atoms):
    atoms.pbc[0] = False


def change_charge(atoms):
    atoms.info.update(charge=1, spin=2)


def change_spin(atoms):
    atoms.info["spin"] = 3


@pytest.mark.parametrize(
    "change", [move, change_number, change_cell, change_pbc, change_charge, change_spin]
)
def test_a_change_in_place_gives_what_a_new_calculator_gives(change):
    model = ToyModel(uses_charge=True)
    atoms = crystal(TLPotCalculator(model))
    before = atoms.get_potential_energy()
    change(atoms)
    fresh = atoms.copy()
    fresh.calc = TLPotCalculator(model)
    assert atoms.get_potential_energy() == fresh.get_potential_energy() != before
    assert (atoms.get_forces() == fresh.get_forces()).all()


def test_initial_charges_and_moments_change_nothing():
    CountingModel.calls = 0
    atoms = crystal(TLPotCalculator(CountingModel()))
    atoms.get_forces()
    atoms.set_initial_charges([1.0, -1.0])
    atoms.set_initial_magnetic_moments([1.0, 0.0])
    atoms.get_forces()
    assert CountingModel.calls == 1


def test_changing_the_level_clears_the_results(potential):
    atoms = water(TLPotCalculator(potential, level="low"))
    low = atoms.get_potential_energy()
    atoms.calc.level = "HIGH"
    assert atoms.calc.level == "high"
    assert atoms.get_potential_energy() == pytest.approx(low + 3.0, abs=1e-9)
    atoms.calc.set(level="low")
    assert atoms.get_potential_energy() == low
    with pytest.raises(UnknownLevelError, match="no level 'middle'"):
        atoms.calc.level = "middle"
    with pytest.raises(ConfigError, match="cannot set skin"):
        atoms.calc.set(skin=1.0)


def test_models_come_as_files_names_potentials_levels_and_energy_models(potential, tmp_path):
    path = tmp_path / "model.safetensors"
    save(potential, path)
    energies = {
        water(TLPotCalculator(m, level="high", device="cpu")).get_potential_energy()
        for m in (path, str(path), potential, potential.at("high"))
    }
    energies.add(water(TLPotCalculator(potential.at("high"))).get_potential_energy())
    assert len(energies) == 1
    with pytest.raises(UnknownLevelError, match="2 levels"):
        TLPotCalculator(path)
    with pytest.raises(ModelFileError, match="no file 'tlpot-tyni'"):
        TLPotCalculator("tlpot-tyni")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "model is a int"),
        ({"model": ToyModel(), "level": "low"}, "has no levels"),
        ({"model": ToyModel(), "dtype": "float64"}, "precision of its own"),
        ({"model": ToyModel(), "skin": -1.0}, "skin is -1.0"),
        ({"model": ToyModel(), "device": "cuda:99"}, "device 'cuda:99' cannot be used"),
    ],
)
def test_arguments_that_do_not_apply(arguments, message):
    with pytest.raises(ConfigError, match=message):
        TLPotCalculator(**arguments)


def test_precision_is_as_stored_unless_asked(potential):
    double = water(TLPotCalculator(potential, level="low"))
    single = water(TLPotCalculator(potential, level="low", dtype="float32"))
    error = abs(double.get_potential_energy() - single.get_potential_energy())
    assert 0 < error < 1e-5
    assert potential.dtype == torch.float64
    assert single.get_forces().dtype == np.float64
    with pytest.raises(ConfigError, match="dtype is 'float16'"):
        TLPotCalculator(potential, level="low", dtype="float16")


def test_training_the_potential_further_leaves_the_calculator_alone(potential):
    trained = copy.deepcopy(potential)
    atoms = water(TLPotCalculator(trained, level="low"))
    before = atoms.get_potential_energy()
    with torch.no_grad():
        trained.backbone.species.add_(1.0)
    atoms.calc.reset()
    assert atoms.get_potential_energy() == before
    assert all(p.requires_grad for p in trained.parameters())


def test_unknown_elements_are_refused_in_both_dialects(potential):
    atoms = molecule("NH3")
    atoms.calc = TLPotCalculator(potential, level="low")
    for kind in (UnknownElementError, InputError):
        with pytest.raises(kind, match=r"does not know N"):
            atoms.get_forces()


@pytest.mark.parametrize("info", [{"charge": 1}, {"spin": 2}])
def test_a_charge_that_the_model_does_not_read_is_refused(info):
    atoms = water(TLPotCalculator(ToyModel()))
    atoms.get_potential_energy()
    atoms.info.update(info)
    for kind in (GeometryError, InputError):
        with pytest.raises(kind, match="neutral singlets only"):
            atoms.get_potential_energy()


@pytest.mark.parametrize("pbc", [False, (True, True, False)])
def test_stress_needs_a_volume(pbc):
    atoms = water(TLPotCalculator(ToyModel()))
    atoms.cell, atoms.pbc = [5.0, 5.0, 0.0], pbc
    atoms.get_forces()
    for kind in (GeometryError, PropertyNotImplementedError):
        with pytest.raises(kind, match="three lattice vectors"):
            atoms.get_stress()
    assert atoms.get_forces().shape == (3, 3)  # and the failure did no harm


def test_unusable_structures_are_refused_and_forgotten():
    atoms = water(TLPotCalculator(ToyModel()))
    good = atoms.get_potential_energy()
    positions = atoms.positions.copy()
    for bad, message in ((np.nan, "finite"), (positions[1], "0.000 Å apart")):
        atoms.positions[0] = bad
        with pytest.raises(GeometryError, match=message):
            atoms.get_potential_energy()
        with pytest.raises(GeometryError, match=message):
            atoms.get_potential_energy()
        atoms.positions[:] = positions
        assert atoms.get_potential_energy() == good
    empty = Atoms(calculator=TLPotCalculator(ToyModel()))
    with pytest.raises(GeometryError, match="no atoms"):
        empty.get_potential_energy()


def test_hessian_gives_the_vibrations_of_finite_differences(tmp_path):
    atoms = water(TLPotCalculator(ToyModel()))
    BFGS(atoms, logfile=None).run(fmax=1e-6, steps=200)
    hessian = atoms.calc.get_hessian(atoms)
    assert hessian.shape == (9, 9)
    assert (hessian == hessian.T).all()
    assert (hessian == atoms.calc.get_hessian()).all()
    numerical = Vibrations(atoms, name=str(tmp_path / "vib"), delta=1e-3)
    numerical.run()
    exact = VibrationsData.from_2d(atoms, hessian).get_frequencies()
    np.testing.assert_allclose(exact[6:].real, numerical.get_frequencies()[6:].real, atol=0.5)
    assert exact[6:].real.min() > 100.0
    with pytest.raises(ConfigError, match="no atoms yet"):
        TLPotCalculator(ToyModel()).get_hessian()


def test_the_callers_grad_mode_does_not_matter():
    atoms, plain = (water(TLPotCalculator(ToyModel())) for _ in range(2))
    with torch.inference_mode():
        inside = atoms.get_forces()
    assert (inside == plain.get_forces()).all()
    atoms.positions[0] += 0.01
    with torch.no_grad():
        moved = atoms.get_forces()
    assert (moved != inside).any()
    assert atoms.calc.get_hessian(atoms).any()


def test_relaxation_lowers_the_energy_to_a_stationary_point():
    atoms = molecule("CH3CH2OH")
    atoms.calc = TLPotCalculator(ToyModel())
    before = atoms.get_potential_energy()
    assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=300)
    assert atoms.get_potential_energy() < before


@pytest.mark.parametrize(
    "make",
    [
        lambda a: VelocityVerlet(a, 0.5 * units.fs),
        lambda a: Langevin(a, 0.5 * units.fs, temperature_K=300, friction=0.01, fixcm=False),
        lambda a: NPTBerendsen(
            a, 0.5 * units.fs, temperature_K=300, pressure_au=0.0, compressibility_au=1.0
        ),
        lambda a: IsotropicMTKNPT(
            a, 0.5 * units.fs, temperature_K=300, pressure_au=0.0, tdamp=5.0, pdamp=50.0
        ),
    ],
    ids=["nve", "langevin", "berendsen", "mtk"],
)
def test_dynamics_end_where_a_fresh_calculator_agrees(make):
    rng = np.random.default_rng(0)
    atoms = crystal(TLPotCalculator(ToyModel()))
    atoms.set_momenta(rng.normal(0, 1.0, (2, 3)))
    start = atoms.positions.copy()
    make(atoms).run(30)
    assert np.abs(atoms.positions - start).max() > 1e-3
    fresh = atoms.copy()
    fresh.calc = TLPotCalculator(ToyModel())
    assert (atoms.get_forces() == fresh.get_forces()).all()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_agree_to_the_last_bit_and_are_independent(potential, duplicate):
    for model, level in ((potential, "high"), (ToyModel(), None)):
        atoms = water(TLPotCalculator(model, level=level, skin=0.3))
        atoms.get_forces()
        twin = atoms.copy()
        twin.calc = duplicate(atoms.calc)
        assert twin.calc.level == level
        twin.calc.reset()
        assert (twin.get_forces() == atoms.get_forces()).all()
        twin.positions[0] += 0.1
        assert twin.get_potential_energy() != atoms.get_potential_energy()


def _energy(atoms):
    return atoms.get_potential_energy()


def test_crosses_into_spawned_processes(potential):
    atoms = water(TLPotCalculator(potential, level="low", device="cpu"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_energy, [atoms]) == [atoms.get_potential_energy()]


def test_weights_are_packed_as_a_model_file(potential):
    state = TLPotCalculator(potential, level="low").__getstate__()
    assert isinstance(state["_source"].content, bytes)
    assert not any(isinstance(v, torch.Tensor | torch.nn.Module) for v in state.values())


def test_torch_scatter_survives_a_copy(potential, tmp_path):
    needs("torch_scatter")
    path = tmp_path / "m.safetensors"
    save(potential, path)
    native = TLPotCalculator(path, level="low", device="cpu")
    scatter = copy.deepcopy(
        TLPotCalculator(path, level="low", device="cpu", kernels="torch_scatter")
    )
    assert scatter.model.potential.backbone.edges.kernels.name == "torch_scatter"
    np.testing.assert_allclose(
        water(native).get_forces(), water(scatter).get_forces(), rtol=0, atol=1e-10
    )


def test_arrays_among_the_information_do_not_confuse_it():
    atoms = molecule("CH3OH")
    atoms.info["dipole@pbe"] = np.array([0.1, float("nan"), 0.3])
    atoms.calc = TLPotCalculator("tlpot-tiny")
    energy = atoms.get_potential_energy()
    assert atoms.calc.check_state(atoms) == []
    atoms.info["dipole@pbe"] = np.array([0.1, 0.2, 0.3])
    assert atoms.calc.check_state(atoms) == ["info"]
    assert atoms.get_potential_energy() == energy


@pytest.mark.fault
def test_a_calculator_is_silent_about_crystals():
    """Each calculation of a primitive cell of copper warned of 29 electrons."""
    calculator = TLPotCalculator(ToyModel())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for crystal in (bulk("Cu"), bulk("Cu", a=3.8)):
            crystal.calc = calculator
            crystal.get_potential_energy()
    radical = molecule("OH", cell=[8.0] * 3, pbc=True)
    radical.calc = calculator
    with pytest.warns(UserWarning, match="electrons"):
        radical.get_potential_energy()
