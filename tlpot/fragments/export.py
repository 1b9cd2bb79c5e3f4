"""Fragments of proteins into a file for labelling, and back out of it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from tlpot.data.fingerprint import PRECISION
from tlpot.data.fragment_kind import FragmentKind, FragmentRows, FragmentSource
from tlpot.data.fragment_layout import is_fragment_file
from tlpot.data.fragment_store import FragmentStore
from tlpot.data.fragment_writer import append_fragments
from tlpot.data.open import open_dataset
from tlpot.errors import ConfigError, DataError, GeometryError, nearest
from tlpot.fragments.caps import ratio_table
from tlpot.fragments.fragment import Units
from tlpot.fragments.fragment_type import FragmentTypes
from tlpot.fragments.perception import perceive_topology
from tlpot.fragments.prepared import Prepared
from tlpot.fragments.schemes import Scheme, choose_scheme
from tlpot.fragments.selection import Selection, choose, inverse_distances
from tlpot.fragments.topology import Topology


@dataclass(frozen=True, kw_only=True)
class ProteinFrames:
    """Structures of one protein.

    Attributes:
        name: of the protein; a split by source keeps all its fragments together.
        frames: one or many; all hydrogens must be there.
        trajectory: the run that they are from, where a protein has several.
    """

    name: str
    frames: Iterable[Atoms]
    trajectory: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What was found and written.

    Attributes:
        n_frames: structures.
        n_fragments: fragments in all of them.
        n_distinct: different geometries among these, of the kinds asked for.
        n_written: new ones that were chosen; the file had none of these before.
        counts: geometries in the file by key of the kind, for the kinds that were met.
    """

    n_frames: int
    n_fragments: int
    n_distinct: int
    n_written: int
    counts: dict[str, int]


def export_fragments(
    proteins: Iterable[ProteinFrames],
    scheme: str | Scheme,
    path: str | os.PathLike[str],
    *,
    kinds: Collection[str] | None = None,
    per_kind: int | None = None,
    select: Selection = "farthest",
    seed: int = 0,
) -> ExportReport:
    """Writes the distinct fragments of structures to a fragment file, or adds them to one.

    Those are all with a coefficient other than zero, and all of pair terms with a weight other
    than zero. They have the caps that `FragmentCalculator` will give them, and no labels:
    `open_dataset` reads them, ``tlpot label`` labels them, `tlpot.data.add_labels` puts the
    labels into the file. A geometry that is there already, to 1e-5 Å, is not written again.

    Args:
        proteins: structures and their names.
        scheme: name of a fragment scheme, or a scheme.
        path: the HDF5 file; what is in it stays.
        kinds: only fragments of these names (``ACE-ALA-NME``) or keys.
        per_kind: at most so many geometries of a kind in the file.
        select: which of more: ``farthest`` from each other, by inverse distances, or ``random``.
        seed: of the choice.

    Raises:
        GeometryError: valences that do not close, a periodic structure, broken bonds.
        ConfigError: no such scheme or kind, or no structures.
        DataError: an existing file is no fragment file or is damaged.
        OutputError: the file could not be written; an existing one is left as it was.
    """
    types = FragmentTypes()
    pool = _Pool(types, scheme, kinds, -1 if per_kind is None else seed)
    old = _known(Path(path), types)
    for protein in proteins:
        pool.add(protein)
    if not pool.n_frames:
        raise ConfigError("there are no structures to take fragments from")
    pool.check_kinds()
    rows = []
    for key, candidates in pool.found.items():
        rows.append(_chosen(types, key, candidates, old.get(key), per_kind, select, seed))
    placed = append_fragments(path, rows, about={"cap_rule": "ratio", "g_table": ratio_table()})
    counts = {
        some.kind.key: max(len(old.get(some.kind.key, ())), int(where.max(initial=-1)) + 1)
        for some, where in zip(rows, placed, strict=True)
    }
    return ExportReport(
        n_frames=pool.n_frames,
        n_fragments=pool.n_fragments,
        n_distinct=sum(len(candidates) for candidates in pool.found.values()),
        n_written=sum(counts[key] - len(old.get(key, ())) for key in counts),
        counts=counts,
    )


def fragments_from(
    path: str | os.PathLike[str],
    *,
    kinds: Collection[str] | None = None,
    without: str | None = None,
) -> list[Atoms]:
    """Returns the fragments of a file as molecules, for sampling or labelling.

    Charge and multiplicity are in ``info`` as ``charge`` and ``spin``, and beside them ``kind``
    (key), ``name``, ``row`` (in the kind) and ``source``.

    Args:
        path: a fragment file.
        kinds: only those of these names or keys.
        without: only those that have no energy at this level; one that the file does not
            know yet leaves all of them.

    Raises:
        DataError: not a fragment file, or damaged.
        ConfigError: the file has no fragments of such a name.
    """
    store = _store(Path(path))
    if kinds is not None:
        _check_names(kinds, {name for kind in store.kinds for name in (kind.key, kind.name)})
    done = None
    if without is not None:
        dataset = open_dataset(path)
        if without in dataset.levels:
            done = dataset.labelled(without)
    found, first = [], 0
    for section, kind in enumerate(store.kinds):
        positions = store.read(section, "positions")
        sources = store.read(section, "source")
        wanted = kinds is None or kind.key in kinds or kind.name in kinds
        for row in range(len(positions) if wanted else 0):
            if done is None or not done[first + row]:
                info = {
                    "charge": kind.charge,
                    "spin": kind.multiplicity,
                    "kind": kind.key,
                    "name": kind.name,
                    "row": row,
                    "source": str(sources[row]),
                }
                found.append(Atoms(kind.atomic_numbers, positions[row], info=info))
        first += len(positions)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    positions: NDArray[np.float64]
    source: FragmentSource
    weight: float


class _Pool:
    """Fragments of many frames, by kind."""

    def __init__(
        self,
        types: FragmentTypes,
        scheme: str | Scheme,
        kinds: Collection[str] | None,
        seed: int,
    ) -> None:
        self.types, self.scheme, self.seed = types, choose_scheme(scheme), seed
        self.kinds = None if kinds is None else frozenset(kinds)
        self.scheme_name = scheme.lower() if isinstance(scheme, str) else self.scheme.name
        self.n_frames = self.n_fragments = 0
        self.found: dict[str, list[_Candidate]] = {}
        self._seen: set[str] = set()
        self._prints: set[tuple[str, bytes]] = set()

    def add(self, protein: ProteinFrames) -> None:
        """Cuts the fragments of all frames."""
        prepared: Prepared | None = None
        orders: dict[Units, tuple[FragmentKind, NDArray[np.int64], str]] = {}
        for number, atoms in enumerate(protein.frames):
            if atoms.pbc.any():
                raise GeometryError(
                    f"frame {number} of {protein.name} is periodic, and fragments are molecules in "
                    "vacuum; set pbc=False"
                )
            positions = np.asarray(atoms.positions, dtype=np.float64)
            if prepared is None or not _fits(prepared, atoms):
                prepared, orders = Prepared(_topology(atoms, protein, number), self.scheme), {}
            self.n_frames += 1
            for units, weight in _members(prepared, positions):
                self.n_fragments += 1
                fragment = prepared.cutter.cut(units)
                if units not in orders:
                    kind, order = self.types.of(prepared.topology, fragment)
                    orders[units] = kind, order, _residues(prepared.topology, units)
                kind, order, residues = orders[units]
                self._seen |= {kind.key, kind.name}
                if self.kinds is not None and not {kind.key, kind.name} & self.kinds:
                    continue
                where = fragment.positions(positions)[order]
                print_ = kind.key, (np.rint(where / PRECISION) + 0.0).tobytes()
                if print_ in self._prints:
                    continue
                self._prints.add(print_)
                source = FragmentSource(
                    source=protein.name,
                    trajectory=_run(protein),
                    frame=number,
                    scheme=self.scheme_name,
                    seed=self.seed,
                    residues=residues,
                )
                self.found.setdefault(kind.key, []).append(
                    _Candidate(positions=where, source=source, weight=weight)
                )

    def check_kinds(self) -> None:
        """Checks that every kind asked for was met."""
        if self.kinds is not None:
            _check_names(self.kinds, self._seen)


def _members(prepared: Prepared, positions: NDArray[np.float64]) -> Iterator[tuple[Units, float]]:
    """Yields the fragments that matter, with their coefficients."""
    partition = prepared.partition(positions)
    where = torch.from_numpy(positions)
    coefficients = partition.coefficients(where).numpy()
    needed = coefficients != 0.0
    terms = partition.expansion.pairs
    if terms is not None and partition.weights is not None:
        active = partition.weights(where).numpy() > 0.0
        for index in (terms.union, terms.left, terms.right, terms.meet):
            needed[index[active & (index >= 0)]] = True
    for k in np.flatnonzero(needed).tolist():
        yield partition.expansion.sets[k], float(coefficients[k])


def _run(protein: ProteinFrames) -> str:
    """Names the run so that those of two proteins differ; without one it is the protein."""
    return f"{protein.name}/{protein.trajectory}" if protein.trajectory else protein.name


def _fits(prepared: Prepared, atoms: Atoms) -> bool:
    return np.array_equal(prepared.topology.atomic_numbers, atoms.numbers) and not len(
        prepared.broken_bonds(atoms.positions)
    )


def _topology(atoms: Atoms, protein: ProteinFrames, number: int) -> Topology:
    try:
        return perceive_topology(atoms)
    except GeometryError as error:
        raise GeometryError(f"frame {number} of {protein.name}: {error}") from error


def _residues(topology: Topology, units: Units) -> str:
    """Names the residues that a fragment has atoms of, by label or by name and place."""
    inside = sorted({r for unit in units for r in topology.units[unit].residues})
    names = [topology.residues[r].label or f"{topology.residues[r].name} {r}" for r in inside]
    return ", ".join(names)


def _chosen(
    types: FragmentTypes,
    key: str,
    candidates: Sequence[_Candidate],
    old: NDArray[np.float64] | None,
    per_kind: int | None,
    select: Selection,
    seed: int,
) -> FragmentRows:
    positions = np.stack([candidate.positions for candidate in candidates])
    taken = list(range(len(candidates)))
    if per_kind is not None:
        before = np.zeros((0, *positions.shape[1:])) if old is None else old
        known = {(np.rint(x / PRECISION) + 0.0).tobytes() for x in before}
        new = [
            k for k, x in enumerate(positions)
            if (np.rint(x / PRECISION) + 0.0).tobytes() not in known
        ]  # fmt: skip
        both = np.concatenate([before, positions[new]])
        features = inverse_distances(both, types.graph(key).colours)
        picked = choose(features, per_kind, how=select, seed=seed, n_old=len(before))
        taken = [new[k - len(before)] for k in picked.tolist()]
    some = [candidates[k] for k in taken]
    return FragmentRows(
        kind=types.kinds[key],
        positions=positions[taken],
        sources=tuple(candidate.source for candidate in some),
        weight=np.array([candidate.weight for candidate in some], dtype=np.float64),
    )


def _known(path: Path, types: FragmentTypes) -> dict[str, NDArray[np.float64]]:
    """Takes over the kinds of a file that exists; returns its geometries."""
    if not path.exists():
        return {}
    store = _store(path)
    for kind in store.kinds:
        types.add(kind)
    return {kind.key: store.read(k, "positions") for k, kind in enumerate(store.kinds)}


def _store(path: Path) -> FragmentStore:
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    if not is_fragment_file(path):
        raise DataError(
            f"{path} is not a fragment file (no root attribute 'schema'); export_fragments writes "
            "them"
        )
    return FragmentStore(path)


def _check_names(asked: Collection[str], known: Collection[str]) -> None:
    for name in asked:
        if name not in known:
            raise ConfigError(f"there is no fragment {name!r}{nearest(name, known)}")
