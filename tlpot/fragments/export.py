"""Fragments of proteins into a file for labelling, some of many, and back out of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from ase import Atoms

from tlpot import data
from tlpot.errors import ConfigError, nearest
from tlpot.files import PathLike
from tlpot.fragments.fragment import ratio_table
from tlpot.fragments.fragment_pool import FragmentPool, PooledFragment, ProteinFrames, check_names
from tlpot.fragments.fragment_type import FragmentTypes
from tlpot.fragments.schemes.registry import Scheme
from tlpot.levels import canonical_level
from tlpot.numbers import Floats, Ints

Selection = Literal["farthest", "random"]


def inverse_distances(positions: Floats, colours: Sequence[int]) -> Floats:
    """Describes geometries, [m, n, 3] to [m, n (n − 1) / 2], 1/Å.

    These are inverse distances, sorted among the pairs of atoms of equal colours, so that atoms
    of one colour may be exchanged.
    """
    i, j = np.triu_indices(positions.shape[1], 1)
    values = 1.0 / np.linalg.norm(positions[:, i] - positions[:, j], axis=2)
    colour = np.asarray(colours, dtype=np.int64)
    pairs = np.sort(np.stack([colour[i], colour[j]], axis=1), axis=1)
    _, group = np.unique(pairs, axis=0, return_inverse=True)
    group = np.broadcast_to(group.reshape(-1), values.shape)
    order = np.lexsort((values, group), axis=1)
    return np.take_along_axis(values, order, axis=1)


def choose(
    features: Floats, count: int, *, how: Selection = "farthest", seed: int = 0, n_old: int = 0
) -> Ints:
    """Returns which geometries to take, ascending.

    Args:
        features: [m, n_features], one row for each geometry.
        count: how many, at most, with the old ones.
        how: ``farthest`` takes, again and again, the one that is farthest from all taken;
            ``random`` any.
        seed: of the random choice, and of the first geometry otherwise.
        n_old: the first so many rows are taken already; they are not returned.

    Raises:
        ConfigError: no such way, or a count below 1.
    """
    if how not in ("farthest", "random"):
        raise ConfigError(f"select is {how!r}{nearest(how, ('farthest', 'random'))}")
    if count < 1:
        raise ConfigError(f"the number of geometries of a kind is {count}, expected 1 or more")
    new = np.arange(n_old, len(features))
    wanted = min(max(count - n_old, 0), len(new))
    if wanted == len(new):
        return new
    generator = np.random.default_rng(seed)
    if how == "random":
        return np.sort(generator.permutation(new)[:wanted])
    first = [] if n_old else [int(generator.choice(new))]
    more, _ = farthest(
        lambda k: ((features - features[k]) ** 2).sum(axis=1),
        [*range(n_old), *first],
        wanted - len(first),
    )
    return np.sort(np.array([*first, *more], dtype=np.int64))


def farthest(
    distances: Callable[[int], Floats], taken: Sequence[int], count: int
) -> tuple[list[int], Floats]:
    """Picks the row that is farthest from all that are taken, again and again.

    T. F. Gonzalez, doi:10.1016/0304-3975(85)90224-5: no other choice covers the rows with less
    than half the radius.

    Args:
        distances: from one row to all, [n]; their squares will do.
        taken: one row or more, to begin with.
        count: how many to pick, no more than are left.

    Returns:
        Indices in order of picking, and the distance of every row to the nearest one taken, [n].
    """
    away = reduce(np.minimum, map(distances, taken))
    left = np.ones(len(away), dtype=bool)
    left[list(taken)] = False
    picked: list[int] = []
    for _ in range(count):
        # equal geometries are at distance 0 all alike, and none is to be taken twice
        k = int(np.where(left, away, -1.0).argmax())
        picked.append(k)
        left[k] = False
        away = np.minimum(away, distances(k))
    return picked, away


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
    path: PathLike,
    *,
    kinds: Collection[str] | None = None,
    per_kind: int | None = None,
    select: Selection = "farthest",
    seed: int = 0,
    whole: bool = False,
) -> ExportReport:
    """Writes the distinct fragments of structures to a fragment file, or adds them to one.

    Those are all with a coefficient other than zero, and all of pair terms with a weight other
    than zero. They have the caps that `FragmentCalculator` will give them, and no labels:
    `open_dataset` reads them, ``tlpot label`` labels them. A geometry that is there already, to
    1e-5 Å, is not written again.

    Args:
        proteins: structures and their names.
        scheme: name of a fragment scheme, or a scheme.
        path: the HDF5 file; what is in it stays.
        kinds: only fragments of these names (``ACE-ALA-NME``) or keys.
        per_kind: at most so many geometries of a kind in the file.
        select: which of more: ``farthest`` from each other, by inverse distances, or ``random``.
        seed: of the choice.
        whole: write the proteins too, and how they are made of the fragments, so that
            `tlpot.data.assembled` can add labels up; all fragments must be written for that.

    Raises:
        GeometryError: valences that do not close, a periodic structure, broken bonds.
        ConfigError: no such scheme or kind, or no structures.
        DataError: an existing file is no fragment file or is damaged.
        OutputError: the file could not be written; an existing one is left as it was.
    """
    if whole and (kinds is not None or per_kind is not None):
        raise ConfigError(
            "whole proteins need all of their fragments; leave kinds and per_kind out"
        )
    types = FragmentTypes()
    seed_noted = -1 if per_kind is None else seed
    pool = FragmentPool(types, scheme, kinds, seed=seed_noted, whole=whole)
    old = _known(Path(path), types)
    for protein in proteins:
        pool.add(protein)
    if not pool.n_frames:
        raise ConfigError("there are no structures to take fragments from")
    pool.check_kinds()
    rows = [
        _chosen(types, key, candidates, old.get(key), per_kind, select, seed)
        for key, candidates in pool.found.items()
    ]
    with data.edited_fragments(path, {"cap_rule": "ratio", "g_table": ratio_table()}) as handle:
        placed = [data.add_rows(handle, Path(path), some) for some in rows]
        _add_wholes(handle, Path(path), pool, dict(zip(pool.found, placed, strict=True)))
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
    path: PathLike, *, kinds: Collection[str] | None = None, without: str | None = None
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
    known = {kind.key: kind for kind in data.fragment_kinds(Path(path))}
    if kinds is not None:
        check_names(kinds, {name for kind in known.values() for name in (kind.key, kind.name)})
    dataset = data.open_dataset(path)
    done = np.zeros(len(dataset), dtype=bool)
    if without is not None and canonical_level(without) in dataset.levels:
        done = dataset.labelled(without)
    sources = dataset.column("source")
    found, rows = [], dict.fromkeys(known, 0)
    for k, frame in enumerate(data.frames_of(dataset, levels=())):
        kind, row = known[frame.group], rows[frame.group]
        rows[kind.key] += 1
        if not done[k] and (kinds is None or kind.key in kinds or kind.name in kinds):
            info = {
                "charge": kind.charge,
                "spin": kind.multiplicity,
                "kind": kind.key,
                "name": kind.name,
                "row": row,
                "source": str(sources[k]),
            }
            found.append(Atoms(kind.atomic_numbers, frame.system.positions, info=info))
    return found


def _add_wholes(
    handle: h5py.File, path: Path, pool: FragmentPool, placed: Mapping[str, Ints]
) -> None:
    for whole in pool.wholes or ():
        row = data.add_protein(
            handle, path, whole.name, whole.atomic_numbers, whole.positions, whole.charge
        )
        assembly = replace(
            whole.assembly,
            kinds=tuple(kind for kind, _ in whole.members),
            rows=np.array([placed[kind][place] for kind, place in whole.members], dtype=np.int64),
        )
        data.add_assembly(handle, whole.name, row, pool.scheme_name, assembly)


def _chosen(
    types: FragmentTypes,
    key: str,
    candidates: Sequence[PooledFragment],
    old: Floats | None,
    per_kind: int | None,
    select: Selection,
    seed: int,
) -> data.FragmentRows:
    positions = np.stack([candidate.positions for candidate in candidates])
    taken = list(range(len(candidates)))
    if per_kind is not None:
        before = np.zeros((0, *positions.shape[1:])) if old is None else old
        known = set(data.geometry_prints(before))
        new = [k for k, print_ in enumerate(data.geometry_prints(positions)) if print_ not in known]
        both = np.concatenate([before, positions[new]])
        features = inverse_distances(both, types.graph(key).colours)
        picked = choose(features, per_kind, how=select, seed=seed, n_old=len(before))
        taken = [new[k - len(before)] for k in picked.tolist()]
    some = [candidates[k] for k in taken]
    return data.FragmentRows(
        kind=types.kinds[key],
        positions=positions[taken],
        sources=tuple(candidate.source for candidate in some),
        weight=np.array([candidate.weight for candidate in some], dtype=np.float64),
    )


def _known(path: Path, types: FragmentTypes) -> dict[str, Floats]:
    """Takes over the kinds of a file that exists; returns its geometries."""
    if not path.exists():
        return {}
    for kind in data.fragment_kinds(path):
        types.add(kind)
    found: dict[str, list[Floats]] = {}
    for frame in data.frames_of(data.open_dataset(path), levels=()):
        found.setdefault(frame.group, []).append(frame.system.positions)
    return {key: np.stack(positions) for key, positions in found.items()}
