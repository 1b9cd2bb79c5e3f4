"""The domain of training data with an element that only one or a few frames hold."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from tlpot.data import open_dataset
from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.models import Potential, preset
from tlpot.system import System
from tlpot.uncertainty import fit_domain

ELEMENTS = (1, 6, 8, 16)
ANGLES = np.arange(12) * np.pi / 6
HEIGHTS = 0.4 * (-1.0) ** np.arange(12)
S12 = Atoms("S12", np.stack([3.9 * np.cos(ANGLES), 3.9 * np.sin(ANGLES), HEIGHTS], axis=1))
HEAP = Atoms("S12", np.random.default_rng(3).uniform(0, 5, (12, 3)))
NEVER = 1e-6


def rattled(atoms, seed, size=0.05):
    atoms = atoms.copy()
    atoms.rattle(size, seed=seed)
    return atoms


def ethanols(n, start=0):
    return [rattled(molecule("CH3CH2OH"), start + k) for k in range(n)]


def squeezed():
    atoms = molecule("CH3CH2OH")
    atoms.positions *= 0.8
    return atoms


def fitted(train, held_out):
    """A network of random weights, and the domain of some frames."""
    frames = [atoms.copy() for atoms in (*train, *held_out)]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    levels = {"toy": dict.fromkeys(ELEMENTS, -1.0)}
    potential = Potential.create(preset("tiny", ELEMENTS), levels, seed=0).requires_grad_(False)
    dataset, n = open_dataset(frames, level="toy"), len(train)
    domain = fit_domain(potential.at("toy"), dataset, range(n), range(n, len(frames)))
    potential.head("toy").domain = domain.to(potential.dtype)
    return potential


def domain(potential, atoms):
    graph = build_graph([System.from_atoms(atoms)], potential.cutoff)
    return evaluate(potential.at("toy"), graph, domain=True).domain.item()


@pytest.mark.fault
def test_an_element_of_one_frame_is_checked():
    """An element with frames in one fold alone had 1e6 for the unit of its distances."""
    potential = fitted([*ethanols(60), S12], ethanols(20, start=100))
    assert domain(potential, S12) > 0.05
    assert domain(potential, HEAP) < NEVER
    assert domain(potential, squeezed()) < NEVER


@pytest.mark.fault
@pytest.mark.parametrize("n_held_out", [0, 20])
def test_the_domain_falls_to_0_beside_an_element_of_one_frame(n_held_out):
    """The one frame with sulfur had the score 1e6, from which the domain fell by 1e-6 per unit."""
    train = [*ethanols(60), molecule("SH2")]
    potential = fitted(train, ethanols(n_held_out, start=100))
    assert domain(potential, train[0]) > 0.05
    assert domain(potential, squeezed()) < NEVER
    assert potential.head("toy").domain.n_held_out == 60 + n_held_out


@pytest.mark.fault
def test_held_out_frames_of_other_elements_say_nothing_about_distances():
    """One held-out frame with an element of no training frame kept the domain from falling."""
    potential = fitted(ethanols(60), [*ethanols(45, start=100), molecule("SH2")])
    assert domain(potential, squeezed()) < NEVER
    assert domain(potential, molecule("SH2")) < NEVER


def test_frames_without_common_elements_have_a_domain():
    train = [Atoms("C2", [[0, 0, 0], [0, 0, 1.3]]), Atoms("O2", [[0, 0, 0], [0, 0, 1.2]])]
    potential = fitted(train, [])
    assert domain(potential, train[0]) > 0.05
    assert domain(potential, molecule("SH2")) < NEVER
