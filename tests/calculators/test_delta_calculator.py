"""A low calculator plus a learned difference; the low ones here are toys of ASE, not QM."""

import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones
from ase.io.trajectory import Trajectory
from ase.optimize import BFGS
from label_toys import Misshapen
from toys import E0, ToyModel

import tlpot
from tlpot.calculators import DeltaCalculator, TLPotCalculator
from tlpot.dynamics import MDSettings, run_md
from tlpot.errors import (
    ConfigError,
    GeometryError,
    ModelFileError,
    SimulationError,
    UnknownElementError,
    UnknownLevelError,
)
from tlpot.jobs import EnergyMethod
from tlpot.models import (
    DeltaPotential,
    Ensemble,
    ModelCard,
    Potential,
    PropertyTarget,
    preset,
    save,
)
from tlpot.targets import Quantity

ELEMENTS = (1, 6, 8)
SHIFT = {1: 0.25, 6: -0.5, 8: 1.0}
SIZES = preset("tiny", ELEMENTS, hidden_irreps="4x0e+4x1o", cutoff=3.0)


@pytest.fixture(scope="module")
def delta():
    """A random network for the difference of two toy levels."""
    return Potential.create(SIZES, {"high - toy": SHIFT}, dtype=torch.float64, scale=0.05)


@pytest.fixture(scope="module")
def whole():
    return Potential.create(SIZES, {"toy": E0}, dtype=torch.float64)


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


def toy_low() -> Calculator:
    return LennardJones(sigma=1.0, epsilon=0.05, rc=2.5, smooth=True)


@pytest.mark.parametrize("low", [EMT, toy_low], ids=["emt", "lj"])
def test_results_are_sums(delta, low):
    atoms = water(DeltaCalculator(low=low(), delta=delta))
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    alone = water(low())
    change = delta_of(delta, alone)
    assert energy == alone.get_potential_energy() + change["energy"]
    assert energy == atoms.get_potential_energy(force_consistent=True)
    # ASE's own pair potential gives the last digit as it likes
    np.testing.assert_allclose(forces, alone.get_forces() + change["forces"], rtol=0, atol=1e-15)
    assert np.abs(change["forces"]).max() > 1e-3
    assert atoms.calc.results["energy_low"] == alone.get_potential_energy()
    assert atoms.calc.results["energy_delta"] == change["energy"]
    assert (atoms.calc.level, atoms.calc.low_level) == ("high", "toy")


def delta_of(potential, atoms):
    from tlpot.energy import evaluate
    from tlpot.graph import build_graph
    from tlpot.system import System

    graph = build_graph([System.from_atoms(atoms)], potential.cutoff, layout=potential.layout)
    found = evaluate(potential.at(), graph)
    return {"energy": found.energy.item(), "forces": found.forces.numpy()}


@pytest.mark.parametrize("make", [water, crystal])
def test_forces_and_stress_are_derivatives(delta, make):
    atoms = make(DeltaCalculator(low=toy_low(), delta=delta))
    np.testing.assert_allclose(
        atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), rtol=0, atol=1e-6
    )
    if atoms.pbc.any():
        np.testing.assert_allclose(
            atoms.get_stress(), calculate_numerical_stress(atoms, 1e-4), rtol=0, atol=1e-6
        )


class Counting(LennardJones):
    """A toy that counts its evaluations, and can be spoilt."""

    calls = 0
    spoil = ""

    def calculate(self, *arguments, **options):
        self.calls += 1
        super().calculate(*arguments, **options)
        if self.spoil:
            self.results[self.spoil] = self.results[self.spoil] * np.nan


def test_the_low_calculator_runs_once_for_a_structure(delta):
    low = Counting()
    atoms = crystal(DeltaCalculator(low=low, delta=delta))
    atoms.get_potential_energy()
    atoms.get_forces()
    atoms.get_stress()
    atoms.get_forces()
    assert low.calls == 1
    assert {"energy", "forces", "stress"} <= set(atoms.calc.results)
    atoms.positions[0, 0] += 0.01
    assert atoms.get_forces()[0, 0] != 0.0
    assert low.calls == 2


@pytest.mark.parametrize("name", ["energy", "forces", "stress", "free_energy"])
def test_a_low_value_that_is_not_finite_is_an_error(delta, name):
    low = Counting()
    low.spoil = name
    atoms = crystal(DeltaCalculator(low=low, delta=delta))
    with pytest.raises(GeometryError, match=r"infinite for CO"):
        atoms.calc.get_property("energy" if name == "free_energy" else name, atoms)
    assert atoms.calc.results == {}
    low.spoil = ""
    low.reset()
    assert np.isfinite(atoms.get_potential_energy())


def test_charge_and_spin_count_as_changes(delta):
    atoms = water(DeltaCalculator(low=EMT(), delta=delta))
    atoms.get_potential_energy()
    atoms.info["charge"] = 1
    assert atoms.calc.check_state(atoms) == ["charge"]
    with pytest.raises(GeometryError, match="neutral singlets only"):
        atoms.get_potential_energy()
    atoms.info["charge"] = 0
    before = atoms.get_potential_energy()
    atoms.set_initial_charges([0.1, 0, 0])  # a low calculator may read them
    assert atoms.calc.check_state(atoms) == ["initial_charges"]
    assert atoms.get_potential_energy() == before


class EnergyOnly(Calculator):
    """A toy low level without forces."""

    implemented_properties = ["energy"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": float(np.square(atoms.positions).sum())}


def test_what_the_low_calculator_lacks_is_not_made_up(delta):
    atoms = water(DeltaCalculator(low=EnergyOnly(), delta=delta))
    assert np.isfinite(atoms.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_forces()


def test_a_tlpot_model_as_low_level_gives_what_the_saved_sum_gives(delta, whole):
    atoms = water(DeltaCalculator(low=TLPotCalculator(whole), delta=delta))
    other = water(TLPotCalculator(DeltaPotential(whole, delta)))
    assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), other.get_forces(), rtol=0, atol=1e-9)
    assert other.calc.level == "high"
    assert other.calc.get_hessian(other).shape == (9, 9)


def test_files_precision_and_pickles(delta, tmp_path):
    save(delta, tmp_path / "delta.safetensors")
    atoms = water(tlpot.DeltaCalculator(low=toy_low(), delta=str(tmp_path / "delta.safetensors")))
    given = water(DeltaCalculator(low=toy_low(), delta=delta.at()))
    assert atoms.get_potential_energy() == given.get_potential_energy()
    again = pickle.loads(pickle.dumps(atoms.calc))
    assert water(again).get_potential_energy() == atoms.get_potential_energy()
    single = water(DeltaCalculator(low=toy_low(), delta=delta, dtype="float32"))
    assert single.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-4)


def test_a_saved_sum_in_the_calculator_pickles(delta, whole, tmp_path):
    save(DeltaPotential(whole, delta), tmp_path / "sum.safetensors")
    atoms = water(TLPotCalculator(tmp_path / "sum.safetensors"))
    energy = atoms.get_potential_energy()
    assert water(pickle.loads(pickle.dumps(atoms.calc))).get_potential_energy() == energy
    held = DeltaPotential(whole, delta)
    assert water(TLPotCalculator(held.at())).get_potential_energy() == energy
    single = water(TLPotCalculator(held, dtype="float32"))
    assert single.calc.model.potential.dtype == torch.float32
    assert held.dtype == torch.float64


def test_a_sum_reports_no_standard_deviation(delta, whole):
    calculator = TLPotCalculator(DeltaPotential(whole, delta), device="cpu")
    atoms = water(calculator)
    atoms.get_forces()
    assert not {"energy_std", "forces_std"} & set(calculator.results)
    with pytest.raises(PropertyNotImplementedError):
        calculator.get_property("energy_std", atoms)


def test_md_relaxation_and_trajectories(delta, tmp_path):
    calculator = DeltaCalculator(low=toy_low(), delta=delta)
    settings = MDSettings(ensemble="nve", steps=60, log_every=5, timestep=0.25)
    result = run_md(molecule("H2O"), calculator, settings, tmp_path / "md", progress=False)
    totals = np.array([s.total for s in result.samples])
    potentials = np.array([s.potential for s in result.samples])
    assert np.ptp(potentials) > 1e-3
    assert np.ptp(totals) < 0.05 * np.ptp(potentials)
    atoms = water(calculator)
    BFGS(atoms, trajectory=str(tmp_path / "x.traj"), logfile=None).run(fmax=0.2, steps=20)
    with Trajectory(tmp_path / "x.traj") as frames:
        last = frames[-1]
    assert last.get_potential_energy() == pytest.approx(atoms.get_potential_energy())


def test_dynamics_stop_where_the_low_level_fails(delta, tmp_path):
    low = Counting()
    low.spoil = "forces"
    atoms = molecule("H2O")
    with pytest.raises((GeometryError, SimulationError), match="NaN or infinite"):
        run_md(atoms, DeltaCalculator(low=low, delta=delta), MDSettings(steps=5),
               tmp_path / "md", progress=False)  # fmt: skip


@pytest.mark.fault
def test_forces_of_one_atom_are_not_those_of_all(delta):
    atoms = water(DeltaCalculator(low=Misshapen("first"), delta=delta))
    with pytest.raises(GeometryError, match=r"forces of shape \(1, 3\), expected \(3, 3\)"):
        atoms.get_forces()


def test_wrong_use(delta, whole, tmp_path):
    total = DeltaPotential(whole, delta)
    for arguments, message in (
        ({"low": 3, "delta": delta}, "low is a int; expected an ASE calculator"),
        ({"low": EMT(), "delta": whole}, "'toy', a total energy and no difference"),
        ({"low": EMT(), "delta": total}, "use TLPotCalculator, without low"),
        ({"low": EMT(), "delta": ToyModel()}, "delta is a ToyModel"),
        ({"low": TLPotCalculator(whole.with_level("other", E0), level="other"), "delta": delta},
         "difference is from toy, but the low calculator is at other"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            DeltaCalculator(**arguments)
    with pytest.raises(ModelFileError, match="no file"):
        DeltaCalculator(low=EMT(), delta=tmp_path / "nowhere.safetensors")
    with pytest.raises(ConfigError, match="no atoms yet"):
        DeltaCalculator(low=EMT(), delta=delta).calculate()
    atoms = molecule("NH3")
    atoms.calc = DeltaCalculator(low=EMT(), delta=delta)
    with pytest.raises(UnknownElementError, match="does not know N"):
        atoms.get_potential_energy()


@pytest.mark.fault
def test_one_level_of_two_names_can_be_said_to_be_that(delta, whole):
    """The refusal named no way out where labels and low model call one method otherwise."""
    other = TLPotCalculator(whole.with_level("other", E0).only("other"))
    with pytest.raises(ConfigError, match=r"say so with low_level='toy' \(--low-level\)"):
        DeltaCalculator(low=other, delta=delta)
    said = water(DeltaCalculator(low=other, delta=delta, low_level="TOY"))
    assert said.calc.results.get("energy") is None
    assert said.get_potential_energy() == pytest.approx(
        water(other).get_potential_energy() + delta_of(delta, water(other))["energy"]
    )
    with pytest.raises(ConfigError, match="the low calculator is at toys"):
        DeltaCalculator(low=other, delta=delta, low_level="toys")
    # the jobs on structures
    for low_level, fits in (("toy", True), ("other", False), (None, False)):
        method = EnergyMethod(model=delta, low=other, low_level=low_level)
        if fits:
            calculator, words = method.calculator(molecule("H2O"))
            assert calculator.low_level == "toy"
            assert "over other" in words
        else:
            with pytest.raises(ConfigError, match="difference is from toy"):
                method.calculator(molecule("H2O"))
    with pytest.raises(UnknownLevelError, match="no level 'third'"):
        EnergyMethod(model=delta, low=whole.with_level("other", E0), low_level="third").calculator(
            molecule("H2O")
        )


def test_a_difference_is_no_total_energy(delta):
    with pytest.raises(ConfigError, match=r"DeltaCalculator\(low=..., delta=...\)"):
        TLPotCalculator(delta)
    both = delta.with_level("high", E0, parent="high - toy")
    calculator = TLPotCalculator(both, level="high")
    with pytest.raises(ConfigError, match="a difference, not a total energy"):
        calculator.level = "high - toy"


@pytest.mark.fault
def test_an_ensemble_of_differences_says_how_sure_it_is(delta):
    """It was refused ("expected a model file", of a model file), and calibrated ones were mute."""
    other = Potential.create(SIZES, {"high - toy": SHIFT}, dtype=torch.float64, scale=0.05, seed=1)
    low = EMT()
    joined = DeltaCalculator(low=low, delta=Ensemble([delta, other]))
    found = water(joined)
    alone = [
        water(DeltaCalculator(low=low, delta=one)).get_potential_energy() for one in (delta, other)
    ]
    assert found.get_potential_energy() == pytest.approx(np.mean(alone), abs=1e-9)
    assert joined.results["energy_std"] == pytest.approx(np.std(alone, ddof=1), abs=1e-9)
    assert joined.get_property("forces_std", found).shape == (3, 3)
    np.testing.assert_allclose(
        calculate_numerical_forces(found, eps=1e-4), found.get_forces(), atol=1e-6
    )


@pytest.mark.fault
def test_a_named_low_model_is_opened_at_the_level_of_the_difference(delta, tmp_path):
    """A model of several levels was refused ("name one with level=", which is another level)."""
    several = Potential.create(SIZES, {"toy": E0, "other": E0}, dtype=torch.float64)
    save(several, tmp_path / "several.safetensors")
    save(delta, tmp_path / "delta.safetensors")
    name = str(tmp_path / "several.safetensors")
    wanted = water(DeltaCalculator(low=TLPotCalculator(several.at("toy")), delta=delta))
    found = water(DeltaCalculator(low=name, delta=delta))
    assert found.get_potential_energy() == wanted.get_potential_energy()
    method = EnergyMethod(model=str(tmp_path / "delta.safetensors"), low=name)
    calculator, words = method.calculator(wanted)
    assert water(calculator).get_potential_energy() == wanted.get_potential_energy()
    assert "over toy" in words
    # as OpenMM, LAMMPS and i-PI open it, once for many structures
    calculator, _ = method.opened().calculator(wanted)
    assert water(calculator).get_potential_energy() == wanted.get_potential_energy()


@pytest.mark.fault
def test_a_difference_of_ions_takes_ions():
    """One that was trained with charges=ignore refused an ion; without its charge the low level
    was that of another number of electrons."""
    delta = Potential.create(SIZES, {"high - toy": SHIFT}, dtype=torch.float64, scale=0.05)
    delta.card = ModelCard(charges="ignored")
    atoms = Atoms("OH", positions=[[0, 0, 0], [0, 0, 0.97]], info={"charge": -1})
    atoms.calc = DeltaCalculator(low=EMT(), delta=delta)
    assert np.isfinite(atoms.get_potential_energy())


@pytest.mark.fault
def test_a_difference_of_a_property_is_added_to_no_energy():
    """The gap of a structure was added to its energy."""
    target = PropertyTarget(
        quantity=Quantity(unit="eV", extensive=False), pooling="mean", spread=1.0
    )
    name = "gap@high - gap@low"
    delta = Potential.create(SIZES, {name: SHIFT}, targets={name: target})
    with pytest.raises(ConfigError, match="property"):
        DeltaCalculator(low=EMT(), delta=delta)
