"""Pairs of frames so alike that the forces on the way tell the difference in energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.data.frame import Frame

NEAR = 0.25
"""Å; root mean square displacement of the atoms between two frames that are compared."""

FAR = 0.5
"""Å; displacement of an atom beyond which two frames are not compared."""

STRAIGHT = 0.1
"""Least work of the mean forces, relative to the change of the forces along the displacement.

The error of the trapezoidal rule is third order in the displacement and some hundredths of that
change, which is second order. Where the work is smaller, the error may exceed it."""

LEAST_CHANGE = 0.005
"""eV; of the energy or the work, above the noise of energies in single precision."""

NEAREST = 4
"""Pairs that a frame has at most of its own choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NearPair:
    """The way from one frame to another.

    Attributes:
        frames: numbers of the two.
        distance: root mean square displacement, Å.
        change: energy of the second less that of the first, eV.
        work: of the mean of the two frames' forces along the displacement, eV. The energy falls
            by this amount, up to third order in the displacement (trapezoidal rule).
    """

    frames: tuple[int, int]
    distance: float
    change: float
    work: float


def near_pairs(frames: Sequence[Frame], level: str) -> list[NearPair]:
    """Returns ways between frames of one molecule that are near enough for the forces to tell.

    The second frame is laid over the first, and its forces are turned with it (W. Kabsch,
    doi:10.1107/S0567739476001873), so that what is left is a change of shape; in a periodic cell
    only the common translation is removed. Whether a pair is taken depends on the structures and
    on the size of the forces, but not on their sign.

    Args:
        frames: each with energy and forces; pairs of different atoms, charges, multiplicities or
            cells are passed over.
        level: whose labels.
    """
    found: dict[tuple[int, int], NearPair] = {}
    for members in _alike(frames):
        positions = np.array([_centred(frames[k]) for k in members])
        forces = np.array([frames[k].labels[level].forces for k in members])
        energies = np.array([frames[k].labels[level].energy for k in members])
        own: list[list[NearPair]] = [[] for _ in members]
        for k in range(len(members) - 1):
            for pair in _pairs_from(k, frames[members[k]], positions, forces, energies):
                for end in pair.frames:
                    own[end].append(pair)
        for pairs in own:
            for pair in sorted(pairs, key=lambda pair: pair.distance)[:NEAREST]:
                first, second = (members[end] for end in pair.frames)
                found[first, second] = NearPair(
                    frames=(first, second),
                    distance=pair.distance,
                    change=pair.change,
                    work=pair.work,
                )
    return list(found.values())


def _alike(frames: Sequence[Frame]) -> list[list[int]]:
    kinds: dict[tuple[object, ...], list[int]] = {}
    for k, frame in enumerate(frames):
        system = frame.system
        cell = np.rint(system.cell * 1e4).tobytes() if system.pbc.any() else b""
        kind = (system.atomic_numbers.tobytes(), system.charge, system.spin, system.pbc.tobytes())
        kinds.setdefault((*kind, cell), []).append(k)
    return [members for members in kinds.values() if len(members) > 1]


def _centred(frame: Frame) -> NDArray[np.float64]:
    positions = frame.system.positions
    return positions if frame.system.pbc.any() else positions - positions.mean(axis=0)


def _pairs_from(
    k: int,
    frame: Frame,
    positions: NDArray[np.float64],
    forces: NDArray[np.float64],
    energies: NDArray[np.float64],
) -> list[NearPair]:
    """Returns the ways from frame `k` to later ones."""
    later = np.arange(k + 1, len(positions))
    if frame.system.pbc.any():
        step, turned = _wrapped(frame, positions[later] - positions[k]), forces[later]
    else:
        # no rotation brings two atoms closer than the difference of their distances from the centre
        radii = np.linalg.norm(positions, axis=2)
        later = later[_rms(radii[later] - radii[k]) < NEAR]
        turns = _turns(positions[later], positions[k])
        step, turned = positions[later] @ turns - positions[k], forces[later] @ turns
    lengths = np.linalg.norm(step, axis=2)
    work = ((forces[k] + turned) * step).sum(axis=(1, 2)) / 2
    bend = ((forces[k] - turned) * step).sum(axis=(1, 2))
    distance = _rms(lengths)
    near = (distance < NEAR) & (lengths < FAR).all(axis=1)
    change = energies[later] - energies[k]
    near &= (work != 0) & (np.abs(work) >= STRAIGHT * np.abs(bend))
    near &= np.maximum(np.abs(work), np.abs(change)) >= LEAST_CHANGE
    return [
        NearPair(
            frames=(k, int(later[j])),
            distance=float(distance[j]),
            change=float(change[j]),
            work=float(work[j]),
        )
        for j in np.flatnonzero(near)
    ]


def _rms(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square over the atoms, [n_frames]."""
    return np.asarray(np.sqrt((lengths**2).mean(axis=1)))


def _turns(positions: NDArray[np.float64], onto: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations R that bring rows of ``positions @ R`` closest to `onto`, [n_frames, 3, 3]."""
    left, _, right = np.linalg.svd(np.einsum("mni,nj->mij", positions, onto))
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    return np.asarray(left @ right)


def _wrapped(frame: Frame, step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacements to the nearest images, without the mean of all atoms."""
    cell, pbc = frame.system.cell, frame.system.pbc
    whole = np.zeros(step.shape)
    periodic = np.flatnonzero(pbc)
    # rows of the cell that are not periodic may be zero
    parts = step @ np.linalg.pinv(cell[periodic])
    whole = np.rint(parts) @ cell[periodic]
    shortest = step - whole
    return np.asarray(shortest - shortest.mean(axis=1, keepdims=True))
