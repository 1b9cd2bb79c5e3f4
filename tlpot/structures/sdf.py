"""MDL files of molecules, SDF and MOL: every record, with the charges that it states."""

from __future__ import annotations

import re
from pathlib import Path

from ase import Atoms
from ase.data import atomic_numbers

from tlpot.errors import DataError
from tlpot.numbers import counted
from tlpot.structures.conformers import NOTES

ENDINGS = (".sdf", ".mol", ".sd")
_END = "$$$$"
_CODES = {0: 0, 1: 3, 2: 2, 3: 1, 4: 0, 5: -1, 6: -2, 7: -3}
"""Charges by the code of the atom block; 4 is a doublet radical."""
_FIELD = re.compile(r">.*<([^>]+)>")
_SPINS = {0: 0, 1: 0, 2: 1, 3: 2}
"""Unpaired electrons by the code of ``M  RAD``: none, singlet, doublet, triplet."""


def read_sdf(path: Path) -> list[Atoms]:
    """Returns the molecules of a file in the layout V2000 (doi:10.1021/ci00007a012).

    ``info`` has ``charge`` where the atoms' charges add up to another than zero, and ``spin``
    where radicals are stated. Data fields are named in the notes and not read.

    Raises:
        DataError: no such file, no records, V3000, damaged, or atoms without an element.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    records: list[list[str]] = [[]]
    for line in lines:
        if line.startswith(_END):
            records.append([])
        else:
            records[-1].append(line)
    found = [_molecule(record, f"{path}, record {k}") for k, record in enumerate(records) if
             any(line.strip() for line in record)]  # fmt: skip
    if not found:
        raise DataError(f"{path} holds no molecules")
    return found


def _molecule(lines: list[str], where: str) -> Atoms:
    head = lines[3] if len(lines) > 3 else ""
    if "V3000" in head:
        raise DataError(f"{where} is of the layout V3000, which is not read; write it as V2000")
    try:
        n_atoms, n_bonds = int(head[:3]), int(head[3:6])
        rows = lines[4 : 4 + n_atoms]
        if len(rows) < n_atoms or len(lines) < 4 + n_atoms + n_bonds:
            raise ValueError(f"{counted(n_atoms, 'atom')} announced, the record ends before")
        symbols = [row[31:34].strip() for row in rows]
        positions = [[float(row[k : k + 10]) for k in (0, 10, 20)] for row in rows]
        charges = [_CODES[int(row[36:39].strip() or 0)] for row in rows]
        unpaired = [int((row[36:39].strip() or "0") == "4") for row in rows]
        stated = _properties(lines[4 + n_atoms + n_bonds :])
    except (ValueError, KeyError, IndexError) as error:
        raise DataError(f"{where} is no molecule of an SDF file ({error})") from error
    symbols = ["H" if symbol in ("D", "T") else symbol for symbol in symbols]
    unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
    if unknown:
        raise DataError(f"{where}: {unknown[0]!r} is no element")
    if stated["CHG"] or stated["RAD"]:  # which replace what the atom block says
        charges, unpaired = [0] * n_atoms, [0] * n_atoms
        for key, values, codes in (("CHG", charges, None), ("RAD", unpaired, _SPINS)):
            for atom, value in stated[key].items():
                if not 0 < atom <= n_atoms:
                    raise DataError(f"{where}: M  {key} names atom {atom} of {n_atoms}")
                values[atom - 1] = value if codes is None else codes[value]
    atoms = Atoms(symbols, positions)
    if sum(charges):
        atoms.info["charge"] = sum(charges)
    if sum(unpaired):
        atoms.info["spin"] = 1 + sum(unpaired)
    fields = [name for line in lines for name in _FIELD.findall(line)]
    if fields:
        atoms.info[NOTES] = f"data fields not read: {', '.join(dict.fromkeys(fields))}"
    return atoms


def _properties(lines: list[str]) -> dict[str, dict[int, int]]:
    """Returns the values of ``M  CHG`` and ``M  RAD`` by atom, from 1."""
    found: dict[str, dict[int, int]] = {"CHG": {}, "RAD": {}}
    for line in lines:
        if line.startswith("M  END"):
            break
        key = line[3:6]
        if line.startswith("M  ") and key in found:
            numbers = [int(word) for word in line[9:].split()]
            found[key].update(zip(numbers[::2], numbers[1::2], strict=True))
    return found
