"""What a model's card keeps of the structures it was trained on: a sketch of their hashes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset, frames_of
from tlpot.errors import ModelFileError

KEPT = 2048
"""Hashes in a sketch, 12 kB: of fewer frames it has them all."""

_BYTES = 6
_SAME = 3e-3
"""Å; coordinates near the edge of two cells change them when they are rounded, so of large
molecules that were written with five decimals half are known again, and nearly all with six."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameSketch:
    """The smallest hashes of a set of structures (bottom-k sketch, doi:10.1145/1281192.1281193).

    Hashes are spread evenly, so those up to the largest that is kept are a fair sample of any
    other set: which of them are in the sketch says how much the sets share.

    Attributes:
        n_frames: structures in the set.
        hashes: [min(n_frames, `KEPT`)], ascending.
    """

    n_frames: int
    hashes: NDArray[np.uint64]

    @property
    def is_complete(self) -> bool:
        """Whether it holds the hash of every structure."""
        return self.n_frames <= KEPT

    def shared(self, hashes: NDArray[np.uint64]) -> tuple[int, int]:
        """Returns how many of `hashes` are of the set, and of how many that could be told."""
        told = hashes
        if not self.is_complete:
            told = hashes[hashes <= self.hashes[-1]]
        return int(np.isin(told, self.hashes).sum()), len(told)

    def __str__(self) -> str:
        rows = self.hashes.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - _BYTES :]
        return f"{self.n_frames}:{base64.b64encode(rows.tobytes()).decode()}"


def read_sketch(text: str) -> FrameSketch:
    """Returns what `str` of a sketch gave.

    Raises:
        ModelFileError: it is something else.
    """
    number, _, encoded = text.partition(":")
    try:
        rows = np.frombuffer(base64.b64decode(encoded, validate=True), dtype=np.uint8)
        padded = np.zeros((len(rows) // _BYTES, 8), dtype=np.uint8)
        padded[:, 8 - _BYTES :] = rows.reshape(-1, _BYTES)
        found = FrameSketch(n_frames=int(number), hashes=padded.view(">u8")[:, 0].astype(np.uint64))
    except ValueError as error:
        raise ModelFileError(f"the card's sketch of training frames is damaged: {error}") from error
    if len(found.hashes) != min(found.n_frames, KEPT):
        raise ModelFileError(
            f"the card's sketch of {found.n_frames} training frames holds {len(found.hashes)} "
            f"hashes, expected {min(found.n_frames, KEPT)}"
        )
    return found


def frame_hashes(
    dataset: Dataset, indices: Sequence[int] | NDArray[np.int64] | None = None
) -> NDArray[np.uint64]:
    """Returns a hash of each structure of more than one atom: elements, positions, cell to 3e-3 Å.

    Positions of molecules are relative to their first atoms. Free atoms, which every set has, and
    charges do not count.

    Args:
        dataset: the structures.
        indices: which of them; None for all.
    """
    found = []
    for frame in frames_of(dataset, indices, levels=()):
        system = frame.system
        if len(system) < 2:
            continue
        digest = hashlib.blake2b(system.atomic_numbers.astype("<i8").tobytes(), digest_size=_BYTES)
        periodic = bool(system.pbc.any())
        origin = 0.0 if periodic else system.positions[0]
        for array in (system.positions - origin, system.cell if periodic else np.zeros(0)):
            digest.update(np.rint(array / _SAME).astype("<i8").tobytes())
        digest.update(bytes(system.pbc.tolist()))
        found.append(int.from_bytes(digest.digest(), "big"))
    return np.array(found, dtype=np.uint64)


def sketch_frames(
    dataset: Dataset, indices: Sequence[int] | NDArray[np.int64] | None = None
) -> FrameSketch:
    """Returns the sketch of structures of a dataset; two that are the same count once."""
    hashes = np.unique(frame_hashes(dataset, indices))
    return FrameSketch(n_frames=len(hashes), hashes=hashes[:KEPT])
