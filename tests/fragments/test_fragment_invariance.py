"""The energy of a protein does not depend on order, names, numbering, chains or place."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from local_toy import LocalToy
from scipy.spatial.transform import Rotation
from structures import bridged, peptide

from tlpot.energy import evaluate
from tlpot.fragments import FragmentForceField, choose_scheme
from tlpot.graph import build_graph
from tlpot.structures import build_peptide
from tlpot.system import System
from tlpot.topology import perceive_topology

SCHEMES = ("direct", "mfcc", "mfcc2", "mfcc_mbe2", "gmfcc", "sphere")
TOY = LocalToy(cutoff=5.0)


def results(atoms: Atoms, scheme: str):
    topology = perceive_topology(atoms)
    field = FragmentForceField(TOY, scheme, topology=topology, trained_charges=True)
    system = replace(System.from_atoms(atoms), charge=topology.charge)
    found = evaluate(field, build_graph([system], field.cutoff))
    return float(found.energy), found.forces.numpy()


@pytest.fixture(scope="module")
def structure() -> Atoms:
    return bridged()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_order_of_atoms_does_not_matter(structure, scheme):
    energy, forces = results(structure, scheme)
    order = np.random.default_rng(2).permutation(len(structure))
    shuffled, moved = results(structure[order], scheme)
    assert shuffled == pytest.approx(energy, rel=0, abs=1e-9)
    np.testing.assert_allclose(moved, forces[order], atol=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_names_and_numbers_do_not_matter(scheme):
    atoms = build_peptide("GAPA", conformation="ppii")
    energy, _ = results(atoms, scheme)
    renamed = atoms.copy()
    renamed.set_array("residuenumbers", 700 + 3 * renamed.arrays["residuenumbers"])
    renamed.set_array("residuenames", np.full(len(atoms), "XYZ", dtype=object))
    renamed.set_array("atomtypes", np.full(len(atoms), "Q1", dtype=object))
    assert results(renamed, scheme)[0] == energy


@pytest.mark.parametrize("scheme", SCHEMES)
def test_order_of_chains_does_not_matter(scheme):
    one, two = peptide("AGA"), peptide("PA")
    two.positions += [0.0, 0.0, 9.0]
    energy, forces = results(one + two, scheme)
    swapped, moved = results(two + one, scheme)
    assert swapped == pytest.approx(energy, rel=0, abs=1e-9)
    back = np.roll(np.arange(len(forces)), -len(two))
    np.testing.assert_allclose(moved[back], forces, atol=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rotation_reflection_and_translation(structure, scheme):
    energy, forces = results(structure, scheme)
    matrix = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix() @ np.diag([1.0, 1.0, -1.0])
    moved = structure.copy()
    moved.positions = moved.positions @ matrix.T + [3.0, -2.0, 11.0]
    found, turned = results(moved, scheme)
    assert found == pytest.approx(energy, rel=0, abs=1e-9)
    np.testing.assert_allclose(turned, forces @ matrix.T, atol=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_distant_molecules_add_up_and_batches_are_their_members(scheme):
    one, two = peptide("AGA"), peptide("PA")
    far = two.copy()
    far.positions += 100.0
    separate = results(one, scheme)[0] + results(two, scheme)[0]
    assert results(one + far, scheme)[0] == pytest.approx(separate, rel=0, abs=1e-9)
    field = FragmentForceField(TOY, scheme)
    batch = build_graph([System.from_atoms(a) for a in (one, two, one)], field.cutoff)
    found = evaluate(field, batch)
    assert float(found.energy[[0, 1]].sum()) == pytest.approx(separate, rel=0, abs=1e-9)
    assert float(found.energy[0]) == float(found.energy[2])
    np.testing.assert_allclose(found.forces[: len(one)], results(one, scheme)[1], atol=1e-9)


@pytest.mark.parametrize("scheme", ["mfcc", "mfcc_mbe2", "gmfcc"])
def test_an_ion_is_its_own_energy(scheme):
    ion = Atoms("Na", positions=[[0.1, 0.2, 0.3]])
    toy = LocalToy(elements=(1, 11))
    topology = perceive_topology(ion)
    field = FragmentForceField(toy, scheme, topology=topology, trained_charges=True)
    system = replace(System.from_atoms(ion), charge=1)
    found = evaluate(field, build_graph([system], field.cutoff))
    assert float(found.energy) == -11.0
    assert (found.forces == 0).all()


@pytest.mark.parametrize(
    ("scheme", "inner", "outer"), [("mfcc_mbe2", 3.0, 4.5), ("gmfcc", 3.0, 4.5)]
)
def test_energy_and_forces_are_smooth_where_fragments_meet(scheme, inner, outer):
    """A molecule is drawn away from a peptide, through the switch and out of it."""
    atoms, guest = peptide("AGA"), peptide("G")
    guest.positions += atoms.positions.mean(0) - guest.positions.mean(0)
    chosen = choose_scheme(scheme, inner=inner, outer=outer)
    energies, slopes = [], []
    heights = np.arange(9.0, 4.0, -0.02)
    guest.positions[:, 2] += heights[0]
    field = FragmentForceField(
        LocalToy(cutoff=8.0), chosen, topology=perceive_topology(atoms + guest)
    )
    guest.positions[:, 2] -= heights[0]
    lists = set()
    for height in heights:
        moved = guest.copy()
        moved.positions[:, 2] += height
        both = atoms + moved
        system = System.from_atoms(both)
        found = evaluate(field, build_graph([system], field.cutoff))
        partition = field.partition(system.atomic_numbers, system.positions)
        lists.add(len(partition.expansion.sets))
        energies.append(float(found.energy))
        slopes.append(-float(found.forces[len(atoms) :, 2].sum()))
    assert len(lists) > 2  # pairs came and went
    steps, jumps = np.diff(energies), np.diff(slopes)
    by_slope = -0.02 * 0.5 * (np.array(slopes)[1:] + np.array(slopes)[:-1])
    np.testing.assert_allclose(steps, by_slope, atol=2e-3 * np.abs(steps).max())
    assert np.abs(np.diff(jumps)).max() < 0.2 * np.abs(jumps).max()


def test_the_energy_does_not_depend_on_what_came_before():
    """Lists are kept with a skin; what is in the skin has no weight."""
    atoms = peptide("AAGA", conformation="helix")
    topology = perceive_topology(atoms)
    used = FragmentForceField(TOY, "mfcc_mbe2", topology=topology)
    rng = np.random.default_rng(3)
    for _ in range(12):
        atoms.positions += 0.02 * rng.normal(size=atoms.positions.shape)
        system = System.from_atoms(atoms)
        graph = build_graph([system], used.cutoff)
        a = evaluate(used, graph)
        fresh = FragmentForceField(TOY, "mfcc_mbe2", topology=topology)
        b = evaluate(fresh, graph)
        assert float(a.energy) == pytest.approx(float(b.energy), rel=0, abs=1e-9)
        np.testing.assert_allclose(a.forces, b.forces, atol=1e-9)
    assert used.prepared(system.atomic_numbers, system.positions).n_lists < 12
