"""Structures from files, whatever takes them: PDB, mmCIF, XYZ, and what ASE reads."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.structures.molecules import (
        PREFIX,
        SMILES,
        bonds_of,
        conformers,
        looks_like_smiles,
        rdkit_molecule,
        smiles_atoms,
    )
    from tlpot.structures.peptide import build_peptide, capped_residues
    from tlpot.structures.preparation import PreparationReport, prepare_protein
    from tlpot.structures.proteins import NOTES
    from tlpot.structures.reader import (
        check_charge,
        name_charge,
        read_all,
        read_frames,
        read_structure,
    )
    from tlpot.structures.writer import (
        check_structure_format,
        extxyz_text,
        standard_form,
        write_structure,
        write_trajectory,
    )

__getattr__ = lazy_exports(__name__)
