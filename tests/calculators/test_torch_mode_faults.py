"""Energies do not depend on the modes of torch that a caller has switched on."""

import contextlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from tlpot.calculators import FragmentCalculator, TLPotCalculator
from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.models import Ensemble, Potential, load, preset, save
from tlpot.structures import build_peptide
from tlpot.system import System


@contextlib.contextmanager
def default_dtype(dtype):
    old = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(old)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


MODES = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "meta": lambda: torch.device("meta"),
    "deterministic": deterministic,
}
FAULTY = ("autocast", "inference_mode", "meta")
FAULT = dict.fromkeys(FAULTY, pytest.mark.fault)


def results(calculator):
    atoms = molecule("H2O")
    atoms.calc = calculator
    return atoms.get_potential_energy(), atoms.get_forces(), calculator.get_hessian(atoms)


def same(found, expected):
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("kernels", ["auto", "torch"])
@pytest.mark.parametrize("mode", [pytest.param(m, marks=FAULT.get(m, ())) for m in MODES])
def test_a_calculator_made_or_called_in_a_mode_gives_the_same_to_the_last_bit(mode, kernels):
    options = {"device": "cpu", "kernels": kernels}
    outside = TLPotCalculator("tlpot-tiny", **options)
    expected = results(outside)
    outside.reset()
    with MODES[mode]():
        same(results(outside), expected)
        inside = TLPotCalculator("tlpot-tiny", **options)
        same(results(inside), expected)
    inside.reset()
    same(results(inside), expected)


@pytest.mark.fault
@pytest.mark.parametrize("mode", FAULTY)
def test_a_model_loaded_in_a_mode_is_the_same_by_itself(mode):
    system = System.from_atoms(bulk("C", "diamond", cubic=True))
    model = load("tlpot-tiny", device="cpu", kernels="torch").at()
    graph = build_graph([system], model.cutoff)
    expected = evaluate(model, graph, stress=True)
    with MODES[mode]():
        inner = load("tlpot-tiny", device="cpu", kernels="torch").at()
        found = evaluate(inner, build_graph([system], inner.cutoff), stress=True)
    again = evaluate(inner, graph, stress=True)
    for one in (found, again):
        assert torch.equal(one.energy, expected.energy)
        assert torch.equal(one.forces, expected.forces)
        assert torch.equal(one.stress, expected.stress)


@pytest.mark.fault
@pytest.mark.parametrize("mode", FAULTY)
def test_standard_deviations_of_an_ensemble_do_not_depend_on_a_mode(tmp_path, mode):
    zero = dict.fromkeys((1, 6, 8), 0.0)
    members = [Potential.create(preset("tiny", (1, 6, 8)), {"x": zero}, seed=k) for k in (1, 2)]
    path = tmp_path / "ensemble.safetensors"
    save(Ensemble(members), path)

    def found():
        calculator = TLPotCalculator(path, device="cpu")
        atoms = molecule("CH3OH")
        return calculator.get_property("energy_std", atoms), calculator.results["forces_std"]

    expected = found()
    with MODES[mode]():
        same(found(), expected)


@pytest.mark.fault
@pytest.mark.parametrize("mode", FAULTY)
def test_a_sum_of_fragments_does_not_depend_on_a_mode(mode):
    def found():
        atoms = build_peptide("A")
        options = {"trained_charges": True, "level": "gfn2-xtb", "device": "cpu"}
        atoms.calc = FragmentCalculator(atoms, "tlpot-fragments", "mfcc", **options)
        return atoms.get_potential_energy(), atoms.get_forces()

    expected = found()
    with MODES[mode]():
        same(found(), expected)


FRESH = """
import torch
from ase.build import molecule
from tlpot import TLPotCalculator
torch.set_num_threads(1)
with torch.inference_mode():
    calculator = TLPotCalculator("tlpot-tiny", device="cpu", kernels="torch")
    atoms = molecule("H2O")
    atoms.calc = calculator
    atoms.get_forces()
atoms.rattle(0.01, seed=1)
print(atoms.get_potential_energy(), atoms.get_forces().sum(axis=1)[0])
"""


@pytest.mark.fault
def test_what_a_process_computes_first_in_inference_mode_serves_it_afterwards():
    """Tables such as the Clebsch–Gordan coefficients are made once for a process."""
    fresh = subprocess.run(
        [sys.executable, "-c", FRESH], check=True, capture_output=True, text=True
    )
    atoms = molecule("H2O")
    atoms.calc = TLPotCalculator("tlpot-tiny", device="cpu", kernels="torch")
    atoms.get_forces()
    atoms.rattle(0.01, seed=1)
    here = (atoms.get_potential_energy(), atoms.get_forces().sum(axis=1)[0])
    assert [float(word) for word in fresh.stdout.split()] == pytest.approx(here, rel=1e-6)
