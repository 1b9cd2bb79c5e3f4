"""Whether what a dataset calls forces are forces, from the energies of frames that are near."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset
from tlpot.data.frame import Frame
from tlpot.data.near_frames import FAR, NEAR, NearPair, near_pairs
from tlpot.data.problem import Problem

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


@dataclass(frozen=True, kw_only=True, slots=True)
class SignEvidence:
    """What pairs of near frames say about the sign of forces.

    Attributes:
        n_pairs: how many.
        n_frames: frames in them.
        agreement: mean over the pairs of the smaller over the larger of energy lost and work
            done, negative where they have opposite signs: about 1 for forces, -1 for gradients.
        factor: median of the change of energy over the work, both without sign.
    """

    n_pairs: int
    n_frames: int
    agreement: float
    factor: float

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
        return SignEvidence(n_pairs=0, n_frames=0, agreement=0.0, factor=np.nan)
    lost = -np.array([pair.change for pair in pairs])
    work = np.array([pair.work for pair in pairs])
    factor = float(np.median(np.abs(lost) / np.abs(work)))
    # a wrong unit must not hide a wrong sign
    work = work * (factor or 1.0)
    smaller, larger = np.minimum(abs(lost), abs(work)), np.maximum(abs(lost), abs(work))
    agreement = np.sign(lost * work) * smaller / larger
    return SignEvidence(
        n_pairs=len(pairs), n_frames=n_frames, agreement=float(agreement.mean()), factor=factor
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
    for name, members in _molecules(dataset, level, frames):
        found[name] = near_pairs(members, level), [frame.name for frame in members]
    everything = sign_evidence([pairs for pairs, _ in found.values()])
    signs = {name: sign_evidence([pairs]).sign for name, (pairs, _) in found.items()}
    reversed_ones = [name for name, sign in signs.items() if sign < 0]
    if reversed_ones and (everything.sign >= 0 or max(signs.values()) > 0):
        some = sign_evidence([found[name][0] for name in reversed_ones])
        names = tuple(frame for name in reversed_ones for frame in found[name][1])
        shown = ", ".join(reversed_ones[:SHOWN]) + ", ..." * (len(reversed_ones) > SHOWN)
        what = f"{_gradients(level, some)} in {len(reversed_ones)} of {len(found)} molecules "
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
        f"{evidence.agreement:.2f} in {evidence.n_pairs} pairs of near frames; forces give 1)"
    )


def _doubts(level: str, evidence: SignEvidence) -> list[Problem]:
    """Reports on forces that are not shown to be gradients."""
    pairs = f"{evidence.n_pairs} pairs of near frames"
    if evidence.sign > 0:
        if evidence.n_pairs < MANY_PAIRS or 1 / WRONG_SIZE < evidence.factor < WRONG_SIZE:
            return []
        what = (
            f"{level}: changes of energy are {evidence.factor:.4g} times the work of the forces "
            f"(median of {pairs}; expected 1); check the units of energies, forces and coordinates"
        )
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


def _molecules(
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
