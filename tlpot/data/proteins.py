"""Whole proteins in fragment files, and how their energies follow from those of the fragments."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tlpot.data.fragments import geometry_prints, is_fragment_file
from tlpot.data.hdf5 import open_hdf5
from tlpot.data.native import make_column
from tlpot.data.native_edits import places
from tlpot.data.open import open_dataset
from tlpot.errors import DataError, nearest
from tlpot.levels import choose_level


@dataclass(frozen=True, kw_only=True)
class ProteinAssembly:
    """The fragments of one structure: E = Σ c E_f, F = Pᵀ (c f) − Σ E_f ∂c/∂X.

    Attributes:
        kinds: [n_fragments], key of each fragment's kind.
        rows: [n_fragments], its row there.
        coefficients: [n_fragments], c.
        offsets: [n_fragments + 1], where its atoms begin among those of all fragments.
        map_row: [n_entries], P: atom of a fragment, counted over all fragments.
        map_atom: [n_entries], atom of the protein.
        map_weight: [n_entries].
        slope_fragment: [n_slopes], where c depends on the positions: the fragment.
        slope_atom: [n_slopes], the atom of the protein.
        slope: [n_slopes, 3], ∂c/∂X, 1/Å.
    """

    kinds: tuple[str, ...]
    rows: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    offsets: NDArray[np.int64]
    map_row: NDArray[np.int64]
    map_atom: NDArray[np.int64]
    map_weight: NDArray[np.float64]
    slope_fragment: NDArray[np.int64]
    slope_atom: NDArray[np.int64]
    slope: NDArray[np.float64]

    def energy(self, energies: NDArray[np.float64]) -> float:
        """Returns the energy of the protein from those of the fragments, [n_fragments], eV."""
        return float(self.coefficients @ energies)

    def forces(
        self, energies: NDArray[np.float64], forces: NDArray[np.float64], n_atoms: int
    ) -> NDArray[np.float64]:
        """Returns the forces on the protein, [n_atoms, 3], eV/Å.

        Args:
            energies: [n_fragments], eV.
            forces: [n_rows, 3], of all atoms of all fragments, eV/Å.
            n_atoms: of the protein.
        """
        weighed = np.repeat(self.coefficients, np.diff(self.offsets))[:, None] * forces
        found = np.zeros((n_atoms, 3))
        np.add.at(found, self.map_atom, self.map_weight[:, None] * weighed[self.map_row])
        np.add.at(found, self.slope_atom, -energies[self.slope_fragment][:, None] * self.slope)
        return found


_TYPES = {
    "rows": "i4", "coefficients": "f8", "offsets": "i4", "map_row": "i4", "map_atom": "i4",
    "map_weight": "f8", "slope_fragment": "i4", "slope_atom": "i4", "slope": "f8",
}  # fmt: skip
_STORED = {
    "rows": "row", "coefficients": "coeff", "map_row": "P_row", "map_atom": "P_col",
    "map_weight": "P_w", "slope_fragment": "dc_fragment", "slope_atom": "dc_atom", "slope": "dc",
}  # fmt: skip


def protein_key(source: str) -> str:
    """Returns the name of the group of ``/proteins`` for a run of a protein."""
    return source.replace("/", "_")


def add_protein(
    handle: h5py.File,
    path: Path,
    name: str,
    atomic_numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    charge: int,
) -> int:
    """Adds a structure to an open file unless it is there; returns its row.

    Raises:
        DataError: the protein of that name has other atoms or another charge.
    """
    group = handle.require_group("proteins").require_group(protein_key(name))
    if "numbers" not in group:
        group.attrs["source"], group.attrs["charge"] = name, charge
        group.create_dataset("numbers", data=atomic_numbers.astype("u1"))
        make_column(group, "positions", (0, len(atomic_numbers), 3), "f8", np.nan)
    same = np.array_equal(group["numbers"][()], atomic_numbers) and group.attrs["charge"] == charge
    if not same or group.attrs["source"] != name:
        raise DataError(
            f"{path}:{group.name} is another molecule than the new {name!r}, or has its atoms in "
            "another order; give one of them another name"
        )
    stored = group["positions"]
    known = geometry_prints(stored[()])
    (new,) = geometry_prints([positions])
    if new in known:
        return known.index(new)
    stored.resize(len(stored) + 1, axis=0)
    stored[-1] = positions
    return len(stored) - 1


def add_assembly(
    handle: h5py.File, name: str, row: int, scheme: str, assembly: ProteinAssembly
) -> None:
    """Adds to an open file how a structure is made of fragments by a scheme."""
    parent = handle["proteins"][protein_key(name)].require_group("assembly")
    key = f"{scheme}.{row}"
    if key in parent:
        del parent[key]
    group = parent.create_group(key)
    group["kind"] = np.array(assembly.kinds, dtype=h5py.string_dtype())
    for field, dtype in _TYPES.items():
        values = np.asarray(getattr(assembly, field)).astype(dtype)
        group.create_dataset(_STORED.get(field, field), data=values, compression=_packed(values))


def assembled(
    path: str | os.PathLike[str],
    name: str,
    level: str | None = None,
    *,
    row: int = 0,
    scheme: str | None = None,
) -> tuple[float, NDArray[np.float64] | None]:
    """Returns what the labels of fragments in a file say about the protein that they are from.

    Args:
        path: a file that `export_fragments` wrote with ``whole=True``.
        name: of the protein (with ``/`` and the trajectory, if it has one).
        level: level of theory; None if there is one.
        row: which of the structures of the protein.
        scheme: by which scheme; None if there is one.

    Returns:
        Energy, eV, and forces, [n_atoms, 3], eV/Å, or None where a fragment has none.

    Raises:
        DataError: no such protein, structure or scheme, or a fragment without a label; it is
            named.
        UnknownLevelError: the file has no such level.
    """
    where = Path(path)
    if not is_fragment_file(where):
        raise DataError(f"{where} is not a fragment file")
    with open_hdf5(where) as handle:
        proteins = handle.get("proteins", {})
        if protein_key(name) not in proteins:
            raise DataError(f"{where} has no protein {name!r}{nearest(name, proteins)}")
        group = proteins[protein_key(name)]
        assembly = _read_assembly(group, where, row, scheme)
        n_atoms = len(group["numbers"])
    dataset = open_dataset(where)
    chosen = choose_level(level, dataset.levels, str(where))
    frame_of = {place: k for k, place in enumerate(places(where))}
    members = list(zip(assembly.kinds, assembly.rows.tolist(), strict=True))
    for kind, k in members:
        if (kind, k) not in frame_of:
            raise DataError(f"{where} has no {kind}[{k}], a fragment of {name!r}; it is damaged")
    wanted = [frame_of[member] for member in members]
    labels = []
    for frame in dataset.read(wanted, [chosen]):
        if chosen not in frame.labels:
            raise DataError(
                f"{where.parent / frame.name}, a fragment of {name!r}, has no label at {chosen}; "
                "label it first"
            )
        labels.append(frame.labels[chosen])
    energies = np.array([label.energy for label in labels])
    forces = [label.forces for label in labels if label.forces is not None]
    energy = assembly.energy(energies)
    if len(forces) < len(labels):
        return energy, None
    return energy, assembly.forces(energies, np.concatenate(forces), n_atoms)


def _read_assembly(
    group: h5py.Group, path: Path, row: int = 0, scheme: str | None = None
) -> ProteinAssembly:
    """Returns how a structure of a protein is made of fragments.

    Raises:
        DataError: no such structure or scheme, or arrays that do not fit together.
    """
    assemblies = group.get("assembly", {})
    keys = [key for key in assemblies if key.rpartition(".")[2] == str(row)]
    schemes = [key.rpartition(".")[0] for key in keys]
    if not schemes:
        raise DataError(f"{path}:{group.name} has no assembly of structure {row}")
    if scheme is None and len(schemes) > 1:
        raise DataError(
            f"{path}:{group.name} is assembled by the schemes {', '.join(schemes)}; say scheme=..."
        )
    name = schemes[0] if scheme is None else scheme
    if name not in schemes:
        raise DataError(f"{path}:{group.name} has no scheme {name!r}{nearest(name, schemes)}")
    own = assemblies[f"{name}.{row}"]
    where = f"{path}:{own.name}"
    for key in ("kind", "offsets", *_STORED.values()):
        if key not in own:
            raise DataError(f"{where} has no dataset {key!r}")
    arrays: dict[str, Any] = {
        field: own[_STORED.get(field, field)][()].astype(np.float64 if dtype == "f8" else np.int64)
        for field, dtype in _TYPES.items()
    }
    kinds = tuple(own["kind"].asstr()[()].tolist())
    entries, slopes = len(arrays["map_row"]), len(arrays["slope"])
    for field, shape in (
        ("rows", (len(kinds),)), ("coefficients", (len(kinds),)), ("offsets", (len(kinds) + 1,)),
        ("map_atom", (entries,)), ("map_weight", (entries,)), ("slope_fragment", (slopes,)),
        ("slope_atom", (slopes,)), ("slope", (slopes, 3)),
    ):  # fmt: skip
        if arrays[field].shape != shape:
            raise DataError(
                f"{where}: {_STORED.get(field, field)!r} has shape {arrays[field].shape}, but "
                f"{len(kinds)} fragments need {shape}"
            )
    return ProteinAssembly(kinds=kinds, **arrays)


def _packed(values: NDArray) -> str | None:
    return "gzip" if values.size > 1024 else None
