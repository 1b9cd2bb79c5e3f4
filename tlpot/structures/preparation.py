"""Proteins with everything that a structure file leaves out: atoms, hydrogens, ends."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tlpot.bond_thresholds import METAL_REACH, PEPTIDE_REACH, RADII
from tlpot.errors import ConfigError, DataError, GeometryError, MissingExtraError, ValenceError
from tlpot.files import atomic_file
from tlpot.structures.caps import add_caps, is_amino
from tlpot.structures.proteins import LABELS, ProteinFile, protein_atoms
from tlpot.structures.proteins import residue_label as label_of
from tlpot.structures.reader import is_protein_file, load_protein
from tlpot.topology import COVALENT, LABILE, NOBLE, Topology, perceive_topology

_HISTIDINE = {("ND1",): "HIE", ("NE2",): "HID", ("ND1", "NE2"): "HIN"}
"""Where the proton of a histidine is, by the nitrogens that bind metals."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
"""Names of chains in a PDB file."""

_ALCOHOLS = ("SER", "THR", "HYP")
_WATERS = ("HOH", "WAT", "DOD", "H2O", "TIP", "TIP3", "SOL")


def free_donors(fixer: Any, ph: float, notes: list[str]) -> None:
    """Takes protons off the donors of metals in a `PDBFixer` that has added all hydrogens.

    Thiols, imidazoles, carboxylic acids and phenols bind metals without a proton, amines with
    two; waters and alcohols keep theirs. A histidine gets its proton on the nitrogen that is
    free. Alkali metals do not count.

    `notes` gets a line for each donor.
    """
    from openmm import app

    donors = _donors(fixer)
    if not donors:
        return
    variants: dict[Any, str] = {}
    for residue in {atom.residue for atom in donors}:
        if residue.name.upper() in ("HIS", "HID", "HIE", "HIP", "HIN"):
            bound = tuple(sorted(a.name for a in donors if a.residue == residue))
            variants[residue] = _HISTIDINE.get(bound, "")
    modeller = app.Modeller(fixer.topology, fixer.positions)
    doomed = _protons(fixer.topology, donors)
    imidazole = [
        atom
        for atom in fixer.topology.atoms()
        if variants.get(atom.residue) and atom.name in ("HD1", "HE2")
    ]
    for atom in donors:
        if any(parent is atom for _, parent in doomed):
            notes.append(f"{_label(atom.residue)}: no proton on {atom.name}, which binds a metal")
    modeller.delete([*{*(h for h, _ in doomed), *imidazole}])
    if imidazole or any(variants.values()):
        order = {residue.index: variant for residue, variant in variants.items() if variant}
        wanted = [order.get(residue.index) for residue in modeller.topology.residues()]
        modeller.addHydrogens(pH=ph, variants=wanted)
        fixer.topology, fixer.positions = modeller.topology, modeller.positions
        again = _protons(fixer.topology, _donors(fixer))
        modeller = app.Modeller(fixer.topology, fixer.positions)
        modeller.delete([h for h, _ in again])
    fixer.topology, fixer.positions = modeller.topology, modeller.positions


def _donors(fixer: Any) -> list[Any]:
    """The nitrogen, oxygen, sulfur and selenium atoms in the first shell of a metal."""
    from openmm import unit

    atoms = [atom for atom in fixer.topology.atoms() if atom.element is not None]
    numbers = np.array([atom.element.atomic_number for atom in atoms])
    positions = np.array(fixer.positions.value_in_unit(unit.angstrom))
    positions = positions[[atom.index for atom in atoms]]
    metals = np.flatnonzero(~np.isin(numbers, list(COVALENT | LABILE | NOBLE)))
    able = np.flatnonzero(np.isin(numbers, (7, 8, 16, 34)))
    found: set[int] = set()
    for metal in metals:
        distances = np.linalg.norm(positions[able] - positions[metal], axis=1)
        reach = METAL_REACH * (RADII[numbers[metal]] + RADII[numbers[able]])
        found |= set(able[distances < reach].tolist())
    return [atoms[k] for k in sorted(found)]


def _protons(topology: Any, donors: list[Any]) -> list[tuple[Any, Any]]:
    """Pairs of a hydrogen that must go and the donor that it is on."""
    held: dict[Any, list[Any]] = {atom: [] for atom in donors}
    for bond in topology.bonds():
        for one, other in ((bond[0], bond[1]), (bond[1], bond[0])):
            is_hydrogen = other.element is not None and other.element.atomic_number == 1
            if one in held and is_hydrogen:
                held[one].append(other)
    return [(h, atom) for atom, hs in held.items() for h in hs[_allowed(atom) :]]


def _allowed(atom: Any) -> int:
    """How many hydrogens a donor keeps."""
    name = atom.residue.name.upper()
    if name in _WATERS or (atom.element.atomic_number == 7 and not name.startswith("HI")):
        return 2
    if name.startswith("HI") and atom.name == "N":
        return 2
    return int(name in _ALCOHOLS)


def _label(residue: Any) -> str:
    return f"{residue.chain.id}/{residue.name} {residue.id}{residue.insertionCode.strip()}"


@dataclass(frozen=True, kw_only=True)
class PreparationReport:
    """What preparing did.

    Attributes:
        out: the file that was written.
        notes: what the reader dropped, chain breaks, residues removed, caps.
        added: heavy atoms that were added, by residue.
        hydrogens: how many hydrogens were added.
        topology: of the result.
    """

    out: Path
    notes: tuple[str, ...]
    added: tuple[str, ...]
    hydrogens: int
    topology: Topology

    def text(self) -> str:
        """Returns the report as lines."""
        return "\n".join(
            [
                *self.notes,
                *self.added,
                f"{self.hydrogens} hydrogens added",
                f"written: {self.out}",
                self.topology.summary(),
            ]
        )


def prepare_protein(
    path: str | Path,
    *,
    out: str | Path,
    ph: float = 7.4,
    caps: bool = False,
    remove_water: bool = False,
    remove_hetero: bool = False,
    replace_nonstandard: bool = False,
    model: int | None = None,
) -> PreparationReport:
    """Adds missing heavy atoms and hydrogens to a protein (PDBFixer) and checks the result.

    Missing loops are not built: a chain that is broken is split there, and its ends are closed
    as chain ends. Protonation states are those of OpenMM's rules for `ph`. The positions of
    what was added are rough; relax them before use.

    Args:
        path: PDB or mmCIF file.
        out: PDB or mmCIF file to write, by its suffix.
        ph: decides which groups carry a proton.
        caps: close the ends with acetyl and N-methylamide instead of charged groups.
        remove_water: drop water.
        remove_hetero: drop ligands and ions, water apart.
        replace_nonstandard: turn residues that PDBFixer knows as variants (MSE, CAS, SEP, ...)
            into the amino acids that they come from.
        model: the model's number; default: the first.

    Chains keep their names; in a PDB file, which has room for one character, other names are
    replaced, of which a note tells.

    Raises:
        DataError: an unreadable file; see `load_protein`.
        ConfigError: `ph` is not between 0 and 14, or `out` is no PDB or mmCIF name.
        GeometryError: valences do not close even after the repair, as of ligands that PDBFixer
            does not know; nothing is written.
        MissingExtraError: gemmi, PDBFixer or OpenMM is not installed.
    """
    path, out = Path(path), Path(out)
    if not 0 <= ph <= 14:
        raise ConfigError(f"ph is {ph}; expected a number from 0 to 14")
    if not is_protein_file(out) or out.suffix == ".gz":
        raise ConfigError(f"out is {str(out)!r}; expected a name that ends in .pdb or .cif")
    fixer_class, app = _openmm()
    loaded = load_protein(path, model=model)
    notes = list(loaded.notes)
    _remove(loaded, remove_water, remove_hetero, notes)
    _split_broken_chains(loaded.structure, notes)
    if caps:
        add_caps(loaded.structure, notes)
    if not any(len(chain) for chain in loaded.structure[0]):
        raise DataError(f"{path}: nothing is left to prepare; is it only water or ligands?")
    names = _shorten_chain_names(loaded.structure)
    try:
        fixer = fixer_class(pdbfile=io.StringIO(_pdb_text(loaded.structure)))
    except Exception as error:  # OpenMM raises what its parser happens to meet
        raise DataError(f"{path}: OpenMM could not read it: {error}") from error
    _rename_chains(fixer, names)
    if replace_nonstandard:
        fixer.findNonstandardResidues()
        notes += [f"{r.chain.id}/{r.name} {r.id} becomes {n}" for r, n in fixer.nonstandardResidues]
        fixer.replaceNonstandardResidues()
    before = _hydrogens(fixer.topology)
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    _spare_capped_ends(fixer)
    added = _describe(fixer)
    try:
        fixer.addMissingAtoms(seed=1)
        fixer.addMissingHydrogens(ph)
        free_donors(fixer, ph, notes)
    except Exception as error:  # a residue without template raises ValueError, and more kinds
        raise DataError(
            f"{path}: PDBFixer could not complete the structure: {error}; --remove-hetero "
            "(remove_hetero=True) drops ligands and ions, which it may not know"
        ) from error
    if _is_pdb(out) and names:
        _rename_chains(fixer, {name: short for short, name in names.items()})
        said = ", ".join(f"{name} is {short}" for short, name in names.items())
        notes.append(f"chain {said} in {out.name}: PDB has room for one character, .cif for more")
    with atomic_file(out) as temporary:
        draft = temporary.with_suffix(out.suffix)
        try:
            _write(app, fixer, draft)
            atoms = protein_atoms(load_protein(draft))
            topology = _closed(atoms, path, fixer)
            draft.replace(temporary)
        finally:
            draft.unlink(missing_ok=True)
    return PreparationReport(
        out=out,
        notes=tuple(notes),
        added=tuple(added),
        hydrogens=_hydrogens(fixer.topology) - before,
        topology=topology,
    )


def _closed(atoms: Atoms, path: Path, fixer: Any) -> Topology:
    """Returns the topology of what was prepared.

    Raises:
        GeometryError: valences do not close; the residues that PDBFixer does not know are named.
    """
    from pdbfixer.pdbfixer import substitutions

    try:
        return perceive_topology(atoms)
    except GeometryError as error:
        short = error.short if isinstance(error, ValenceError) else ()
        labels = dict.fromkeys(atoms.arrays[LABELS][list(short)].tolist())
        unknown: dict[str, str] = {}
        for label in labels:
            name = label.rpartition("/")[2].rpartition(" ")[0]
            if name not in fixer.templates and name not in _WATERS:
                unknown.setdefault(name, label)
        if not unknown:
            what = "\n".join(str(error).splitlines()[:-1] or [str(error)])
            raise GeometryError(
                f"{path}: what is missing was added, and still {what}\nAtoms of the file are out "
                "of place, or bound in a way that PDBFixer does not know; mend them in the file"
            ) from error
        where = ", ".join(f"{name} ({label})" for name, label in unknown.items())
        known = {name: substitutions[name] for name in unknown if name in substitutions}
        amino = {residue.name for residue in fixer.topology.residues() if _has_backbone(residue)}
        foreign = [name for name in unknown if name not in amino]
        made = ", ".join(f"{new} of {old}" for old, new in known.items())
        remedies = [
            f"--replace-nonstandard (replace_nonstandard=True) makes {made}" * bool(known),
            f"--remove-hetero (remove_hetero=True) drops {', '.join(foreign)}" * bool(foreign),
            "hydrogens that the file has are kept, so add those of these residues there",
        ]
        raise GeometryError(
            f"{path}: PDBFixer has no hydrogens for {where}, nor has files.rcsb.org, if that could "
            f"be reached. {'; '.join(filter(None, remedies))}"
        ) from error


def _has_backbone(residue: Any) -> bool:
    return {"N", "CA", "C"} <= {atom.name for atom in residue.atoms()}


def _remove(loaded: ProteinFile, water: bool, hetero: bool, notes: list[str]) -> None:
    structure = loaded.structure
    if not (water or hetero):
        return
    dropped: Counter[str] = Counter()
    for chain in structure[0]:
        for index in reversed(range(len(chain))):
            residue = chain[index]
            foreign = not is_amino(residue) and residue.name not in ("ACE", "NME", "NH2")
            if (water and residue.is_water()) or (hetero and foreign and not residue.is_water()):
                dropped[residue.name] += 1
                del chain[index]
    structure.remove_empty_chains()
    if dropped:
        notes.append(
            "removed: " + ", ".join(f"{n} x {name}" for name, n in sorted(dropped.items()))
        )


def _split_broken_chains(structure: Any, notes: list[str]) -> None:
    """Makes a chain of its own of what follows a gap, so that both ends are closed."""
    import gemmi

    model = structure[0]
    taken = {chain.name for chain in model}
    spare = iter(_LETTERS)
    for index in range(len(model)):
        chain = model[index]
        if not chain.name.strip():  # OpenMM writes broken mmCIF for a chain without name
            chain.name = next(c for c in spare if c not in taken)
            taken.add(chain.name)
        while True:
            cut = _first_gap(chain)
            if cut is None:
                break
            fresh = next((c for c in spare if c not in taken), None)
            if fresh is None:
                raise DataError("more chain breaks than chain names; prepare one chain at a time")
            taken.add(fresh)
            notes.append(
                f"chain break between {label_of(chain, chain[cut - 1])} and "
                f"{label_of(chain, chain[cut])}: what follows is chain {fresh}"
            )
            tail = gemmi.Chain(fresh)
            for residue in list(chain)[cut:]:
                tail.add_residue(residue)
            for place in reversed(range(cut, len(chain))):
                del chain[place]
            chain = model.add_chain(tail)


def _first_gap(chain: Any) -> int | None:
    residues = list(chain)
    for index in range(1, len(residues)):
        left, right = residues[index - 1], residues[index]
        if not (is_amino(left) and is_amino(right)):
            continue
        c, n = left.find_atom("C", "*").pos, right.find_atom("N", "*").pos
        if np.linalg.norm(np.subtract(c.tolist(), n.tolist())) > PEPTIDE_REACH:
            return index
    return None


def _shorten_chain_names(structure: Any) -> dict[str, str]:
    """Gives chains names of one character; returns the old names by those that are new.

    Raises:
        DataError: there are more chains than such names.
    """
    chains = list(structure[0])
    taken = {chain.name for chain in chains}
    new: dict[str, str] = {}
    for chain in chains:
        if len(chain.name) > 1 and chain.name not in new:
            letters = f"{chain.name}{_LETTERS}"
            short = next((c for c in letters if c in _LETTERS and c not in taken), None)
            if short is None:
                raise DataError(
                    f"more chains than the {len(_LETTERS)} one-letter names; prepare one at a time"
                )
            new[chain.name] = short
            taken.add(short)
    for chain in chains:
        chain.name = new.get(chain.name, chain.name)
    return {short: name for name, short in new.items()}


def _rename_chains(fixer: Any, names: Mapping[str, str]) -> None:
    for chain in fixer.topology.chains():
        chain.id = names.get(chain.id, chain.id)


def _pdb_text(structure: Any) -> str:
    """Returns PDB text with TER after the last amino acid or cap of each chain.

    gemmi would put it before a cap, and PDBFixer then adds OXT; without any, PDBFixer takes a
    water for the end of the chain and adds none.
    """
    import gemmi

    options = gemmi.PdbWriteOptions()
    options.ter_records = False
    ends = set()
    for chain in structure[0]:
        amino = [k for k, residue in enumerate(chain) if is_amino(residue)]
        if amino:
            last = amino[-1]
            last += last + 1 < len(chain) and chain[last + 1].name in ("NME", "NH2")
            ends.add((chain.name, str(chain[last].seqid)))
    lines = structure.make_pdb_string(options).splitlines(keepends=True)
    atoms = [k for k, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
    keys = [(lines[k][21], lines[k][22:27].strip()) for k in atoms]
    for place in reversed(range(len(atoms))):
        here = keys[place]
        if here in ends and (place + 1 == len(atoms) or keys[place + 1] != here):
            lines.insert(atoms[place] + 1, "TER\n")
    return "".join(lines)


def _spare_capped_ends(fixer: Any) -> None:
    """Takes OXT off the list of missing atoms where a cap follows, which PDBFixer overlooks."""
    for residue in list(fixer.missingTerminals):
        siblings = list(residue.chain.residues())
        place = siblings.index(residue)
        if any(other.name in ("NME", "NH2") for other in siblings[place + 1 : place + 2]):
            del fixer.missingTerminals[residue]


def _describe(fixer: Any) -> list[str]:
    lines = []
    for found in (fixer.missingAtoms, fixer.missingTerminals):
        for residue, atoms in found.items():
            names = [getattr(atom, "name", atom) for atom in atoms]
            where = f"{residue.chain.id}/{residue.name} {residue.id}{residue.insertionCode.strip()}"
            lines.append(f"{where}: {', '.join(names)} added")
    return lines


def _hydrogens(topology: Any) -> int:
    return sum(
        atom.element is not None and atom.element.atomic_number == 1 for atom in topology.atoms()
    )


def _is_pdb(path: Path) -> bool:
    return path.suffix.lower() in (".pdb", ".ent", ".pdb1")


def _write(app: Any, fixer: Any, path: Path) -> None:
    writer = app.PDBFile if _is_pdb(path) else app.PDBxFile
    with path.open("w", encoding="utf-8") as handle:
        writer.writeFile(fixer.topology, fixer.positions, handle, keepIds=True)


def _openmm() -> tuple[Any, Any]:
    try:
        import pdbfixer
        from openmm import app
    except ImportError as error:
        raise MissingExtraError("PDBFixer and OpenMM", "prep", "preparing a protein") from error
    return pdbfixer.PDBFixer, app
