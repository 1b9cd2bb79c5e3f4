"""One calculator in several threads."""

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from toys import ToyModel

from tlpot.calculators import DeltaCalculator, FragmentCalculator, TLPotCalculator, named_calculator
from tlpot.models import Potential, preset
from tlpot.structures import build_peptide

THREADS, CALLS = 4, 200


@pytest.fixture(autouse=True)
def restless():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def structures(first, n=8):
    found = []
    for seed in range(n):
        atoms = first.copy()
        atoms.rattle(0.05, seed=seed)
        found.append(atoms)
    return found


def make_delta():
    sizes = preset("tiny", (1, 6, 8), hidden_irreps="4x0e+4x1o", cutoff=3.0)
    shift = {1: 0.25, 6: -0.5, 8: 1.0}
    potential = Potential.create(sizes, {"high - toy": shift}, scale=0.05)
    return DeltaCalculator(low=EMT(), delta=potential)


def make_fragments():
    return FragmentCalculator(build_peptide("AG"), ToyModel(), scheme="mfcc")


CASES = {
    "tlpot": (lambda: TLPotCalculator(ToyModel()), molecule("H2O"), CALLS),
    "fragments": (make_fragments, build_peptide("AG"), 4),
    "delta": (make_delta, molecule("H2O"), 25),
    "engine": (lambda: named_calculator("ase:ase.calculators.emt:EMT"), molecule("H2O"), 25),
}


@pytest.mark.fault
@pytest.mark.parametrize("name", CASES)
def test_each_thread_gets_the_energy_and_the_forces_of_its_own_structure(name):
    """A thread was given the energy of another's molecule, or told that there is none."""
    make, first, calls = CASES[name]
    calculator, given = make(), structures(first)
    alone = [(calculator.get_potential_energy(a), calculator.get_forces(a)) for a in given]
    assert len({energy for energy, _ in alone}) == len(given)

    def work(thread):
        worst = 0.0
        for k in range(calls):
            number = (thread + k) % len(given)
            atoms = given[number].copy()
            atoms.calc = calculator
            energy, forces = alone[number]
            worst = max(worst, abs(atoms.get_potential_energy() - energy))
            if k % 4 == 0:
                worst = max(worst, np.abs(atoms.get_forces() - forces).max())
            if k % 32 == 0:
                found = atoms.get_properties(["energy", "forces"])
                worst = max(worst, abs(found["energy"] - energy))
        return worst

    with ThreadPoolExecutor(THREADS) as pool:
        assert max(pool.map(work, range(THREADS))) < 1e-6


@pytest.mark.fault
def test_results_of_another_name_are_safe_as_well():
    """The Hessian of one thread was that of a mixture."""
    calculator, given = TLPotCalculator(ToyModel()), structures(molecule("H2O"), 4)
    alone = [calculator.get_hessian(atoms) for atoms in given]

    def work(thread):
        return max(
            np.abs(calculator.get_hessian(given[(thread + k) % 4]) - alone[(thread + k) % 4]).max()
            for k in range(10)
        )

    with ThreadPoolExecutor(THREADS) as pool:
        assert max(pool.map(work, range(THREADS))) < 1e-9


@pytest.mark.control
@pytest.mark.parametrize("again", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_copy_does_not_wait_for_the_first(again):
    calculator = TLPotCalculator(ToyModel())
    atoms = molecule("H2O")
    expected = calculator.get_potential_energy(atoms)
    with calculator.lock:  # as while a calculation of this thread is under way
        other, found = again(calculator), []
        thread = Thread(target=lambda: found.append(other.get_potential_energy(atoms)))
        thread.start()
        thread.join(20.0)
    assert found == [expected]
