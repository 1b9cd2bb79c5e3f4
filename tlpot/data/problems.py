"""Looking for mistakes in a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tlpot.data.dataset import Dataset, frames_of
from tlpot.data.fingerprint import fingerprint
from tlpot.data.frame import Frame
from tlpot.errors import GeometryError
from tlpot.neighbors import CLOSEST, neighbor_list

NET_FORCE = 0.1
"""eV/Å; more than grid noise gives."""

HIGH_FORCE = 100.0
"""eV/Å; more than a molecule meets at thousands of kelvin."""

OUTLIER = 20.0
"""Robust standard deviations of the energy within a molecule."""

FEW = 10
"""Fewer frames, or pairs of frames, than this allow no statistics."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A kind of mistake with the frames that show it.

    Attributes:
        severity: an error makes frames unusable, a warning is worth a look.
        what: the mistake and the remedy.
        frames: names of the frames; empty when it concerns the whole file.
    """

    severity: Literal["error", "warning"]
    what: str
    frames: tuple[str, ...] = ()


def find_problems(
    dataset: Dataset, *, progress: Callable[[int], object] | None = None
) -> list[Problem]:
    """Reads a dataset once and reports what looks wrong, errors first.

    Checked: unusable structures (NaN positions, atoms closer than 0.1 Å, singular cells),
    duplicates, frames without labels, net and excessive forces, energies far from the rest of
    the molecule, forces with the sign of gradients, arrays that the description leaves out.

    Args:
        dataset: what to check.
        progress: called with the number of frames done since the last call.

    Raises:
        DataError: the file is damaged.
    """
    found: dict[str, list[str]] = {}
    seen: dict[bytes, str] = {}
    unlabelled = []
    levels = {level: _Level(dataset, level) for level in dataset.levels}
    for k, frame in enumerate(frames_of(dataset, progress=progress)):
        usable = _check_structure(frame, found)
        if usable and seen.setdefault(fingerprint(frame.system), frame.name) != frame.name:
            found.setdefault(_DUPLICATE, []).append(frame.name)
        if not frame.labels:
            unlabelled.append(frame.name)
        for level in frame.labels:
            levels[level].add(k, frame)
    problems = [
        Problem(severity="warning" if what == _DUPLICATE else "error", what=what, frames=tuple(n))
        for what, n in found.items()
    ]
    if unlabelled:
        what = "no label at any level"
        problems.append(Problem(severity="warning", what=what, frames=tuple(unlabelled)))
    for checks in levels.values():
        problems += checks.problems()
    if dataset.unused_keys:
        what = f"arrays not used: {', '.join(dataset.unused_keys)}"
        problems.append(Problem(severity="warning", what=what))
    return sorted(problems, key=lambda problem: problem.severity)


_DUPLICATE = "the same structure as an earlier frame"


def _check_structure(frame: Frame, found: dict[str, list[str]]) -> bool:
    if not np.isfinite(frame.system.positions).all():
        found.setdefault("positions that are NaN or infinite", []).append(frame.name)
        return False
    try:
        neighbor_list(frame.system, 2 * CLOSEST, frame.name)
    except GeometryError as error:
        what = f"atoms closer than {CLOSEST} Å" if " Å apart" in str(error) else "an unusable cell"
        found.setdefault(what, []).append(frame.name)
        return False
    return True


class _Level:
    """What the frames of one level show."""

    def __init__(self, dataset: Dataset, level: str) -> None:
        self._level = level
        self._group_idx = dataset.group_idx
        self._energies = np.full(len(dataset), np.nan)
        self._names: dict[int, str] = {}
        self._net: list[str] = []
        self._high: list[str] = []
        self._worst_net = 0.0
        self._previous: Frame | None = None
        self._work: list[tuple[float, float]] = []

    def add(self, k: int, frame: Frame) -> None:
        labels = frame.labels[self._level]
        self._energies[k] = labels.energy
        self._names[k] = frame.name
        if labels.forces is not None:
            net = float(np.linalg.norm(labels.forces.sum(axis=0)))
            self._worst_net = max(self._worst_net, net)
            if net > NET_FORCE:
                self._net.append(frame.name)
            if np.abs(labels.forces).max() > HIGH_FORCE:
                self._high.append(frame.name)
            self._compare(frame)
            self._previous = frame

    def _compare(self, frame: Frame) -> None:
        """Notes the work of the forces from the previous frame beside the energy difference."""
        before = self._previous
        if before is None or before.group != frame.group:
            return
        if not np.array_equal(before.system.atomic_numbers, frame.system.atomic_numbers):
            return
        old, new = before.labels[self._level], frame.labels[self._level]
        if old.forces is None or new.forces is None:
            return
        step = frame.system.positions - before.system.positions
        work = float(((old.forces + new.forces) * step).sum()) / 2
        self._work.append((old.energy - new.energy, work))

    def problems(self) -> list[Problem]:
        found = []
        if self._forces_are_gradients():
            found.append(
                Problem(
                    severity="error",
                    what=f"{self._level}: energy rises along the forces, so they look like "
                    "gradients; set sign: gradient in the description",
                )
            )
        for names, what in (
            (self._net, f"net force above {NET_FORCE} eV/Å (largest {self._worst_net:.3g})"),
            (self._high, f"a force component above {HIGH_FORCE:g} eV/Å"),
            (self._outliers(), f"energy {OUTLIER:g} robust deviations from the molecule's median"),
        ):
            if names:
                what = f"{self._level}: {what}"
                found.append(Problem(severity="warning", what=what, frames=tuple(names)))
        return found

    def _forces_are_gradients(self) -> bool:
        pairs = np.array(self._work, dtype=np.float64).reshape(-1, 2)
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        if len(pairs) < FEW or (pairs.std(axis=0) == 0).any():
            return False
        change, work = (pairs - pairs.mean(axis=0)).T
        return float(change @ work) < -0.5 * float(np.linalg.norm(change) * np.linalg.norm(work))

    def _outliers(self) -> list[str]:
        frames = np.flatnonzero(np.isfinite(self._energies))
        frames = frames[np.argsort(self._group_idx[frames], kind="stable")]
        starts = np.flatnonzero(np.diff(self._group_idx[frames])) + 1
        names = []
        for members in np.split(frames, starts):
            if len(members) < FEW:
                continue
            energies = self._energies[members]
            distance = np.abs(energies - np.median(energies))
            scale = 1.4826 * np.median(distance)
            if scale > 0:
                names += [self._names[int(k)] for k in members[distance > OUTLIER * scale]]
        return names
