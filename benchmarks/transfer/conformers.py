"""Drug-like conformers with DLPNO-CCSD(T) energies (task 3): a subset, labelled with GFN2-xTB.

Data: Folmsbee and Hutchison, doi:10.1002/qua.26381; ghutchis/conformer-benchmark.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from ase.units import Hartree
from labelled import GFN2, Group, with_gfn2, write_groups

DLPNO, B97 = "dlpno-ccsd(t)/cc-pvtz", "b97-3c"
RELATIVE = "dlpno-ccsd(t)/cc-pvtz(relative)"
"""The same energies, those of each molecule shifted to the mean of its GFN2-xTB energies."""
LARGEST = 34
"""Atoms; what a tiny network can be trained on in minutes."""
FEWEST = 3
"""Conformers of a molecule; relative energies need several."""
SHAKE = 0.04
"""Å, standard deviation of the displaced copies, which teach the parent slopes."""

_LEVELS = {DLPNO: "dlpno_ccsdt_ccpvtz", B97: "b97-3c"}
_PUBLISHED = "gfn2-xtb_minus_atomization"


def write_conformers(source: Path, path: Path, *, relative: bool = False) -> None:
    """Writes neutral molecules of up to `LARGEST` atoms, and a displaced copy of each geometry.

    The copies have labels of GFN2-xTB only. A shift by a constant for each molecule changes no
    relative energy, and takes away what conformers cannot teach: how the levels differ from one
    composition to another.

    Args:
        source: the file of the benchmark.
        path: the file to write.
        relative: write `RELATIVE` in the place of `DLPNO`; all conformers of a molecule should
            then be in one part of a split, since the shift was made from all of them.

    Raises:
        ValueError: our GFN2 labels are not those of the file.
    """
    groups = _read(source)
    copies = [
        Group(
            name=f"{group.name}.displaced",
            molecule=group.molecule,
            numbers=group.numbers,
            positions=_displaced(group),
            energies={},
            forces={},
        )
        for group in groups
    ]
    labelled = [_checked(group) for group in with_gfn2([*groups, *copies])]
    write_groups(path, [_shifted(group) for group in labelled] if relative else labelled)


def _shifted(group: Group) -> Group:
    if DLPNO not in group.energies:
        return group
    energies = dict(group.energies)
    total = energies.pop(DLPNO)
    return replace(group, energies={**energies, RELATIVE: total - (total - energies[GFN2]).mean()})


def _checked(group: Group) -> Group:
    """Drops the file's own GFN2-xTB energies after a look at them; their zero is another."""
    if _PUBLISHED not in group.energies:
        return group
    difference = group.energies[GFN2] - group.energies[_PUBLISHED]
    if np.ptp(difference) > 1e-3:
        raise ValueError(
            f"{group.name}: GFN2-xTB differs by {np.ptp(difference):.1e} eV from the file's"
        )
    kept = {level: values for level, values in group.energies.items() if level != _PUBLISHED}
    return replace(group, energies=kept)


def _displaced(group: Group) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(group.name.encode()))
    return group.positions + rng.normal(scale=SHAKE, size=group.positions.shape)


def _read(source: Path) -> list[Group]:
    with h5py.File(source) as handle:
        offsets, numbers = handle["offsets"][()], handle["numbers"][()]
        positions = handle["positions"][()].astype(float)
        charges = handle["charge"][()]
        names = [name.decode() for name in handle["name"][()]]
        columns = {
            level: handle[f"energy/{key}"][()] * Hartree
            for level, key in {**_LEVELS, _PUBLISHED: _PUBLISHED}.items()
        }
    complete = np.all([np.isfinite(column) for column in columns.values()], axis=0)
    chosen: dict[tuple[str, bytes], list[int]] = {}
    for k, name in enumerate(names):
        start, stop = offsets[k], offsets[k + 1]
        if complete[k] and charges[k] == 0 and stop - start <= LARGEST:
            kind = name.partition("/")[0], numbers[start:stop].tobytes()
            chosen.setdefault(kind, []).append(k)
    groups = []
    for (molecule, order), frames in chosen.items():
        if len(frames) >= FEWEST:
            groups.append(
                Group(
                    name=molecule,
                    molecule=molecule,
                    numbers=np.frombuffer(order, dtype=np.uint8).astype(np.int64),
                    positions=np.array([positions[offsets[k] : offsets[k + 1]] for k in frames]),
                    energies={level: column[frames] for level, column in columns.items()},
                    forces={},
                )
            )
    return groups
