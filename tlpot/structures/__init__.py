"""Structures from files, whatever takes them: PDB, mmCIF, XYZ, and what ASE reads."""

from tlpot.structures.protein import read_protein as read_protein
from tlpot.structures.reader import read_all as read_all
from tlpot.structures.reader import read_frames as read_frames
from tlpot.structures.reader import read_structure as read_structure
