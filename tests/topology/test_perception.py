"""Topology from positions: names, charges, merged units, invariance."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read
from sketch import CHARGES, SIDES, capped, residue, sketch, unwrapped

from tlpot.errors import GeometryError
from tlpot.system import System
from tlpot.topology import perceive_topology

DATA = Path(os.environ.get("TLPOT_DATA", "no-data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs TLPOT_DATA")
ONE = {"GLY": "G", "ALA": "A", "CYS": "C", "ASP": "D", "GLU": "E", "PHE": "F", "HIE": "H"}
ONE |= {"ILE": "I", "LYS": "K", "LEU": "L", "MET": "M", "ASN": "N", "PRO": "P", "GLN": "Q"}
ONE |= {"ARG": "R", "SER": "S", "THR": "T", "VAL": "V", "TRP": "W", "TYR": "Y"}
CYSTINE = "CH3C(=O)NHCH(CH2S%1)C(=O)NHCH2C(=O)NHCH(CH2S%1)C(=O)NHCH3"


def names(topology):
    return [r.name for r in topology.residues]


def check(topology):
    """What every topology promises."""
    atoms = sorted(a for unit in topology.units for a in unit.atoms)
    assert atoms == list(range(len(topology.atomic_numbers)))
    assert sorted(r for c in topology.chains for r in c.residues) == list(
        range(len(topology.residues))
    )
    for k, found in enumerate(topology.residues):
        assert found.units
        assert all(k in topology.units[u].residues for u in found.units)
        roles = {found.amino, found.alpha, found.side, found.carbonyl} - {None}
        assert roles <= set(found.units)
        assert all(k in topology.residues[p].partners for p in found.partners)
        assert k not in found.partners
    for unit in topology.units:
        assert unit.residues
        assert list(unit.atoms) == sorted(unit.atoms)
    numbers = topology.atomic_numbers
    assert all(sorted(numbers[list(cut)]) in ([6, 6], [6, 7]) for cut in topology.cuts)
    assert (np.diff(topology.bonds, axis=1) > 0).all()
    assert topology.bonds.tolist() == sorted(topology.bonds.tolist())
    return topology


def perceive(line, **keywords):
    return check(perceive_topology(sketch(line), **keywords))


@pytest.mark.parametrize("name", ["GLY", "PRO", *SIDES])
def test_every_amino_acid_and_protonation_state_has_its_name_and_charge(name):
    found = perceive(capped(name))
    assert names(found) == ["ACE", name, "NME"]
    assert found.charge == CHARGES.get(name, 0)
    core = found.residues[1]
    assert sum(found.units[u].charge for u in core.units) == found.charge
    kinds = [found.units[u].kind for u in core.units]
    assert kinds == ["amino", "alpha", *(["side"] if name != "GLY" else []), "carbonyl"]


def test_proline_is_cut_from_its_alpha_carbon_and_from_its_nitrogen():
    found = perceive(capped("PRO"))
    owner = found.unit_of
    pairs = {frozenset(owner[list(cut)].tolist()) for cut in found.cuts}
    core = found.residues[1]
    assert {frozenset((core.side, core.alpha)), frozenset((core.side, core.amino))} <= pairs


@needs_data
def test_chignolin_has_twelve_residues_and_charge_minus_two():
    atoms = read(DATA / "proteins/chig.pdb")
    found = check(perceive_topology(atoms))
    sequence = "ACE TYR TYR ASP PRO GLU THR GLY THR TRP TYR NME"
    assert names(found) == sequence.split()
    assert found.charge == -2
    assert len(found.chains) == 1
    assert len(found.cuts) == len(found.units)  # a tree of units, plus the proline's ring
    assert "TRP" in found.summary()


@needs_data
@pytest.mark.parametrize("name", ONE)
def test_quantum_chemical_dipeptides_are_recognised_in_every_conformation(name):
    with np.load(DATA / f"dipeptides/G{ONE[name]}.npz") as data:
        for x in data["xyz"][::10]:
            found = check(perceive_topology(Atoms(data["atomic_numbers"], x)))
            assert names(found) == ["ACE", "GLY", name, "NME"]
            assert found.charge == CHARGES.get(name, 0)


@pytest.mark.parametrize(
    ("front", "back", "charges"),
    [
        ("NH3CH2C(=O)", "NHCH(CH3)C(=O)O", [1, -1]),
        ("NH2CH2C(=O)", "NHCH(CH3)C(=O)OH", [0, 0]),
        ("NH2%1CH(CH2CH2CH2%1)C(=O)", "NHCH2C(=O)O", [1, -1]),
        ("NH%1CH(CH2CH2CH2%1)C(=O)", "N%2CH(CH2CH2CH2%2)C(=O)OH", [0, 0]),
    ],
)
def test_termini_carry_the_charge_of_their_hydrogens(front, back, charges):
    found = perceive(front + back)
    first, last = found.residues
    assert [found.units[first.amino].charge, found.units[last.carbonyl].charge] == charges
    assert found.charge == sum(charges)
    assert len(found.chains) == 1


@pytest.mark.parametrize(
    ("line", "name", "charge"),
    [
        ("NH4", "NH4", 1),
        ("OH2", "HOH", 0),
        ("OH3", "H3O", 1),
        ("CH3C(=O)O", "ACT", -1),
        ("CH3C(=O)OH", "ACY", 0),
        ("OP(=O)(O)O", "PO4", -3),
        ("OP(=O)(OH)OH", "H2O4P", -1),
        ("OS(=O)(=O)O", "SO4", -2),
        ("CH3S(=O)(=O)O", "CH3O3S", -1),
        ("CH3N(=O)O", "CH3NO2", 0),
        ("ON(=O)O", "NO3", -1),
        ("CH3C#N", "C2H3N", 0),
        ("CH3N=N=N", "CH3N3", 0),
        ("N=N=N", "N3", -1),
        ("SC#N", "CNS", -1),
        ("CH%1=CHCH=CHCH=CH%1", "C6H6", 0),
        ("CH%1=CHCH=NHCH=CH%1", "C5H6N", 1),
        ("CH%1=NN=NN%1", "CHN4", -1),
        ("CH%1=CHNHCH=N%1", "C3H4N2", 0),
        ("CH3N(CH3)(CH3)CH3", "C4H12N", 1),
        ("CH3S(CH3)CH3", "C3H9S", 1),
        ("OC%1=CHCH=CHCH=CH%1", "C6H5O", -1),
        ("NH2C(=NH2)NH2", "CH6N3", 1),
        ("CH3C(=O)NHCH3", "NMA", 0),
        ("NH3CH2C(=O)O", "C2H5NO2", 0),
        ("NH%1CH2C(=O)NHC%1(=O)", "C3H4N2O2", 0),
        ("NH%1CH2C(=O)NHCH2C%1(=O)", "C4H6N2O2", 0),
        ("CH3CH2N(CH2CH3)CH2C(=O)NHC%1=CHCH=CHCH=CH%1", "C12H18N2O", 0),
    ],
)
def test_what_is_no_peptide_is_one_unit_with_its_formal_charge(line, name, charge):
    found = perceive(line)
    assert names(found) == [name]
    assert found.charge == charge
    assert [unit.kind for unit in found.units] == ["molecule"]


def test_a_disulfide_is_one_side_unit_of_two_residues():
    found = perceive(CYSTINE)
    assert names(found) == ["ACE", "CYX", "GLY", "CYX", "NME"]
    first, last = found.residues[1], found.residues[3]
    assert first.side == last.side
    assert (first.partners, last.partners) == ((3,), (1,))
    assert found.units[first.side].residues == (1, 3)
    assert found.units[first.side].kind == "side"


def test_a_disulfide_between_two_chains_leaves_two_chains():
    found = perceive("CH3C(=O)NHCH(CH2SSCH2CH(NHC(=O)CH3)C(=O)NHCH3)C(=O)NHCH3")
    assert names(found) == ["ACE", "CYX", "NME"] * 2
    assert len(found.chains) == 2
    assert found.residues[1].partners == (4,)


@pytest.mark.parametrize(
    ("line", "n_shared"),
    [  # lanthionine; an isopeptide Lys-Asp; Asp to the N terminus; a Lys to the C terminus
        (CYSTINE.replace("CH2S%1", "CH2%1", 1), (1, 3)),
        (
            "CH3C(=O)NHCH(CH2CH2CH2CH2NH%1)C(=O)NHCH2C(=O)NHCH(CH2C%1(=O))C(=O)NHCH3",
            (1, 3),
        ),
        ("NH%1CH2C(=O)NHCH2C(=O)NHCH(CH2CH2C%1(=O))C(=O)NHCH3", (0, 2)),
        ("CH3C(=O)NHCH(CH2CH2CH2CH2NH%1)C(=O)NHCH2C(=O)NHCH2C%1(=O)", (1, 3)),
    ],
)
def test_crosslinks_merge_the_units_that_they_join(line, n_shared):
    found = perceive(line)
    shared = [unit for unit in found.units if len(unit.residues) > 1]
    assert [unit.residues for unit in shared] == [n_shared]
    assert shared[0].kind == "side"
    assert len(found.chains) == 1


def test_a_ring_of_four_residues_is_a_cyclic_chain_without_termini():
    body = "CH2C(=O)" + residue("ALA") + residue("GLY") + "NHCH(CH2OH)C%1(=O)"
    found = perceive("NH%1" + body)
    assert sorted(names(found)) == ["ALA", "GLY", "GLY", "SER"]
    assert [chain.cyclic for chain in found.chains] == [True]
    assert len(found.cuts) == 14  # twelve along the ring, two side chains


@pytest.mark.parametrize(
    ("core", "side", "amino_atoms"),
    [
        ("N(CH3)CH(CH3)C(=O)", 4, 5),
        ("NHC(CH3)(CH3)C(=O)", 8, 2),
        ("NHC(=CH2)C(=O)", None, 2),
        ("NHCH(OCH3)C(=O)", None, 2),
        ("NHCH(C%1=CHCH=CHCH=CH%1)C(=O)", 11, 2),
    ],
)
def test_odd_residues_keep_their_backbone_and_get_a_formula_for_a_name(core, side, amino_atoms):
    found = perceive("CH3C(=O)" + residue("GLY") + core + residue("GLY") + "NHCH3")
    odd = found.residues[2]
    assert [r.kind for r in found.residues] == ["n-cap", *["amino"] * 3, "c-cap"]
    assert odd.name.startswith("C")
    assert odd.name not in SIDES
    assert len(found.units[odd.amino].atoms) == amino_atoms
    if side is None:
        assert odd.side is None
        assert found.units[odd.alpha].kind == "alpha"
    else:
        assert len(found.units[odd.side].atoms) == side


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("CH(=O)NHCH2C(=O)NH2", ["FOR", "GLY", "NH2"]),
        ("CH3CH2C(=O)" + residue("GLY") * 2 + "NHCH2CH3", ["C3H5O", "GLY", "GLY", "C2H6N"]),
        (capped("ASN", "GLN"), ["ACE", "ASN", "GLN", "NME"]),
        ("NH3CH(C(=O)O)CH2CH2C(=O)NHCH(CH2SH)C(=O)NHCH2C(=O)O", ["C5H8NO3", "CYS", "GLY"]),
    ],
)
def test_caps_are_known_by_their_graph_and_side_chain_amides_are_no_backbone(line, expected):
    assert names(perceive(line)) == expected


def test_a_depsipeptide_is_a_bigger_unit_and_no_error():
    found = perceive(
        "CH3C(=O)" + residue("ALA") * 2 + "OCH(CH3)C(=O)" + residue("GLY") * 2 + "NHCH3"
    )
    assert [r.kind for r in found.residues].count("amino") >= 2


def test_chains_ligands_ions_and_waters_are_apart():
    atoms = sketch(".".join([capped("ALA"), capped("LYS"), "CH3C(=O)O", "OH2", "OH2"]))
    atoms += Atoms("NaCl", [[0, 50, 0], [0, 60, 0]])
    found = check(perceive_topology(atoms))
    assert Counter(len(chain.residues) for chain in found.chains) == {3: 2, 1: 5}
    assert names(found)[6:] == ["ACT", "HOH", "HOH", "NA", "CL"]
    assert [found.units[found.residues[k].units[0]].charge for k in (6, 9, 10)] == [-1, 1, -1]
    text = found.summary()
    assert "2 x HOH" in text
    assert "chain 2: 3 residues" in text


def zinc_site():
    """Zn with the sulfur of an anionic cysteine and three waters, placed by hand."""
    atoms = sketch(capped("CYM"))
    s = int(np.flatnonzero(atoms.numbers == 16)[0])
    away = atoms.positions[s] - atoms.positions.mean(axis=0)
    away /= np.linalg.norm(away)
    zinc = atoms.positions[s] + 2.3 * away
    frame = np.linalg.svd(away[None])[2]
    water = molecule("H2O")
    for k in range(3):
        way = np.cos(2 * np.pi * k / 3) * frame[1] + np.sin(2 * np.pi * k / 3) * frame[2]
        way = 0.94 * way + 0.33 * away
        one = water.copy()
        one.rotate([0, 0, -1], way)
        one.translate(zinc + 2.1 * way - one.positions[0])
        atoms += one
    return atoms + Atoms("Zn", [zinc])


def test_a_metal_is_one_unit_with_all_that_binds_it():
    found = check(perceive_topology(zinc_site()))
    assert names(found) == ["ACE", "CYM", "NME", "HOH", "HOH", "HOH", "ZN"]
    assert found.charge == 1
    site = found.units[found.residues[6].units[0]]
    assert site.kind == "molecule"
    assert site.residues == (1, 3, 4, 5, 6)
    assert found.residues[1].side == found.residues[6].units[0]
    assert found.residues[6].partners == (1, 3, 4, 5)


def test_an_alkali_ion_stays_alone_among_waters():
    water = molecule("H2O")
    atoms = Atoms("Na", [[0, 0, 0]])
    for way in (*np.eye(3), *-np.eye(3)):
        one = water.copy()
        one.rotate([0, 0, -1], way)
        one.translate(2.4 * way - one.positions[0])
        atoms += one
    found = check(perceive_topology(atoms))
    assert len(found.units) == 7
    assert found.charge == 1


def partition(topology, order):
    """Atoms of every unit with its charge and kind, in the numbering before the shuffle."""
    return {
        (tuple(sorted(int(order[a]) for a in unit.atoms)), unit.charge, unit.kind)
        for unit in topology.units
    }


def rows(topology, order):
    """Chains as names of residues from N to C with their atoms."""
    found = set()
    for chain in topology.chains:
        found.add(
            tuple(
                (
                    topology.residues[r].name,
                    frozenset(
                        int(order[a])
                        for u in topology.residues[r].units
                        for a in topology.units[u].atoms
                    ),
                )
                for r in chain.residues
            )
        )
    return found


@pytest.mark.parametrize(
    "line",
    [
        capped("ARG", "PRO", "HIP"),
        CYSTINE,
        ".".join([capped("ASP"), capped("TRP"), "OH2", "CH3N(=O)O"]),
        "NH3CH(C(=O)O)CH2CH2C(=O)NHCH(CH2SH)C(=O)NHCH2C(=O)O",
    ],
)
def test_the_order_of_the_atoms_does_not_matter(line):
    atoms = sketch(line)
    plain = np.arange(len(atoms))
    first = perceive_topology(atoms)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(atoms))
        again = check(perceive_topology(atoms[order]))
        assert partition(again, order) == partition(first, plain)
        assert rows(again, order) == rows(first, plain)
        assert again.charge == first.charge


def test_reversed_files_mirror_images_and_labels_change_nothing():
    atoms = sketch(capped("ILE", "THR"))
    plain = np.arange(len(atoms))
    first = perceive_topology(atoms)
    turned = perceive_topology(atoms[plain[::-1]])
    assert partition(turned, plain[::-1]) == partition(first, plain)
    assert names(turned) == ["ACE", "ILE", "THR", "NME"]
    mirrored = atoms.copy()
    mirrored.positions[:, 0] *= -1
    assert partition(perceive_topology(mirrored), plain) == partition(first, plain)
    labelled = perceive_topology(atoms, labels=["B/GLY 7"] * len(atoms))
    assert partition(labelled, plain) == partition(first, plain)
    assert {r.label for r in labelled.residues} == {"B/GLY 7"}
    plain_system = System.from_atoms(atoms)
    assert partition(perceive_topology(plain_system), plain) == partition(first, plain)


def test_wrapped_molecules_are_unwrapped():
    atoms = sketch(capped("PHE", "ALA"))
    lengths = np.ptp(atoms.positions, axis=0) + 6.0
    skewed = np.diag(lengths) + np.array([[0, 0, 0], [0.4, 0, 0], [0.3, 0.5, 0]]) * lengths
    for cell in (np.diag(lengths), skewed):
        wrapped = atoms.copy()
        wrapped.set_cell(cell)
        wrapped.pbc = True
        wrapped.positions -= wrapped.positions.mean(axis=0)
        wrapped.wrap()
        found = check(perceive_topology(wrapped))
        assert names(found) == ["ACE", "PHE", "ALA", "NME"]
        flat = unwrapped(wrapped, found.bonds)
        assert np.abs(flat - wrapped.positions).max() > 1.0
        a, b = found.bonds.T
        before = np.linalg.norm(atoms.positions[a] - atoms.positions[b], axis=1)
        np.testing.assert_allclose(np.linalg.norm(flat[a] - flat[b], axis=1), before, atol=1e-9)


def test_ten_thousand_atoms_of_peptide_in_water_are_perceived():
    peptide, water = sketch(capped("LYS", "TRP", "ASP")), molecule("H2O")
    grid = 3.2 * np.stack(np.meshgrid(*[np.arange(n) for n in (15, 15, 15)]), -1).reshape(-1, 3)
    grid += [0.0, 0.0, peptide.positions[:, 2].max() + 6.0]
    atoms = peptide + Atoms("OH2" * len(grid), (grid[:, None] + water.positions).reshape(-1, 3))
    assert len(atoms) > 10_000
    found = check(perceive_topology(atoms))
    assert Counter(names(found))["HOH"] == len(grid)
    assert names(found)[:5] == ["ACE", "LYS", "TRP", "ASP", "NME"]


def test_water_alone_works():
    found = perceive("OH2.OH2")
    assert names(found) == ["HOH", "HOH"]
    assert found.charge == 0
    assert len(found.cuts) == 0


def test_a_stated_charge_is_compared_and_admits_unusual_anions():
    atoms = sketch(capped("ASP"))
    atoms.info["charge"] = -1
    assert perceive_topology(atoms).charge == -1
    atoms.info["charge"] = 0
    with pytest.raises(GeometryError, match=r"stated charge is \+0.*add up to -1"):
        perceive_topology(atoms)
    hydroxide = molecule("OH")
    with pytest.raises(GeometryError, match="0 O bound to 1 H"):
        perceive_topology(hydroxide)
    hydroxide.info["charge"] = -1
    assert perceive_topology(hydroxide).charge == -1
    histidine = sketch("CH3C(=O)NHCH(CH2C%1N=CHNCH=%1)C(=O)NHCH3")
    with pytest.raises(GeometryError, match="not close the valence"):
        perceive_topology(histidine)
    histidine.info["charge"] = -1
    assert names(perceive_topology(histidine)) == ["ACE", "HIM", "NME"]
