"""What is inside a dataset, in numbers, and what opening it shows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

import numpy as np

from tlpot.data.dataset import Dataset, Frame, LevelInfo, Problem, Severity, frames_of
from tlpot.data.spec import DataSpec, looks_like
from tlpot.data.split_groups import fingerprint
from tlpot.system import System
from tlpot.targets import Quantity

COARSE = 1e-4
"""eV; energies that are stored in larger steps have lost what a converged calculation gives."""


_SHOWN = 160
"""Letters of a definition in a message."""
_PER_ATOM = re.compile(r"per_?atom|/atom|_pa\b", re.IGNORECASE)
_RELATIVE = re.compile(
    r"formation|e_form\b|atomi[sz]ation|cohesive|above_hull|interaction|binding|relative",
    re.IGNORECASE,
)
_OF_ASE = {"free_energy": "energy", "energies": "energy", "stresses": "stress"}
"""Results that ASE writes beside others, with the one that is read."""


def unread_problems(keys: Iterable[str], kinds: Set[str] = frozenset()) -> list[Problem]:
    """Reports arrays that look like labels and are not read.

    Args:
        keys: arrays of the file that its description does not mention.
        kinds: of labels that are read.
    """
    keys = set(keys)
    usual = sorted(key for key in keys if _OF_ASE.get(key) in kinds)
    note = Problem(
        severity="note",
        what=f"{', '.join(map(repr, usual))}: known as what ASE writes beside energy and forces, "
        "and not read",
    )
    return [note] * bool(usual) + [
        Problem(
            severity="warning",
            what=f"{key!r} is not used, although it looks like {kind}; name it if it is "
            f"(keys, --keys {kind}={key}, or a description)"
            if kind != "unit"
            else f"{key!r} is not used, although it looks like a unit",
        )
        for key in sorted(keys - {*usual})
        if (kind := looks_like(key)) is not None
    ]


def outside_problems(keys: Set[str], spec: DataSpec) -> list[Problem]:
    """Reports labels that are stored apart from any structure.

    Args:
        keys: arrays in groups that hold no structures.
        spec: what is a label.
    """
    labels = {key for level in spec.levels.values() for key in level.keys}
    return [
        Problem(
            severity="warning",
            what=f"{key!r} is also in groups without {spec.numbers!r} and {spec.coordinates!r}, "
            "where it is not read; labels belong beside their structures",
        )
        for key in sorted(keys & labels)
    ]


def definitions_of(info: LevelInfo) -> tuple[str, ...]:
    """Returns every definition of a level."""
    return tuple(text for text in (info.definition, *info.other_definitions) if text)


def definition_problems(levels: Mapping[str, LevelInfo]) -> list[Problem]:
    """Reports levels of theory whose labels were computed in several ways."""
    return [
        Problem(
            severity="warning",
            what=f"{name}: its labels were computed in {len(found)} ways "
            f"({'; '.join(map(_short, found))}; whole: tlpot data info), so they may differ "
            "where the geometry is the same; take one, or give each a name of its own",
        )
        for name, info in levels.items()
        if len(found := definitions_of(info)) > 1
    ]


def _short(definition: str) -> str:
    return definition if len(definition) <= _SHOWN else f"{definition[: _SHOWN - 3]}..."


def resolution_problems(steps: Mapping[str, float]) -> list[Problem]:
    """Reports energies that are stored with too few digits.

    Args:
        steps: by level of theory, the distance of neighbouring energies as they are stored, eV.
    """
    return [
        Problem(
            severity="warning",
            what=f"{level}: total energies come in steps of {1e3 * step:.2g} meV, as floats of 32 "
            "bits or whole numbers have them; store them with 64 bits, or relative to free atoms",
        )
        for level, step in steps.items()
        if step > COARSE
    ]


def name_problems(levels: Mapping[str, LevelInfo]) -> list[Problem]:
    """Reports energies whose names say that they are no total energies.

    Args:
        levels: that are read, without properties, which say what they are.
    """
    found = []
    for name, info in levels.items():
        for key in info.keys if info.quantity is None and "energy" in info.kinds else ():
            if _PER_ATOM.search(key):
                what = (
                    "is read as the energy of whole structures, although its name says that it is "
                    "per atom; name another, or multiply it by the number of atoms"
                )
            elif _RELATIVE.search(key):
                what = (
                    "is read as a total energy, although its name says that it is relative to "
                    "something; name another, or describe it (energy_zero, data_specs/README.md)"
                )
            else:
                continue
            found.append(Problem(severity="warning", what=f"{name}: {key!r} {what}"))
    return found


class ElectronCheck:
    """Looks at charges and multiplicities of structures, one after another."""

    def __init__(self) -> None:
        self._endless: dict[tuple[bytes, bytes, int], bool] = {}

    def problems(self, system: System) -> Iterator[tuple[Severity, str]]:
        """Yields what is wrong with charge and multiplicity, in words that fit many structures.

        Where neither says anything (neutral, multiplicity 1) the file may just not give them, so
        an odd number of electrons is a warning; of crystals and surfaces it is none, since the
        electrons of a cell are shared with its images and have no multiplicity of their own.

        Args:
            system: the structure.
        """
        n_electrons = int(system.atomic_numbers.sum()) - system.charge
        if system.spin < 1:
            yield (
                "error",
                f"multiplicity {system.spin}, expected 2S + 1, which is 1 for a closed shell and "
                "at least 1; convert it if the file holds S or 2S",
            )
            return
        if n_electrons < 0:
            yield (
                "error",
                f"charge {system.charge:+d} is more than all nuclei have; mend the charge",
            )
            return
        if (n_electrons + system.spin) % 2 == 1 and system.spin - 1 <= n_electrons:
            return
        parity = "odd" if n_electrons % 2 else "even"
        possible = "2, 4, ..." if n_electrons % 2 else "1, 3, ..."
        stated = system.charge != 0 or system.spin != 1
        if not stated and self._is_endless(system):
            return
        charge = f"{system.charge:+d}" if system.charge else "0"
        what = (
            f"charge {charge} and multiplicity {system.spin} with an {parity} number of "
            f"electrons, expected multiplicity {possible} up to the number of electrons + 1; give "
            "charge and multiplicity as they were computed (0 and 1 stand for what a file leaves "
            "out)"
        )
        yield "error" if stated else "warning", what

    def _is_endless(self, system: System) -> bool:
        """Whether bonds have no end, which is looked at once for the same atoms as dense."""
        if not system.pbc.any():
            return False
        volume = abs(float(np.linalg.det(system.cell)))
        density = round(math.log2(volume)) if volume > 0 else 0
        key = (system.atomic_numbers.tobytes(), system.pbc.tobytes(), density)
        if key not in self._endless:
            from tlpot.neighbors import is_endless  # loads torch, which `tlpot data info` does not

            self._endless[key] = is_endless(system)
        return self._endless[key]


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
        quantity: of a property, whose values (not per atom, in its unit) are then what is said of
            energies above.
    """

    n_energies: int
    n_forces: int
    n_stresses: int
    energy_range: tuple[float, float]
    relative: bool
    spread: float
    force_rms: float
    force_max: float
    quantity: Quantity | None = None


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
    electrons = ElectronCheck()
    charges: set[int] = set()
    spins: set[int] = set()
    levels = {level: _Level(dataset, level) for level in dataset.levels}
    for k, frame in enumerate(frames_of(dataset, progress=progress)):
        seen.add(fingerprint(frame.system))
        n_periodic += bool(frame.system.pbc.any())
        n_damaged += bool(frame.damaged)
        n_impossible += any(True for _ in electrons.problems(frame.system))
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
        self._quantity = dataset.levels[level].quantity
        self._relative = self._quantity is None and set(dataset.elements) <= self._atoms.keys()
        self._group_idx = dataset.group_idx
        self._energies = np.full(len(dataset), np.nan)
        self._n_forces = self._n_stresses = self._n_components = 0
        self._squares = self._longest = 0.0

    def add(self, k: int, frame: Frame) -> None:
        labels, numbers = frame.labels[self._level], frame.system.atomic_numbers
        zero = sum(self._atoms[z] for z in numbers.tolist()) if self._relative else 0.0
        per = 1 if self._quantity is not None else len(numbers)
        self._energies[k] = (labels.energy - zero) / per
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
        if self._quantity is not None and len(energies):  # there is one of most structures
            means = np.full_like(means, energies.mean())
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
            quantity=self._quantity,
        )
