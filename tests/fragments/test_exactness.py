"""Where fragment sums must be exact: a strictly local energy whose balls fragments contain.

For every atom one fragment must contain the ball of the range of the energy and one bond more
around it; then inclusion and exclusion leaves just the energy of the whole. The ranges are the
largest for which this holds, per scheme and structure.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import read
from local_toy import LocalToy
from needs import missing
from structures import bridged, peptide

from tlpot.energy import evaluate
from tlpot.fragments import GMFCC, MFCC, Dimers, FragmentForceField, Sphere, check_coverage
from tlpot.fragments.contacts import _contacts, close_atoms, set_pairs
from tlpot.fragments.expansion import Expansion, PairWeights
from tlpot.fragments.fragment import Cutter
from tlpot.fragments.inclusion_exclusion import coverage, inclusion_exclusion, intersection_lattice
from tlpot.fragments.schemes.mfcc import capped_windows
from tlpot.graph import build_graph
from tlpot.system import System
from tlpot.topology import perceive_topology

HARD = 4.0


def chignolin():
    path = Path(os.environ.get("TLPOT_DATA", "")) / "proteins" / "chig.pdb"
    if not path.exists():
        missing("TLPOT_DATA with proteins/chig.pdb", optional=True)
    atoms = read(path)
    atoms.pbc, atoms.cell = False, None
    return atoms


STRUCTURES = {
    "extended": lambda: peptide("A" * 12),
    "helix": lambda: peptide("A" * 12, conformation="helix"),
    "chignolin": chignolin,
}
SCHEMES = {
    "mfcc": MFCC(),
    "mfcc2": MFCC(size=2),
    "mfcc3": MFCC(size=3),
    "mfcc4": MFCC(size=4),
    "mfcc_mbe2": Dimers(),
    "mfcc_mbe2 hard": Dimers(inner=HARD, outer=HARD),
    "mfcc_mbe2 unfilled": Dimers(fill=False),
    "gmfcc": GMFCC(),
    "sphere": Sphere(radius=4.7),
}
EXACT = {  # Å; measured with toys of the same form for the schemes of the literature
    ("extended", "mfcc"): 2.6,
    ("extended", "mfcc2"): 4.0,
    ("extended", "mfcc3"): 5.0,
    ("extended", "mfcc4"): 6.0,
    ("extended", "mfcc_mbe2"): 4.0,
    ("extended", "mfcc_mbe2 hard"): 4.0,
    ("extended", "mfcc_mbe2 unfilled"): 4.0,
    ("extended", "gmfcc"): 4.0,
    ("extended", "sphere"): 3.0,
    ("helix", "mfcc"): 2.0,
    ("helix", "mfcc2"): 2.0,
    ("helix", "mfcc3"): 2.2,
    ("helix", "mfcc4"): 3.0,
    ("helix", "mfcc_mbe2"): 2.2,
    ("helix", "mfcc_mbe2 hard"): 2.2,
    ("helix", "mfcc_mbe2 unfilled"): 2.2,
    ("helix", "gmfcc"): 2.0,
    ("helix", "sphere"): 3.0,
    **{("chignolin", name): 1.6 for name in SCHEMES},
    ("chignolin", "mfcc_mbe2"): 2.0,
    ("chignolin", "sphere"): 3.0,
}


def system_of(atoms):
    topology = perceive_topology(System.from_atoms(atoms))
    return topology, replace(System.from_atoms(atoms), charge=topology.charge)


@pytest.mark.parametrize(("structure", "scheme"), EXACT)
def test_a_local_energy_is_reproduced_exactly(structure, scheme):
    reach = EXACT[structure, scheme]
    topology, system = system_of(STRUCTURES[structure]())
    toy = LocalToy(cutoff=reach)
    field = FragmentForceField(toy, SCHEMES[scheme], topology=topology, trained_charges=True)
    whole = evaluate(toy, build_graph([replace(system, charge=0)], reach))
    parts = evaluate(field, build_graph([system], field.cutoff))
    assert float(parts.energy) == pytest.approx(float(whole.energy), rel=0, abs=1e-11)
    np.testing.assert_allclose(parts.forces, whole.forces, rtol=0, atol=1e-11)


def test_beyond_its_range_a_scheme_is_not_exact():
    topology, system = system_of(STRUCTURES["helix"]())
    toy = LocalToy(cutoff=4.0)
    field = FragmentForceField(toy, "mfcc", topology=topology)
    whole = evaluate(toy, build_graph([system], 4.0), forces=False)
    parts = evaluate(field, build_graph([system], field.cutoff), forces=False)
    assert abs(float(parts.energy - whole.energy)) > 1.0


@pytest.mark.parametrize("structure", [*STRUCTURES, "bridged"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_atoms_bonds_caps_and_charge_count_once(structure, scheme):
    atoms = bridged() if structure == "bridged" else STRUCTURES[structure]()
    topology, system = system_of(atoms)
    cutter = Cutter(topology)
    expansion = SCHEMES[scheme].expand(cutter, system.positions, skin=0.3)
    found = coverage(cutter, expansion)
    assert (found.atoms == 1).all()
    assert (found.bonds == 1).all()
    assert (found.caps == 0).all()
    assert found.charge == topology.charge
    check_coverage(cutter, expansion)
    for number in set(topology.atomic_numbers.tolist()):
        total = sum(
            c * (cutter.cut(units).atomic_numbers == number).sum()
            for c, units in zip(expansion.coefficients(), expansion.sets, strict=True)
        )
        assert total == (topology.atomic_numbers == number).sum()


@pytest.mark.parametrize(
    ("structure", "reach"),
    [("extended", 4.0), ("helix", 4.0), ("helix", 5.0), ("helix", 90.0), ("bridged", 90.0)],
)
def test_signed_pairs_are_the_closure_of_all_unions(structure, reach):
    """The two ways to write the many-body expansion agree, with all pairs in any structure.

    With a shorter list they agree where overlaps are as close as the fragments that they are
    part of, as in a single chain.
    """
    atoms = bridged() if structure == "bridged" else STRUCTURES[structure]()
    topology, system = system_of(atoms)
    cutter = Cutter(topology)
    windows = list(dict.fromkeys(capped_windows(topology, 1)))
    close = set_pairs(windows, _contacts(topology, close_atoms(system.positions, reach)))
    unions = [*windows, *(windows[i] | windows[j] for i, j, _ in close)]
    closure = inclusion_exclusion(unions)
    scheme = Dimers(inner=reach, outer=reach, fill=False)
    pairs = scheme.expand(cutter, system.positions)
    signed = {s: c for s, c in zip(pairs.sets, pairs.coefficients(), strict=True) if c}
    energies = []
    toy = LocalToy(cutoff=6.0)
    for coefficients in (closure, signed):
        expansion = Expansion.fixed(coefficients)
        total = 0.0
        for units, c in zip(expansion.sets, expansion.base, strict=True):
            fragment = cutter.cut(units)
            molecule = System.from_atoms(fragment.atoms(system.positions))
            graph = build_graph([replace(molecule, charge=0)], 6.0)
            total += c * float(evaluate(toy, graph, forces=False).energy)
        energies.append(total)
    assert energies[0] == pytest.approx(energies[1], rel=0, abs=1e-9)


@pytest.mark.fault
@pytest.mark.parametrize("scheme", [Dimers(inner=3.0, outer=4.0), Dimers(inner=3.0, outer=3.0)])
def test_no_pair_of_atoms_counts_more_than_once(scheme):
    """Far atoms counted up to four times where overlaps were beyond the reach of both stretches."""
    atoms = read(Path(__file__).parents[2] / "examples" / "disulfide.pdb")
    topology, system = system_of(atoms)
    cutter = Cutter(topology)
    expansion = scheme.expand(cutter, system.positions)
    weights = None
    if expansion.pairs is not None:
        of_pairs = PairWeights(topology, expansion.pairs, system.positions, 0.0)
        weights = of_pairs(torch.from_numpy(system.positions)).numpy()
        assert ((weights > 0) & (weights < 1)).any()
    counts = np.zeros((len(topology.units),) * 2)
    for units, c in zip(expansion.sets, expansion.coefficients(weights), strict=True):
        members = sorted(units)
        counts[np.ix_(members, members)] += c
    assert counts.min() > -1e-12
    assert counts.max() < 1 + 1e-12
    near = close_atoms(system.positions, scheme.inner)
    assert counts[tuple(topology.unit_of[near].T)] == pytest.approx(1.0)
    assert (counts < 0.5).any()


def random_family(seed):
    rng = np.random.default_rng(seed)
    return [
        frozenset(rng.choice(12, rng.integers(1, 6), replace=False).tolist()) for _ in "abcdefg"
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_lattice_inverts_its_order(seed):
    family = random_family(seed)
    found = intersection_lattice(family)
    signs = inclusion_exclusion(family)
    totals = dict.fromkeys(found.sets, 0)
    for below in found.below:
        for number, sign in below:
            totals[found.sets[number]] += sign
    assert {units: c for units, c in totals.items() if c} == signs
    for units, hull in zip(found.sets, found.hulls, strict=True):
        assert hull == frozenset().union(*(one for one in family if units <= one))


def test_inclusion_and_exclusion_by_hand():
    a, b, c = frozenset({1, 2, 3}), frozenset({3, 4}), frozenset({4, 5, 3})
    assert inclusion_exclusion([a, b, c]) == {a: 1, c: 1, frozenset({3}): -1}
    assert inclusion_exclusion([a, a, frozenset()]) == {a: 1}
    assert inclusion_exclusion([]) == {}


@pytest.mark.parametrize("seed", range(5))
def test_every_element_of_a_random_family_counts_once(seed):
    family = random_family(seed)
    coefficients = inclusion_exclusion(family)
    for element in frozenset().union(*family):
        assert sum(c for units, c in coefficients.items() if element in units) == 1
    for units in family:
        assert sum(c for other, c in coefficients.items() if units <= other) == 1
