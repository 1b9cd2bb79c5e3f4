"""Fragments as molecules in an extended XYZ file."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
from ase import Atoms

from tlpot.atomic_file import atomic_file
from tlpot.pipeline.assembly.cut import Cut


def write_fragments(cuts: Iterable[Cut], path: str | os.PathLike[str]) -> int:
    """Writes every fragment of every structure, and returns how many.

    Each has in ``info`` its charge and multiplicity (spin), its name (fragment), its coefficient
    and the number of its structure (frame); the array ``source`` holds the atom of the structure
    that each atom is, or -1 for a cap.

    Raises:
        OutputError: the file could not be written.
    """
    from ase.io import write

    molecules = [atoms for frame, cut in enumerate(cuts) for atoms in _molecules(cut, frame)]
    with atomic_file(path) as temporary:
        write(temporary, molecules, format="extxyz")
    return len(molecules)


def _molecules(cut: Cut, frame: int) -> list[Atoms]:
    found = []
    for name, fragment, c in zip(cut.names, cut.fragments, cut.coefficients, strict=True):
        atoms = fragment.atoms(cut.positions, cut.lattice)
        atoms.info |= {"fragment": name, "coefficient": float(c), "frame": frame}
        caps = np.full(len(fragment.host), -1, dtype=np.int64)
        atoms.set_array("source", np.concatenate([fragment.real, caps]))
        found.append(atoms)
    return found
