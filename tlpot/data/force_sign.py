"""Whether what a dataset calls forces are forces, from the energies of frames that are near."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset, Frame, Problem
from tlpot.data.unit_checks import PER_ATOM, PER_ATOM_REMEDY
from tlpot.numbers import counted

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
        n_atoms: of a frame.
    """

    frames: tuple[int, int]
    distance: float
    change: float
    work: float
    n_atoms: int


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
                found[first, second] = replace(pair, frames=(first, second))
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
            n_atoms=len(frame.system),
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


FEWEST_PAIRS, FEWEST_FRAMES = 8, 6
"""Fewer than this many pairs, or frames in them, decide nothing."""

DECISIVE = 0.5
"""Mean agreement, from -1 (gradients) to 1 (forces), beyond which the sign is certain."""

MANY_PAIRS = 30
"""Pairs from which more is concluded than a sign."""

DISAGREE = 0.25
"""Mean agreement below which energies and forces do not belong together."""

IN_ALL, FEWEST, MOST, RUN = 16384, 32, 512, 8
"""Frames compared in all, and of each molecule, and how many follow each other in the file."""

SHOWN = 5
"""Molecules named in a message."""

WRONG_SIZE = 1.7
"""Factor between the changes of energy and the work of the forces that is worth a look, if it is
the median of many pairs; units of length differ by 1.89, others by more."""

SAME_SIZE = 1.25
"""Factor within which the two agree where energies are taken for those of an atom."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignEvidence:
    """What pairs of near frames say about the sign of forces.

    Attributes:
        n_pairs: how many.
        n_frames: frames in them.
        agreement: mean over the pairs of the smaller over the larger of energy lost and work
            done, negative where they have opposite signs: about 1 for forces, -1 for gradients.
        factor: median of the change of energy over the work, both without sign.
        per_atom: the same, times the number of atoms: about 1 if energies are those of an atom.
    """

    n_pairs: int
    n_frames: int
    agreement: float
    factor: float
    per_atom: float

    @property
    def sign(self) -> int:
        """1 for forces, -1 for gradients, 0 where it cannot be said."""
        if self.n_pairs < FEWEST_PAIRS or self.n_frames < FEWEST_FRAMES:
            return 0
        return int(np.sign(self.agreement)) if abs(self.agreement) >= DECISIVE else 0


def sign_evidence(molecules: Sequence[Sequence[NearPair]]) -> SignEvidence:
    """Weighs the ways between near frames.

    Args:
        molecules: the ways, molecule by molecule.
    """
    pairs = [pair for pairs in molecules for pair in pairs]
    n_frames = sum(len({end for pair in pairs for end in pair.frames}) for pairs in molecules)
    if not pairs:
        return SignEvidence(n_pairs=0, n_frames=0, agreement=0.0, factor=np.nan, per_atom=np.nan)
    lost = -np.array([pair.change for pair in pairs])
    work = np.array([pair.work for pair in pairs])
    ratios = np.abs(lost) / np.abs(work)
    factor = float(np.median(ratios))
    per_atom = float(np.median(ratios * np.array([pair.n_atoms for pair in pairs])))
    # a wrong unit must not hide a wrong sign
    work = work * (factor or 1.0)
    smaller, larger = np.minimum(abs(lost), abs(work)), np.maximum(abs(lost), abs(work))
    agreement = np.sign(lost * work) * smaller / larger
    return SignEvidence(
        n_pairs=len(pairs),
        n_frames=n_frames,
        agreement=float(agreement.mean()),
        factor=factor,
        per_atom=per_atom,
    )


def force_problems(dataset: Dataset, level: str, frames: NDArray[np.int64]) -> list[Problem]:
    """Reports forces that look like gradients, or that do not fit the energies.

    Args:
        dataset: the frames.
        level: of theory.
        frames: numbers of those with sound structure, energy and forces.

    Raises:
        DataError: the file is damaged.
    """
    found: dict[str, tuple[list[NearPair], list[str]]] = {}
    for name, members in frames_by_molecule(dataset, level, frames):
        found[name] = near_pairs(members, level), [frame.name for frame in members]
    everything = sign_evidence([pairs for pairs, _ in found.values()])
    signs = {name: sign_evidence([pairs]).sign for name, (pairs, _) in found.items()}
    reversed_ones = [name for name, sign in signs.items() if sign < 0]
    if reversed_ones and (everything.sign >= 0 or max(signs.values()) > 0):
        some = sign_evidence([found[name][0] for name in reversed_ones])
        names = tuple(frame for name in reversed_ones for frame in found[name][1])
        shown = ", ".join(reversed_ones[:SHOWN]) + ", ..." * (len(reversed_ones) > SHOWN)
        what = (
            f"{_gradients(level, some)} in {len(reversed_ones)} of "
            f"{counted(len(found), 'molecule')} "
        )
        what += f"({shown}); multiply their forces by -1"
        return [Problem(severity="error", what=what, frames=names)]
    if everything.sign < 0:
        what = f"{_gradients(level, everything)}; multiply them by -1, or read the file with a "
        what += "description of the other sign (sign: force or gradient)"
        return [Problem(severity="error", what=what)]
    return _doubts(level, everything)


def _gradients(level: str, evidence: SignEvidence) -> str:
    return (
        f"{level}: energy rises along the forces, so they look like gradients (agreement "
        f"{evidence.agreement:.2f} in {counted(evidence.n_pairs, 'pair')} of near frames; "
        f"forces give 1)"
    )


def _doubts(level: str, evidence: SignEvidence) -> list[Problem]:
    """Reports on forces that are not shown to be gradients."""
    pairs = f"{counted(evidence.n_pairs, 'pair')} of near frames"
    if evidence.sign > 0:
        if evidence.n_pairs < MANY_PAIRS or 1 / WRONG_SIZE < evidence.factor < WRONG_SIZE:
            return []
        what = (
            f"{level}: changes of energy are {evidence.factor:.4g} times the work of the forces "
            f"(median of {pairs}; expected 1)"
        )
        if 1 / SAME_SIZE < evidence.per_atom < SAME_SIZE:
            what += f", as if {PER_ATOM}; {PER_ATOM_REMEDY}"
            what += "check the units of energies, forces and coordinates"
        else:
            what += "; check the units of energies, forces and coordinates"
        return [Problem(severity="warning", what=what)]
    if evidence.n_pairs >= MANY_PAIRS and evidence.agreement < DISAGREE:
        what = (
            f"{level}: energies and forces do not belong together (agreement "
            f"{evidence.agreement:.2f} in {pairs}; forces give 1); are they in the same order, "
            "of the same geometries and at the same level?"
        )
        return [Problem(severity="warning", what=what)]
    what = (
        f"{level}: the sign of the forces could not be judged: {pairs} in {evidence.n_frames} "
        f"frames (mean agreement {evidence.agreement:.2f}); that takes {FEWEST_PAIRS} pairs of one "
        f"molecule that agree, less than {NEAR} Å apart after superposition, no atom more than "
        f"{FAR} Å; check it against the program that wrote the forces"
    )
    return [Problem(severity="note", what=what)]


def frames_by_molecule(
    dataset: Dataset, level: str, frames: NDArray[np.int64]
) -> Iterator[tuple[str, list[Frame]]]:
    """Yields each molecule's name and some of its frames."""
    most = int(np.clip(IN_ALL // len(dataset.group_names), FEWEST, MOST))
    frames = frames[np.argsort(dataset.group_idx[frames], kind="stable")]
    starts = np.flatnonzero(np.diff(dataset.group_idx[frames])) + 1
    for members in np.split(frames, starts):
        if len(members):
            name = dataset.group_names[dataset.group_idx[members[0]]]
            yield name, dataset.read(_some(members, most), [level])


def _some(members: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Takes runs of consecutive frames, which are near in trajectories, from all over the file."""
    if len(members) <= most:
        return members
    first = np.linspace(0, len(members) - RUN, most // RUN).astype(np.int64)
    return members[np.unique(first[:, None] + np.arange(RUN))]
