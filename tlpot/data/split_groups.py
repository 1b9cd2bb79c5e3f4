"""What a split keeps together: molecules, formulas, prototypes, clusters of compositions, a key."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Literal, TypeVar

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset, Frame, frames_of, with_any_label
from tlpot.errors import DataError
from tlpot.system import System
from tlpot.targets import is_property

SplitBy = Literal[
    "molecule", "random", "source", "trajectory", "key",
    "formula", "element", "prototype", "composition",
]  # fmt: skip

K = TypeVar("K", bound=Hashable)

PRECISION = 1e-5
"""Å; coordinates that round to the same multiples of this are the same."""

N_CLUSTERS = 20
"""Clusters of compositions: a twentieth of the frames is held out at least, as a rule."""


def fingerprint(system: System, precision: float = PRECISION) -> bytes:
    """Returns a hash of elements, positions, cell, charge and multiplicity.

    Structures that are rotated, shifted or list their atoms in another order differ.

    Args:
        system: the structure.
        precision: of positions and cell, Å.
    """
    parts = (
        system.atomic_numbers.astype(np.int64),
        np.rint(system.positions / precision) + 0.0,  # + 0.0 turns -0.0 into 0.0
        np.rint(system.cell / precision) + 0.0,
        system.pbc.astype(np.int8),
        np.array([system.charge, system.spin]),
    )
    return hashlib.blake2b(b"".join(part.tobytes() for part in parts), digest_size=16).digest()


def reduced_formula(numbers: NDArray[np.int64]) -> str:
    """Returns the formula of the smallest number of atoms in Hill order, ``O2Ti`` for Ti4O8."""
    z, counts = _reduced_counts(numbers)
    symbols = {chemical_symbols[k]: int(n) for k, n in zip(z, counts, strict=True)}
    return Formula.from_dict(symbols).format("hill")


def anonymous_formula(numbers: NDArray[np.int64]) -> str:
    """Returns the formula without the elements, the rarest first: ``AB2`` for Ti4O8."""
    counts = np.sort(_reduced_counts(numbers)[1])
    return "".join(f"{chr(65 + k)}{n if n > 1 else ''}" for k, n in enumerate(counts))


def _reduced_counts(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns atomic numbers, ascending, and how often each occurs in the reduced formula."""
    z, counts = np.unique(numbers, return_counts=True)
    return z, counts // np.gcd.reduce(counts)


def _numbered(names: Sequence[str]) -> list[str]:
    """Returns names that differ, by a number after those that have occurred before."""
    seen: dict[str, int] = defaultdict(int)
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return found


def kept_together(
    dataset: Dataset, frames: NDArray[np.int64], by: SplitBy, key: str | None, seed: int
) -> tuple[Sequence[str], NDArray[np.int64]]:
    """Returns the names of what is kept together, and which of them each frame belongs to.

    Args:
        dataset: where from.
        frames: which are divided.
        by: what is kept together; elements overlap and are none of it.
        key: an array of the file, for ``key``.
        seed: of the clusters of compositions.

    Raises:
        DataError: all frames have the same source, an array is missing, or a structure has no
            neighbours to compare.
    """
    if by in ("formula", "composition", "random"):
        systems = (frame.system for frame in frames_of(dataset, frames, levels=()))
        if by == "composition":
            return _composition_clusters([system.atomic_numbers for system in systems], seed)
        if by == "random":
            prints, found = _distinct(fingerprint(system) for system in systems)
            return [""] * len(prints), found
        return _distinct(reduced_formula(system.atomic_numbers) for system in systems)
    if by == "prototype":
        return prototypes(frame.system for frame in frames_of(dataset, frames, levels=()))
    if by == "molecule":
        present, groups = np.unique(dataset.group_idx[frames], return_inverse=True)
        return [dataset.group_names[k] for k in present], groups
    if by == "key" and key is None:
        raise DataError("a split by key needs the name of the array: key=...")
    column = dataset.column(by if by != "key" else str(key))[frames]
    values, groups = np.unique(column, return_inverse=True)
    texts = [str(v) for v in values.tolist()]
    if by != "key" and len(texts) == 1:
        raise DataError(
            f"{dataset.path}: all {len(frames)} frames have the same {by}, {texts[0]!r}, so a "
            f"split by {by} would leave nothing for one side; add frames of another {by}, or "
            "split by='molecule' or by='random'"
        )
    return texts, groups.reshape(-1)


def kept_kinds(dataset: Dataset, by: str) -> NDArray[np.int64] | None:
    """Returns what no part of a split may share with another, [n_frames]; None for nothing.

    Args:
        dataset: all frames, with a label or not.
        by: `Split.by`. Of elements and clusters of compositions it is the formulas; of an array
            that the file does not have (a split made by hand) nothing.
    """
    every = np.arange(len(dataset))
    if by in ("source", "trajectory") or by.startswith("key "):
        try:
            column = dataset.column(by.removeprefix("key "))
        except DataError:
            return None
        return np.unique(column, return_inverse=True)[1].reshape(-1)
    if by == "prototype":
        return kept_together(dataset, every, "prototype", None, 0)[1]
    if by.startswith(("formula", "element", "composition")):
        return kept_together(dataset, every, "formula", None, 0)[1]
    return dataset.group_idx if "molecule" in by else None


def _distinct(values: Iterable[K]) -> tuple[list[K], NDArray[np.int64]]:
    """Returns the different values in order, and which of them each is."""
    places: dict[K, int] = {}
    found = np.array([places.setdefault(value, len(places)) for value in values], dtype=np.int64)
    return list(places), found


def prototypes(systems: Iterable[System]) -> tuple[list[str], NDArray[np.int64]]:
    """Groups structures of one type, such as rock salt, whatever elements they have.

    Structures of one anonymous formula are of one type where their scaled shells agree, or where
    others of that formula lead from one to the other in such steps. Space groups are not looked
    at, so a distorted structure may be of the type of the ideal one.

    Args:
        systems: the structures.

    Returns:
        The names of the types, each the reduced formula of its first structure, with a number
        where two types begin with the same; and the type of each structure, [n_structures].

    Raises:
        GeometryError: atoms in one place, or an unusable cell.
    """
    from tlpot.data.neighbor_shells import linked, neighbor_shells  # whose library loads torch

    shells, formulas = [], []
    members: dict[str, list[int]] = defaultdict(list)
    for k, system in enumerate(systems):
        formulas.append(reduced_formula(system.atomic_numbers))
        shells.append(neighbor_shells(system).anonymous)
        members[anonymous_formula(system.atomic_numbers)].append(k)
    kind = np.zeros(len(shells), dtype=np.int64)
    n_kinds = 0
    for frames in members.values():
        n, labels = linked(np.stack([shells[k] for k in frames]))
        kind[frames] = labels + n_kinds
        n_kinds += n
    _, first, kind = np.unique(kind, return_index=True, return_inverse=True)
    return _numbered([formulas[k] for k in first]), kind.reshape(-1)


def _composition_clusters(
    numbers: Sequence[NDArray[np.int64]], seed: int
) -> tuple[list[str], NDArray[np.int64]]:
    """Groups structures whose fractions of the elements are alike, by k-means.

    Each formula counts once, however many structures have it. A cluster is named by the three
    elements of which it has most.
    """
    fractions = np.stack(
        [np.bincount(z, minlength=len(chemical_symbols)) / len(z) for z in numbers]
    )
    points, own = np.unique(fractions.round(12), axis=0, return_inverse=True)
    centers, nearest = k_means(points, min(N_CLUSTERS, len(points)), seed)
    names = []
    for center in centers:
        most = np.argsort(-center, kind="stable")[:3]
        names.append("-".join(chemical_symbols[z] for z in most if center[z] > 0))
    return _numbered(names), nearest[own.reshape(-1)]


def k_means(
    points: NDArray[np.float64], n: int, seed: int, steps: int = 100
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the centres of clusters, none empty, and which is nearest to each point.

    Args:
        points: [n_points, n_dims], all different.
        n: clusters at most.
        seed: of the centres to begin with, which are far apart as a rule (k-means++).
        steps: of Lloyd's iteration at most.
    """
    rng = np.random.default_rng([seed, 3])
    centers = points[[rng.integers(len(points))]]
    while len(centers) < n:
        near = _squares(points, centers).min(axis=1)
        centers = np.vstack([centers, points[rng.choice(len(points), p=near / near.sum())]])
    nearest = np.full(len(points), -1)
    for _ in range(steps):
        before, nearest = nearest, _squares(points, centers).argmin(axis=1)
        used, nearest = np.unique(nearest, return_inverse=True)
        if np.array_equal(before, nearest):
            break
        centers = np.stack([points[nearest == k].mean(axis=0) for k in range(len(used))])
    return centers, nearest.astype(np.int64)


def _squares(points: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.square(points - center).sum(axis=1) for center in centers], axis=1)


def default_by(dataset: Dataset, labelled: str | Sequence[str] | None = None) -> SplitBy:
    """Returns what a split keeps together where nobody says.

    That is a molecule. Where all labels are properties and structures are periodic, it is a
    formula, because the frames of a crystal are not of one name but of one formula, as polymorphs
    are; where they are energies of periodic structures, it is a formula where several names have
    the same, as a cell and its supercell do. Where everything is of one molecule or formula, it is
    ``random``.

    Args:
        dataset: the frames.
        labelled: only frames with a label at this level, or one of these, count.

    Raises:
        UnknownLevelError: no such level.
    """
    frames = np.arange(len(dataset))
    if labelled is not None:
        frames = frames[with_any_label(dataset, labelled)]
    groups = dataset.group_idx[frames]
    if len(groups) and (groups == groups[0]).all():
        return "random"
    if only_properties(dataset, labelled):
        systems = [frame.system for frame in frames_of(dataset, frames, levels=())]
        if any(system.pbc.any() for system in systems):
            formulas = {reduced_formula(system.atomic_numbers) for system in systems}
            return "formula" if len(formulas) > 1 else "random"
    else:
        named, first = np.unique(groups, return_index=True)
        systems = [frame.system for frame in _until_molecule(dataset, frames[first])]
        formulas = {reduced_formula(system.atomic_numbers) for system in systems}
        if len(systems) == len(named) and 1 < len(formulas) < len(named):
            return "formula"
    return "molecule"


def only_properties(dataset: Dataset, labelled: str | Sequence[str] | None) -> bool:
    """Returns whether all of the levels that count, of the file where none is named, are such."""
    levels = [labelled] if isinstance(labelled, str) else labelled or [*dataset.levels]
    return bool(levels) and all(is_property(level) for level in levels)


def _until_molecule(dataset: Dataset, frames: NDArray[np.int64]) -> Iterator[Frame]:
    """Yields frames as far as they are periodic."""
    for frame in frames_of(dataset, frames, levels=()):
        if not frame.system.pbc.any():
            return
        yield frame


def elements_of(
    dataset: Dataset, frames: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Returns which groups of frames have which element, [n_groups, largest atomic number + 1].

    Args:
        dataset: where from.
        frames: which, [n_frames].
        groups: which group each belongs to, [n_frames].
    """
    found = np.zeros((int(groups.max()) + 1, max(dataset.elements) + 1), dtype=bool)
    for group, frame in zip(groups, frames_of(dataset, frames, levels=()), strict=True):
        found[group, frame.system.atomic_numbers] = True
    return found
