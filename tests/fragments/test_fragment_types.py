"""Kinds of fragments: equal ones stack, whatever the order of the atoms and the protein."""

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read

from tlpot.fragments import FragmentedStructure, FragmentTypes, choose_scheme
from tlpot.fragments.fragment_type import fragment_bonds
from tlpot.structures import build_peptide
from tlpot.topology import ColouredGraph, matching_order, perceive_topology


def cut(atoms, scheme):
    """Topology and all fragments."""
    topology = perceive_topology(atoms)
    prepared = FragmentedStructure(topology, choose_scheme(scheme))
    sets = prepared.partition(atoms.positions).expansion.sets
    return topology, [prepared.cutter.cut(units) for units in sets]


def bonds_in(order, bonds):
    place = np.argsort(order)
    return {tuple(sorted(place[list(bond)])) for bond in bonds.tolist()}


def shuffled(atoms, seed):
    return atoms[np.random.default_rng(seed).permutation(len(atoms))]


@pytest.mark.parametrize("scheme", ["mfcc", "mfcc_mbe2", "sphere"])
def test_equal_kinds_of_other_proteins_in_any_order_have_identical_atoms_and_bonds(scheme):
    types = FragmentTypes()
    met = {}
    for seed, sequence in enumerate(["AFAVA", "VAFAV", "GAFAVG"]):
        for atoms in (build_peptide(sequence), shuffled(build_peptide(sequence), seed)):
            for topology, fragment in [(t, f) for t, fs in [cut(atoms, scheme)] for f in fs]:
                kind, order = types.of(topology, fragment)
                assert sorted(order) == list(range(len(fragment)))
                assert np.array_equal(fragment.atomic_numbers[order], kind.atomic_numbers)
                assert np.array_equal(order >= len(fragment.real), kind.is_cap)
                found = bonds_in(order, fragment_bonds(topology, fragment))
                assert found == {tuple(bond) for bond in kind.bonds.tolist()}
                met.setdefault(kind.key, set()).add(sequence)
    assert any(len(sequences) >= 2 for sequences in met.values())


def test_the_key_does_not_depend_on_what_was_met_before():
    keys = []
    for atoms in (build_peptide("AFA"), shuffled(build_peptide("AFA"), 3)):
        types = FragmentTypes()
        for topology, fragment in [(t, f) for t, fs in [cut(atoms, "mfcc")] for f in fs]:
            types.of(topology, fragment)
        keys.append(sorted(types.kinds))
    assert keys[0] == keys[1]


def test_caps_charges_and_protonation_make_other_kinds():
    names = {}
    for sequence in (["HID"], ["HIE"], ["HIP"], ["ASP"], ["ASH"], ["ALA", "ALA", "ALA"]):
        topology, fragments = cut(build_peptide(sequence), "mfcc")
        types = FragmentTypes()
        for fragment in fragments:
            kind, _ = types.of(topology, fragment)
            names.setdefault(kind.name, set()).add((kind.key, kind.charge, kind.is_cap.sum()))
    assert {c for _, c, _ in names["ACE-HIP-NME"]} == {1}
    assert {c for _, c, _ in names["ACE-ASP-NME"]} == {-1}
    assert names["ACE-HID-NME"].isdisjoint(names["ACE-HIE-NME"])
    # the first, the middle and the last alanine have real and capped ends
    assert len(names["ACE-ALA-NME"]) == 3


def test_hosts_and_units_of_caps_follow_the_order():
    topology, fragments = cut(shuffled(build_peptide("AFA"), 1), "mfcc")
    types = FragmentTypes()
    for fragment in fragments:
        kind, _ = types.of(topology, fragment)
        caps = np.flatnonzero(kind.is_cap)
        assert {(int(h), int(c)) for h, c in zip(kind.cap_host, caps, strict=True)} <= {
            tuple(bond) for bond in kind.bonds.tolist()
        }
        assert np.array_equal(kind.unit_id[caps], kind.unit_id[kind.cap_host])
        assert len(set(kind.unit_id.tolist())) == len(fragment.units)


def random_order(graph, seed):
    order = np.random.default_rng(seed).permutation(len(graph.labels))
    place = np.argsort(order)
    return ColouredGraph([graph.labels[a] for a in order], place[graph.bonds])


def ring_of(size):
    return [(k, (k + 1) % size) for k in range(size)]


def graph_of(bonds):
    n = max(max(bond) for bond in bonds) + 1
    return ColouredGraph([(6,)] * n, np.array(bonds))


PETERSEN = [*ring_of(5), *((k, k + 5) for k in range(5)), (5, 7), (7, 9), (9, 6), (6, 8), (8, 5)]
CUBE = [(a, a ^ (1 << b)) for a in range(8) for b in range(3) if a < a ^ (1 << b)]
# 3-regular, 10 atoms, not vertex-transitive: refinement by neighbours alone sees no difference
BRIDGED = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 4), (3, 5), (4, 6), (5, 6), (5, 7), (6, 8),
           (7, 8), (7, 9), (8, 9), (9, 0)]  # fmt: skip


@pytest.mark.parametrize("bonds", [ring_of(6), CUBE, PETERSEN, BRIDGED])
def test_regular_graphs_match_from_any_order(bonds):
    reference = graph_of(bonds)
    for seed in range(10):
        graph = random_order(reference, seed)
        assert graph.digest() == reference.digest()
        order = matching_order(graph, reference)
        wanted = {tuple(sorted(bond)) for bond in reference.bonds.tolist()}
        assert bonds_in(order, graph.bonds) == wanted


def test_where_ties_are_broken_wrongly_the_search_finds_the_match(monkeypatch):
    reference = graph_of(BRIDGED)
    monkeypatch.setattr(ColouredGraph, "order", lambda self: list(range(len(self.labels))))
    for seed in range(10):
        graph = random_order(reference, seed)
        order = matching_order(graph, reference)
        wanted = {tuple(sorted(bond)) for bond in reference.bonds.tolist()}
        assert bonds_in(order, graph.bonds) == wanted


def test_other_graphs_do_not_match():
    two_rings = graph_of([*ring_of(3), *((a + 3, b + 3) for a, b in ring_of(3))])
    assert matching_order(two_rings, graph_of(ring_of(6))) is None
    assert two_rings.digest() != graph_of(ring_of(6)).digest()
    prism = [*ring_of(3), (3, 4), (4, 5), (5, 3), (0, 3), (1, 4), (2, 5)]
    mixed = [(a, b) for a in (0, 1, 2) for b in (3, 4, 5)]
    assert matching_order(graph_of(prism), graph_of(mixed)) is None


def test_equal_molecules_in_one_fragment_are_told_apart():
    water = molecule("H2O")
    both = water.copy()
    both.translate([0.0, 0.0, 3.0])
    both = water + both
    keys = set()
    for seed in range(4):
        atoms = shuffled(both, seed)
        topology, fragments = cut(atoms, "direct")
        kind, order = FragmentTypes().of(topology, fragments[0])
        assert kind.atomic_numbers.tolist() == [8, 8, 1, 1, 1, 1]
        assert bonds_in(order, topology.bonds) == {tuple(b) for b in kind.bonds.tolist()}
        keys.add(kind.key)
    assert len(keys) == 1


def test_chignolin_in_another_order_has_the_same_kinds(data_dir):
    atoms = read(data_dir / "proteins" / "chig.pdb")
    atoms.pbc = False
    types, keys = FragmentTypes(), []
    for some in (atoms, shuffled(atoms, 0)):
        topology, fragments = cut(some, "mfcc_mbe2")
        keys.append(sorted(types.of(topology, fragment)[0].key for fragment in fragments))
    assert keys[0] == keys[1]
    assert sum(kind.charge for kind in types.kinds.values()) != 0
