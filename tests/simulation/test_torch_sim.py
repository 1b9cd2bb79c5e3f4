"""tlpot's models in torch-sim: its validator, our strain test, dynamics, relaxation, batches.

For torch-sim 0.3 (Python 3.11) and 0.6 (Python 3.12), which name things differently.
"""

from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from needs import needs
from physics.battery import imported, make_model
from toys import ToyModel

from tlpot.calculators import FragmentCalculator, TLPotCalculator
from tlpot.errors import ConfigError, TLPotError, UnknownElementError
from tlpot.models import load
from tlpot.structures import build_peptide

ts = needs("torch_sim")
validate_model_outputs = needs("torch_sim.models.interface").validate_model_outputs
TorchSimModel = needs("tlpot.simulation.torch_sim").TorchSimModel

pytestmark = pytest.mark.external

CPU, DOUBLE = torch.device("cpu"), torch.float64
ENUMS = hasattr(ts, "Integrator")  # since 0.4
LANGEVIN = ts.Integrator.nvt_langevin if ENUMS else ts.nvt_langevin
FIRE = ts.Optimizer.fire if ENUMS else ts.optimizers.fire


def state_of(structures, dtype=DOUBLE):
    return ts.io.atoms_to_state(structures, CPU, dtype)


class Mapped(TorchSimModel):
    """The validator's metals as elements that models of molecules know."""

    def forward(self, state, **kwargs):
        state = state.clone()
        for there, here in ((12, 7), (14, 6), (26, 8)):
            state.atomic_numbers[state.atomic_numbers == there] = here
        return super().forward(state, **kwargs)


MODELS = {
    "toy": ToyModel,
    "tiny": lambda: load("tlpot-tiny"),
    "delta": lambda: make_model("delta"),
    "ensemble": lambda: make_model("ensemble"),
    "mace": lambda: imported("off-0.3.16", DOUBLE),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_validator_of_torch_sim_is_content(name):
    validate_model_outputs(Mapped(MODELS[name]()), CPU, DOUBLE)


@pytest.mark.parametrize("name", ["toy", "mace"])
def test_stress_is_the_derivative_by_strain(name):
    """The validator lets a wrong sign, or the transpose of the cell, pass."""
    model = TorchSimModel(MODELS[name]())
    atoms = Atoms("CO", [[0.1, 0.2, 0.3], [1.4, 1.0, 1.9]], pbc=True)
    atoms.set_cell([[2.6, 0.0, 0.0], [0.7, 2.8, 0.0], [-0.4, 0.5, 3.1]])
    stress = model(state_of([atoms]))["stress"][0].numpy()
    found = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            energies = []
            for step in (1e-5, -1e-5):
                strained, shape = atoms.copy(), np.eye(3)
                shape[i, j] += step / 2.0
                shape[j, i] += step / 2.0
                strained.set_cell(atoms.cell.array @ shape, scale_atoms=True)
                energies.append(model(state_of([strained]))["energy"].item())
            found[i, j] = (energies[0] - energies[1]) / 2e-5 / atoms.get_volume()
    np.testing.assert_allclose(stress, found, atol=1e-6 * np.abs(found).max())


def test_results_are_those_of_ase():
    structures = [molecule("CH3OH"), molecule("H2O"), molecule("CH3CONH2")]
    options = {"level": "gfn2-xtb", "dtype": "float64"}
    model = TorchSimModel("tlpot-fragments", **options)
    found = model(state_of(structures))
    for atoms in structures:
        atoms.calc = TLPotCalculator("tlpot-fragments", **options)
    energies = [atoms.get_potential_energy() for atoms in structures]
    forces = np.concatenate([atoms.get_forces() for atoms in structures])
    np.testing.assert_allclose(found["energy"].numpy(), energies, rtol=1e-12)
    np.testing.assert_allclose(found["forces"].numpy(), forces, atol=1e-10)
    assert not found["stress"].any()


def test_fragments_of_several_molecules():
    structures = [build_peptide("AG"), build_peptide("GAG")]
    model = TorchSimModel(ToyModel(), scheme="mfcc_mbe2")
    found = model(state_of(structures))["energy"].numpy()
    expected = []
    for atoms in structures:
        atoms.calc = FragmentCalculator(atoms, ToyModel(), "mfcc_mbe2")
        expected.append(atoms.get_potential_energy())
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def begin_nve(model, state):
    kelvin = torch.tensor(0.02, dtype=DOUBLE)
    if ENUMS:
        state.rng = 1
        return partial(ts.nve_step, model=model), ts.nve_init(state, model, kT=kelvin)
    init, step = ts.nve(model, dt=torch.tensor(0.0, dtype=DOUBLE), kT=kelvin)
    return step, init(state, seed=1)


def test_energy_is_kept():
    atoms = [molecule("CH3OH"), molecule("CH3CONH2")]
    model = TorchSimModel("tlpot-tiny", dtype="float64")
    totals = {}
    for timestep in (0.0005, 0.00025):
        torch.manual_seed(0)
        state = state_of(atoms)
        step, state = begin_nve(model, state)
        seen = []
        for _ in range(round(0.005 / timestep)):
            state = step(state, dt=torch.tensor(timestep * ts.units.MetalUnits.time))
            kinetic = ts.quantities.calc_kinetic_energy(
                momenta=state.momenta, masses=state.masses, system_idx=state.system_idx
            )
            seen.append((state.energy + kinetic).numpy())
        totals[timestep] = np.ptp(seen, axis=0)
    assert (totals[0.00025] < 0.5 * totals[0.0005]).all()


def test_integrate_and_optimize_with_batches():
    rng = np.random.default_rng(0)
    structures = [molecule("CH3OH") for _ in range(4)]
    for atoms in structures:
        atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape)
    model = TorchSimModel("tlpot-tiny", dtype="float64")
    state = ts.integrate(
        system=structures, model=model, integrator=LANGEVIN, n_steps=5, temperature=300,
        timestep=0.0005, autobatcher=ts.BinningAutoBatcher(
            model=model, memory_scales_with=model.memory_scales_with, max_memory_scaler=13
        ),
    )  # fmt: skip
    assert state.n_systems == 4
    assert torch.isfinite(state.positions).all()
    relaxed = ts.optimize(
        system=structures, model=model, optimizer=FIRE, max_steps=300,
        convergence_fn=ts.generate_force_convergence_fn(0.05, include_cell_forces=False),
        autobatcher=ts.InFlightAutoBatcher(
            model=model, memory_scales_with=model.memory_scales_with, max_memory_scaler=19
        ),
    )  # fmt: skip
    assert model(relaxed)["forces"].norm(dim=1).max() < 0.05
    assert np.ptp(relaxed.energy.numpy()) < 0.02


def test_single_precision_states_are_answered_in_kind():
    found = TorchSimModel(ToyModel())(state_of([bulk("Cu")], torch.float32))
    assert {value.dtype for value in found.values()} == {torch.float32}


def test_what_makes_no_sense():
    with pytest.raises(UnknownElementError, match="Si"):
        TorchSimModel("tlpot-tiny")(state_of([bulk("Si")]))
    with pytest.raises(ConfigError, match="jumps"):
        TorchSimModel(ToyModel(), scheme="sphere")
    with pytest.raises(TLPotError, match="charge"):
        TorchSimModel(ToyModel(), charge=1)(state_of([molecule("H2O")]))
    assert TorchSimModel(ToyModel(uses_charge=True), charge=1)(state_of([molecule("H2O")]))


def test_the_copy_is_its_own():
    """Training a potential further does not change the model in torch-sim."""
    potential = load("tlpot-tiny")
    model, state = TorchSimModel(potential), state_of([molecule("H2O")])
    before = model(state)["energy"]
    with torch.no_grad():
        for weights in potential.parameters():
            weights.mul_(1.1)
    assert model(state)["energy"] == before


@pytest.mark.skipif(not ENUMS, reason="torch-sim 0.3 has no charges")
def test_charges_of_a_state_are_read():
    """Here each structure has its own; the model's `charge` is for states that have none."""
    structures = [molecule("H2O"), molecule("CH3OH")]
    for atoms, charge in zip(structures, (1, -2), strict=True):
        atoms.info["q"] = charge
    state = ts.io.atoms_to_state(structures, CPU, DOUBLE, system_extras_map={"charge": "q"})
    found = TorchSimModel(ToyModel(uses_charge=True))(state)["energy"]
    for k, charge in enumerate((1, -2)):
        model = TorchSimModel(ToyModel(uses_charge=True), charge=charge)
        assert model(state_of([structures[k]]))["energy"] == found[k]
