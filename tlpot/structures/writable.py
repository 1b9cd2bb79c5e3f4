"""Structures as extended XYZ gives them back."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from tlpot.structures.protein import NOTES


def for_extxyz(atoms: Atoms) -> Atoms:
    """Returns a copy without what would make the file unreadable.

    Spaces in columns of text, such as names of residues, become underscores; the reader's notes,
    which are lines of their own, are left out.

    Args:
        atoms: not changed; constraints are copied, a calculator is not.
    """
    copy: Atoms = atoms.copy()
    copy.info.pop(NOTES, None)
    for name, values in list(copy.arrays.items()):
        if values.dtype.kind == "U":
            copy.arrays[name] = np.char.replace(values, " ", "_")
    return copy
