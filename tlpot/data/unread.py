"""What is not read: kinds of files, and states of frames that a description does not name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Problem
from tlpot.data.spec import DataSpec
from tlpot.data.store import Store
from tlpot.total_charge import named_state

_MAGIC = {
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PAR1": ".parquet",
    b"\x80\x02": ".pkl", b"\x80\x03": ".pkl", b"\x80\x04": ".pkl", b"\x80\x05": ".pkl",
    b"\x93NUMPY": ".npy",
    b"SQLite format 3": ".sqlite",
    b"\x1f\x8b": ".gz",
    b"BZh": ".gz",
    b"\xfd7zXZ": ".gz",
}  # fmt: skip
"""First bytes, whatever the file is called."""

_WRITE = (
    "from ase import Atoms; from ase.io import write; frames = [Atoms(z, r, info={'energy': e, "
    "'charge': q}) for ...]; frames[k].arrays['forces'] = f; write('data.xyz', frames)"
)
_ASE = (
    "from ase.io import read, write; frames = read(FILE, index=':'); write('data.xyz', frames) "
    "(of ions and radicals with atoms.info['charge'] = ... and ['spin'] = 2S + 1, which such "
    "files do not hand over; check that len(frames) is the number of steps)"
)
_STRUCTURES = (
    "it holds structures without energies: 'tlpot label' computes these, 'tlpot predict' takes it "
    "as it is"
)
_PICKLE = (
    "a pickle may run code when it is opened, so none is read; where you trust its origin, load it "
    f"yourself and write what is in it: {_WRITE}"
)
_TABLE = f"a table is not read as a dataset; load it with pandas and write: {_WRITE}"
_PACKED = "unpack it first ({}), and name the file that was in it"

_REMEDIES = {
    (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".p"): _PICKLE,
    (".parquet", ".feather", ".arrow", ".csv", ".tsv", ".txt", ".dat", ".xlsx"): _TABLE,
    (".lmdb", ".aselmdb"): (
        "LMDB of fairchem is not read; with fairchem: from fairchem.core.datasets import "
        "AseDBDataset; data = AseDBDataset({'src': FILE}); from ase.io import write; "
        "write('data.traj', [data.get_atoms(k) for k in range(len(data))])"
    ),
    (".zst", ".zstd"): _PACKED.format("zstd -d"),
    (".gz", ".bz2", ".xz"): _PACKED.format("gunzip, bunzip2 or unxz"),
    (".zip", ".tar", ".tgz", ".7z"): _PACKED.format("unzip, tar xf"),
    (".npy",): (
        "an array alone does not say what it is; write npz: numpy.savez('data.npz', Z=..., R=..., "
        "E=..., F=...), with a description (data_specs/README.md)"
    ),
    (".sqlite",): "if it is a database of ASE, call it .db",
    (".out", ".log", ".pwo", ".castep", ".nwo", ".abo", ".gpw", ".xml", ".qcout"): _ASE,
    (".pdb", ".ent", ".mol2", ".sdf", ".mol", ".sd", ".smi", ".cif", ".lammpstrj", ".dump",
     ".dcd", ".xtc", ".vasp", ".poscar", ".gen"): _STRUCTURES,
    (".engrad",): (
        "of ORCA, write energies and gradients as extended XYZ, one frame each: the comment line "
        "'Properties=species:S:1:pos:R:3:forces:R:3 energy=E charge=Q spin=M' and lines 'O x y z "
        "gx gy gz', positions in angstrom; then read them with keys={'energy': 'energy, hartree', "
        "'forces': 'forces, hartree/bohr, gradient'}"
    ),
}  # fmt: skip
_NAMES = {"XDATCAR": ".vasp", "POSCAR": ".vasp", "CONTCAR": ".vasp", "gradient": ".out"}


def unread_remedy(path: Path) -> str:
    """Returns what to do with a file that is of no layout that is read.

    Args:
        path: it is there; its first bytes tell more than its name.
    """
    with path.open("rb") as handle:
        start = handle.read(16)
    kind = next((ending for magic, ending in _MAGIC.items() if start.startswith(magic)), "")
    kind = kind or _NAMES.get(path.name.split(".")[0], path.suffix.lower())
    for endings, remedy in _REMEDIES.items():
        if kind in endings:
            return remedy.replace("FILE", repr(str(path)))
    return "of other formats: " + _ASE.replace("FILE", repr(str(path)))


_CELLS = {
    "cell", "lattice", "latticevectors", "unitcell", "box", "boxvectors", "cellvectors", "pbc",
}  # fmt: skip
_NEUTRAL = {"charge": 0.0, "spin": 1.0}
"""What frames are taken for where nothing is read."""
_WORDS = {
    "charge": ("charge", "a charge", "neutral"),
    "spin": ("spin", "a multiplicity", "singlets"),
    "cell": ("cell", "a cell", "not periodic"),
    "pbc": ("pbc", "periodic directions", "not periodic"),
}
"""Quantity, what the key looks like, and what frames are without it."""
_SECTIONS = 64
"""That are looked into, spread over the file."""


def unread_state(store: Store, spec: DataSpec, unread: Collection[str]) -> list[Problem]:
    """Reports what would make frames periodic, charged or open shells and is not read.

    Args:
        store: the file's columns.
        spec: what they mean.
        unread: arrays of the file that the description does not mention.
    """
    found = []
    without_cell = spec.cell is None or (spec.container == "extxyz" and _in_vacuum(store))
    for key in sorted({*unread} - {*spec.unread}):
        state = named_state(key)
        if state is not None and state not in spec.named and getattr(spec, state) is None:
            stated = state == "charge" and spec.charge_smiles is not None
            others = (values != _NEUTRAL[state] for values in _of_frames(store, key))
            if not stated and any(other.any() for other in others):
                found.append(_problem(key, *_WORDS[state]))
        elif _squeezed(key) in _CELLS and without_cell:
            words = _WORDS["pbc" if _squeezed(key) == "pbc" else "cell"]
            found.append(_problem(key, *words, lattice=spec.container == "extxyz"))
    return found


def _squeezed(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())


def _in_vacuum(store: Store) -> bool:
    there = [k for k, section in enumerate(store.sections) if "cell" in section.shapes]
    return not any(store.read(k, "cell").any() for k in there[:_SECTIONS])


def _problem(key: str, quantity: str, what: str, taken: str, *, lattice: bool = False) -> Problem:
    return Problem(
        severity="warning",
        what=f"{key!r} is not read, although it looks like {what}, and frames are taken for "
        f"{taken}; "
        + (
            'if it is, write it as Lattice="ax ay az bx by bz cx cy cz" and pbc="T T T"'
            if lattice
            else f"name it if it is (keys={{{quantity!r}: {key!r}}}, --keys {quantity}={key}, or "
            "in a description)"
        ),
    )


def _of_frames(store: Store, key: str) -> Iterator[NDArray[np.float64]]:
    """Yields arrays of one number, or of one for each frame; others say nothing of a frame."""
    there = [k for k, section in enumerate(store.sections) if key in section.shapes]
    for k in there[:: max(1, len(there) // _SECTIONS)]:
        shape = store.sections[k].shapes[key]
        if len(shape) < 2 or shape[1:] == (1,):
            stored = store.read(k, key)
            if stored.dtype.kind in "iuf":
                yield stored[np.isfinite(stored)].astype(np.float64)
