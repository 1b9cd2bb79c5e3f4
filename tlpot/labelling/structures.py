"""What is to be labelled, from whatever file it is in."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ase.io
from ase import Atoms

from tlpot.data import (
    Frame,
    Problem,
    frames_of,
    is_fragment_file,
    open_dataset,
    write_dataset,
    write_structures,
)
from tlpot.data.hdf5 import open_hdf5
from tlpot.errors import DataError, TLPotError
from tlpot.labelling.geometry_file import (
    geometry_groups,
    geometry_problems,
    group_systems,
    is_native,
)
from tlpot.system import System, check_system

PathLike = str | os.PathLike[str]
Source = PathLike | Atoms | Sequence[PathLike] | Sequence[Atoms]


@dataclass(frozen=True, kw_only=True, slots=True)
class Structures:
    """Geometries, and how to write them as a file that labels can be added to.

    Attributes:
        systems: in order.
        names: one for each, for messages.
        write: writes the native file; labels that the source has go with it.
        home: the source itself, where it is in the native layout.
        frames: where the source says nothing but the geometries, these; else empty.
        problems: what opening the source has shown.
    """

    systems: tuple[System, ...]
    names: tuple[str, ...]
    write: Callable[[Path], None]
    home: Path | None = None
    frames: tuple[Frame, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_structures(source: Source, spec: PathLike | None = None) -> Structures:
    """Reads geometries.

    Args:
        source: a file in the native layout (with labels or without), one of another layout
            together with `spec`, files of any format that ASE reads, or `ase.Atoms`.
        spec: name or path of the description of a dataset's layout. Without one, labels in an
            extended XYZ file are not carried over.

    Raises:
        DataError: no such file, not readable, or no structures.
        GeometryError: a structure is unusable.
    """
    if isinstance(source, str | os.PathLike | Atoms):
        parts: list[PathLike | Atoms] = [source]
    else:
        parts = list(source)
    if len(parts) == 1 and not isinstance(parts[0], Atoms):
        path = Path(parts[0])
        if not path.is_file():
            raise DataError(f"no such file: {path}")
        if spec is not None or is_fragment_file(path):
            return _checked(_from_dataset(path, spec))
        if is_native(path):
            return _checked(_from_native(path))
        if path.suffix in (".h5", ".hdf5"):
            raise DataError(
                f"{path} is not a dataset in tlpot's own layout; name the description of its "
                "layout with spec=... (--spec), for example 'ani1x'"
            )
    if spec is not None:
        raise DataError("spec describes one dataset; join several with 'tlpot data convert' first")
    frames: list[Frame] = []
    for part in parts:
        if isinstance(part, Atoms):
            frames.append(_frame(part, f"structure {len(frames)}"))
        else:
            frames += _from_ase(Path(part))
    return _checked(
        Structures(
            systems=tuple(frame.system for frame in frames),
            names=tuple(frame.name for frame in frames),
            write=partial(write_structures, frames),
            frames=tuple(frames),
        )
    )


def _checked(structures: Structures) -> Structures:
    if not structures.systems:
        raise DataError("there are no structures to label")
    for system, name in zip(structures.systems, structures.names, strict=True):
        check_system(system, name)
    return structures


def _from_native(path: Path) -> Structures:
    systems: list[System] = []
    names: list[str] = []
    with open_hdf5(path) as handle:
        for group in geometry_groups(handle):
            found = group_systems(group, path)
            names += [f"{path.name}:{group.name}[{k}]" for k in range(len(found))]
            systems += found
    return Structures(
        systems=tuple(systems),
        names=tuple(names),
        write=_refuse_writing,
        home=path,
        problems=tuple(geometry_problems(path)),
    )


def _refuse_writing(path: Path) -> None:
    raise AssertionError("a native file is copied, with all that is in it")


def _from_dataset(path: Path, spec: PathLike | None) -> Structures:
    dataset = open_dataset(path, spec)
    frames = list(frames_of(dataset, levels=()))
    return Structures(
        systems=tuple(frame.system for frame in frames),
        names=tuple(frame.name for frame in frames),
        write=partial(write_dataset, dataset),
        problems=tuple(dataset.problems),
    )


def _from_ase(path: Path) -> list[Frame]:
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    if path.suffix in (".h5", ".hdf5"):
        raise DataError(
            f"{path}: several datasets cannot be labelled at once; join them with "
            "'tlpot data convert' first"
        )
    try:
        found = ase.io.read(path, index=":")
    except TLPotError:
        raise
    except Exception as error:  # its readers raise whatever they like
        raise DataError(
            f"{path}: ASE cannot read it ({type(error).__name__}: {error}); give a dataset, or "
            "a file such as .xyz, .pdb, .sdf or .traj"
        ) from error
    return [_frame(atoms, f"{path.name}[{k}]") for k, atoms in enumerate(found)]


def _frame(atoms: Atoms, name: str) -> Frame:
    return Frame(
        system=System.from_atoms(atoms),
        labels={},
        group=str(atoms.info.get("molecule", atoms.get_chemical_formula())),
        name=name,
    )
