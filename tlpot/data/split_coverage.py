"""What training must have for held-out molecules (elements, what fixes their energies), or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tlpot.bond_thresholds import BONDED, RADII
from tlpot.data.dataset import Dataset, Frame, frames_of

_MOST_HELD_OUT, _MOST_TRAINING = 200, 5000
"""Molecules that are looked at for being the same under two names."""
_LARGEST = 300
"""Atoms of such molecules."""
_FEW = 0.05
"""Share of the held-out molecules that changes no mean error, as complexes that share a proton."""


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


def renamed_molecules(
    dataset: Dataset, train: NDArray[np.int64], held_out: NDArray[np.int64]
) -> str:
    """Says that held-out molecules are in training under other names, as conformers may be.

    They have the same atoms in the same order, with the same bonds; periodic structures are not
    looked at, and of very many molecules some.

    Returns:
        What to say; empty for nothing.

    Raises:
        DataError: the file is damaged.
    """
    rng = np.random.default_rng(0)
    held, own = (
        _some_of_each(dataset, part, most, rng)
        for part, most in ((held_out, _MOST_HELD_OUT), (train, _MOST_TRAINING))
    )
    here = set(dataset.group_idx[train].tolist())
    held = held[[int(k) not in here for k in dataset.group_idx[held]]]
    names = dataset.group_names
    strangers: dict[bytes, list[str]] = {}
    for k, frame in zip(held, frames_of(dataset, held, levels=()), strict=True):
        if (known := _bonded(frame)) is not None:
            strangers.setdefault(known, []).append(names[dataset.group_idx[k]])
    pairs: dict[str, str] = {}
    if strangers:
        for k, frame in zip(own, frames_of(dataset, own, levels=()), strict=True):
            known = _bonded(frame)
            for name in strangers.pop(known, []) if known is not None else []:
                pairs[name] = names[dataset.group_idx[k]]
            if not strangers:
                break
    if len(pairs) <= _FEW * len(held):
        return ""
    one, other = next(iter(pairs.items()))
    return (
        f"{len(pairs)} of {len(held)} held-out molecules have the atoms and bonds of one in "
        f"training that is called otherwise, such as {one} and {other}, so that errors on them are "
        "those of other conformers and not of new molecules; divide by formula (by=formula), or "
        "name what belongs together (an array for by=key, the attribute molecule of a group)"
    )


def _some_of_each(
    dataset: Dataset, frames: NDArray[np.int64], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Returns a frame of each molecule, of very many molecules of some."""
    _, first = np.unique(dataset.group_idx[frames], return_index=True)
    if len(first) > most:
        first = rng.choice(first, most, replace=False)
    return frames[np.sort(first)]


def _bonded(frame: Frame) -> bytes | None:
    """Returns atoms, charge and bonds of a molecule; None where there are no such."""
    system = frame.system
    if not 1 < len(system) <= _LARGEST or system.pbc.any():
        return None
    gaps = np.linalg.norm(system.positions[:, None] - system.positions, axis=2)
    radii = RADII[system.atomic_numbers]
    bonds = gaps < BONDED * (radii[:, None] + radii)
    state = np.array([len(system), system.charge, system.spin])
    numbers = system.atomic_numbers.astype(np.int64)
    return state.tobytes() + numbers.tobytes() + np.packbits(bonds).tobytes()


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
