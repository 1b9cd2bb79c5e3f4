"""Dividing a dataset into training, validation and test frames, reproducibly."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset, with_any_label
from tlpot.data.split_coverage import composition_basis, lacking_elements, tells_energies_apart
from tlpot.data.split_file import PARTS, Split
from tlpot.data.split_groups import SplitBy, default_by, elements_of, kept_together, only_properties
from tlpot.data.views import beneath_views
from tlpot.errors import DataError, nearest
from tlpot.levels import level_words
from tlpot.numbers import counted

Share = float | Sequence[str]
"""Fraction of the frames (below 1), number of frames, or names of molecules (formulas, values)."""


class DefaultShare(float):
    """A fraction that nobody asked for: one frame where it alone would be none."""


DEFAULT_SHARE = DefaultShare(0.1)


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameOrder:
    """Which frames are divided, and what is held out first.

    Attributes:
        indices: only these frames; None for all.
        turn: [n_frames], small numbers; what is kept together is held out, for the test first,
            in ascending order of the largest of its frames, and in random order only where these
            are equal. None for random order.
        keep_elements: False takes the random order as it comes, as before version 2 of the
            defaults, whatever elements and compositions training then lacks.
        kept: [n_frames], which stay in the training part, with all that is kept together with
            them, such as those that other data has, too; None for none.
    """

    indices: Sequence[int] | NDArray[np.int64] | None = None
    turn: NDArray[np.int64] | None = None
    keep_elements: bool = True
    kept: NDArray[np.bool_] | None = None


def make_split(
    dataset: Dataset,
    *,
    validation: Share = DEFAULT_SHARE,
    test: Share = DEFAULT_SHARE,
    by: SplitBy | None = "molecule",
    key: str | None = None,
    seed: int = 0,
    labelled: str | Sequence[str] | None = None,
    order: FrameOrder | None = None,
) -> Split:
    """Divides frames into training, validation and test.

    What is held out by a share is chosen so that training keeps every element, and enough
    compositions to tell the reference energies of held-out molecules, where that is possible: a
    molecule that alone has an element is passed over.

    Args:
        dataset: the frames.
        validation: fraction of the frames (below 1), number of frames, or a list of names; 0
            for none. Whole molecules are added, in random order, as long as that brings the
            share closer to what was asked for. `DEFAULT_SHARE` is a tenth, of few frames one.
        test: likewise.
        by: ``molecule`` keeps all frames of a molecule together, ``source`` or ``trajectory``
            all frames with the same value of that array, such as the protein that fragments
            were cut out of, ``key`` those with the same value of `key`; ``formula`` those of a
            reduced formula (polymorphs), ``prototype`` those of a type of structure,
            ``composition`` those of a cluster of compositions; ``element`` tests on all frames
            that have one of the elements of the test, and leaves these elements out of the
            others, of which a share for validation is taken by formula; ``random`` divides
            frames, except that identical structures stay together; None is `default_by`, but
            ``random`` where no molecule is small enough to be held out, or none whose energy the
            others fix.
        key: an array of the file with one value per frame, such as ``temperature``.
        seed: of the random order.
        labelled: use only frames with an energy, forces or a stress at this level, or at one of
            these.
        order: which frames are divided, and in which order; None for all, in random order.

    Raises:
        DataError: a part, or the training set, would be empty; an unknown name; no such way to
            divide; all frames have the same source; frames that stay in training leave too few to
            hold out.
        UnknownLevelError: no such level.
    """
    divided = partial(
        _divided, dataset, by=by, key=key, seed=seed, labelled=labelled, order=order or FrameOrder()
    )
    try:
        return divided(validation=validation, test=test)
    except _TooLargeError as error:
        one = [1 if isinstance(share, DefaultShare) else share for share in (validation, test)]
        if one != [validation, test]:
            with suppress(DataError):
                return divided(validation=one[0], test=one[1])
        raise DataError(str(error)) from None


def _divided(
    dataset: Dataset,
    *,
    validation: Share,
    test: Share,
    by: SplitBy | None,
    key: str | None,
    seed: int,
    labelled: str | Sequence[str] | None,
    order: FrameOrder,
) -> Split:
    """See `make_split`; raises `_TooLargeError` where smaller shares might do."""
    if by is None:
        return _by_default(dataset, validation, test, seed, labelled, order)
    if by not in get_args(SplitBy):
        raise DataError(f"by (--by) is {by!r}{nearest(by, get_args(SplitBy))}")
    frames = np.arange(len(dataset))
    if order.indices is not None:
        frames = np.unique(np.asarray(order.indices))
    if frames.size and (frames[0] < 0 or frames[-1] >= len(dataset)):
        raise DataError(f"{dataset.path} has {len(dataset)} frames; an index is outside")
    if labelled is not None:
        frames = frames[with_any_label(dataset, labelled)[frames]]
    if not len(frames):
        what = f" with a label at {level_words(labelled)}" if labelled else ""
        raise DataError(f"{dataset.path}: no frames{what} to split")
    if by == "element":
        return _leave_out_elements(dataset, frames, validation, test, seed, order)
    names, groups = kept_together(dataset, frames, by, key, seed)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    if order.turn is not None:
        latest = np.full(len(names), np.iinfo(np.int64).min)
        np.maximum.at(latest, groups, order.turn[frames])
        shuffled = shuffled[np.argsort(latest[shuffled], kind="stable")]
    kept = [] if order.kept is None else groups[order.kept[frames]].tolist()
    pool = _Pool(
        path=str(dataset.path), by=by, names=names, groups=groups, order=shuffled,
        kept=frozenset(kept),
    )  # fmt: skip
    owner = pool.divided(validation, test)
    parts = [frames[owner[groups] == k] for k in range(3)]
    if order.keep_elements and lacking_elements(dataset, parts[0], np.concatenate(parts[1:])):
        pool = replace(pool, holders=elements_of(dataset, frames, groups))
        owner = pool.divided(validation, test)
        parts = [frames[owner[groups] == k] for k in range(3)]
    if order.keep_elements and not tells_energies_apart(
        dataset, parts[0], np.concatenate(parts[1:]), labelled
    ):
        basis = composition_basis(dataset, frames, groups, shuffled)
        owner = replace(pool, preferred=basis).divided(validation, test)
        parts = [frames[owner[groups] == k] for k in range(3)]
    return Split(
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        by=by if by != "key" else f"key {key}",
        seed=seed,
        content_hash=beneath_views(dataset).content_hash,
    )


class _TooLargeError(DataError):
    """What stays together is too large for a part."""


def _by_default(
    dataset: Dataset,
    validation: Share,
    test: Share,
    seed: int,
    labelled: str | Sequence[str] | None,
    order: FrameOrder,
) -> Split:
    by = default_by(dataset, labelled)
    divided = partial(
        _divided, dataset, validation=validation, test=test, key=None, seed=seed,
        labelled=labelled, order=order,
    )  # fmt: skip
    named = not (isinstance(validation, int | float) and isinstance(test, int | float))
    of_properties = only_properties(dataset, labelled)
    if by == "formula" and named and not of_properties:
        by = "molecule"  # whose names were given
    as_it_comes = by == "random" or (by == "formula" and of_properties)
    if as_it_comes or named or not order.keep_elements or order.kept is not None:
        return divided(by=by)
    try:
        split = divided(by=by)
    except _TooLargeError:
        reason = f"the smallest {by} has more frames than are to be held out"
        return replace(divided(by="random"), by=f"random, as {reason}")
    held_out = np.concatenate([split.validation, split.test])
    if tells_energies_apart(dataset, split.train, held_out, labelled):
        return split
    reason = f"every {by} is needed to tell reference energies apart"
    return replace(divided(by="random"), by=f"random, as {reason}")


def _leave_out_elements(
    dataset: Dataset,
    frames: NDArray[np.int64],
    validation: Share,
    test: Share,
    seed: int,
    order: FrameOrder,
) -> Split:
    """Divides frames so that training has none of the elements of the test.

    Frames for validation would tell nothing if training did not have their elements, either;
    unless elements are named for them, they are taken by formula from what is left.
    """
    if order.kept is not None:
        raise DataError(
            "a split by element leaves elements out of the training part, and other data whose "
            "structures stay there may have them; split by formula or prototype instead"
        )
    found = elements_of(dataset, frames, np.arange(len(frames)))
    left = np.ones(len(frames), dtype=bool)
    parts, symbols = [], []
    for part, share in (("test", test), ("validation", validation)):
        numeric = isinstance(share, int | float)
        if (part == "validation" and numeric) or share == 0:
            parts.append(frames[:0])
            continue
        chosen = _elements(share, found & left[:, None], part, str(dataset.path), seed)
        held = left & found[:, chosen].any(axis=1)
        parts.append(frames[held])
        symbols.append(" ".join(chemical_symbols[z] for z in chosen))
        left &= ~held
    if not left.any():
        raise DataError(f"{dataset.path}: nothing is left for training without {symbols}")
    rest, by = frames[left], f"element {', '.join(symbols)}"
    if isinstance(validation, int | float) and validation:
        n_validation = round(validation * len(frames)) if validation < 1 else validation
        inner = make_split(
            dataset, validation=max(n_validation, 1), test=0, by="formula", seed=seed,
            order=replace(order, indices=rest),
        )  # fmt: skip
        rest, parts[1], by = inner.train, inner.validation, f"{by}, validation by formula"
    return Split(
        train=rest,
        validation=parts[1],
        test=parts[0],
        by=by,
        seed=seed,
        content_hash=beneath_views(dataset).content_hash,
    )


def _elements(share: Share, found: NDArray[np.bool_], part: str, path: str, seed: int) -> list[int]:
    """Returns atomic numbers to leave out: those named, or drawn until the share is reached."""
    present = np.flatnonzero(found.any(axis=0))
    if not isinstance(share, int | float):
        symbols = [chemical_symbols[z] for z in present]
        for name in share:
            if name not in symbols:
                raise DataError(f"{path}: {part}: no frame has {name!r}{nearest(name, symbols)}")
        return [int(present[symbols.index(name)]) for name in share]
    target = _checked(share, len(found), part, path)
    chosen: list[int] = []
    held = np.zeros(len(found), dtype=bool)
    for z in np.random.default_rng(seed).permutation(present):
        more = held | found[:, z]
        if abs(int(more.sum()) - target) < abs(int(held.sum()) - target) and not more.all():
            chosen, held = [*chosen, int(z)], more
    if not chosen:
        fewest = int(found.sum(axis=0)[present].min())
        raise DataError(
            f"{path}: {part} would be empty: the rarest element is in {counted(fewest, 'frame')} "
            f"of {len(found)}; ask for more, or name elements"
        )
    return sorted(chosen)


def _checked(share: float, n: int, part: str, path: str) -> float:
    """Returns a share as a number of frames.

    Raises:
        DataError: it is no fraction or number of frames, or more than there are.
    """
    if share < 0 or (share >= 1 and share != int(share)):
        raise DataError(f"{part} is {share}; expected a fraction below 1 or a number of frames")
    if share > n:
        raise DataError(
            f"{path}: {part} is {share:g} frames, but there "
            f"{'is' if n == 1 else 'are'} only {n} to divide; ask for less with {part}=..."
        )
    return share * n if share < 1 else share


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pool:
    """Frames in groups that stay together.

    Attributes:
        path: of the dataset, for messages.
        by: what stays together.
        names: of the groups; empty where they have none.
        groups: [n_frames], which group each frame belongs to.
        order: in which groups are held out.
        holders: [n_groups, n_elements], which groups have an element that training must keep;
            None for all alike.
        kept: groups that stay in training.
        preferred: groups that stay there as long as others can be held out.
    """

    path: str
    by: SplitBy
    names: Sequence[str]
    groups: NDArray[np.int64]
    order: NDArray[np.int64]
    holders: NDArray[np.bool_] | None = None
    kept: frozenset[int] = frozenset()
    preferred: frozenset[int] = frozenset()

    def divided(self, validation: Share, test: Share) -> NDArray[np.int64]:
        """Returns which part each group belongs to: 0 training, 1 validation, 2 test."""
        owner = np.zeros(len(self.names), dtype=np.int64)
        for part, share in ((2, test), (1, validation)):
            owner[self._take(share, owner, PARTS[part])] = part
        if not (owner == 0).any():
            n_held_out = [int((owner[self.groups] == part).sum()) for part in (1, 2)]
            raise _TooLargeError(
                f"{self.path}: nothing is left for training: validation takes {n_held_out[0]} and "
                f"test {n_held_out[1]} of {counted(len(self.groups), 'frame')}{self._whole()}; "
                f"ask for less with validation=... or test=...{self._random()}"
            )
        return owner

    def _take(self, share: Share, owner: NDArray[np.int64], part: str) -> list[int]:
        """Returns which groups make up a part."""
        if not isinstance(share, int | float):
            return self._named(share, owner, part)
        target = _checked(share, len(self.groups), part, self.path)
        if share == 0:
            return []
        free = [int(k) for k in self.order if owner[k] == 0 and k not in self.kept]
        if self.kept:
            n_free = int(np.isin(self.groups, free).sum())
            if n_free < target:
                raise DataError(
                    f"{self.path}: {part} asks for {target:g} frames, but only {n_free} may be "
                    "held out; the others stay in training, because the other data has their "
                    f"formulas; ask for less with {part}=..."
                )
        others = [k for k in free if k not in self.preferred]
        return (
            (self._with_labels(others, target, self.holders) if self.preferred else [])
            or self._with_labels(free, target, self.holders)
            or self._with_labels(free, target, None)
            or self._too_few(part, share)
        )

    def _named(self, share: Sequence[str], owner: NDArray[np.int64], part: str) -> list[int]:
        if not any(self.names):
            raise DataError(
                f"{part}: a random split cannot take names; split by molecule, source or key"
            )
        for name in share:
            if name not in self.names:
                raise DataError(
                    f"{part}: {name!r} is not in the dataset{nearest(name, self.names)}"
                )
        taken = [self.names.index(name) for name in share]
        stay = [name for k, name in zip(taken, share, strict=True) if k in self.kept]
        if stay:
            raise DataError(
                f"{part}: {stay[0]!r} cannot be held out, because the other data has structures "
                "of it, or of the same formula"
            )
        if any(owner[k] for k in taken):
            raise DataError(f"{part}: {list(share)} overlaps the other parts")
        return taken

    def _with_labels(
        self, free: Sequence[int], target: float, holders: NDArray[np.bool_] | None
    ) -> list[int]:
        """Takes groups in order as long as that comes closer to the target."""
        counts = np.bincount(self.groups, minlength=len(self.names))
        single = counts.max() == 1
        left = None if holders is None else holders[list(free)].sum(axis=0)
        taken, total = [], 0
        for k in free:
            if single and total >= round(target):
                break
            if abs(total + counts[k] - target) > abs(total - target) and not single:
                continue
            if holders is not None and left is not None:
                if (left[holders[k]] == 1).any():
                    continue  # the last that has an element
                left -= holders[k]
            taken.append(k)
            total += int(counts[k])
        return taken

    def _too_few(self, part: str, share: float) -> list[int]:
        n, counts = len(self.groups), np.bincount(self.groups)
        what = f"{self.path}: {part} would be empty: {share:g} of {counted(n, 'frame')}"
        if len(counts) == 1:
            what += self._whole() if n > 1 else ""
            raise DataError(f"{what}, and something must be left for training; add frames")
        fewest = int(counts.min())
        raise _TooLargeError(
            f"{what}{self._whole()}; ask for more, such as {part}={fewest}{self._random()} (of a "
            f"training: split={{{part!r}: {fewest}}}, split.{part}={fewest})"
        )

    def _whole(self) -> str:
        """Says what stays together."""
        n_groups = len(self.names)
        if n_groups == len(self.groups):
            return ""
        if self.by == "random":
            return f" of {counted(n_groups, 'different structure')}"
        what = {"key": "value of the key", "composition": "cluster"}.get(self.by, self.by)
        many = "values of the key" if self.by == "key" else ""
        if n_groups == 1:
            return f" of 1 {what}, which stays whole"
        smallest = counted(int(np.bincount(self.groups).min()), "frame")
        return f" of {counted(n_groups, what, many)}, which stay whole, the smallest of {smallest}"

    def _random(self) -> str:
        return "" if self.by == "random" else ", or divide frames with by='random'"
