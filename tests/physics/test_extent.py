"""Parts add up: batches, layouts, supercells, distant molecules, isolated atoms."""

import pytest
import torch
from ase import Atoms
from battery import (
    ELEMENTS,
    SYSTEMS,
    acetamide,
    assert_close,
    at_reference,
    compute,
    crystal,
    make_model,
    network,
    reference_energy,
    slab,
    water,
)
from needs import needs

from tlpot.energy import Properties


@pytest.mark.parametrize("number", ELEMENTS)
def test_an_isolated_atom_has_its_reference_energy_exactly(model, number):
    atom = Atoms([number], positions=[[0.1, 0.2, 0.3]])
    found = compute(model, atom)
    assert (found.forces == 0).all()
    if not at_reference(model):
        pytest.skip("an atom by itself has an interaction energy in a residual first block")
    assert found.energy.item() == reference_energy(atom)


@pytest.mark.parametrize("name", ["lone_atom", "strangers", "lone_atom_in_a_box"])
@pytest.mark.parametrize("layout", ["padded", "sorted"])
def test_no_neighbours_no_interaction(model, name, layout):
    atoms = SYSTEMS[name]()
    found = compute(model, atoms, stress=bool(atoms.pbc.all()), layout=layout)
    if at_reference(model):
        assert found.energy.item() == reference_energy(atoms)
    else:
        alone = sum(compute(model, Atoms([z])).energy.item() for z in atoms.numbers)
        assert found.energy.item() == pytest.approx(alone, abs=1e-11)
    assert (found.forces == 0).all()
    assert found.stress is None or (found.stress == 0).all()


@pytest.mark.parametrize("layout", ["padded", "sorted"])
def test_a_batch_is_its_members(model, layout):
    members = [make() for make in SYSTEMS.values()]
    batch = compute(model, members, layout=layout)
    singles = [compute(model, member, layout=layout) for member in members]
    together = Properties(
        energy=torch.cat([s.energy for s in singles]),
        energies=torch.cat([s.energies for s in singles]),
        forces=torch.cat([s.forces for s in singles]),
    )
    assert_close(batch, together)


def test_stress_of_a_batch(model):
    members = [crystal(), slab()]
    batch = compute(model, members, stress=True)
    singles = [compute(model, member, stress=True).stress for member in members]
    torch.testing.assert_close(batch.stress, torch.cat(singles), rtol=1e-9, atol=1e-10)


def test_both_layouts_agree(model, atoms):
    stress = bool(atoms.pbc.any()) and atoms.cell.rank == 3
    padded, by_center = (
        compute(model, atoms, stress=stress, layout=layout) for layout in ("padded", "sorted")
    )
    assert_close(padded, by_center)


def test_distant_molecules_add_up(model):
    near, far = water(), acetamide()
    near.info.update(far.info)  # the pair has one charge, which both models must see alike
    far.positions += [60.0, 0.0, 0.0]
    both = near + far
    both.info.update(far.info)
    parts = [compute(model, a) for a in (near, far)]
    whole = compute(model, both)
    torch.testing.assert_close(whole.energy, parts[0].energy + parts[1].energy, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        whole.forces, torch.cat([p.forces for p in parts]), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("repeats", [(2, 1, 1), (1, 2, 2)])
def test_a_supercell_is_so_many_cells(model, repeats):
    cell = crystal()
    n_cells = repeats[0] * repeats[1] * repeats[2]
    one, many = (compute(model, a, stress=True) for a in (cell, cell.repeat(repeats)))
    expected = Properties(
        energy=one.energy * n_cells,
        energies=one.energies.repeat(n_cells),
        forces=one.forces.repeat(n_cells, 1),
        stress=one.stress,
    )
    assert_close(many, expected)


@pytest.mark.parametrize("preset_name", ["tiny", "small"])
@pytest.mark.parametrize("layout", ["padded", "sorted"])
def test_torch_scatter_gives_the_same(preset_name, layout):
    needs("torch_scatter")
    scatter = network(preset_name, torch.float64, kernels="torch_scatter")
    native = make_model(preset_name)
    for atoms in (acetamide(), crystal()):
        stress = bool(atoms.pbc.all())
        found = compute(scatter, atoms, stress=stress, layout=layout)
        assert_close(found, compute(native, atoms, stress=stress, layout=layout))
