"""Crystallographic information files: ASE reads them, and what it takes for granted is checked."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from tlpot.errors import DataError

_UNKNOWN = ("?", ".")
_GROUP = {
    "_space_group_it_number",
    "_space_group.it_number",
    "_symmetry_int_tables_number",
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
}
_SYMMETRY = {
    *_GROUP,
    "_symmetry_space_group_setting",
    "_symmetry_cell_setting",
    "_space_group_crystal_system",
}
"""Tags that ASE looks at, and takes literally where they say that nothing is known."""

_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
_TWO_ORIGINS = {
    48, 50, 59, 68, 70, 85, 86, 88, 125, 126, 129, 130, 133, 134, 137, 138, 141, 142, 201, 203, 222,
    224, 227, 228,
}  # fmt: skip
"""Space groups for which the International Tables have two choices of the origin."""

_SAME_METRIC = 0.01
"""Share of the largest square of a lattice vector by which symmetry may change the cell."""

_SAME_FORMULA = 0.005
"""Difference of the shares of an element; more is no rounding."""

_SHARE = re.compile(r"([A-Z][a-z]?)\s*(\d*\.?\d*)")


def cif_structures(path: Path) -> list[Atoms]:
    """Returns the structures of all blocks, with the symmetry applied.

    Refused is what ASE would read as something else in silence: sites that are occupied in part,
    labels that may be of two elements where the file names none, symmetry that does not fit the
    cell, a space group with two origins and no operations, and a formula that the atoms do not
    have, as where hydrogen atoms were not found.

    Raises:
        DataError: not a CIF with structures, or one of these.
    """
    from ase.io.cif import CIFBlock, parse_cif  # takes its time to load

    found = []
    try:
        blocks = [block for block in parse_cif(str(path)) if block.has_structure()]
        if not blocks:
            raise ValueError("it has 0 blocks with a structure")
        for block in blocks:
            tags = {
                tag: value
                for tag, value in block.items()
                if tag not in _SYMMETRY or value not in _UNKNOWN
            }
            if _GROUP & (block.keys() - tags) and not {*_GROUP, *_OPERATIONS} & tags.keys():
                raise DataError(
                    f"{path}: the symmetry is unknown (?); state the space group, or write the "
                    "file with all atoms in P 1"
                )
            _check_sites(tags, path)
            atoms = CIFBlock(block.name, tags).get_atoms(store_tags=False)
            _check_symmetry(atoms, tags, path)
            _check_formula(atoms, tags, path)
            found.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc))
    except DataError:
        raise
    except Exception as error:  # the reader raises a dozen kinds for damage
        reason = str(error) or "there is no block 'data_...' that can be read"
        raise DataError(f"{path} is not a CIF of one structure ({reason})") from error
    return found


def _check_sites(tags: dict[str, Any], path: Path) -> None:
    occupied = tags.get("_atom_site_occupancy") or []
    labels = tags.get("_atom_site_label") or []
    for k, share in enumerate(occupied):
        if isinstance(share, int | float) and share != 1:
            raise DataError(
                f"{path}: the site {labels[k] if labels else k} is occupied by {share:g}; "
                "structures with partial occupancies are not read, take an ordered one"
            )
    if tags.get("_atom_site_type_symbol") is not None:
        return
    for label in labels:
        letters = re.match(r"[A-Za-z]{2}", str(label))
        symbol = letters[0].capitalize() if letters else ""
        if letters and letters[0] != symbol and symbol in atomic_numbers:
            raise DataError(
                f"{path}: the site {label} may be {symbol} or {symbol[0]}; say which in a column "
                "_atom_site_type_symbol"
            )


def _check_symmetry(atoms: Atoms, tags: dict[str, Any], path: Path) -> None:
    group = atoms.info.get("spacegroup")
    if group is None or not atoms.cell.rank:
        return
    stated = any(tags.get(tag) for tag in _OPERATIONS) or "_symmetry_space_group_setting" in tags
    if group.no in _TWO_ORIGINS and not stated:
        raise DataError(
            f"{path}: space group {group.no} ({group.symbol}) has two choices of the origin, and "
            f"the file has no symmetry operations ({_OPERATIONS[-1]}) that tell which; write it "
            "with them"
        )
    metric = atoms.cell.array @ atoms.cell.array.T
    rotations = np.array([rotation for rotation, _ in group.get_symop()])
    turned = rotations.transpose(0, 2, 1) @ metric @ rotations
    if np.abs(turned - metric).max() > _SAME_METRIC * np.abs(metric).max():
        raise DataError(
            f"{path}: the symmetry of space group {group.no} ({group.symbol}), as the file states "
            "it, does not fit the cell (hexagonal and rhombohedral axes, or another unique axis?); "
            "write the file with its symmetry operations, or with all atoms in P 1"
        )


def _check_formula(atoms: Atoms, tags: dict[str, Any], path: Path) -> None:
    formula = tags.get("_chemical_formula_sum")
    if not isinstance(formula, str) or _SHARE.sub("", formula).strip():
        return  # left out, or with charges and brackets
    stated: Counter[str] = Counter()
    for symbol, n in _SHARE.findall(formula):
        stated["H" if symbol in ("D", "T") else symbol] += float(n or 1)  # type: ignore[assignment]
    if not stated.total() or not stated.keys() <= atomic_numbers.keys():
        return
    held = Counter(atoms.get_chemical_symbols())
    wrong = [
        symbol
        for symbol in stated | held
        if abs(stated[symbol] / stated.total() - held[symbol] / held.total()) > _SAME_FORMULA
    ]
    if wrong:
        absent = sorted(stated.keys() ^ held.keys()) or sorted(wrong)
        raise DataError(
            f"{path}: the atoms make {atoms.get_chemical_formula()}, and the file says {formula}: "
            f"{', '.join(absent)} is missing or too much (hydrogen that was not found, symmetry "
            "that is not stated, or a wrong formula); complete the file, or mend "
            "_chemical_formula_sum"
        )
