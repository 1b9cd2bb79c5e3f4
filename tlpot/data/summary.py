"""What is inside a dataset, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tlpot.data.dataset import Dataset, Frame, frames_of
from tlpot.data.electrons import electron_problems
from tlpot.data.split import fingerprint


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelSummary:
    """One level of theory.

    Attributes:
        n_energies: frames with an energy.
        n_forces: frames with forces.
        n_stresses: frames with a stress.
        energy_range: lowest and highest energy per atom, eV; NaN without energies. With
            `isolated_atoms` relative to the free atoms, otherwise total.
        relative: whether `energy_range` is relative to the free atoms.
        spread: root mean square over the frames of the energy per atom less its mean for the
            molecule, eV; what a model has to learn within molecules.
        force_rms: of all force components, eV/Å; NaN without forces.
        force_max: longest force on an atom, eV/Å.
    """

    n_energies: int
    n_forces: int
    n_stresses: int
    energy_range: tuple[float, float]
    relative: bool
    spread: float
    force_rms: float
    force_max: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A dataset.

    Attributes:
        n_frames: number of frames.
        n_molecules: number of molecules.
        elements: atomic numbers.
        size_range: fewest and most atoms.
        n_periodic: frames with a periodic direction.
        charges: total charges that occur.
        spins: multiplicities that occur.
        n_impossible: frames whose electrons cannot have the multiplicity, such as an odd number
            of them where none is stated.
        n_duplicates: frames whose structure occurred before.
        n_damaged: frames with a label that is infinite, or NaN in part.
        levels: by level of theory.
    """

    n_frames: int
    n_molecules: int
    elements: tuple[int, ...]
    size_range: tuple[int, int]
    n_periodic: int
    charges: tuple[int, ...]
    spins: tuple[int, ...]
    n_impossible: int
    n_duplicates: int
    n_damaged: int
    levels: Mapping[str, LevelSummary]


def summarize(dataset: Dataset, *, progress: Callable[[int], object] | None = None) -> Summary:
    """Reads a dataset once, frame by frame.

    Args:
        dataset: what to describe.
        progress: called with the number of frames done since the last call.

    Raises:
        DataError: the file is damaged.
    """
    seen: set[bytes] = set()
    n_periodic = n_damaged = n_impossible = 0
    charges: set[int] = set()
    spins: set[int] = set()
    levels = {level: _Level(dataset, level) for level in dataset.levels}
    for k, frame in enumerate(frames_of(dataset, progress=progress)):
        seen.add(fingerprint(frame.system))
        n_periodic += bool(frame.system.pbc.any())
        n_damaged += bool(frame.damaged)
        n_impossible += any(True for _ in electron_problems(frame.system))
        charges.add(frame.system.charge)
        spins.add(frame.system.spin)
        for level in frame.labels:
            levels[level].add(k, frame)
    return Summary(
        n_frames=len(dataset),
        n_molecules=len(dataset.group_names),
        elements=dataset.elements,
        size_range=(int(dataset.sizes.min()), int(dataset.sizes.max())),
        n_periodic=n_periodic,
        charges=tuple(sorted(charges)),
        spins=tuple(sorted(spins)),
        n_impossible=n_impossible,
        n_duplicates=len(dataset) - len(seen),
        n_damaged=n_damaged,
        levels={name: level.summary() for name, level in levels.items()},
    )


class _Level:
    """Running sums over the frames of one level."""

    def __init__(self, dataset: Dataset, level: str) -> None:
        self._level = level
        self._atoms = dataset.levels[level].isolated_atoms
        self._relative = set(dataset.elements) <= self._atoms.keys()
        self._group_idx = dataset.group_idx
        self._energies = np.full(len(dataset), np.nan)
        self._n_forces = self._n_stresses = self._n_components = 0
        self._squares = self._longest = 0.0

    def add(self, k: int, frame: Frame) -> None:
        labels, numbers = frame.labels[self._level], frame.system.atomic_numbers
        zero = sum(self._atoms[z] for z in numbers.tolist()) if self._relative else 0.0
        self._energies[k] = (labels.energy - zero) / len(numbers)
        self._n_stresses += labels.stress is not None
        if labels.forces is not None:
            squares = (labels.forces**2).sum(axis=1)
            self._n_forces += 1
            self._n_components += labels.forces.size
            self._squares += float(squares.sum())
            self._longest = max(self._longest, float(squares.max()) ** 0.5)

    def summary(self) -> LevelSummary:
        there = np.isfinite(self._energies)
        energies, groups = self._energies[there], self._group_idx[there]
        counts = np.bincount(groups)
        means = np.bincount(groups, weights=energies) / np.maximum(counts, 1)
        deviations = energies - means[groups]
        return LevelSummary(
            n_energies=len(energies),
            n_forces=self._n_forces,
            n_stresses=self._n_stresses,
            energy_range=(float(energies.min()), float(energies.max()))
            if len(energies)
            else (np.nan, np.nan),
            relative=self._relative,
            spread=float(np.sqrt(np.mean(deviations**2))) if len(energies) else np.nan,
            force_rms=(self._squares / self._n_components) ** 0.5 if self._n_forces else np.nan,
            force_max=self._longest if self._n_forces else np.nan,
        )
