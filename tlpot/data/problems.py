"""Looking for mistakes in a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from ase.units import GPa
from numpy.typing import NDArray

from tlpot.data.dataset import SEVERITIES, Dataset, Frame, Problem, Severity, frames_of
from tlpot.data.force_sign import force_problems
from tlpot.data.neighbor_shells import IDENTICAL, linked, neighbor_shells, occurs_among
from tlpot.data.split_groups import fingerprint, reduced_formula
from tlpot.data.stress_sign import stress_problems
from tlpot.data.summary import ElectronCheck
from tlpot.data.unit_checks import BondedDistances, EnergyCheck, LengthCheck, bonded_distances
from tlpot.data.views import NeutralDataset
from tlpot.errors import GeometryError
from tlpot.neighbors import CLOSEST, neighbor_list
from tlpot.system import System

NET_FORCE = 0.1
"""eV/Å; more than grid noise gives."""

HIGH_FORCE = 100.0
"""eV/Å; more than a molecule meets at thousands of kelvin."""

HIGH_STRESS = 2.0
"""eV/Å³; 320 GPa, at which the softest crystals are half their volume."""

OUTLIER = 20.0
"""Robust standard deviations of the energy within a molecule."""

MEASURED = 2048
"""Structures whose bonds are measured."""

FEW = 10
"""Fewer frames than this allow no statistics."""


def find_problems(
    dataset: Dataset, *, progress: Callable[[int], object] | None = None
) -> list[Problem]:
    """Reads a dataset once and reports what looks wrong, worst first.

    Checked: labels that are infinite or NaN in part, unusable structures (NaN positions, atoms
    closer than 0.1 Å, singular cells), multiplicities that the electrons cannot have, units of
    length by the lengths of bonds, units of energy by the free atoms or by what the electrons
    of such a composition may have, duplicates, frames without labels, net and excessive forces,
    energies far from the rest of the molecule, forces with the sign of gradients (where frames
    are near enough to tell, which takes a second look at some of them), arrays that the
    description leaves out.

    Args:
        dataset: what to check.
        progress: called with the number of frames done since the last call.

    Raises:
        DataError: the file is damaged.
    """
    found: dict[tuple[Severity, str], list[str]] = {}
    lengths, electrons, stride = LengthCheck(), ElectronCheck(), -(-len(dataset) // MEASURED)
    seen: dict[bytes, Frame] = {}
    unlabelled = []
    levels = {level: _Level(dataset, level) for level in dataset.levels}
    for k, frame in enumerate(frames_of(dataset, progress=progress)):
        usable = _check_structure(frame, found)
        first = seen.setdefault(fingerprint(frame.system), frame) if usable else frame
        if first is not frame:
            found.setdefault(_DUPLICATE, []).append(frame.name)
            for level in _contradicted(first, frame):
                what = f"{level}: another label than an earlier frame of the same structure"
                found.setdefault(("warning", what), []).append(frame.name)
        for mistake in _check_contents(frame, electrons):
            found.setdefault(mistake, []).append(frame.name)
        near = None
        if k % stride == 0 and np.isfinite(frame.system.positions).all():
            near = bonded_distances(frame.system)
        if near is not None:
            lengths.add(near, len(frame.system))
        if not frame.labels and not frame.damaged:
            unlabelled.append(frame.name)
        for level in frame.labels:
            levels[level].add(k, frame, usable, near)
    wrong_lengths = lengths.problems()
    problems = [
        Problem(severity=severity, what=what, frames=tuple(names))
        for (severity, what), names in found.items()
    ]
    problems += wrong_lengths
    if unlabelled:
        what = "no label at any level"
        problems.append(Problem(severity="warning", what=what, frames=tuple(unlabelled)))
    for checks in levels.values():
        problems += checks.problems(bonds=not wrong_lengths)
    problems += [*_polymorph_problems(dataset), *dataset.problems]
    if dataset.unused_keys:
        what = f"arrays not used: {', '.join(dataset.unused_keys)}"
        problems.append(Problem(severity="note", what=what))
    return sorted(problems, key=lambda problem: SEVERITIES.index(problem.severity))


def overlap_problems(
    dataset: Dataset,
    others: Iterable[System],
    source: str,
    *,
    progress: Callable[[int], object] | None = None,
) -> list[Problem]:
    """Reports frames that other data has, too: the same structure, or another of the formula.

    Args:
        dataset: the frames.
        others: the structures of the other data.
        source: what to call that.
        progress: called with the number of frames done since the last call.

    Raises:
        GeometryError: atoms in one place, or an unusable cell.
    """
    theirs: dict[str, list[System]] = {}
    for system in others:
        theirs.setdefault(reduced_formula(system.atomic_numbers), []).append(system)
    shared: dict[str, list[Frame]] = {}
    for frame in frames_of(dataset, levels=(), progress=progress):
        formula = reduced_formula(frame.system.atomic_numbers)
        if formula in theirs:
            shared.setdefault(formula, []).append(frame)
    same, alike = [], []
    for formula, frames in shared.items():
        own = [neighbor_shells(frame.system) for frame in frames]
        found = occurs_among(own, [neighbor_shells(system) for system in theirs[formula]])
        same += [frame.name for frame, is_there in zip(frames, found, strict=True) if is_there]
        alike += [frame.name for frame, is_there in zip(frames, found, strict=True) if not is_there]
    remedy = "--together-with (together_with) of a split keeps them on the training side"
    problems = []
    if same:
        what = f"the same structure, in this or another cell, as one of {source}; {remedy}"
        problems.append(Problem(severity="warning", what=what, frames=tuple(same)))
    if alike:
        what = f"another structure of a formula that {source} has (polymorphs); {remedy}"
        problems.append(Problem(severity="note", what=what, frames=tuple(alike)))
    if not shared:
        what = f"no formula that {source} has, too"
        problems.append(Problem(severity="note", what=what))
    return problems


def _polymorph_problems(dataset: Dataset) -> list[Problem]:
    """Reports properties of one crystal that a file has in several cells, and its polymorphs."""
    if not dataset.levels or any(x.quantity is None for x in dataset.levels.values()):
        return []  # frames of one crystal, as of a trajectory, are meant to be there
    frames = [frame for frame in frames_of(dataset, levels=()) if frame.system.pbc.any()]
    by_formula: dict[str, list[Frame]] = {}
    for frame in frames:
        formula = reduced_formula(frame.system.atomic_numbers)
        by_formula.setdefault(formula, []).append(frame)
    again, several = [], []
    for polymorphs in by_formula.values():
        if len(polymorphs) < 2:
            continue
        try:
            points = np.stack([neighbor_shells(frame.system).point for frame in polymorphs])
        except GeometryError:  # reported as unusable
            continue
        n, kind = linked(points, IDENTICAL)
        _, first = np.unique(kind, return_index=True)
        again += [frame.name for k, frame in enumerate(polymorphs) if k not in first]
        several += [frame.name for frame in polymorphs] if n > 1 else []
    found = []
    if again:
        what = "the same structure as an earlier frame, in this or another cell"
        found.append(Problem(severity="note", what=what, frames=tuple(again)))
    if several:
        what = "polymorphs: other structures have the formula; a split by formula keeps them whole"
        found.append(Problem(severity="note", what=what, frames=tuple(several)))
    return found


def label_problems(dataset: Dataset, level: str, frames: NDArray[np.int64]) -> list[Problem]:
    """Reports what makes labels unfit to be learned: those checks of `find_problems` that concern
    the whole file rather than single frames.

    Checked: units of energy, forces with the sign of gradients or of other geometries,
    multiplicities that the electrons cannot have.

    Args:
        dataset: the frames.
        level: of theory.
        frames: indices of those that will be learned from; of many, some are looked at.

    Raises:
        DataError: the file is damaged.
    """
    electrons: dict[tuple[Severity, str], list[str]] = {}
    check = ElectronCheck()
    energies = EnergyCheck(level, dataset.levels[level].isolated_atoms)
    # what leaves out charges hides none from this check
    source = dataset.dataset if isinstance(dataset, NeutralDataset) else dataset
    for frame in frames_of(source, frames[:: -(-len(frames) // MEASURED) or 1], levels=[level]):
        for mistake in check.problems(frame.system):
            electrons.setdefault(mistake, []).append(frame.name)
        if level in frame.labels:
            near = bonded_distances(frame.system)
            if dataset.levels[level].quantity is None:
                energies.add(frame, 0 if near is None else near.n_bonds)
    found = [
        Problem(severity=severity, what=what, frames=tuple(names))
        for (severity, what), names in electrons.items()
    ]
    found += energies.problems()
    stressed = dataset.labelled(level)[frames] & dataset.labelled(level, "stress")[frames]
    if stressed.any():
        signs = stress_problems(source, level, frames[stressed])
        found += [problem for problem in signs if problem.severity != "note"]
    both = dataset.labelled(level)[frames] & dataset.labelled(level, "forces")[frames]
    if both.any():
        signs = force_problems(source, level, frames[both])
        found += [problem for problem in signs if problem.severity != "note"]
    return sorted(found, key=lambda problem: SEVERITIES.index(problem.severity))


_DUPLICATE: tuple[Severity, str] = "warning", "the same structure as an earlier frame"


def _contradicted(first: Frame, again: Frame) -> list[str]:
    """Levels at which two frames of one structure have labels that rounding does not explain."""
    return [
        level
        for level in first.labels.keys() & again.labels.keys()
        if not np.isclose(
            first.labels[level].energy, again.labels[level].energy, rtol=1e-9, atol=1e-3,
            equal_nan=True,
        )
    ]  # fmt: skip


def _check_contents(frame: Frame, electrons: ElectronCheck) -> Iterator[tuple[Severity, str]]:
    for what in frame.damaged:
        yield "error", what
    yield from electrons.problems(frame.system)


def _check_structure(frame: Frame, found: dict[tuple[Severity, str], list[str]]) -> bool:
    if not np.isfinite(frame.system.positions).all():
        what = "positions that are NaN or infinite"
        found.setdefault(("error", what), []).append(frame.name)
        return False
    try:
        neighbor_list(frame.system, 2 * CLOSEST, frame.name)
    except GeometryError as error:
        what = f"atoms closer than {CLOSEST} Å" if " Å apart" in str(error) else "an unusable cell"
        found.setdefault(("error", what), []).append(frame.name)
        return False
    return True


class _Level:
    """What the frames of one level show."""

    def __init__(self, dataset: Dataset, level: str) -> None:
        self._dataset = dataset
        self._level = level
        self._group_idx = dataset.group_idx
        self._energies = np.full(len(dataset), np.nan)
        self._names: dict[int, str] = {}
        self._net: list[str] = []
        self._high: list[str] = []
        self._worst_net = 0.0
        self._forces: list[int] = []
        self._stresses: list[int] = []
        self._high_stress: list[str] = []
        self._worst_stress = 0.0
        self._is_property = dataset.levels[level].quantity is not None
        self._energy_check = EnergyCheck(level, dataset.levels[level].isolated_atoms)

    def add(self, k: int, frame: Frame, usable: bool, near: BondedDistances | None) -> None:
        labels = frame.labels[self._level]
        self._energies[k] = labels.energy
        self._names[k] = frame.name
        if near is not None and not self._is_property:
            self._energy_check.add(frame, near.n_bonds)
        if labels.forces is not None:
            net = float(np.linalg.norm(labels.forces.sum(axis=0)))
            self._worst_net = max(self._worst_net, net)
            if net > NET_FORCE:
                self._net.append(frame.name)
            if np.abs(labels.forces).max() > HIGH_FORCE:
                self._high.append(frame.name)
            if usable and np.isfinite(labels.energy):
                self._forces.append(k)
        if labels.stress is not None:
            largest = float(np.abs(labels.stress).max())
            self._worst_stress = max(self._worst_stress, largest)
            if largest > HIGH_STRESS:
                self._high_stress.append(frame.name)
            if usable and np.isfinite(labels.energy):
                self._stresses.append(k)

    def problems(self, *, bonds: bool) -> list[Problem]:
        """Reports what the frames show; `bonds` says whether these can be counted."""
        found = self._energy_check.problems(bonds=bonds)
        if self._forces:
            found += force_problems(self._dataset, self._level, np.array(self._forces))
        if self._stresses:
            found += stress_problems(self._dataset, self._level, np.array(self._stresses))
        for names, what in (
            (self._net, f"net force above {NET_FORCE} eV/Å (largest {self._worst_net:.3g})"),
            (self._high, f"a force component above {HIGH_FORCE:g} eV/Å"),
            (
                self._high_stress,
                f"a stress component above {HIGH_STRESS:g} eV/Å³, which is {HIGH_STRESS / GPa:.0f} "
                f"GPa (largest {self._worst_stress:.3g} eV/Å³); is it in another unit?",
            ),
            (
                [] if self._is_property else self._outliers(),
                f"energy {OUTLIER:g} robust deviations from the molecule's median",
            ),
        ):
            if names:
                what = f"{self._level}: {what}"
                found.append(Problem(severity="warning", what=what, frames=tuple(names)))
        return found

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
