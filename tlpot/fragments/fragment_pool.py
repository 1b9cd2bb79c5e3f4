"""The fragments of many structures, each geometry once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from tlpot.data import PRECISION, FragmentGraph, FragmentSource, ProteinAssembly
from tlpot.errors import ConfigError, GeometryError, nearest
from tlpot.fragments.closed_shells import check_closed_shells
from tlpot.fragments.fragment import Fragment, Units
from tlpot.fragments.fragment_type import FragmentTypes
from tlpot.fragments.fragmented_structure import FragmentedStructure, FragmentMap, Partition
from tlpot.fragments.schemes.registry import Scheme, choose_scheme
from tlpot.numbers import Floats, Ints
from tlpot.topology import Topology, perceive_topology


@dataclass(frozen=True, kw_only=True)
class ProteinFrames:
    """Structures of one protein.

    Attributes:
        name: of the protein; a split by source keeps all its fragments together.
        frames: one or many; all hydrogens must be there.
        trajectory: the run that they are from, where a protein has several.
        topology: of the frames, where it is known; a frame whose bonds are broken is perceived
            anew. If left out, that of the first frame.
    """

    name: str
    frames: Iterable[Atoms]
    trajectory: str = ""
    topology: Topology | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PooledFragment:
    """A geometry of a fragment.

    Attributes:
        positions: [n, 3], Å, in the order of its kind.
        source: where it is from; of several equal ones, the first.
        weight: its coefficient there.
    """

    positions: Floats
    source: FragmentSource
    weight: float


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A structure as a sum of fragments.

    Attributes:
        name: of the protein and the run.
        atomic_numbers: [n_atoms].
        positions: [n_atoms, 3], Å.
        charge: e.
        members: kind and number of the candidate of each fragment.
        assembly: how they add up; its rows are yet to be filled in.
    """

    name: str
    atomic_numbers: Ints
    positions: Floats
    charge: int
    members: tuple[tuple[str, int], ...]
    assembly: ProteinAssembly


class FragmentPool:
    """Fragments of many frames, by kind.

    Args:
        types: the kinds.
        scheme: name of a fragment scheme, or a scheme.
        kinds: only fragments of these names or keys.
        seed: to be written down with each fragment.
        whole: remember how structures are made of them.

    Attributes:
        n_frames: structures.
        n_fragments: fragments in all of them.
        found: geometries by key of the kind.
        wholes: the structures, if `whole`.
    """

    def __init__(
        self,
        types: FragmentTypes,
        scheme: str | Scheme,
        kinds: Collection[str] | None = None,
        *,
        seed: int = -1,
        whole: bool = False,
    ) -> None:
        self.types, self.scheme, self.seed = types, choose_scheme(scheme), seed
        self.kinds = None if kinds is None else frozenset(kinds)
        self.scheme_name = scheme.lower() if isinstance(scheme, str) else self.scheme.name
        self.n_frames = self.n_fragments = 0
        self.found: dict[str, list[PooledFragment]] = {}
        self.wholes: list[Whole] | None = [] if whole else None
        self._seen: set[str] = set()
        self._places: dict[tuple[str, bytes], int] = {}

    def add(self, protein: ProteinFrames) -> None:
        """Cuts the fragments of all frames.

        Raises:
            GeometryError: valences that do not close, a fragment that is no singlet, or a periodic
                structure; the frame is named.
        """
        known = protein.topology
        prepared = None if known is None else FragmentedStructure(known, self.scheme)
        orders: dict[Units, tuple[FragmentGraph, Ints, str]] = {}
        for number, atoms in enumerate(protein.frames):
            if atoms.pbc.any():
                raise GeometryError(
                    f"frame {number} of {protein.name} is periodic, and a file of fragments has no "
                    "cells to put them together again; set pbc=False if molecules are whole and "
                    "images do not matter, or write fragments as .xyz (tlpot fragment --export)"
                )
            positions = np.asarray(atoms.positions, dtype=np.float64)
            if prepared is None or not _fits(prepared, atoms):
                prepared, orders = (
                    FragmentedStructure(_topology(atoms, protein, number), self.scheme),
                    {},
                )
            self.n_frames += 1
            partition = prepared.partition(positions)
            coefficients, needed = _coefficients(partition, positions)
            new = [u for k in needed if (u := partition.expansion.sets[k]) not in orders]
            check_closed_shells(prepared.topology, map(prepared.cutter.cut, new))
            members = []
            for k in needed:
                units = partition.expansion.sets[k]
                if units not in orders:
                    kind, order = self.types.of(prepared.topology, prepared.cutter.cut(units))
                    orders[units] = kind, order, _residues(prepared.topology, units)
                kind, order, residues = orders[units]
                source = FragmentSource(
                    source=protein.name,
                    trajectory=_run(protein),
                    frame=number,
                    scheme=self.scheme_name,
                    seed=self.seed,
                    residues=residues,
                )
                where = prepared.cutter.cut(units).positions(positions)[order]
                place = self._add(
                    kind,
                    PooledFragment(positions=where, source=source, weight=float(coefficients[k])),
                )
                members.append((kind.key, place))
            if self.wholes is not None:
                fragments = [prepared.cutter.cut(partition.expansion.sets[k]) for k in needed]
                own = [orders[fragment.units][1] for fragment in fragments]
                assembly = _assembly(fragments, own, coefficients, needed, partition, positions)
                self.wholes.append(
                    Whole(
                        name=_run(protein),
                        atomic_numbers=prepared.topology.atomic_numbers,
                        positions=positions,
                        charge=prepared.topology.charge,
                        members=tuple(members),
                        assembly=assembly,
                    )
                )

    def check_kinds(self) -> None:
        """Checks that every kind asked for was met.

        Raises:
            ConfigError: one was not.
        """
        if self.kinds is not None:
            check_names(self.kinds, self._seen)

    def _add(self, kind: FragmentGraph, candidate: PooledFragment) -> int:
        """Adds a geometry unless it is there; returns its number, -1 if it was not asked for."""
        self.n_fragments += 1
        self._seen |= {kind.key, kind.name}
        if self.kinds is not None and not {kind.key, kind.name} & self.kinds:
            return -1
        known = self.found.setdefault(kind.key, [])
        print_ = kind.key, (np.rint(candidate.positions / PRECISION) + 0.0).tobytes()
        place = self._places.setdefault(print_, len(known))
        if place == len(known):
            known.append(candidate)
        return place


def check_names(asked: Collection[str], known: Collection[str]) -> None:
    """Checks that fragments of some names exist.

    Raises:
        ConfigError: one does not; the nearest name is given.
    """
    for name in asked:
        if name not in known:
            raise ConfigError(f"there is no fragment {name!r}{nearest(name, known)}")


def _coefficients(partition: Partition, positions: Floats) -> tuple[Floats, list[int]]:
    """Returns the coefficients of all fragments, and which fragments matter."""
    where = torch.from_numpy(positions)
    coefficients = partition.coefficients(where).numpy()
    needed = coefficients != 0.0
    terms = partition.expansion.pairs
    if terms is not None and partition.weights is not None:
        active = partition.weights(where).numpy()[terms.weight] > 0.0
        for index in (terms.union, terms.left, terms.right, terms.meet):
            needed[index[active & (index >= 0)]] = True
    return coefficients, np.flatnonzero(needed).tolist()


def _assembly(
    fragments: Sequence[Fragment],
    orders: Sequence[Ints],
    coefficients: Floats,
    needed: Sequence[int],
    partition: Partition,
    positions: Floats,
) -> ProteinAssembly:
    """How the fragments that matter add up, with their atoms in the order of their kinds."""
    matrix = FragmentMap(fragments, len(positions)).matrix()
    offsets = np.concatenate([[0], np.cumsum([len(fragment) for fragment in fragments])])
    rows = np.concatenate([order + begin for order, begin in zip(orders, offsets, strict=False)])
    entries = matrix[rows].tocoo()
    fragment, atom, slope = _slopes(partition, positions, needed)
    return ProteinAssembly(
        kinds=(),
        rows=np.zeros(0, dtype=np.int64),
        coefficients=coefficients[list(needed)],
        offsets=offsets,
        map_row=entries.coords[0].astype(np.int64),
        map_atom=entries.coords[1].astype(np.int64),
        map_weight=entries.data,
        slope_fragment=fragment,
        slope_atom=atom,
        slope=slope,
    )


def _slopes(
    partition: Partition, positions: Floats, needed: Sequence[int]
) -> tuple[Ints, Ints, Floats]:
    """Returns ∂c/∂X where it is not zero: fragment (among those needed), atom, vector."""
    found: dict[tuple[int, int], Floats] = {}
    terms = partition.expansion.pairs
    if terms is not None and partition.weights is not None:
        place = {k: number for number, k in enumerate(needed)}
        where = torch.from_numpy(positions).clone().requires_grad_(True)
        weights = partition.weights(where)
        changing = (weights > 0.0) & (weights < 1.0)
        for weight in changing.nonzero()[:, 0].tolist():
            (tensor,) = torch.autograd.grad(weights[weight], where, retain_graph=True)
            gradient = tensor.numpy()
            moving = np.flatnonzero(gradient.any(axis=1)).tolist()
            for term in np.flatnonzero(terms.weight == weight).tolist():
                for index, sign in (
                    (terms.union, 1.0), (terms.left, -1.0), (terms.right, -1.0), (terms.meet, 1.0),
                ):  # fmt: skip
                    for atom in moving if index[term] >= 0 else ():
                        key = place[int(index[term])], atom
                        change = sign * terms.sign[term] * gradient[atom]
                        found[key] = found.get(key, np.zeros(3)) + change
    found = {key: vector for key, vector in found.items() if vector.any()}
    keys = np.array(list(found), dtype=np.int64).reshape(-1, 2)
    vectors = np.array(list(found.values()), dtype=np.float64).reshape(-1, 3)
    return keys[:, 0], keys[:, 1], vectors


def _run(protein: ProteinFrames) -> str:
    """Names the run so that those of two proteins differ; without one it is the protein."""
    return f"{protein.name}/{protein.trajectory}" if protein.trajectory else protein.name


def _fits(prepared: FragmentedStructure, atoms: Atoms) -> bool:
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
