"""Folders of DeePMD-kit: ``type.raw`` beside ``set.*/coord.npy``, and folders of such folders.

Å, eV, eV/Å; the virial, in eV, is −∂E/∂strain as that of extended XYZ is
(https://docs.deepmodeling.com/projects/deepmd/en/stable/data/system.html).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlpot.data.store import as_elements, as_numbers
from tlpot.data.xyz_file import XYZFrame
from tlpot.errors import DataError
from tlpot.files import check_text

TYPES = "type.raw"
_NAMES = "type_map.raw"
_NOT_PERIODIC = "nopbc"
_MIXED = "real_atom_types"
_VIRTUAL = -1
"""The type of an atom that only fills a row up to the length of others."""


def deepmd_systems(folder: Path) -> list[Path]:
    """Returns the systems in a folder, which may be one itself; none if it is of another kind.

    They are looked for two levels down: the whole of a home directory takes for ever.
    """
    if not folder.is_dir():
        return []
    if (folder / TYPES).is_file():
        return [folder]
    below = [*folder.glob(f"*/{TYPES}"), *folder.glob(f"*/*/{TYPES}")]
    return sorted(file.parent for file in below)


def read_deepmd(systems: list[Path]) -> list[XYZFrame]:
    """Returns the frames of systems, set by set, with `energy`, `force` and `virial` as labels.

    Raises:
        DataError: arrays that do not fit together, or elements that are not named.
    """
    frames: list[XYZFrame] = []
    for system in systems:
        for frame in _system(system, len(frames)):
            frames.append(frame)
    return frames


def _system(folder: Path, start: int) -> Iterator[XYZFrame]:
    types, names = _whole(folder / TYPES), _names(folder)
    sets = sorted(each for each in folder.glob("set.*") if each.is_dir())
    if not sets:
        raise DataError(
            f"{folder} has {TYPES} and no set.000/coord.npy; of text (coord.raw), write sets with "
            "raw_to_set.sh of DeePMD-kit or dpdata"
        )
    periodic = not (folder / _NOT_PERIODIC).exists()
    for each in sets:
        arrays = {file.stem: _array(file) for file in sorted(each.glob("*.npy"))}
        for name in ("coord", *(("box",) if periodic else ())):
            if name not in arrays:
                raise DataError(
                    f"{each} has no {name}.npy"
                    + f"; for molecules without a cell, put a file {_NOT_PERIODIC} into {folder}"
                    * (name == "box")
                )
        n = len(arrays["coord"])
        kinds: NDArray = np.broadcast_to(types, (n, len(types)))
        if _MIXED in arrays:
            kinds = _shaped(arrays.pop(_MIXED), n, (len(types),), each / f"{_MIXED}.npy")
        coordinates = _shaped(arrays.pop("coord"), n, (len(types), 3), each / "coord.npy")
        shapes = {"box": (3, 3), "energy": (), "force": (len(types), 3), "virial": (3, 3)}
        found = {
            name: _shaped(arrays.pop(name), n, shape, each / f"{name}.npy")
            for name, shape in shapes.items()
            if name in arrays
        }
        elements = _elements(kinds[kinds != _VIRTUAL], names, folder)
        for k in range(n):
            real = kinds[k] != _VIRTUAL
            info: dict[str, Any] = {
                name: found[name][k] for name in ("energy", "virial") if name in found
            }
            of_atoms = {"forces": found["force"][k][real]} if "force" in found else {}
            for name, array in arrays.items():  # listed as not read
                row = np.atleast_1d(array[k] if len(array) == n else array).reshape(-1)
                if row.size % len(types) == 0 and row.size > 1:
                    of_atoms[name] = row.reshape(len(types), -1)[real]
                else:
                    info[name] = row[0] if row.size == 1 else row
            yield XYZFrame(
                number=start,
                numbers=elements[kinds[k][real].astype(np.int64)],
                positions=coordinates[k][real],
                cell=found["box"][k] if periodic else np.zeros((3, 3)),
                pbc=np.full(3, periodic),
                info=info,
                arrays=of_atoms,
            )
            start += 1


def _names(folder: Path) -> list[str]:
    """Returns the elements of the types: DeePMD-kit has them in its input file otherwise."""
    path = folder / _NAMES
    if not path.is_file():
        raise DataError(
            f"{folder} has no {_NAMES}, so its types are of no known elements; write their symbols "
            "into it, one for each line in the order of the types (type_map of the training)"
        )
    check_text(path)
    return path.read_text(encoding="utf-8-sig").split()


def _elements(kinds: NDArray, names: list[str], folder: Path) -> NDArray[np.int64]:
    """Returns the atomic number of each type; 0 of those that no atom has."""
    used = np.unique(kinds).astype(np.int64)
    if len(used) and not (used[0] >= 0 and used[-1] < len(names)):
        raise DataError(f"{folder}: type {used[-1]} has no element in {_NAMES} ({names})")
    table = np.zeros(len(names), dtype=np.int64)
    symbols = np.array([names[kind] for kind in used], dtype=object)
    table[used] = as_elements(symbols, str(folder / _NAMES))
    return table


def _whole(path: Path) -> NDArray[np.int64]:
    try:
        return np.array([int(word) for word in path.read_text().split()], dtype=np.int64)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} does not hold the type of each atom ({error})") from error


def _array(path: Path) -> NDArray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except Exception as error:  # numpy raises a dozen kinds for damage
        raise DataError(f"{path} is not a complete array of numbers ({error})") from error


def _shaped(array: NDArray, n: int, shape: tuple[int, ...], path: Path) -> NDArray[np.float64]:
    expected = (n, int(np.prod(shape)))
    if len(array) != n or array.size != expected[0] * expected[1]:
        raise DataError(f"{path} has shape {array.shape}, expected {expected}, as coord.npy says")
    return as_numbers(array, str(path)).reshape(n, *shape)
