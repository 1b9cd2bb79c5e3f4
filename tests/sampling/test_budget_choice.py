"""Descriptors of geometries, and choosing by them."""

import itertools

import numpy as np
import pytest
from ase.build import molecule as g2
from toys import E0

from tlpot.errors import ConfigError, UnknownElementError
from tlpot.fragments.export import choose
from tlpot.models import Ensemble, Potential, preset, save
from tlpot.sampling import ModelView, farthest_points, most_uncertain, scaled
from tlpot.sampling.candidate import geometry_features
from tlpot.structures import build_peptide


@pytest.fixture(scope="module")
def view():
    return ModelView("tlpot-tiny")


@pytest.fixture(params=["geometry", "model"])
def features(request, view):
    return geometry_features if request.param == "geometry" else view.features


def test_features_do_not_see_where_the_molecule_is_or_how_its_atoms_are_counted(features):
    atoms = build_peptide("A")
    moved = atoms[np.random.default_rng(0).permutation(len(atoms))]
    moved.rotate(50, (1, 2, 3))
    moved.positions += [3.0, -2.0, 1.0]
    one, other = features([atoms, moved])
    assert np.abs(one).max() > 0.1
    assert np.allclose(one, other, atol=1e-4 * np.abs(one).max())


def test_features_tell_conformers_apart(features):
    """Further than geometries of one conformer that differ by 0.01 Å."""
    rows = [build_peptide("A", conformation=c) for c in ("extended", "helix", "ppii")]
    near = rows[0].copy()
    near.rattle(0.01, seed=0)
    found = features([*rows, near])
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(found[:3], 2)]
    assert min(apart) > 2 * np.linalg.norm(found[3] - found[0])


def test_a_model_refuses_elements_that_it_does_not_know(view):
    with pytest.raises(UnknownElementError, match=r"does not know S of ACE-CYS-NME.*leave the"):
        view.check(build_peptide("C").numbers, "ACE-CYS-NME")
    view.check(build_peptide("A").numbers, "ACE-ALA-NME")


def test_charged_fragments_have_features_of_a_model_without_charge(view):
    assert view.features([build_peptide("D")]).shape[0] == 1


def test_uncertainty_needs_a_model_that_has_one(view):
    with pytest.raises(ConfigError, match="cannot tell how sure it is"):
        ModelView("tlpot-tiny", view._model.levels[0]).uncertainty([g2("H2O")])


def test_an_ensemble_is_least_sure_where_its_members_differ_most(tmp_path):
    sizes = preset("tiny", (1, 6, 8), hidden_irreps="4x0e+4x1o", cutoff=3.0)
    members = [
        Potential.create(sizes, {"low": E0}, scale=s, seed=k) for k, s in enumerate((0.1, 2.0))
    ]
    path = tmp_path / "e.safetensors"
    save(Ensemble(members), path)
    view = ModelView(str(path))
    near, far = g2("CH3OH"), g2("CH3OH")
    far.positions *= 5.0  # nothing within the cutoff, so both say zero
    found = view.uncertainty([far, near])
    assert found[0] == pytest.approx(0.0, abs=1e-6)
    assert found[1] > 0.0
    both = view.features([near])
    save(members[0], tmp_path / "m.safetensors")
    assert np.allclose(both[:, : both.shape[1] // 2],
                       ModelView(str(tmp_path / "m.safetensors")).features([near]))  # fmt: skip


def test_farthest_points_cover_at_most_twice_the_best_radius():
    rows = np.random.default_rng(3).normal(size=(12, 2))
    chosen, away = farthest_points(rows, 3, 0)
    lengths = np.linalg.norm(rows[:, None] - rows, axis=2)
    best = min(lengths[:, list(c)].min(1).max() for c in itertools.combinations(range(12), 3))
    assert best <= away.max() <= 2 * best
    assert np.allclose(away, lengths[:, chosen].min(1))
    second = lengths[0].argmax()
    third = np.minimum(lengths[0], lengths[second]).argmax()
    assert chosen.tolist() == [0, second, third]


def test_fragments_and_samples_are_chosen_by_one_rule():
    rows = (
        np.random.default_rng(5).integers(0, 4, (30, 2)).astype(float)
    )  # most distances occur often
    first = int(np.random.default_rng(7).choice(np.arange(30)))
    picked, _ = farthest_points(rows, 9, first)
    assert choose(rows, 9, seed=7).tolist() == sorted(picked.tolist())
    lengths = np.linalg.norm(rows[:, None] - rows[:5], axis=2).min(1)
    assert choose(rows, 6, n_old=5).tolist() == [int(lengths.argmax())]


def test_equal_geometries_are_not_taken_twice():
    chosen, _ = farthest_points(np.zeros((4, 2)), 10, 1)
    assert sorted(chosen.tolist()) == [0, 1, 2, 3]


def test_the_uncertain_are_taken_and_twins_among_them_are_not():
    rows = np.array([[0.0], [0.0], [5.0], [9.0], [2.0], [1.0], [7.0]])
    doubt = np.array([9.0, 8.9, 8.0, 7.0, 6.0, 5.0, 0.1])
    assert most_uncertain(doubt, rows, 2).tolist() == [0, 3]
    assert 6 not in most_uncertain(doubt, rows, 2)


def test_scaling_leaves_out_features_that_are_noise():
    rng = np.random.default_rng(0)
    features = np.stack([rng.normal(size=50), 1e-6 * rng.normal(size=50), np.ones(50)], axis=1)
    rows = scaled(features)
    assert rows.shape == (50, 1)
    assert rows.std() == pytest.approx(1.0)
