"""Peptides from templates: complete, connected as intended, L, named and charged as asked."""

import numpy as np
import pytest
from ase.data import covalent_radii
from needs import needs

from tlpot.errors import ConfigError
from tlpot.structures import build_peptide, capped_residues
from tlpot.structures.peptide import CONFORMATIONS
from tlpot.structures.peptide_chain import PeptideChain
from tlpot.structures.side_chains import ONE_LETTER, ROTAMERS, SIDE_CHAINS

FORMULAS = {  # of ACE-X-NME at the state built by default
    "ALA": "C6H12N2O2", "ARG": "C9H20N5O2", "ASN": "C7H13N3O3", "ASP": "C7H11N2O4",
    "CYS": "C6H12N2O2S", "GLN": "C8H15N3O3", "GLU": "C8H13N2O4", "GLY": "C5H10N2O2",
    "HIE": "C9H14N4O2", "ILE": "C9H18N2O2", "LEU": "C9H18N2O2", "LYS": "C9H20N3O2",
    "MET": "C8H16N2O2S", "PHE": "C12H16N2O2", "PRO": "C8H14N2O2", "SER": "C6H12N2O3",
    "THR": "C7H14N2O3", "TRP": "C14H17N3O2", "TYR": "C12H16N2O3", "VAL": "C8H16N2O2",
}  # fmt: skip


def seen_bonds(atoms):
    """The bonds that covalent radii tell, [n_bonds, 2]."""
    radii = covalent_radii[atoms.numbers]
    lengths = np.sqrt(((atoms.positions[:, None] - atoms.positions) ** 2).sum(axis=2))
    near = lengths < 1.25 * (radii[:, None] + radii)
    return np.argwhere(np.triu(near, 1))


def meant_bonds(name, conformation="extended"):
    phi, psi = CONFORMATIONS[conformation]
    phi = -70.0 if name == "PRO" else phi
    chi = dict(enumerate(ROTAMERS.get(name, ())))
    chain = PeptideChain([name], [phi], [psi], [180.0, 180.0], [chi], "ACE", "NME")
    return chain.atoms(), chain.bonds()


def at(atoms, residue, *names):
    """Indices of named atoms of a residue."""
    labels = list(zip(atoms.arrays["residuenumbers"], atoms.arrays["atomtypes"], strict=True))
    return [labels.index((residue, name)) for name in names]


@pytest.mark.parametrize("conformation", CONFORMATIONS)
@pytest.mark.parametrize("name", SIDE_CHAINS)
def test_bonds_are_those_of_the_residue_and_nothing_clashes(name, conformation):
    atoms, bonds = meant_bonds(name, conformation)
    assert np.array_equal(seen_bonds(atoms), bonds)
    hydrogens = atoms.positions[atoms.numbers == 1]
    apart = np.linalg.norm(hydrogens[:, None] - hydrogens, axis=2)
    assert apart[np.triu_indices_from(apart, 1)].min() > 1.5
    built = build_peptide([name], conformation=conformation)
    assert np.array_equal(seen_bonds(built), bonds)
    assert built.get_chemical_symbols() == atoms.get_chemical_symbols()


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_of_the_capped_residues(name):
    assert build_peptide([name]).get_chemical_formula() == FORMULAS[name]


STATES = (
    ("ASP", "ASH"),
    ("GLU", "GLH"),
    ("HIE", "HID", "HIP"),
    ("LYS", "LYN"),
    ("CYS", "CYM"),
    ("TYR", "TYM"),
)
"""Residues that differ by protons; the first is built by default."""


def test_protonation_states_differ_by_a_proton_and_its_charge():
    for states in STATES:
        peptides = [build_peptide([state]) for state in states]
        for one in peptides[1:]:
            protons = len(one) - len(peptides[0])
            expected = 0 if states[1] == "HID" and one is peptides[1] else protons
            assert one.info["charge"] - peptides[0].info["charge"] == expected


@pytest.mark.parametrize("name", sorted(set(SIDE_CHAINS) - {"GLY"}))
def test_alpha_carbons_are_l(name):
    atoms = build_peptide([name])
    n, alpha, carbonyl, beta = atoms.positions[at(atoms, 2, "N", "CA", "C", "CB")]
    assert np.dot(n - alpha, np.cross(carbonyl - alpha, beta - alpha)) > 1.0


@pytest.mark.parametrize(("name", "nearer"), [("THR", "OG1"), ("ILE", "CG1")])
def test_beta_carbons_of_threonine_and_isoleucine_have_their_hand(name, nearer):
    """(2S,3R): O > CA > CG2 is clockwise; (2S,3S): CA > CG1 > CG2 is not."""
    atoms = build_peptide([name])
    beta, alpha, gamma, other = atoms.positions[at(atoms, 2, "CB", "CA", nearer, "CG2")]
    assert np.dot(alpha - beta, np.cross(gamma - beta, other - beta)) > 1.0


@pytest.mark.parametrize("conformation", CONFORMATIONS)
@pytest.mark.parametrize("length", [3, 12, 200])
def test_polyalanine_of_every_length(length, conformation):
    atoms = build_peptide("A" * length, conformation=conformation)
    assert len(atoms) == 12 + 10 * length
    assert len(seen_bonds(atoms)) == len(atoms) - 1
    middle = 2 + length // 2
    phi = atoms.get_dihedral(*at(atoms, middle - 1, "C"), *at(atoms, middle, "N", "CA", "C"))
    psi = atoms.get_dihedral(*at(atoms, 2, "N", "CA", "C"), *at(atoms, 3, "N"))
    expected = np.array(CONFORMATIONS[conformation]) % 360
    assert np.allclose([phi, psi], expected, atol=1e-6)


def test_an_alpha_helix_rises_as_a_helix_does():
    """1.5 Å per residue and hydrogen bonds i → i+4."""
    atoms = build_peptide("A" * 40, conformation="helix")
    ends = atoms.positions[at(atoms, 4, "CA") + at(atoms, 40, "CA")]
    assert np.linalg.norm(ends[1] - ends[0]) / 36 == pytest.approx(1.5, abs=0.1)
    bond = atoms.get_distance(at(atoms, 10, "O")[0], at(atoms, 14, "H")[0])
    assert 1.7 < bond < 2.4


def test_angles_are_those_asked_for():
    atoms = build_peptide("KAG", phi=[-60, None, 80], psi=[-40, 150, 10], omega=[180, 175, 0, 180],
                          chi={0: [60, None, 170]})  # fmt: skip
    lysine = at(atoms, 2, "N", "CA", "CB", "CG", "CD", "CE")
    assert atoms.get_dihedral(*lysine[:4]) == pytest.approx(60)
    assert atoms.get_dihedral(*lysine[1:5]) == pytest.approx(180)
    assert atoms.get_dihedral(*lysine[2:6]) == pytest.approx(170)
    cis = at(atoms, 3, "CA", "C") + at(atoms, 4, "N", "CA")
    assert min(atoms.get_dihedral(*cis), 360 - atoms.get_dihedral(*cis)) == pytest.approx(0)
    bent = at(atoms, 2, "CA", "C") + at(atoms, 3, "N", "CA")
    assert atoms.get_dihedral(*bent) == pytest.approx(175)
    default = at(atoms, 2, "C") + at(atoms, 3, "N", "CA", "C")
    assert atoms.get_dihedral(*default) == pytest.approx(210)


@pytest.mark.parametrize(("n_cap", "charge"), [("ACE", 0), ("NH3+", 1), ("NH2", 0), (None, 0)])
@pytest.mark.parametrize("c_cap", ["NME", "COO-", "COOH", "NH2", None])
@pytest.mark.parametrize("sequence", ["A", "P", "GP", "RD"])
def test_termini_are_whole_and_charged_as_named(n_cap, charge, c_cap, sequence):
    atoms = build_peptide(sequence, n_cap=n_cap, c_cap=c_cap)
    assert atoms.info["charge"] == charge - (c_cap == "COO-")
    rings = sequence.count("P")
    assert len(seen_bonds(atoms)) == len(atoms) - 1 + rings
    assert (atoms.numbers.sum() - atoms.info["charge"]) % 2 == 0
    assert len(set(zip(atoms.arrays["residuenumbers"], atoms.arrays["atomtypes"],
                       strict=True))) == len(atoms)  # fmt: skip


def test_the_fragments_of_itlff_are_21():
    fragments = capped_residues()
    assert len(fragments) == 21
    assert fragments["ACE-NME"].get_chemical_formula() == "C3H7NO"
    assert {name[4:7] for name in fragments} == set(ONE_LETTER.values()) | {"NME"}
    assert len(capped_residues(states=True)) == 1 + len(SIDE_CHAINS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sequence": "AXA"}, "letter 1 of the sequence is 'X'"),
        ({"sequence": ["ALA", "HIX"]}, "residue 1 is 'HIX'; did you mean 'HI"),
        ({"sequence": "AA", "phi": [1.0]}, "phi has 1 angles, the peptide 2"),
        ({"sequence": "AA", "omega": [180.0]}, "omega has 1 angles, the peptide 3"),
        ({"sequence": "P", "phi": [60.0]}, "residue 0 is PRO with phi=60"),
        ({"sequence": "P", "chi": {0: [20.0]}}, "PRO, whose torsions its ring fixes"),
        ({"sequence": "S", "chi": {0: [1.0, 2.0, 3.0]}}, "has 2 side-chain torsions, 3 were"),
        ({"sequence": "S", "chi": {1: [1.0]}}, "chi of residue 1; the sequence has 1"),
        ({"sequence": "", "n_cap": None}, "an empty sequence between NH2 and NME"),
        ({"sequence": "A", "conformation": "helical"}, "did you mean 'helix'"),
        ({"sequence": "A", "n_cap": "NH3"}, "did you mean 'NH3"),
        ({"sequence": "A", "conformation": "helix", "phi": 0, "psi": 0}, "has no effect"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message.replace("+", r"\+")):
        build_peptide(**arguments)


@pytest.mark.parametrize("conformation", CONFORMATIONS)
@pytest.mark.parametrize("sequence", ["ARNDCQEGHILKMFSTWYV", "WWWWWWWW", "IIVVTTII"])
def test_side_chains_find_room(sequence, conformation):
    """Nothing but hydrogen bonds and what three bonds join comes close; bonds stay as meant."""
    atoms = build_peptide(sequence, conformation=conformation)
    rings = sum({"P": 1, "F": 1, "Y": 1, "W": 2, "H": 1}.get(x, 0) for x in sequence)
    assert len(seen_bonds(atoms)) == len(atoms) - 1 + rings
    hydrogens = atoms.positions[atoms.numbers == 1]
    apart = np.linalg.norm(hydrogens[:, None] - hydrogens, axis=2)
    assert apart[np.triu_indices_from(apart, 1)].min() > 1.5


def test_packing_keeps_the_rotamers_that_were_asked_for():
    crowded = {4: [-65.0, 180.0]}
    free = build_peptide("W" * 8, conformation="helix")
    fixed = build_peptide("W" * 8, conformation="helix", chi=crowded)
    assert fixed.get_dihedral(*at(fixed, 6, "N", "CA", "CB", "CG")) == pytest.approx(295)
    ends = at(free, 6, "N", "CA", "CB", "CG")
    chosen = (free.get_dihedral(*ends) + 65) % 120
    assert min(chosen, 120 - chosen) == pytest.approx(0, abs=1e-6)


def test_a_sequence_without_room_is_warned_of():
    with pytest.warns(UserWarning, match=r"no room as helix: ACE 1 O and PRO 5 CD are 1.72"):
        build_peptide("AAAPA", conformation="helix")


QUICK = ("ALA", "PRO", "HIP", "CYS")


@pytest.mark.external
@pytest.mark.parametrize("name", SIDE_CHAINS)
def test_gfn2_relaxes_it_without_breaking_a_bond(name):
    """Lengths move by less than 0.05 Å; N-H bonds that donate to an anion by up to 0.12 Å."""
    tblite = needs("tblite.ase")
    from ase.optimize import LBFGS

    atoms, bonds = meant_bonds(name)
    built = atoms.get_all_distances()[tuple(bonds.T)]
    atoms.calc = tblite.TBLite(method="GFN2-xTB", charge=atoms.info["charge"], verbosity=0)
    LBFGS(atoms, logfile=None).run(fmax=0.05 if name not in QUICK else 0.3, steps=400)
    assert np.array_equal(seen_bonds(atoms), bonds)
    moved = np.abs(atoms.get_all_distances()[tuple(bonds.T)] - built)
    donors = (atoms.numbers[bonds] == 1).any(1) & (atoms.numbers[bonds] == 7).any(1)
    loose = donors & (atoms.info["charge"] < 0)
    assert moved[~loose].max() < 0.05
    assert moved.max() < 0.12
