"""What training must have for held-out molecules: their elements, and what fixes their energies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset, Frame, frames_of


def lacking_elements(
    dataset: Dataset, train: NDArray[np.int64], held_out: NDArray[np.int64]
) -> tuple[int, ...]:
    """Returns atomic numbers that held-out frames have and no training frame, ascending.

    Raises:
        DataError: the file is damaged.
    """
    missing = set(dataset.elements)
    for frame in _by_molecule(dataset, train):
        missing -= {int(z) for z in frame.system.atomic_numbers}
        if not missing:
            return ()
    found: set[int] = set()
    for frame in _by_molecule(dataset, held_out):
        found |= missing & {int(z) for z in frame.system.atomic_numbers}
        if found == missing:
            break
    return tuple(sorted(found))


def tells_energies_apart(
    dataset: Dataset,
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    level: str | Sequence[str] | None,
) -> bool:
    """Whether the compositions of training fix the reference energies of the held-out frames.

    Those are linear combinations of the energies of training molecules, if the compositions are
    (a molecule of C, H and O is not one of methane and ethane). Energies whose free atoms are
    known, and properties, need no such thing; nor do frames without a level.
    """
    names = [level] if isinstance(level, str) else level or []
    if not any(
        dataset.levels[name].quantity is None
        and "energy" in dataset.levels[name].kinds
        and not set(dataset.elements) <= dataset.levels[name].isolated_atoms.keys()
        for name in names
    ):
        return True
    rows = _Span(dataset)
    for frame in _one_of_each(dataset, train):
        rows.add(frame)
        if rows.complete:
            return True
    return not any(rows.add(frame) for frame in _one_of_each(dataset, held_out))


def composition_basis(
    dataset: Dataset,
    frames: NDArray[np.int64],
    groups: NDArray[np.int64],
    order: NDArray[np.int64],
) -> frozenset[int]:
    """Returns groups whose compositions span those of all, the last in order where it may choose.

    Args:
        dataset: where from.
        frames: which, [n_frames].
        groups: which group each belongs to, [n_frames].
        order: of the groups.
    """
    rows, basis = _Span(dataset), set()
    for group in order[::-1].tolist():
        for frame in _one_of_each(dataset, frames[groups == group]):
            if rows.add(frame):
                basis.add(int(group))
        if rows.complete:
            break
    return frozenset(basis)


class _Span:
    """Compositions that are independent of each other."""

    def __init__(self, dataset: Dataset) -> None:
        self._elements = dataset.elements
        self._rows = np.zeros((0, len(self._elements)))
        self._seen: set[bytes] = set()

    @property
    def complete(self) -> bool:
        """Whether nothing is independent of them."""
        return len(self._rows) == len(self._elements)

    def add(self, frame: Frame) -> bool:
        """Takes the composition of a frame; whether it was independent of those before."""
        row = np.array([(frame.system.atomic_numbers == z).sum() for z in self._elements], float)
        if row.tobytes() in self._seen:
            return False
        self._seen.add(row.tobytes())
        more = np.vstack([self._rows, row])
        if np.linalg.matrix_rank(more) == len(self._rows):
            return False
        self._rows = more
        return True


def _one_of_each(dataset: Dataset, frames: NDArray[np.int64]) -> Iterator[Frame]:
    """Yields a frame of each molecule, in the order of the file."""
    _, first = np.unique(dataset.group_idx[frames], return_index=True)
    return frames_of(dataset, frames[np.sort(first)], levels=())


def _by_molecule(dataset: Dataset, frames: NDArray[np.int64]) -> Iterator[Frame]:
    """Yields frames, one of each molecule first: these show all elements soon."""
    _, first = np.unique(dataset.group_idx[frames], return_index=True)
    others = np.delete(frames, first)
    yield from frames_of(dataset, np.concatenate([frames[first], others]), levels=())
