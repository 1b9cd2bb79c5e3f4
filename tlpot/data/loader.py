"""Batches of a dataset, and scales that a network starts from."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from tlpot.data.batch import Batch, collate
from tlpot.data.dataset import Dataset, Frame, LabelKind, known_values, with_any_label
from tlpot.energy import EnergyModel, known_value, layout_of
from tlpot.errors import ConfigError, DataError
from tlpot.graph import Layout
from tlpot.neighbors import Neighbors, neighbor_list
from tlpot.presentation import progress_bar
from tlpot.targets import KnownValue

POOL = 16
"""Batches' worth of shuffled frames within which frames of similar size are put together."""

MEMO_BYTES = 1 << 28
"""Frames and neighbour lists kept in memory from one epoch to the next."""

_OVERHEAD = 2000
"""Bytes of Python objects for each frame kept."""

_SAMPLE = 500


@dataclass(kw_only=True, eq=False)
class Loader:
    """Makes batches. The batches of an epoch depend on the seed and the epoch alone.

    Args:
        dataset: where frames come from.
        indices: the frames that every epoch has.
        levels: levels of theory whose labels to carry.
        cutoff: Å.
        batch_size: frames in a batch, over all ranks.
        max_atoms: atoms in a batch, over all ranks; None for no bound.
        shuffle: a new order in every epoch, with frames of similar size in one batch; else the
            order of `indices`.
        seed: of the order.
        rank: takes the frames ``rank::world_size`` of every batch.
        world_size: number of processes that share a batch.
        layout: see `tlpot.graph.build_graph`.
        others: frames that take turns: an epoch has `n_others` of them, the next one goes on
            where it ended, and all have had their turn before one comes again.
        n_others: how many of them; at most all.
        level_turns: a batch has each frame at one of its levels only; the levels that it has
            labels at take turns from epoch to epoch.
        together: frames of a molecule come in batches in groups of about this many, of which each
            is at one level; 1 for each frame by itself.
        memo_bytes: bound on the frames and neighbour lists kept between epochs.
        known: the property of each frame that the model is told; None for none.
        weights: [n_frames of the dataset], what the error of each counts; None for all alike.

    Raises:
        DataError: no indices, no frame has a label at any of the levels, or labels are damaged.
        ConfigError: a size that makes no sense, or a frame with more atoms than `max_atoms`.
        UnknownLevelError: the dataset has no such level.
    """

    dataset: Dataset = field(kw_only=False)
    indices: Sequence[int] | NDArray[np.int64] = field(kw_only=False)
    levels: Sequence[str]
    cutoff: float
    batch_size: int
    max_atoms: int | None = None
    shuffle: bool = True
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    layout: Layout = "auto"
    others: Sequence[int] | NDArray[np.int64] = ()
    n_others: int = 0
    level_turns: bool = False
    together: int = 1
    memo_bytes: int = MEMO_BYTES
    known: KnownValue | None = None
    weights: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        self.levels = tuple(self.levels)
        self._own = np.asarray(self.indices, dtype=np.int64)
        self._taking_turns = np.asarray(self.others, dtype=np.int64)
        self.n_others = min(self.n_others, len(self._taking_turns))
        self._memo: dict[int, tuple[Frame, Neighbors]] = {}
        self._memo_left = self.memo_bytes
        self._plans: tuple[int, list[NDArray[np.int64]]] | None = None
        self._check()

    def n_batches(self, epoch: int) -> int:
        """Returns the number of batches of an epoch; with `max_atoms` it may vary a little."""
        return len(self.plan(epoch))

    def plan(self, epoch: int) -> list[NDArray[np.int64]]:
        """Returns the frames of every batch of an epoch, over all ranks."""
        if self._plans is None or self._plans[0] != epoch:
            self._plans = epoch, self._make_plan(epoch)
        return self._plans[1]

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch | None]:
        """Yields this rank's part of every batch of an epoch.

        Args:
            epoch: decides the order.
            start: the batch to begin with.

        Yields:
            A batch, or None where a last small batch has no frames for this rank.
        """
        for frames in self.plan(epoch)[start:]:
            own = frames[self.rank :: self.world_size]
            yield self._batch(own, epoch) if len(own) else None

    @cached_property
    def _turns(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which frames have labels at which level, [n_levels, n_frames], and who begins where."""
        labelled = np.stack([with_any_label(self.dataset, level) for level in self.levels])
        first = np.random.default_rng([self.seed, 2]).integers(0, 1 << 31, len(self.dataset))
        return labelled, first

    def _level_idx(self, indices: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        labelled, first = self._turns
        n = np.maximum(labelled[:, indices].sum(axis=0), 1)
        begins = indices if self.together == 1 else self.dataset.group_idx[indices]
        turn = (first[begins] + epoch) % n
        return (labelled[:, indices].cumsum(axis=0) > turn).argmax(axis=0)

    def _batch(self, indices: NDArray[np.int64], epoch: int) -> Batch:
        missing = [int(k) for k in indices if int(k) not in self._memo]
        fresh: dict[int, tuple[Frame, Neighbors]] = {}
        asked = self.levels if self.known is None else (*self.levels, self.known.level)
        for k, frame in zip(missing, self.dataset.read(missing, asked), strict=True):
            neighbors = neighbor_list(frame.system, self.cutoff, frame.name)
            fresh[k] = frame, neighbors
            n_bytes = _n_bytes(frame, neighbors)
            # nothing is evicted: each frame comes once an epoch, so that would only churn
            if n_bytes <= self._memo_left:
                self._memo[k] = frame, neighbors
                self._memo_left -= n_bytes
        pairs = [fresh.get(int(k)) or self._memo[int(k)] for k in indices]
        frames, told = [frame for frame, _ in pairs], self.known
        return collate(
            frames,
            self.cutoff,
            self.levels,
            layout=self.layout,
            neighbors=[neighbors for _, neighbors in pairs],
            level_idx=self._level_idx(indices, epoch) if self.level_turns else None,
            known=None if told is None else known_values(self.dataset, frames, told),
            weights=None if self.weights is None else self.weights[indices],
        )

    def _make_plan(self, epoch: int) -> list[NDArray[np.int64]]:
        if not self.shuffle:
            return self._cut(self._own)
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(np.concatenate([self._own, self._turn(epoch)]))
        if self.together > 1:
            batches = self._cut_pieces(self._pieces(order, rng))
            return [batches[k] for k in rng.permutation(len(batches))]
        pool = POOL * self.batch_size
        batches = []
        for start in range(0, len(order), pool):
            frames = order[start : start + pool]
            by_size = np.argsort(self.dataset.sizes[frames], kind="stable")
            batches += self._cut(frames[by_size])
        return [batches[k] for k in rng.permutation(len(batches))]

    def _pieces(
        self, order: NDArray[np.int64], rng: np.random.Generator
    ) -> list[NDArray[np.int64]]:
        """Returns the frames in groups of one molecule, those of similar size in a row."""
        molecules = self.dataset.group_idx[order]
        by_molecule = order[np.argsort(molecules, kind="stable")]
        ends = np.cumsum(np.unique(molecules, return_counts=True)[1])
        pieces = [
            piece
            for frames in np.split(by_molecule, ends[:-1])
            for piece in np.array_split(frames, -(-len(frames) // self.together))
        ]
        shuffled = [pieces[k] for k in rng.permutation(len(pieces))]
        pool = max(POOL * self.batch_size // self.together, 1)
        return [
            piece
            for start in range(0, len(shuffled), pool)
            for piece in sorted(
                shuffled[start : start + pool], key=lambda frames: self.dataset.sizes[frames[0]]
            )
        ]

    def _cut_pieces(self, pieces: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """Returns batches that hold whole groups, where these fit."""
        batches: list[list[NDArray[np.int64]]] = [[]]
        for piece in pieces:
            n_frames = sum(map(len, batches[-1])) + len(piece)
            n_atoms = sum(int(self.dataset.sizes[p].sum()) for p in (*batches[-1], piece))
            full = n_frames > self.batch_size or n_atoms > (self.max_atoms or math.inf)
            if batches[-1] and full:
                batches.append([])
            batches[-1].append(piece)
        return [part for frames in batches for part in self._cut(np.concatenate(frames))]

    def _turn(self, epoch: int) -> NDArray[np.int64]:
        """Returns which of the others an epoch has: a stretch of shuffled rounds of them all."""
        if not self.n_others:
            return self._taking_turns[:0]
        start, total = epoch * self.n_others, len(self._taking_turns)
        first, last = start // total, (start + self.n_others - 1) // total
        rounds = [
            np.random.default_rng([self.seed, k, 1]).permutation(self._taking_turns)
            for k in range(first, last + 1)
        ]
        begin = start - first * total
        return np.concatenate(rounds)[begin : begin + self.n_others]

    def _cut(self, frames: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        if self.max_atoms is None:
            return [frames[k : k + self.batch_size] for k in range(0, len(frames), self.batch_size)]
        cuts, n_frames, n_atoms = [0], 0, 0
        for k, size in enumerate(self.dataset.sizes[frames].tolist()):
            if n_frames == self.batch_size or n_atoms + size > self.max_atoms:
                cuts.append(k)
                n_frames = n_atoms = 0
            n_frames += 1
            n_atoms += size
        return np.split(frames, cuts[1:])

    def _check(self) -> None:
        if not len(self._own):
            raise DataError(f"{self.dataset.path}: no frames to make batches of")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}, expected at least 1")
        if self.together < 1:
            raise ConfigError(f"together is {self.together}, expected at least 1")
        if not 0 <= self.rank < self.world_size:
            raise ConfigError(f"rank {self.rank} is outside a world of {self.world_size}")
        if self.n_others < 0 or (self.n_others and not self.shuffle):
            raise ConfigError(f"n_others is {self.n_others}; expected 0, or more and shuffle=True")
        every = np.concatenate(
            [self._own, self._taking_turns[: len(self._taking_turns) * bool(self.n_others)]]
        )
        largest = int(self.dataset.sizes[every].max())
        if self.max_atoms is not None and largest > self.max_atoms:
            raise ConfigError(
                f"max_atoms is {self.max_atoms}, but the largest structure has {largest} atoms"
            )
        kinds: tuple[LabelKind, ...] = ("energy", "forces", "stress")
        # a list, because damaged labels of any kind are to be met here and not on the way
        found = [
            self.dataset.labelled(level, kind)[every].any()
            for level in self.levels
            for kind in kinds
        ]
        if self.levels and not any(found):
            raise DataError(
                f"{self.dataset.path}: none of the {len(self._own)} frames has a label at "
                f"{', '.join(self.levels)}"
            )


def _n_bytes(frame: Frame, neighbors: Neighbors) -> int:
    arrays = [
        frame.system.positions,
        frame.system.atomic_numbers,
        neighbors.center,
        neighbors.neighbor,
        neighbors.shifts,
        *(x.forces for x in frame.labels.values() if x.forces is not None),
    ]
    return _OVERHEAD + sum(array.nbytes for array in arrays)


def evaluation_batches(
    model: EnergyModel,
    dataset: Dataset,
    indices: Sequence[int] | NDArray[np.int64],
    levels: Sequence[str],
    *,
    device: torch.device | str,
    batch_size: int,
    max_atoms: int | None = None,
    show: bool | str | None = None,
) -> Iterator[Batch]:
    """Yields batches in the order of the frames, on a device.

    Args:
        model: decides cutoff and layout of the pairs.
        dataset: the frames.
        indices: which of them; those of one size together waste nothing on padding.
        levels: whose labels to carry.
        device: where the model is.
        batch_size: frames in a batch.
        max_atoms: atoms in a batch; None for no bound.
        show: whether there is a progress bar; None, or what to call it, for where somebody sees it.

    Raises:
        DataError: there are no frames, or none has a label at any of the levels.
    """
    loader = Loader(
        dataset, indices, levels=levels, cutoff=model.cutoff, batch_size=batch_size,
        max_atoms=max_atoms, shuffle=False, layout=layout_of(model), memo_bytes=0,
        known=known_value(model),
    )  # fmt: skip
    name, hidden = "evaluate", None if show is None else not show
    if isinstance(show, str):
        name, hidden = show, None
    for batch in progress_bar(loader.batches(0), total=loader.n_batches(0), disable=hidden,
                      file=sys.stderr, desc=name, dynamic_ncols=True):  # fmt: skip
        assert batch is not None  # there is one process
        yield batch.to(device)


def average_neighbors(
    dataset: Dataset, indices: Sequence[int] | NDArray[np.int64], cutoff: float
) -> float:
    """Returns the average number of neighbours within `cutoff` (Å), over at most 500 frames."""
    n_pairs = n_atoms = 0
    for frame in dataset.read(_sample(indices)):
        n_pairs += len(neighbor_list(frame.system, cutoff, frame.name).center)
        n_atoms += len(frame.system)
    return max(n_pairs / n_atoms, 1.0)


def force_scale(
    dataset: Dataset, indices: Sequence[int] | NDArray[np.int64], levels: Sequence[str]
) -> float:
    """Returns the root mean square of the force components, eV/Å; 1 where there are none."""
    frames = dataset.read(_sample(indices))
    labels = [frame.labels[level] for frame in frames for level in levels if level in frame.labels]
    parts = [label.forces.reshape(-1) for label in labels if label.forces is not None]
    values = np.concatenate(parts) if parts else np.zeros(0)
    scale = float(np.sqrt(np.nanmean(values**2))) if np.isfinite(values).any() else 0.0
    return scale or 1.0


def energy_scale(
    dataset: Dataset,
    indices: Sequence[int] | NDArray[np.int64],
    level: str,
    references: Mapping[int, float],
) -> float:
    """Returns a readout scale from energies alone, eV: what an atom adds if atoms differ at random.

    That is the root mean square of (energy − Σ E0) / √n_atoms, at least 1 meV.

    Args:
        dataset: the frames.
        indices: those that have an energy at `level`.
        level: canonical name.
        references: E0 by atomic number, eV.
    """
    rest = [
        (frame.labels[level].energy - sum(references[int(z)] for z in frame.system.atomic_numbers))
        / np.sqrt(len(frame.system))
        for frame in dataset.read(_sample(indices), [level])
    ]
    return max(float(np.sqrt(np.mean(np.square(rest)))), 1e-3)


def _sample(indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    chosen = np.asarray(indices, dtype=np.int64)
    if len(chosen) <= _SAMPLE:
        return chosen
    return np.sort(np.random.default_rng(0).choice(chosen, _SAMPLE, replace=False))
