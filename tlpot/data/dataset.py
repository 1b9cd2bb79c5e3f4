"""Structures with their labels, and what every dataset offers, whatever file it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlpot.errors import DataError, UnknownLevelError, nearest
from tlpot.levels import canonical_level, choose_level
from tlpot.numbers import counted
from tlpot.system import System
from tlpot.targets import KnownValue, Quantity, is_property, unit_ratio

if TYPE_CHECKING:
    from ase import Atoms

_SAME = 1e-6
"""Å; structures that differ by less are one."""

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A kind of mistake with the frames that show it.

    Attributes:
        severity: an error makes frames unusable, a warning is worth a look, a note says what
            could not be checked.
        what: the mistake and the remedy.
        frames: names of the frames; empty when it concerns the whole file.
    """

    severity: Severity
    what: str
    frames: tuple[str, ...] = ()


SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """What one level of theory says about one structure, or what a property of it is.

    Attributes:
        energy: total energy, eV, or the property in its unit, see `LevelInfo.quantity`; NaN where
            absent.
        forces: [n_atoms, 3], eV/Å; None where absent.
        stress: [3, 3], eV/Å³, positive when tensile; None where absent.
    """

    energy: float = float("nan")
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One structure of a dataset.

    Attributes:
        system: geometry, charge, multiplicity.
        labels: labels by canonical level of theory; absent levels are not listed.
        group: the molecule (HDF5 group, file, or formula) that the frame belongs to.
        name: where it stands, for messages: ``data.h5:/methanol[12]``.
        damaged: what is wrong with labels of the file that are neither finite nor NaN throughout,
            and so are not among the `labels`.
    """

    system: System
    labels: Mapping[str, Labels]
    group: str
    name: str
    damaged: tuple[str, ...] = ()

    def to_atoms(self, level: str | None = None) -> Atoms:
        """Returns an `ase.Atoms` whose calculator has the labels of one level of theory.

        Properties are in ``info`` by their names, such as ``gap@hse06``.

        Args:
            level: which; may be left out where there are energies of one level or of none.

        Raises:
            UnknownLevelError: there is no label of that level, or it is not clear which is meant.
        """
        from ase.calculators.singlepoint import SinglePointCalculator  # takes its time to load

        atoms = self.system.to_atoms()
        properties = [name for name in self.labels if is_property(name)]
        atoms.info.update({name: self.labels[name].energy for name in properties})
        energies = [name for name in self.labels if name not in properties]
        if not energies and level is None:
            return atoms
        labels = self.labels[choose_level(level, energies, self.name)]
        found = {"energy": labels.energy, "forces": labels.forces, "stress": labels.stress}
        if labels.stress is not None:
            found["stress"] = labels.stress[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]
        known = {name: v for name, v in found.items() if v is not None and not np.isnan(v).any()}
        atoms.calc = SinglePointCalculator(atoms, **known)
        return atoms


FRAMES_AT_ONCE = 1024
"""Frames read together when a whole dataset is gone through."""

LabelKind = Literal["energy", "forces", "stress"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelInfo:
    """One level of theory of a dataset, or one property.

    Attributes:
        name: canonical name.
        kinds: which labels exist for at least one frame.
        isolated_atoms: total energy of the free atom by atomic number, eV; empty if not given.
        definition: how the labels were computed, in words; empty if not given.
        other_definitions: where labels of one name were computed in several ways, the others.
        keys: the arrays that the labels are read from.
        quantity: what the numbers of a property are; None for energies.
    """

    name: str
    kinds: frozenset[LabelKind]
    isolated_atoms: Mapping[int, float] = field(default_factory=dict)
    definition: str = ""
    other_definitions: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    quantity: Quantity | None = None


class Dataset(Protocol):
    """Frames of one or several molecules with labels at one or several levels of theory.

    Reading is lazy: geometry and labels come from the file on demand, so a dataset may be
    larger than memory. A dataset can be pickled into worker processes; handles are opened
    per process.
    """

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def content_hash(self) -> str:
        """SHA-256 of the file's content."""
        ...

    @property
    def levels(self) -> Mapping[str, LevelInfo]:
        """Levels of theory by canonical name."""
        ...

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        ...

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms in each frame, [n_frames]."""
        ...

    @property
    def group_names(self) -> Sequence[str]:
        """Names of the molecules."""
        ...

    @property
    def group_idx(self) -> NDArray[np.int64]:
        """Which molecule each frame belongs to, [n_frames]."""
        ...

    @property
    def unused_keys(self) -> Sequence[str]:
        """Arrays of the file that its description does not mention."""
        ...

    @property
    def problems(self) -> Sequence[Problem]:
        """What opening the file has shown: parts passed over, arrays that look like labels."""
        ...

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def labelled(self, level: str, kind: LabelKind = "energy") -> NDArray[np.bool_]:
        """Which frames carry a label, [n_frames].

        Raises:
            UnknownLevelError: no such level; the message lists those present.
            DataError: a frame's label is damaged: infinite, or NaN in part only.
        """
        ...

    def column(self, key: str) -> NDArray:
        """Returns an array of the file with one value for each frame, as stored, or as text.

        Raises:
            DataError: not every part of the file has it, or it has another shape.
        """
        ...

    def attributes(self, group: str | None = None) -> Mapping[str, Any]:
        """Returns what the file says of a molecule beside its frames, such as its bonds.

        Args:
            group: name of the molecule; None for what is said of the file as a whole.
        """
        ...

    def read(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        levels: Collection[str] | None = None,
    ) -> list[Frame]:
        """Returns frames in the order asked for, with the labels of `levels` (default: all).

        Raises:
            DataError: an index is out of range, or the file is damaged.
        """
        ...


class FrameSequence:
    """A dataset as a sequence of frames: what follows from `Dataset.read`."""

    @overload
    def __getitem__(self: Dataset, key: SupportsIndex) -> Frame: ...

    @overload
    def __getitem__(self: Dataset, key: slice | str | ArrayLike) -> list[Frame]: ...

    def __getitem__(self: Dataset, key: Any) -> Frame | list[Frame]:
        """Returns a frame, or those of a molecule, a slice, indices or a mask, with all labels.

        Raises:
            IndexError: there is no such frame, or what was given is no index.
            DataError: no such molecule, or the file is damaged.
        """
        if isinstance(key, str):
            if key not in self.group_names:
                raise DataError(
                    f"{self.path} has no molecule {key!r}{nearest(key, self.group_names)}"
                )
            return self.read(np.flatnonzero(self.group_idx == list(self.group_names).index(key)))
        found = np.arange(len(self))[key]
        return self.read([int(found)])[0] if found.ndim == 0 else self.read(found)

    def __iter__(self: Dataset) -> Iterator[Frame]:
        """Yields all frames with all labels, some at a time."""
        return frames_of(self)

    def __repr__(self: Dataset) -> str:
        molecules = counted(len(self.group_names), "molecule")
        levels = [f"{name} ({', '.join(sorted(each.kinds))})" for name, each in self.levels.items()]
        return (
            f"<{type(self).__name__} {self.path}: {counted(len(self), 'frame')} of {molecules}; "
            f"{', '.join(levels) or 'no labels'}>"
        )


def checked_indices(
    dataset: Dataset, indices: Sequence[int] | NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns numbers of frames as an array.

    Raises:
        DataError: one is out of range.
    """
    asked = np.asarray(indices, dtype=np.int64)
    if asked.size and (asked.min() < 0 or asked.max() >= len(dataset)):
        raise DataError(
            f"{dataset.path} has {counted(len(dataset), 'frame')}; one of the indices is outside"
        )
    return asked


def with_any_label(dataset: Dataset, level: str | Sequence[str]) -> NDArray[np.bool_]:
    """Returns which frames carry an energy, forces or a stress at a level, [n_frames].

    Args:
        dataset: the frames.
        level: of theory; of several, one is enough.

    Raises:
        UnknownLevelError: no such level; the message lists those present.
        DataError: a frame's label is damaged: infinite, or NaN in part only.
    """
    if not isinstance(level, str):
        return np.any([with_any_label(dataset, one) for one in level], axis=0)
    found = dataset.labelled(level)
    for kind in sorted(dataset.levels[canonical_level(level)].kinds - {"energy"}):
        if not found.all():  # the other arrays are larger
            found = found | dataset.labelled(level, kind)
    return found


def known_values(
    dataset: Dataset, frames: Sequence[Frame], known: KnownValue
) -> NDArray[np.float64]:
    """Returns the property of some frames that a model is told, in its unit, [n_frames].

    Args:
        dataset: of the frames.
        frames: with their labels.
        known: what the model is told.

    Raises:
        UnknownLevelError: the dataset has no such property.
        DataError: a frame has no value, or the unit is another.
    """
    level = canonical_level(known.level)
    if level not in dataset.levels:
        raise UnknownLevelError(
            f"{dataset.path} has no {level}, which the model has to be told of each structure "
            f"(it has {', '.join(dataset.levels)}); describe it with spec=..., or name it with "
            f"keys={{'{level}': ...}}"
        )
    quantity = dataset.levels[level].quantity
    unit = quantity.unit if quantity is not None else "eV"
    factor = unit_ratio(unit, known.unit, f"{dataset.path}: {level}")
    values = np.array([frame.labels.get(level, Labels()).energy for frame in frames]) * factor
    if np.isnan(values).any():
        name = frames[int(np.flatnonzero(np.isnan(values))[0])].name
        raise DataError(
            f"{name} has no {level}, which the model has to be told of each structure; leave such "
            "structures out, or take a model that sees the structure only"
        )
    return values


def structures_hash(dataset: Dataset) -> str:
    """Returns a SHA-256 of all structures in order, whatever labels there are.

    Elements, positions and cells to 1e-6 Å, and periodic directions count.
    """
    digest = hashlib.sha256()
    for frame in frames_of(dataset, levels=()):
        system = frame.system
        digest.update(system.atomic_numbers.astype("<i8").tobytes())
        for array in (system.positions, system.cell):
            digest.update(np.round(array / _SAME).astype("<i8").tobytes())
        digest.update(bytes(system.pbc.tolist()))
    return digest.hexdigest()


def frames_of(
    dataset: Dataset,
    indices: Sequence[int] | NDArray[np.int64] | None = None,
    *,
    levels: Collection[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Iterator[Frame]:
    """Yields frames in order, reading many at a time but never all.

    Args:
        dataset: where from.
        indices: which frames; None for all.
        levels: whose labels; None for all.
        progress: called with the number of frames read since the last call.

    Raises:
        DataError: an index is out of range, or the file is damaged.
    """
    order = np.arange(len(dataset)) if indices is None else np.asarray(indices, dtype=np.int64)
    for start in range(0, len(order), FRAMES_AT_ONCE):
        some = order[start : start + FRAMES_AT_ONCE]
        yield from dataset.read(some, levels)
        if progress is not None:
            progress(len(some))
