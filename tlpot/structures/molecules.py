"""Molecules by SMILES through RDKit, with conformers by ETKDG, and from MDL files, SDF and MOL."""

from __future__ import annotations

import importlib
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from tlpot.errors import ConfigError, DataError, GeometryError, MissingExtraError
from tlpot.numbers import Floats, Ints, counted
from tlpot.structures.proteins import NOTES
from tlpot.system import stated_charge_of
from tlpot.topology import MolecularGraph

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
    found = [_from_record(record, f"{path}, record {k}") for k, record in enumerate(records) if
             any(line.strip() for line in record)]  # fmt: skip
    if not found:
        raise DataError(f"{path} holds no molecules")
    return found


def _from_record(lines: list[str], where: str) -> Atoms:
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
    isotopes = {k: _HYDROGENS[s] for k, s in enumerate(symbols) if s in _HYDROGENS}
    symbols = ["H" if symbol in _HYDROGENS else symbol for symbol in symbols]
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
    isotopes |= {atom - 1: number for atom, number in stated["ISO"].items()}
    if not all(0 <= k < n_atoms for k in isotopes):
        raise DataError(f"{where}: M  ISO names an atom beyond {n_atoms}")
    _set_isotopes(atoms, isotopes)
    if sum(charges):
        atoms.info["charge"] = sum(charges)
    if sum(unpaired):
        atoms.info["spin"] = 1 + sum(unpaired)
    fields = [name for line in lines for name in _FIELD.findall(line)]
    if fields:
        atoms.info[NOTES] = f"data fields not read: {', '.join(dict.fromkeys(fields))}"
    return atoms


def _properties(lines: list[str]) -> dict[str, dict[int, int]]:
    """Returns the values of ``M  CHG``, ``M  RAD`` and ``M  ISO`` by atom, from 1."""
    found: dict[str, dict[int, int]] = {"CHG": {}, "RAD": {}, "ISO": {}}
    for line in lines:
        if line.startswith("M  END"):
            break
        key = line[3:6]
        if line.startswith("M  ") and key in found:
            numbers = [int(word) for word in line[9:].split()]
            found[key].update(zip(numbers[::2], numbers[1::2], strict=True))
    return found


_HYDROGENS = {"D": 2, "T": 3}
_HEAVY_HYDROGENS = {2: 2.01410, 3: 3.01605}
"""u, by mass number, which is the mass of other isotopes to 0.1 %, or 0.3 % of lithium."""


def _set_isotopes(atoms: Atoms, isotopes: Mapping[int, int]) -> None:
    """Gives some atoms the masses of isotopes, by index and mass number; others keep theirs."""
    if not isotopes:
        return
    masses = atoms.get_masses()
    for k, number in isotopes.items():
        heavy = _HEAVY_HYDROGENS if atoms.numbers[k] == 1 else {}
        masses[k] = heavy.get(number, float(number))
    atoms.set_masses(masses)


SMILES = "smiles"
"""The key of ``atoms.info``, and the attribute of a group, with the SMILES of a structure whose
atoms are in its order: fragment after fragment, in each the hydrogens last."""

PREFIX = "smiles:"
"""Before a SMILES that is something else, too."""

_TOKENS = re.compile(r"(\[[^\]]+\]|Cl|Br|[BCNOPSFIbcnops]|[=#$:/\\.()%0-9+\-])+")
_FREE = 7
"""One conformer of so many is made without knowledge of torsions, amides cis or trans."""
_TIDY = 80
"""Steps of MMFF94 that take the roughness of distance geometry off a conformer."""
_SAME = 0.05
"""Å; conformers none of whose sorted distances differ by more are one."""


def looks_like_smiles(text: str) -> bool:
    """Whether a text is made of the symbols of SMILES alone; it may still be no molecule."""
    return _TOKENS.fullmatch(text) is not None


def smiles_atoms(smiles: str, seed: int = 0) -> Atoms:
    """Returns a molecule with hydrogens, a first conformer, and the charge that its SMILES states.

    Isotopes have their masses. Unpaired electrons of radicals are parallel. ``info`` has
    ``charge``, ``spin`` and `SMILES`.

    Args:
        smiles: of one molecule.
        seed: of the conformer.

    Raises:
        MissingExtraError: RDKit is not installed.
        ConfigError: no SMILES of a molecule, or of more than one.
        GeometryError: no conformer could be found.
    """
    if "." in smiles:
        raise ConfigError(f"SMILES {smiles!r} is of several molecules, expected one")
    molecule = _molecule(smiles)
    Chem = _chem()
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    atoms = Atoms([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    atoms.info = {
        "charge": Chem.GetFormalCharge(molecule),
        "spin": 1 + unpaired,
        SMILES: smiles,
    }
    labelled = [atom for atom in molecule.GetAtoms() if atom.GetIsotope()]
    _set_isotopes(atoms, {atom.GetIdx(): atom.GetIsotope() for atom in labelled})
    atoms.set_positions(_embedded(molecule, 1, seed, smiles)[0])
    if len(MolecularGraph(atoms, bonds_of(molecule)).pieces) > 1:
        raise ConfigError(f"SMILES {smiles!r} is of several molecules, expected one")
    return atoms


def bonds_of(molecule: Any) -> Ints:
    """Returns the bonds of an RDKit molecule, [n_bonds, 2], the smaller index first, sorted."""
    pairs = [sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in molecule.GetBonds()]
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def rdkit_molecule(atoms: Atoms) -> Any:
    """Returns a structure as RDKit's molecule: by its SMILES, else with bonds that are perceived.

    A SMILES in ``info`` counts only where its atoms and bonds are those of the structure.

    Args:
        atoms: one or more molecules, with the total charge in ``info``.

    Raises:
        MissingExtraError: RDKit is not installed.
        GeometryError: periodic, or no bond orders fit the positions and the charge.
    """
    Chem = _chem()
    graph = MolecularGraph(atoms)
    if smiles := str(atoms.info.get(SMILES, "")):
        try:
            known = _molecule(smiles)
        except ConfigError:
            known = None
        if known is not None and _fits(known, graph):
            return known
    return _perceived(Chem, graph, atoms.positions, stated_charge_of(atoms).charge or 0)


def conformers(atoms: Atoms, count: int, seed: int, *, molecule: Any = None) -> list[Floats]:
    """Returns different conformers by ETKDG (doi:10.1021/acs.jcim.5b00654), [n_atoms, 3] each, Å.

    One in seven is made without knowledge of torsions and with amides of either kind. Where MMFF94
    has parameters, each is relaxed by it for some steps.

    Args:
        atoms: one molecule, see `rdkit_molecule`.
        count: at most so many; of a rigid molecule there are fewer.
        seed: of the distances that are drawn.
        molecule: its RDKit molecule, if known.

    Raises:
        MissingExtraError: RDKit is not installed.
        GeometryError: there is none.
    """
    found = rdkit_molecule(atoms) if molecule is None else molecule
    name = str(atoms.info.get(SMILES, atoms.get_chemical_formula()))
    return _embedded(found, count, seed, name)


def _embedded(molecule: Any, count: int, seed: int, name: str) -> list[Floats]:
    geometry = importlib.import_module("rdkit.Chem.rdDistGeom")
    fields = importlib.import_module("rdkit.Chem.rdForceFieldHelpers")
    free = count // _FREE
    known = geometry.ETKDGv3()
    plain = geometry.EmbedParameters()
    plain.forceTransAmides = False
    rough: list[Floats] = []
    with _quiet():
        for parameters, n in ((known, count - free), (plain, free)):
            if not n:
                continue
            parameters.randomSeed = seed % (1 << 31)
            if not geometry.EmbedMultipleConfs(molecule, n, parameters):
                parameters.useRandomCoords = True  # for cages and long chains
                geometry.EmbedMultipleConfs(molecule, n, parameters)
            made = molecule.GetNumConformers() > 0
            if made and fields.MMFFHasAllMoleculeParams(molecule):
                fields.MMFFOptimizeMoleculeConfs(molecule, maxIters=_TIDY)
            rough += [c.GetPositions() for c in molecule.GetConformers()]
    if not rough:
        raise GeometryError(
            f"{name}: RDKit finds no geometry of it (ETKDG, with random starts, too); is the "
            "SMILES that of a molecule that can be? Otherwise give a file with a structure"
        )
    return _different(rough)


def _different(rough: list[Floats]) -> list[Floats]:
    first, second = np.triu_indices(len(rough[0]), 1)
    kept: list[Floats] = []
    known: list[Floats] = []
    for positions in rough:
        lengths = np.sort(np.linalg.norm(positions[first] - positions[second], axis=1))
        if all(np.abs(lengths - other).max(initial=0.0) > _SAME for other in known):
            kept.append(positions)
            known.append(lengths)
    return kept


def _molecule(smiles: str) -> Any:
    """Returns the molecules of a SMILES with hydrogens, the atoms of each together."""
    Chem = _chem()
    with _quiet():
        parts = [_part(Chem, part, smiles) for part in smiles.split(".")]
        molecule = reduce(Chem.CombineMols, parts)
        Chem.SanitizeMol(molecule)
    return molecule


def _part(Chem: Any, part: str, smiles: str) -> Any:
    found = Chem.MolFromSmiles(part) if part else None
    if found is not None and found.GetNumAtoms():
        return Chem.AddHs(found)
    raw = Chem.MolFromSmiles(part, sanitize=False) if part else None
    problems = [] if raw is None else Chem.DetectChemistryProblems(raw)
    why = problems[0].Message() if problems else "its syntax is wrong"
    raise ConfigError(f"SMILES {smiles!r} is that of no molecule: {why}")


def _fits(molecule: Any, graph: MolecularGraph) -> bool:
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return numbers == graph.numbers.tolist() and np.array_equal(bonds_of(molecule), graph.bonds)


def _perceived(Chem: Any, graph: MolecularGraph, positions: Floats, charge: int) -> Any:
    perception = importlib.import_module("rdkit.Chem.rdDetermineBonds")
    editable = Chem.RWMol()
    for z in graph.numbers.tolist():
        editable.AddAtom(Chem.Atom(z))
    for one, other in graph.bonds.tolist():
        editable.AddBond(one, other, Chem.BondType.SINGLE)
    conformer = Chem.Conformer(len(positions))
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    editable.AddConformer(conformer)  # tells the handedness of centres
    try:
        with _quiet():
            perception.DetermineBondOrders(editable, charge=charge, maxIterations=10_000)
            molecule = editable.GetMol()
            Chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError) as error:
        formula = Atoms(graph.numbers).get_chemical_formula()
        raise GeometryError(
            f"{formula}: no bond orders fit its positions and charge {charge:+d} "
            f"({str(error).strip().splitlines()[0]}); give a SMILES, or another charge"
        ) from error
    return molecule


@contextmanager
def _quiet() -> Iterator[None]:
    """While it lasts RDKit does not write to standard error, and after it Ctrl-C is heard again.

    What takes RDKit long takes SIGINT from Python, and keeps it.
    """
    with importlib.import_module("rdkit.rdBase").BlockLogs():
        try:
            yield
        finally:
            handler = signal.getsignal(signal.SIGINT)
            if handler is not None and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, handler)


def _chem() -> Any:
    try:
        return importlib.import_module("rdkit.Chem")
    except ImportError as error:
        raise MissingExtraError("rdkit", "rdkit", "a molecule by SMILES") from error
