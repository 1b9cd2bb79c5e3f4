"""Fragment force fields of periodic structures: images, wrapping, supercells, derivatives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from boxes import SKEWED, SMALL, PairToy, rewrapped, solvated, waters
from local_toy import LocalToy
from structures import bridged, peptide
from toys import ToyModel

from tlpot.energy import evaluate, hessian
from tlpot.errors import ConfigError, GeometryError
from tlpot.fragments import (
    GMFCC,
    MFCC,
    Dimers,
    FragmentForceField,
    ModelLayer,
    NonbondedLayer,
    Sphere,
    check_coverage,
    fragment_name,
)
from tlpot.fragments.contacts import Images
from tlpot.fragments.fragment import Cutter
from tlpot.fragments.inclusion_exclusion import periodic_inclusion_exclusion
from tlpot.graph import build_graph
from tlpot.structures import build_peptide
from tlpot.system import System
from tlpot.topology import Lattice, perceive_topology

SCHEMES = {
    "direct": "direct",
    "mfcc": MFCC(),
    "mfcc2": MFCC(size=2),
    "mfcc_mbe2": Dimers(inner=2.0, outer=4.5),
    "mfcc_mbe2 of two": Dimers(inner=2.0, outer=4.0, size=2),
    "gmfcc": GMFCC(inner=2.0, outer=4.5),
    "sphere": Sphere(),
}
FRAGMENTED = [name for name in SCHEMES if name != "direct"]
TOY = LocalToy(cutoff=4.0)
LARGE = np.array([[40.0, 0.0, 0.0], [9.0, 38.0, 0.0], [-7.0, 5.0, 41.0]])


def field_of(scheme, high=TOY, **settings) -> FragmentForceField:
    return FragmentForceField(high, SCHEMES.get(scheme, scheme), trained_charges=True, **settings)


def results(field: FragmentForceField, atoms: Atoms):
    charge = perceive_topology(atoms).charge
    system = replace(System.from_atoms(atoms), charge=charge)
    stress = bool(atoms.pbc.any()) and atoms.cell.rank == 3
    return evaluate(field, build_graph([system], field.cutoff), stress=stress)


def check_same(one, other, atol=1e-9, energy=1.0, atoms=slice(None)) -> None:
    torch.testing.assert_close(one.energy / energy, other.energy, rtol=0, atol=atol)
    torch.testing.assert_close(one.forces[atoms], other.forces, rtol=0, atol=atol)
    if one.stress is not None and other.stress is not None:
        torch.testing.assert_close(one.stress, other.stress, rtol=0, atol=atol)


def pieces(atoms: Atoms, scheme):
    lattice = Lattice.of(System.from_atoms(atoms))
    field = field_of(scheme)
    numbers = atoms.numbers.astype(np.int64)
    prepared = field.prepared(numbers, atoms.positions, lattice)
    return prepared, field.partition(numbers, atoms.positions, lattice)


def through_boundaries(atoms: Atoms, scheme) -> int:
    _, partition = pieces(atoms, scheme)
    return sum(f.shifts is not None for f in partition.batch.assembly.fragments)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("structure", ["peptide", "small"])
def test_wrapping_and_shifting_do_not_matter(scheme, structure):
    atoms = solvated(sequence="AG") if structure == "peptide" else waters()
    expected = results(field_of(scheme), atoms)
    wrapped = atoms.copy()
    wrapped.wrap()
    for moved in (wrapped, rewrapped(atoms)):
        assert np.abs(moved.positions - atoms.positions).max() > 3.0
        check_same(results(field_of(scheme), moved), expected)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("pbc", [True, (True, False, True), (False, True, False)])
def test_a_molecule_in_a_large_cell_has_the_energy_of_the_vacuum(scheme, pbc):
    atoms = bridged()
    expected = results(field_of(scheme), atoms)
    atoms.set_cell(LARGE)
    atoms.pbc = pbc
    atoms.positions += 11.0
    atoms.wrap()
    found = results(field_of(scheme), atoms)
    check_same(found, expected)
    assert found.stress.abs().max() > 0


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("structure", ["peptide", "small"])
def test_a_supercell_is_a_multiple_of_the_cell(scheme, structure):
    atoms = solvated(sequence="AG") if structure == "peptide" else waters()
    expected = results(field_of(scheme), atoms)
    repeats = (2, 1, 2) if structure == "peptide" else (2, 3, 2)
    found = results(field_of(scheme), rewrapped(atoms * repeats))
    n = int(np.prod(repeats))
    check_same(found, expected, energy=n, atoms=slice(len(atoms)))


def test_fragments_reach_through_the_boundaries():
    """Else the tests above would see nothing but molecules at home."""
    for scheme in ("mfcc_mbe2", "gmfcc", "sphere"):
        assert through_boundaries(solvated(sequence="AG"), scheme) > 3
    _, partition = pieces(waters(), "mfcc_mbe2")
    images = {}
    for fragment in partition.batch.assembly.fragments:
        if fragment.shifts is not None:
            apart = tuple(np.unique(fragment.shifts, axis=0).ravel().tolist())
            images.setdefault(tuple(np.unique(fragment.real)), set()).add(apart)
    assert max(len(ways) for ways in images.values()) > 4  # one water, or two, in as many ways
    assert (0, 1, 2) in images  # a water and an image of itself


@pytest.mark.parametrize("structure", ["peptide", "small", "smaller", "slab", "rod"])
@pytest.mark.parametrize("scheme", ["mfcc_mbe2", "fading", "gmfcc", "sphere"])
def test_what_a_scheme_covers_is_exact_in_any_cell(structure, scheme):
    """Pairs of molecules have all terms between two atoms, spheres all within their radius."""
    schemes = {
        "mfcc_mbe2": (Dimers(inner=4.0, outer=4.0), PairToy()),
        "fading": (Dimers(), PairToy()),
        "gmfcc": (GMFCC(inner=3.6, outer=4.0), PairToy()),
        "sphere": (Sphere(radius=4.7), LocalToy(cutoff=2.9)),
    }
    atoms = {
        "peptide": solvated,
        "small": waters,
        "smaller": lambda: waters(1, 0.72 * SMALL),
        "slab": lambda: waters(3, pbc=(True, True, False)),
        "rod": lambda: waters(3, np.diag([0.0, 4.6, 0.0]), (False, True, False)),
    }[structure]()
    chosen, toy = schemes[scheme]
    system = System.from_atoms(rewrapped(atoms))
    volume = atoms.cell.rank == 3
    whole = evaluate(toy, build_graph([system], toy.cutoff), stress=volume)
    check_same(results(field_of(chosen, toy), rewrapped(atoms)), whole, atol=1e-11)


def test_a_slab_is_a_crystal_with_a_gap_whatever_its_open_vector_is():
    chunk = waters(3, pbc=(True, True, False))
    expected = results(field_of("mfcc_mbe2"), chunk)
    for third, pbc in (([0, 0, 0], (1, 1, 0)), ([3, 1, 60], (1, 1, 1)), ([9, 0, 2], (1, 1, 0))):
        other = chunk.copy()
        other.cell[2] = third
        other.pbc = pbc
        found = results(field_of("mfcc_mbe2"), other)
        torch.testing.assert_close(found.energy, expected.energy, rtol=0, atol=1e-9)
        torch.testing.assert_close(found.forces, expected.forces, rtol=0, atol=1e-9)


def check_derivatives(field: FragmentForceField, atoms: Atoms) -> None:
    """Along random directions and strains by four-point differences."""
    found, rng, h = results(field, atoms), np.random.default_rng(0), 1e-3
    volume = abs(np.linalg.det(atoms.cell.array))
    for strain in (None, rng.normal(size=(3, 3)), np.diag([1.0, 0.0, -0.5])):
        direction = np.zeros(atoms.positions.shape)
        if strain is None:
            direction = rng.normal(size=direction.shape)
            direction /= np.linalg.norm(direction)
            exact = -float((found.forces.numpy() * direction).sum())
        else:
            strain = 0.5 * (strain + strain.T) / np.linalg.norm(strain)
            exact = volume * float((found.stress[0].numpy() * strain).sum())
        energies = []
        for k in (-2, -1, 1, 2):
            moved = atoms.copy()
            moved.positions += k * h * direction
            if strain is not None:
                moved.set_cell(atoms.cell.array @ (np.eye(3) + k * h * strain), scale_atoms=False)
                moved.positions = moved.positions @ (np.eye(3) + k * h * strain)
            energies.append(float(results(field, moved).energy))
        numeric = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)
        assert exact == pytest.approx(numeric, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(found.forces.sum(0), 0.0, atol=1e-10)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("structure", ["peptide", "small"])
def test_forces_and_stress_are_derivatives_of_the_energy(scheme, structure):
    atoms = solvated(sequence="AG") if structure == "peptide" else waters()
    check_derivatives(field_of(scheme), rewrapped(atoms))


def test_there_are_weights_that_fade_through_the_boundary():
    """Else the test above would not see their derivatives by the cell."""
    prepared, partition = pieces(waters(), "mfcc_mbe2")
    lattice = Lattice.of(System.from_atoms(waters()))
    whole = torch.from_numpy(prepared.whole(waters().positions, lattice))
    weights = partition.weights(whole, torch.from_numpy(lattice.vectors)).numpy()
    images = np.array([max(s) >= prepared.cutter.images.n_units
                       for s in partition.expansion.pairs.second])  # fmt: skip
    assert ((weights > 0.01) & (weights < 0.99) & images).any()


LAYERS = {
    "low model": lambda: ModelLayer(ToyModel()),
    "added model": lambda: ModelLayer(ToyModel(), subtract=False),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_forces_and_stress_with_layers(layer):
    check_derivatives(field_of("mfcc_mbe2", layers=[LAYERS[layer]()]), rewrapped(waters()))


@pytest.mark.parametrize("scheme", FRAGMENTED)
def test_two_layers_of_one_model_are_that_model(scheme):
    atoms, toy = rewrapped(solvated(sequence="AG")), LocalToy(cutoff=4.0)
    whole = evaluate(toy, build_graph([System.from_atoms(atoms)], toy.cutoff), stress=True)
    check_same(results(field_of(scheme, layers=[ModelLayer(toy)]), atoms), whole)


def test_atoms_bonds_caps_and_charge_count_once():
    for atoms in (solvated(sequence="AGA", cell=1.2 * SKEWED), waters()):
        topology, lattice = perceive_topology(atoms), Lattice.of(System.from_atoms(atoms))
        cutter = Cutter(topology)
        for scheme in (Dimers(), GMFCC(), Sphere(radius=4.0)):
            check_coverage(cutter, scheme.expand(cutter, atoms.positions, lattice=lattice))


def test_a_list_that_lacks_an_image_is_noticed():
    atoms = waters()
    cutter = Cutter(perceive_topology(atoms))
    lattice = Lattice.of(System.from_atoms(atoms))
    found = Sphere(radius=4.0).expand(cutter, atoms.positions, lattice=lattice)
    short = replace(found, sets=found.sets[1:], base=found.base[1:])
    with pytest.raises(GeometryError, match="do not add up"):
        check_coverage(cutter, short)


@pytest.mark.parametrize("seed", range(4))
def test_every_unit_of_a_random_periodic_family_counts_once(seed):
    """And so does every set that a primary or an image of it contains."""
    rng, images = np.random.default_rng(seed), Images(5)
    family = []
    for _ in range(4):
        shifts = [tuple(s) for s in rng.integers(-1, 2, (rng.integers(2, 6), 3)).tolist()]
        family.append(
            frozenset().union(*(images.moved(frozenset({int(rng.integers(5))}), s) for s in shifts))
        )
    coefficients = periodic_inclusion_exclusion(family, images)
    shifts = [(x, y, z) for x in range(-5, 6) for y in range(-5, 6) for z in range(-5, 6)]
    everything = [(images.moved(s, n), c) for s, c in coefficients.items() for n in shifts]
    units = {images.place(number)[0] for one in family for number in one}
    for wanted in [*(frozenset({unit}) for unit in units), *family]:
        assert sum(c for one, c in everything if wanted <= one) == 1
    moved = [images.moved(one, (k, -k, 2)) for k, one in enumerate(family)]
    assert periodic_inclusion_exclusion(moved[::-1], images) == coefficients


def test_names_show_every_image():
    atoms = waters(1, 0.72 * SMALL)
    topology = perceive_topology(atoms)
    _, partition = pieces(atoms, "mfcc_mbe2")
    names = {fragment_name(topology, units) for units in partition.expansion.sets}
    assert names == {"HOH", "HOH+HOH"}


def test_batches_of_crystals_slabs_and_molecules_are_their_members():
    crystal, chunk, molecule = waters(), waters(3, pbc=(True, True, False)), peptide("AG")
    molecule.set_cell(0.6 * SMALL)  # without pbc it means nothing
    members = [crystal, molecule, chunk, crystal]
    field = field_of("mfcc_mbe2")
    graph = build_graph([System.from_atoms(a) for a in members], field.cutoff)
    found, begin = evaluate(field, graph, stress=True), 0
    for k, atoms in enumerate(members):
        alone = results(field_of("mfcc_mbe2"), atoms)
        end = begin + len(atoms)
        torch.testing.assert_close(found.energy[k], alone.energy[0], rtol=0, atol=1e-9)
        torch.testing.assert_close(found.forces[begin:end], alone.forces, rtol=0, atol=1e-9)
        if atoms.pbc.any():
            torch.testing.assert_close(found.stress[k], alone.stress[0], rtol=0, atol=1e-9)
        begin = end


@pytest.mark.parametrize("scheme", ["mfcc", "mfcc_mbe2"])
def test_the_hessian_is_the_derivative_of_the_forces(scheme):
    field, atoms = field_of(scheme), rewrapped(waters())
    graph = build_graph([System.from_atoms(atoms)], field.cutoff)
    matrix, h = hessian(field, graph), 1e-4
    direction = np.random.default_rng(1).normal(size=atoms.positions.shape)
    forces = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * h * direction
        forces.append(results(field, moved).forces)
    exact = torch.einsum("iajb,jb->ia", matrix, torch.from_numpy(direction))
    torch.testing.assert_close(exact, -(forces[0] - forces[1]) / (2 * h), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("wrap", [False, True])
def test_lists_are_kept_while_atoms_cross_the_boundary(wrap):
    """All drift through the cell, wrapped into it or not; the energy does not depend on it."""
    atoms = waters(3, 1.6 * SMALL)
    rng = np.random.default_rng(3)
    used, n_steps, images = field_of("mfcc_mbe2"), 24, set()
    for _ in range(n_steps):
        atoms.positions += [0.04, -0.02, 0.03] + 0.002 * rng.normal(size=(len(atoms), 3))
        given = atoms.copy()
        if wrap:
            given.wrap()
            images.add(np.rint(given.positions - atoms.positions).astype(int).tobytes())
        check_same(results(used, given), results(field_of("mfcc_mbe2"), given))
    (kept,) = (one for known in used._known.values() for one in known)
    assert kept.n_lists < n_steps // 2
    assert not wrap or len(images) > 2


def test_wrapping_makes_no_new_list():
    atoms = solvated(sequence="AG")
    used = field_of("mfcc_mbe2")
    for seed in range(4):
        results(used, rewrapped(atoms, seed, shift=False))
    (kept,) = (one for known in used._known.values() for one in known)
    assert kept.n_lists == 1


def test_lists_are_kept_under_strain_as_far_as_the_skin_goes():
    atoms, used = waters(3, 1.6 * SMALL), field_of("mfcc_mbe2")
    n_steps = 12
    for k in range(n_steps):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * (1.0 - 0.006 * k), scale_atoms=True)
        check_same(results(used, strained), results(field_of("mfcc_mbe2"), strained))
    (kept,) = (one for known in used._known.values() for one in known)
    assert 1 < kept.n_lists < n_steps // 2


def test_energy_and_forces_have_no_jump_at_the_boundary():
    atoms = waters(2, 1.4 * SMALL)
    field, heights = field_of("mfcc_mbe2"), np.linspace(0.0, 1.0, 81)
    energies, slopes = [], []
    vector = atoms.cell.array[2]
    for height in heights:
        moved = atoms.copy()
        moved.positions[3:] += height * vector
        moved.wrap()
        found = results(field, moved)
        energies.append(float(found.energy))
        slopes.append(-float(found.forces[3:].sum(0) @ torch.from_numpy(vector)))
    assert energies[-1] == pytest.approx(energies[0], rel=0, abs=1e-9)
    step = heights[1]
    by_slope = 0.5 * step * (np.array(slopes)[1:] + np.array(slopes)[:-1])
    steps = np.diff(energies)
    np.testing.assert_allclose(steps, by_slope, atol=2e-2 * np.abs(steps).max())


def chain() -> Atoms:
    """Polyglycine without ends, through the boundary of a cell."""
    atoms = build_peptide("GGGG", conformation="extended")
    topology = perceive_topology(atoms)
    inner = [r for r in topology.residues if r.kind == "amino"][1:3]
    start, after = inner[0], [r for r in topology.residues if r.kind == "amino"][3]
    first = topology.units[start.amino].atoms[0]
    vector = atoms.positions[topology.units[after.amino].atoms[0]] - atoms.positions[first]
    kept = atoms[[a for r in inner for u in r.units for a in topology.units[u].atoms]]
    return Atoms(kept.numbers, kept.positions, cell=[vector, [0, 15, 0], [0, 0, 15]], pbc=True)


def test_a_molecule_without_end_is_refused_and_its_atoms_are_named():
    with pytest.raises(GeometryError, match=r"without end.*\n.*atom \d+ [NC]"):
        results(field_of("mfcc"), chain())


def test_a_broken_bond_is_named_with_its_length_in_the_whole_molecule():
    atoms = solvated()
    field = field_of("mfcc", topology=perceive_topology(atoms))
    atoms.wrap()
    results(field, atoms)
    bond = perceive_topology(atoms).bonds[0]
    atoms.positions[bond[1]] += [0.0, 1.5, 1.5]
    system = System.from_atoms(atoms)
    with pytest.raises(GeometryError, match="are broken"):
        evaluate(field, build_graph([system], field.cutoff))


def test_charges_and_lennard_jones_terms_are_refused():
    atoms = waters()
    layer = NonbondedLayer(np.zeros(len(atoms)))
    with pytest.raises(ConfigError, match=r"in vacuum.*Leave charges out.*low="):
        results(field_of("mfcc", layers=[layer]), atoms)
    chunk = waters(pbc=(True, False, False))
    with pytest.raises(ConfigError, match="in vacuum"):
        results(field_of("mfcc", layers=[layer]), chunk)


def test_molecules_thousands_of_cells_apart_are_refused():
    atoms = waters()
    atoms.positions[3:] += 4000 * atoms.cell.array[1]
    with pytest.raises(GeometryError, match="wrap"):
        results(field_of("mfcc_mbe2"), atoms)
