"""Whether what a dataset calls stress is one, from the energies of frames whose cells are near."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset, Frame, Problem
from tlpot.data.force_sign import (
    DECISIVE,
    FAR,
    FEWEST_FRAMES,
    FEWEST_PAIRS,
    LEAST_CHANGE,
    MANY_PAIRS,
    NEAR,
    NEAREST,
    STRAIGHT,
    WRONG_SIZE,
    NearPair,
    SignEvidence,
    frames_by_molecule,
    sign_evidence,
)
from tlpot.numbers import counted
from tlpot.units import PRESSURE

STRAINED = 0.1
"""Strain (Frobenius norm) between two cells beyond which they are not compared."""

MAIN_SHARE = 0.5
"""Least change of the energy that is left for the stress, over the work of the forces; where there
is less, the error of the latter decides."""

UNMOVED = 1e-3
"""Å; atoms that move less within the cell need no forces."""

FAR_OFF = 10.0
"""Factor that a few pairs are enough for."""

_UNITS = ("gpa", "kbar", "mpa", "bar")
_SAME_UNIT = 1.3
"""Factor within which a wrong size is that of a unit."""


def strained_pairs(frames: Sequence[Frame], level: str) -> list[NearPair]:
    """Returns ways between frames of one molecule whose cells differ by a small strain.

    The second cell is turned so that what is left is a symmetric strain ε. Along the way, at
    which fractions of the cell move evenly, the energy changes by ∫ V σ:ε less the work of the
    forces; both are taken by the trapezoidal rule, exact to third order.

    Args:
        frames: of three periodic directions, with energy and stress. Without forces the atoms
            must keep their places in the cell.
        level: whose labels.

    Returns:
        As of `tlpot.data.force_sign.near_pairs`, of the stress in place of the forces: `change`
        is that of the energy less what the forces account for, and `work` what the stress
        takes from it.
    """
    kinds: dict[tuple[object, ...], list[int]] = {}
    for k, frame in enumerate(frames):
        system = frame.system
        kind = (system.atomic_numbers.tobytes(), system.charge, system.spin)
        kinds.setdefault(kind, []).append(k)
    found: dict[tuple[int, int], NearPair] = {}
    for members in kinds.values():
        cells = _Cells.of([frames[k] for k in members], level)
        own: list[list[NearPair]] = [[] for _ in members]
        for k in range(len(members) - 1):
            for pair in _pairs_from(k, cells):
                for end in pair.frames:
                    own[end].append(pair)
        for pairs in own:
            for pair in sorted(pairs, key=lambda pair: pair.distance)[:NEAREST]:
                first, second = (members[end] for end in pair.frames)
                found[first, second] = replace(pair, frames=(first, second))
    return list(found.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cells:
    """Frames of the same atoms.

    Attributes:
        cells: [n_frames, 3, 3].
        fractions: of the cell, where the atoms are, [n_frames, n_atoms, 3].
        energies: [n_frames].
        stresses: [n_frames, 3, 3].
        forces: [n_frames, n_atoms, 3]; NaN where there are none.
    """

    cells: NDArray[np.float64]
    fractions: NDArray[np.float64]
    energies: NDArray[np.float64]
    stresses: NDArray[np.float64]
    forces: NDArray[np.float64]

    @classmethod
    def of(cls, frames: Sequence[Frame], level: str) -> _Cells:
        cells = np.array([frame.system.cell for frame in frames])
        labels = [frame.labels[level] for frame in frames]
        absent = np.full((len(frames[0].system), 3), np.nan)
        return cls(
            cells=cells,
            fractions=np.array([frame.system.positions for frame in frames]) @ np.linalg.inv(cells),
            energies=np.array([each.energy for each in labels]),
            stresses=np.array([each.stress for each in labels]),
            forces=np.array([absent if x.forces is None else x.forces for x in labels]),
        )


def _pairs_from(k: int, of: _Cells) -> list[NearPair]:
    """Returns the ways from frame `k` to later ones."""
    cell, later = of.cells[k], np.arange(k + 1, len(of.cells))
    left, stretch, right = np.linalg.svd(np.linalg.solve(cell, of.cells[later]))
    size = np.linalg.norm(stretch - 1.0, axis=1)
    near = (size <= STRAINED) & (np.linalg.det(left @ right) > 0)
    step = of.fractions[later] - of.fractions[k]
    step -= np.rint(step)
    step -= step.mean(axis=1, keepdims=True)
    moved = np.linalg.norm(step @ cell, axis=2)
    near &= (np.sqrt((moved**2).mean(axis=1)) < NEAR) & (moved < FAR).all(axis=1)
    if not near.any():
        return []
    later, size, step, moved = later[near], size[near], step[near], moved[near]
    left, stretch, right = left[near], stretch[near] - 1.0, right[near]
    turn = left @ right  # cell @ (1 + strain) @ turn is the other cell
    strain = np.einsum("mia,ma,mja->mij", left, stretch, left)
    rate = np.einsum("mia,ma,mja->mij", left, stretch / (1.0 + stretch), left)
    other = of.cells[later] @ turn.transpose(0, 2, 1)
    stress = turn @ of.stresses[later] @ turn.transpose(0, 2, 1)
    start = abs(np.linalg.det(cell)) * np.einsum("ij,mij->m", of.stresses[k], strain)
    end = abs(np.linalg.det(other)) * np.einsum("mij,mij->m", stress, rate)
    forces = of.forces[later] @ turn.transpose(0, 2, 1)
    pull = (of.forces[k] * (step @ cell)).sum(axis=(1, 2))
    pull_end = (forces * (step @ other)).sum(axis=(1, 2))
    without = np.isnan(pull + pull_end) & (moved < UNMOVED).all(axis=1)
    pull, pull_end = np.where(without, 0.0, pull), np.where(without, 0.0, pull_end)
    work, of_forces = (start + end) / 2, (pull + pull_end) / 2
    change = of.energies[later] - of.energies[k] + of_forces
    useful = (np.abs(work) >= STRAIGHT * np.abs(end - start)) & (work != 0)
    # of what is NaN nothing is true
    useful &= np.abs(change) >= np.maximum(LEAST_CHANGE, STRAIGHT * np.abs(pull_end - pull))
    useful &= np.abs(change) >= MAIN_SHARE * np.abs(of_forces)
    return [
        NearPair(
            frames=(k, int(later[j])),
            distance=float(size[j]),
            change=float(change[j]),
            work=float(-work[j]),
            n_atoms=step.shape[1],
        )
        for j in np.flatnonzero(useful)
    ]


def stress_problems(dataset: Dataset, level: str, frames: NDArray[np.int64]) -> list[Problem]:
    """Reports stresses of the other sign, or that do not fit the energies.

    Args:
        dataset: the frames.
        level: of theory.
        frames: numbers of those with sound structure, energy and stress.

    Raises:
        DataError: the file is damaged.
    """
    molecules = [
        strained_pairs(members, level) for _, members in frames_by_molecule(dataset, level, frames)
    ]
    evidence = sign_evidence(molecules)
    pairs = f"{counted(evidence.n_pairs, 'pair')} of near cells"
    if not evidence.sign and evidence.n_pairs >= MANY_PAIRS:
        what = (
            f"{level}: energies, forces and stresses do not belong together (agreement "
            f"{evidence.agreement:.2f} in {pairs}; a stress that fits gives 1); are energies those "
            "of whole cells and not per atom, and all labels of the same geometries and level?"
        )
        return [Problem(severity="warning", what=what)]
    if not evidence.sign:
        what = (
            f"{level}: sign and unit of the stress could not be judged: {pairs} in "
            f"{evidence.n_frames} frames (mean agreement {evidence.agreement:.2f}); that takes "
            f"{FEWEST_PAIRS} pairs of one molecule in {FEWEST_FRAMES} frames that agree beyond "
            f"{DECISIVE}, strained by less than {STRAINED}; check them against the program that "
            "wrote the stress"
        )
        return [Problem(severity="note", what=what)]
    size = _wrong_size(evidence)
    if evidence.sign < 0:
        what = (
            f"{level}: energy falls where the stress says that it rises, so it has the sign of a "
            f"pressure (agreement {evidence.agreement:.2f} in {pairs}; a stress that is positive "
            f"under tension gives 1){size and f', and {size}'}; multiply it by -1, or say so: "
            "keys={'stress': 'KEY, UNIT, compressive'} (--keys 'stress=KEY, UNIT, compressive'), "
            "in a description stress_sign: compressive; where that is said already, leave it out"
        )
        return [Problem(severity="error", what=what)]
    if not size:
        return []
    what = (
        f"{level}: {size}; name its unit, and those of energies and forces, with "
        "keys={'stress': 'KEY, UNIT'} (--keys 'stress=KEY, UNIT'), elsewhere in a description "
        "(units: {stress: ...})"
    )
    return [Problem(severity="warning", what=what)]


def _wrong_size(evidence: SignEvidence) -> str:
    """Says by how much the stress is too large or too small; nothing where it is not."""
    certain = WRONG_SIZE if evidence.n_pairs >= MANY_PAIRS else FAR_OFF
    if 1 / certain < evidence.factor < certain:
        return ""
    ratio = 1.0 / evidence.factor
    near: Mapping[str, float] = {unit: abs(np.log(ratio * PRESSURE[unit])) for unit in _UNITS}
    unit = min(near, key=near.__getitem__)
    as_if = f", as if it were in {unit}" if near[unit] < np.log(_SAME_UNIT) else ""
    return (
        f"the stress is {ratio:.4g} times what the energies say (median of "
        f"{counted(evidence.n_pairs, 'pair')} of near cells; expected 1){as_if}"
    )
