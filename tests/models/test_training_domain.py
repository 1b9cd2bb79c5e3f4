"""Scores, ranks and files of what a model was trained on."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from tlpot.data import open_dataset
from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.models import (
    LIBRARY,
    Architecture,
    Potential,
    frame_scores,
    from_bytes,
    load,
    to_bytes,
    weights_hash,
)
from tlpot.system import System
from tlpot.uncertainty import fit_domain


def graph(model, *names, charge=0):
    systems = []
    for name in names:
        atoms = molecule(name)
        atoms.info["charge"] = charge
        systems.append(System.from_atoms(atoms))
    return build_graph(systems, model.cutoff, layout=model.layout)


def domains(model, *names, **options):
    return evaluate(model, graph(model, *names, **options), domain=True).domain


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(LIBRARY / "tlpot-qm.h5")


@pytest.fixture(scope="module")
def made(dataset):
    """A network of random weights that knows some frames of one molecule."""
    architecture = Architecture(
        elements=(1, 6, 7, 8), cutoff=4.0, n_layers=2, hidden_irreps="8x0e+8x1o", l_max=1,
        radial_hidden=(), n_species=4, readout_hidden=4, charge_spin=True, avg_neighbors=5.0,
    )  # fmt: skip
    potential = Potential.create(
        architecture, {"hf": dict.fromkeys(architecture.elements, 0.0)}, dtype=torch.float64
    )
    names = list(dataset.group_names)
    frames = np.flatnonzero(dataset.group_idx == names.index("methanol"))
    domain = fit_domain(potential.at(), dataset, frames[::2], frames[1::2])
    potential.head("hf").domain = domain.to(torch.float64)
    return potential


def test_the_molecule_of_the_training_is_inside_and_others_are_not(made):
    found = domains(made.at(), "CH3OH", "C2H6", "CH3CH2OH")
    assert found[0] > 0.05
    assert (found[1:] < 0.05).all()


def test_an_element_without_training_frames_is_outside_at_once(made):
    assert domains(made.at(), "NH3").item() < 1e-12
    assert domains(made.at(), "CH3CONH2", "NH3").max() < 1e-12


def test_a_charge_without_training_frames_is_outside_at_once(made):
    assert domains(made.at(), "CH3OH", charge=1).item() == 0.0
    assert domains(made.at(), "CH3OH").item() > 0.05


def test_one_structure_and_a_batch_agree(made):
    names = ["CH3OH", "C2H6", "H2O"]
    together = domains(made.at(), *names)
    alone = torch.cat([domains(made.at(), name) for name in names])
    torch.testing.assert_close(together, alone, rtol=1e-8, atol=1e-12)


def test_energies_and_forces_are_the_same_with_and_without(made):
    model = made.at()
    both = graph(model, "CH3OH", "H2O")
    plain, with_domain = evaluate(model, both), evaluate(model, both, domain=True)
    assert plain.domain is None
    torch.testing.assert_close(plain.forces, with_domain.forces, rtol=0, atol=0)


def test_one_in_twenty_held_out_frames_is_below_the_warning(dataset):
    model = load("tlpot-tiny", device="cpu").at()
    domain = model.training_domain
    held = domain.held_out.value.numpy()
    ranks = domain._rank(held)
    assert (np.diff(ranks) <= 0).all()
    assert ranks[0] == pytest.approx(1.0)
    assert abs((ranks < 0.05).mean() - 0.05) <= 1.5 / len(held)
    beyond = domain._rank(held[-1] + np.linspace(0.0, 10.0, 50))
    assert (np.diff(beyond) < 0).all()
    assert beyond[-1] < 1e-6


def test_a_lone_atom_far_away_stands_out_among_many():
    near = torch.full((1000,), 0.5)
    far = torch.cat([near, torch.tensor([8.0])])
    index = torch.zeros(1001, dtype=torch.long)
    alone = frame_scores(near, index[:1000], 1)
    assert frame_scores(far, index, 1) > alone + 5.0
    twice = frame_scores(torch.cat([far, near]), torch.arange(2001) // 1001, 2)
    torch.testing.assert_close(twice, torch.cat([frame_scores(far, index, 1), alone]))


def test_it_survives_a_file_and_leaves_the_weights_hash_alone(made):
    again = from_bytes(to_bytes(made))
    torch.testing.assert_close(domains(again.at(), "CH3OH"), domains(made.at(), "CH3OH"))
    assert again.head("hf").domain.content.n_frames == made.head("hf").domain.content.n_frames
    assert weights_hash(again) == weights_hash(made)
    plain = from_bytes(to_bytes(made))
    plain.head("hf").domain = None
    assert weights_hash(plain) == weights_hash(made)
    torch.testing.assert_close(
        domains(made.at(), "CH3OH"),
        domains(from_bytes(to_bytes(made), dtype=torch.float32).at(), "CH3OH"),
        rtol=1e-3, atol=1e-5,
    )  # fmt: skip


def test_a_few_frames_are_enough(dataset, made):
    for train, held in (([0], [1]), ([0, 1, 2], [3])):
        domain = fit_domain(made.at(), dataset, train, held)
        assert domain.n_frames == len(train)
        assert bool(domain.held_out.value.isfinite().all())
