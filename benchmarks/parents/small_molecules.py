"""All small molecules of C, N, O and H by growth: an atom at a time, a ring at a time."""

from itertools import combinations

VALENCE = {6: 4, 7: 3, 8: 2}
UNWANTED = (
    "O=O", "[#7,#8]~[#7,#8]~[#7,#8]", "[OX2,OX1]-,=[OX2]", "C=C=[C,N]", "[r3]=*", "[R]#[R]",
    "[#8]-[CX4]-[#7]", "[OH]C=[C,N]", "[NX3;H2,H1;!$(NC=O)]C=[C]", "[OH][CX4][OH]",
    "[NX3][CX4][NX3]", "[R]=C=*", "*#C[OH]", "*#C[NH2]", "C#C-[O,N]", "[OH]-C-[NH]", "[R2]",
    "*=C=C=*", "[r4;n,o,c]",
)  # fmt: skip
"""SMARTS of what falls apart or moves a hydrogen at once, and of rings under much strain."""


def joined(molecule, one, other, order=1, element=None):
    """Returns SMILES with one more bond, to a new atom if `element` is given; None if invalid."""
    from rdkit import Chem

    grown = Chem.RWMol(molecule)
    Chem.Kekulize(grown, clearAromaticFlags=True)
    if element:
        other = grown.AddAtom(Chem.Atom(element))
    for k in (one, other):
        grown.GetAtomWithIdx(k).SetNoImplicit(False)
        grown.GetAtomWithIdx(k).SetNumExplicitHs(0)
    grown.AddBond(one, other, Chem.BondType.values[order])
    try:
        Chem.SanitizeMol(grown)
        return Chem.MolToSmiles(grown)
    except (Chem.AtomValenceException, Chem.KekulizeException):
        return None


def grown(smiles):
    """Returns all molecules with one atom more."""
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles)
    free = [atom.GetTotalNumHs() for atom in molecule.GetAtoms()]
    return {
        joined(molecule, k, None, order, element)
        for k, hydrogens in enumerate(free)
        for element, valence in VALENCE.items()
        for order in range(1, min(hydrogens, valence, 3) + 1)
    } - {None}


def closed(smiles):
    """Returns all molecules with one ring more."""
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return set()
    free = [atom.GetTotalNumHs() for atom in molecule.GetAtoms()]
    return {
        joined(molecule, a, b)
        for a, b in combinations(range(len(free)), 2)
        if free[a] and free[b] and not molecule.GetBondBetweenAtoms(a, b)
    } - {None}


def has_geometry(smiles):
    from rdkit import Chem
    from rdkit.Chem.AllChem import EmbedMolecule, MMFFHasAllMoleculeParams

    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    return EmbedMolecule(molecule, randomSeed=1) == 0 and MMFFHasAllMoleculeParams(molecule)


def small_molecules(largest):
    """Returns SMILES by number of heavy atoms, up to `largest`; each list is sorted.

    Those that ETKDG cannot embed or MMFF94 does not know are left out.
    """
    from rdkit import Chem, RDLogger

    RDLogger.DisableLog("rdApp.*")
    unwanted = [Chem.MolFromSmarts(pattern) for pattern in UNWANTED]
    shells, kept = [{"C", "N", "O"}], {}
    for n in range(1, largest + 1):
        kept[n] = sorted(
            smiles
            for smiles in shells[-1]
            if not any(Chem.MolFromSmiles(smiles).HasSubstructMatch(each) for each in unwanted)
            and has_geometry(smiles)
        )
        open_ones = set().union(*(grown(smiles) for smiles in shells[-1]))
        shells.append(open_ones.union(*(closed(smiles) for smiles in open_ones)))
    return kept
