"""The Verlet list gives what a fresh search gives, whatever was asked before."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from tlpot.errors import ConfigError, GeometryError
from tlpot.graph import AtomGraph, build_graph
from tlpot.system import System
from tlpot.verlet_list import VerletList

CUTOFF = 3.0


def crystal() -> Atoms:
    cell = [[3.1, 0, 0], [0.8, 3.4, 0], [0.5, -0.7, 4.2]]
    return Atoms("CO", scaled_positions=[[0.1, 0.2, 0.3], [0.6, 0.5, 0.4]], cell=cell, pbc=True)


def slab() -> Atoms:
    atoms = bulk("Cu", cubic=True).repeat((2, 2, 1))
    atoms.pbc = (True, True, False)
    return atoms


def edges(graph: AtomGraph) -> set[tuple]:
    """Pairs with their vectors, unused slots left out."""
    vectors = graph.edge_vectors()
    real = vectors.norm(dim=1) < CUTOFF
    rows = zip(graph.center[real].tolist(), graph.neighbor[real].tolist(), strict=True)
    return {(i, j, *v) for (i, j), v in zip(rows, vectors[real].numpy().round(9), strict=True)}


@pytest.mark.parametrize("layout", ["padded", "sorted"])
@pytest.mark.parametrize("make", [lambda: molecule("CH3CH2OH"), crystal, slab])
def test_a_walk_gives_the_pairs_of_fresh_searches(make, layout):
    rng = np.random.default_rng(0)
    atoms, pairs = make(), VerletList(CUTOFF, 0.4, layout=layout)
    for _ in range(40):
        atoms.positions += rng.normal(0.0, 0.02, atoms.positions.shape)
        system = System.from_atoms(atoms)
        assert edges(pairs.graph(system)) == edges(build_graph([system], CUTOFF))
    assert 2 <= pairs.n_searches <= 30


@pytest.mark.fault
@pytest.mark.parametrize("n_cells", [10**5, 10**6])
def test_an_atom_may_be_very_many_cells_away(n_cells):
    """The key that pairs are sorted by overflowed: they came unsorted, and models refused them."""
    atoms = bulk("Cu", a=3.5, cubic=True).repeat((3, 3, 2))
    atoms.positions[0] += n_cells * atoms.cell[0]
    system = System.from_atoms(atoms)
    found = VerletList(CUTOFF, layout="sorted").graph(system)
    assert (found.center.diff() >= 0).all()
    assert edges(found) == edges(build_graph([system], CUTOFF))


def test_a_graph_does_not_depend_on_history():
    rng = np.random.default_rng(1)
    atoms, pairs = slab(), VerletList(CUTOFF)
    for _ in range(10):
        atoms.positions += rng.normal(0.0, 0.02, atoms.positions.shape)
        worn = pairs.graph(System.from_atoms(atoms))
    fresh = VerletList(CUTOFF).graph(System.from_atoms(atoms))
    for name in ("center", "neighbor", "shifts", "positions"):
        assert torch.equal(getattr(worn, name), getattr(fresh, name))


def test_searches_again_only_after_half_a_skin():
    atoms, pairs = molecule("H2O"), VerletList(CUTOFF, 0.5)
    pairs.graph(System.from_atoms(atoms))
    atoms.positions[0, 0] += 0.249
    pairs.graph(System.from_atoms(atoms))
    assert pairs.n_searches == 1
    atoms.positions[0, 0] += 0.002
    pairs.graph(System.from_atoms(atoms))
    assert pairs.n_searches == 2


def test_the_same_pairs_are_handed_out_again_with_new_positions():
    atoms, pairs = molecule("H2O"), VerletList(CUTOFF)
    first = pairs.graph(System.from_atoms(atoms))
    before = first.positions.clone()
    atoms.positions[0] += 0.01
    second = pairs.graph(System.from_atoms(atoms))
    assert second.center is first.center
    assert torch.equal(first.positions, before)
    assert torch.equal(second.positions, torch.from_numpy(atoms.positions))


def change_charge(atoms):
    atoms.info["charge"] = -1


def change_spin(atoms):
    atoms.info["spin"] = 2


def change_cell(atoms):
    atoms.set_cell(atoms.cell.array * 1.001, scale_atoms=False)


def change_pbc(atoms):
    atoms.pbc = (True, True, False)


def change_number(atoms):
    atoms.numbers[0] = 7


def add_atom(atoms):
    atoms.append("H")


@pytest.mark.parametrize(
    "change", [change_cell, change_pbc, change_number, change_charge, change_spin, add_atom]
)
def test_any_other_change_is_seen(change):
    atoms, pairs = crystal(), VerletList(CUTOFF)
    pairs.graph(System.from_atoms(atoms))
    change(atoms)
    for _ in range(2):
        system = System.from_atoms(atoms)
        graph = pairs.graph(system)
        assert graph.atomic_numbers.tolist() == atoms.numbers.tolist()
        fresh = build_graph([system], CUTOFF)
        assert edges(graph) == edges(fresh)
        assert (graph.charge, graph.spin) == (fresh.charge, fresh.spin)


def test_the_candidates_do_not_move_with_the_atoms():
    atoms, pairs = molecule("H2O"), VerletList(CUTOFF)
    pairs.graph(System.from_atoms(atoms))  # a System shares its arrays with the atoms
    atoms.positions[1] += 5.0
    assert edges(pairs.graph(System.from_atoms(atoms))) == edges(
        build_graph([System.from_atoms(atoms)], CUTOFF)
    )


def test_bad_geometry_is_refused_between_searches_too():
    atoms, pairs = molecule("H2O"), VerletList(CUTOFF, 3.0)
    good = atoms.positions.copy()
    pairs.graph(System.from_atoms(atoms))
    atoms.positions[1] = atoms.positions[0] + [0.05, 0, 0]
    with pytest.raises(GeometryError, match=r"0.050 Å apart"):
        pairs.graph(System.from_atoms(atoms))
    assert pairs.n_searches == 1
    atoms.positions[1] = np.nan
    with pytest.raises(GeometryError, match=r"atom 1 is .*finite"):
        pairs.graph(System.from_atoms(atoms))
    atoms.positions[:] = good
    assert pairs.graph(System.from_atoms(atoms)).n_edges == 6
    with pytest.raises(GeometryError, match="no atoms"):
        pairs.graph(System.from_atoms(Atoms()))


@pytest.mark.parametrize("skin", [-0.1, float("nan"), float("inf")])
def test_impossible_skins(skin):
    with pytest.raises(ConfigError, match="skin"):
        VerletList(CUTOFF, skin)
