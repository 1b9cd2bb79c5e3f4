"""Neighbours, graphs and the structures that are refused."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from tlpot.errors import GeometryError
from tlpot.graph import MOST_BLOCKS, build_graph
from tlpot.neighbors import neighbor_list
from tlpot.system import System


def brute_force(atoms: Atoms, cutoff: float) -> set[tuple]:
    """All pairs over a generous range of images."""
    spans = [range(-4, 5) if periodic else (0,) for periodic in atoms.pbc]
    found = set()
    for shift in itertools.product(*spans):
        offset = np.array(shift) @ atoms.cell.array
        for i, j in itertools.product(range(len(atoms)), repeat=2):
            d = np.linalg.norm(atoms.positions[j] + offset - atoms.positions[i])
            if 1e-9 < d < cutoff:
                found.add((i, j, *shift))
    return found


def triclinic(pbc) -> Atoms:
    cell = [[3.1, 0, 0], [0.8, 3.4, 0], [0.5, -0.7, 4.2]]
    return Atoms("CO", scaled_positions=[[0.1, 0.2, 0.3], [0.6, 0.5, 0.4]], cell=cell, pbc=pbc)


@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
def test_pairs_match_brute_force_for_every_mixture_of_periodic_axes(pbc):
    atoms = triclinic(pbc)
    pairs = neighbor_list(System.from_atoms(atoms), 4.0)
    found = set(
        zip(
            pairs.center.tolist(),
            pairs.neighbor.tolist(),
            *pairs.shifts.astype(int).T.tolist(),
            strict=True,
        )
    )
    assert found == brute_force(atoms, 4.0)
    assert (np.diff(pairs.center) >= 0).all()


def test_a_slab_needs_no_third_lattice_vector():
    slab = bulk("Cu", cubic=True)
    slab.pbc = (True, True, False)
    with_vacuum = slab.copy()
    with_vacuum.cell[2] = [0, 0, 50.0]
    slab.cell[2] = 0
    counts = [len(neighbor_list(System.from_atoms(a), 4.5).center) for a in (slab, with_vacuum)]
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("layout", ["padded", "sorted"])
def test_joined_structures_keep_their_own_pairs(layout):
    systems = [System.from_atoms(a) for a in (molecule("CH4"), triclinic(True), Atoms("H"))]
    joined = build_graph(systems, 3.5, layout=layout)
    assert joined.n_atoms == 8
    assert (joined.system_idx[joined.center] == joined.system_idx[joined.neighbor]).all()
    lengths = joined.edge_vectors().norm(dim=1)
    inside = lengths[lengths < 3.5].sort().values
    single = torch.cat([build_graph([s], 3.5).edge_vectors().norm(dim=1) for s in systems])
    torch.testing.assert_close(inside, single[single < 3.5].sort().values)
    if layout == "padded":
        assert joined.n_edges == joined.blocks.n_slots
        assert (lengths[lengths >= 3.5] == 7.0).all()
    else:
        assert joined.blocks is None


def test_auto_layout_pads_uniform_and_sorts_mixed_systems():
    assert build_graph([System.from_atoms(molecule("CH4"))], 4.5).blocks is not None
    mixed = [System.from_atoms(a) for a in (bulk("Cu"), *[Atoms("H")] * 20)]
    assert build_graph(mixed, 4.5).blocks is None


def many() -> list[System]:
    """Pairs for several blocks, in molecules and a crystal."""
    names = ["C6H6", "H2O", "trans-butane", "CH4", "C5H5N"] * 3
    return [System.from_atoms(a) for a in (*map(molecule, names), triclinic(True), Atoms("H"))]


def test_large_batches_are_padded_in_blocks_that_waste_less():
    padded = build_graph(many(), 4.5, layout="padded")
    plain = build_graph(many(), 4.5, layout="sorted")
    counts = torch.bincount(plain.center, minlength=plain.n_atoms)
    assert 1 < len(padded.blocks.sizes) <= MOST_BLOCKS
    assert plain.n_edges < padded.n_edges < 0.8 * padded.n_atoms * int(counts.max())
    assert sum(n for n, _ in padded.blocks.sizes) == padded.n_atoms
    begin = 0
    order = padded.blocks.place.argsort()
    for n_atoms, slots in padded.blocks.sizes:
        atoms = order[:n_atoms]
        order = order[n_atoms:]
        owners = padded.center[begin : begin + n_atoms * slots].view(n_atoms, slots)
        assert torch.equal(owners, atoms[:, None].expand(-1, slots))
        begin += n_atoms * slots


def test_padding_is_undone_by_sorting():
    plain = build_graph(many(), 4.5, layout="sorted")
    again = build_graph(many(), 4.5, layout="padded").by_center()
    assert again.blocks is None
    assert again.padding is None
    for name in ("center", "neighbor", "shifts"):
        assert torch.equal(getattr(again, name), getattr(plain, name))
    assert torch.equal(again.edge_vectors(), plain.edge_vectors())


def changed(**changes) -> System:
    atoms = triclinic(True)
    values = {
        "atomic_numbers": atoms.numbers,
        "positions": atoms.positions,
        "cell": atoms.cell.array,
        "pbc": atoms.pbc,
    }
    return System(**{**values, **changes})


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (changed(positions=np.full((2, 3), np.nan)), "atom 0.*finite"),
        (changed(positions=np.zeros((2, 3))), "atoms 0 and 1 are 0.000 Å apart"),
        (changed(positions=np.zeros((3, 3))), "shape"),
        (changed(cell=np.zeros((3, 3))), "lattice vector is zero"),
        (changed(cell=np.ones((3, 3))), "linearly dependent"),
        (changed(cell=np.full((3, 3), np.inf)), "NaN or infinity"),
        (changed(atomic_numbers=np.array([], int), positions=np.zeros((0, 3))), "no atoms"),
    ],
)
def test_unusable_structures_are_named(system, message):
    with pytest.raises(GeometryError, match=rf"frame 7.*{message}"):
        build_graph([system], 4.0, names=["frame 7"])


@pytest.mark.parametrize(
    "info", [{"charge": 0.5}, {"charge": "one"}, {"spin": 0}, {"spin": float("nan")}]
)
def test_charge_and_spin_must_be_whole(info):
    atoms = molecule("H2O")
    atoms.info.update(info)
    with pytest.raises(GeometryError, match=f"info\\['{next(iter(info))}'\\]"):
        System.from_atoms(atoms)
