"""Structures compared in whatever cell, and formulas."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from hypothesis import given, settings
from hypothesis import strategies as st

from tlpot.data.neighbor_shells import neighbor_shells, same_structure
from tlpot.data.split_groups import anonymous_formula, k_means, prototypes, reduced_formula
from tlpot.system import System


def shells(atoms):
    return neighbor_shells(System.from_atoms(atoms))


def types(*structures):
    """The name of each structure's type."""
    names, kind = prototypes([System.from_atoms(atoms) for atoms in structures])
    return [names[k] for k in kind]


def perovskite(symbols="CaTiO3", a=3.9):
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Atoms(symbols, scaled_positions=places, cell=[a, a, a], pbc=True)


@given(
    numbers=st.lists(st.sampled_from([1, 3, 8, 22]), min_size=1, max_size=5),
    n=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_formulas_know_neither_cell_nor_order(numbers, n, seed):
    many = np.random.default_rng(seed).permutation(np.repeat(numbers, n))
    assert reduced_formula(many) == reduced_formula(np.array(numbers))
    assert anonymous_formula(many) == anonymous_formula(np.array(numbers))


def test_formulas_by_hand():
    assert reduced_formula(np.array([22, 22, 8, 8, 8, 8])) == "O2Ti"
    assert anonymous_formula(np.array([22, 22, 8, 8, 8, 8])) == "AB2"
    assert anonymous_formula(np.array([8] * 6 + [20, 22] * 2)) == "ABC3"


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    matrix=st.sampled_from(
        [
            np.eye(3),
            np.diag([2, 1, 1]),
            [[1, 1, 0], [0, 1, 0], [0, 0, 1]],
            [[2, 1, 0], [0, 1, 0], [0, 1, 1]],
        ]
    ),
)
def test_a_structure_is_the_same_in_every_cell_origin_order_and_orientation(seed, matrix):
    rng = np.random.default_rng(seed)
    one = perovskite()
    one.set_cell(one.cell.array + rng.normal(scale=0.2, size=(3, 3)), scale_atoms=True)
    one.positions += rng.normal(scale=0.1, size=(5, 3))
    two = make_supercell(one, matrix)
    two = two[rng.permutation(len(two))]
    two.rotate(40, rng.normal(size=3), rotate_cell=True)
    two.positions += rng.normal(size=3)
    two.wrap()
    assert same_structure(shells(one), shells(two))
    two.positions[0] += 0.3
    assert not same_structure(shells(one), shells(two))


def test_what_is_not_the_same():
    assert not same_structure(shells(bulk("Ni", "fcc", a=3.5)), shells(bulk("Cu", "fcc", a=3.5)))
    assert not same_structure(shells(bulk("Cu", "fcc", a=3.5)), shells(bulk("Cu", "fcc", a=3.6)))
    hcp = bulk("Co", "hcp", a=2.5, c=2.5 * np.sqrt(8 / 3))
    fcc = bulk("Co", "fcc", a=2.5 * np.sqrt(2))
    assert not same_structure(shells(fcc), shells(hcp))
    assert not same_structure(shells(perovskite("CaTiO3")), shells(perovskite("TiCaO3")))
    lone = Atoms("H", cell=[9, 9, 9])
    assert same_structure(shells(lone), shells(lone))
    assert not same_structure(shells(lone), shells(Atoms("H", cell=[3, 3, 3], pbc=True)))


def test_mirror_images_pass_for_the_same():
    left = Atoms("HFClBr", [[0, 0, 0], [1.1, 0, 0], [0, 1.7, 0], [0, 0, 1.9]])
    right = left.copy()
    right.positions[:, 0] *= -1
    assert same_structure(shells(left), shells(right))


def test_one_type_whatever_the_elements_and_the_scale():
    salt = bulk("NaCl", "rocksalt", a=5.64)
    found = types(
        salt,
        bulk("MgO", "rocksalt", a=4.2, cubic=True),
        bulk("ZnS", "zincblende", a=5.4),
        bulk("CsCl", "cesiumchloride", a=4.1),
        bulk("GaAs", "zincblende", a=5.65, cubic=True),
        perovskite(),
        perovskite("ISrNa3", a=5.0),
        bulk("CaF2", "fluorite", a=5.5),
    )
    assert found == [
        "ClNa", "ClNa", "SZn", "ClCs", "SZn", "CaO3Ti", "CaO3Ti", "CaF2",
    ]  # fmt: skip


def test_close_packings_are_two_types_and_names_differ():
    hcp = bulk("Co", "hcp", a=2.5, c=2.5 * np.sqrt(8 / 3))
    assert types(bulk("Co", "fcc", a=3.5), hcp, bulk("Cu", "fcc", a=3.6)) == ["Co", "Co.2", "Co"]


def test_a_slab_is_of_its_type_whatever_the_vacuum():
    layer = Atoms("MoS2", [[0, 0, 5], [0, 1.84, 6.5], [0, 1.84, 3.5]], pbc=True)
    layer.set_cell([[3.18, 0, 0], [-1.59, 2.754, 0], [0, 0, 20]])
    other = layer.copy()
    other.cell[2, 2] = 30.0
    assert types(layer, other) == ["MoS2", "MoS2"]


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 6), seed=st.integers(0, 99))
def test_clusters_are_full_and_nearest(n, seed):
    points = np.random.default_rng(seed).normal(size=(12, 3))
    centers, nearest = k_means(points, n, seed)
    assert set(nearest.tolist()) == set(range(len(centers)))
    distances = np.linalg.norm(points[:, None] - centers[None], axis=-1)
    np.testing.assert_array_equal(nearest, distances.argmin(axis=1))
    again = k_means(points, n, seed)[1]
    np.testing.assert_array_equal(nearest, again)


def test_clusters_by_hand():
    points = np.array([[0.0], [0.1], [5.0], [5.2]])
    nearest = k_means(points, 2, seed=4)[1]
    assert nearest[0] == nearest[1] != nearest[2] == nearest[3]


def test_atoms_in_one_place_are_refused():
    with pytest.raises(ValueError, match="apart"):
        shells(Atoms("H2", [[0, 0, 0], [0, 0, 0.01]]))
