"""Geometries with labels of several levels, written in tlpot's own layout (tasks 3 and 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from ase import Atoms
from ase.units import Hartree
from numpy.typing import NDArray
from tqdm import tqdm

from tlpot.files import atomic_file

GFN2 = "gfn2-xtb"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Geometries of one molecule, its atoms in one order.

    Attributes:
        name: of the group in the file.
        molecule: frames of one molecule stay together in a split by molecule.
        numbers: [n_atoms].
        positions: Å, [n_frames, n_atoms, 3].
        energies: eV by level, [n_frames], NaN where there is none.
        forces: eV/Å by level, [n_frames, n_atoms, 3].
    """

    name: str
    molecule: str
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    energies: Mapping[str, NDArray[np.float64]]
    forces: Mapping[str, NDArray[np.float64]]


def gfn2_calculator() -> object:
    """Returns a new GFN2-xTB calculator (Bannwarth et al., doi:10.1021/acs.jctc.8b01176)."""
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


def with_gfn2(groups: Sequence[Group]) -> list[Group]:
    """Returns the groups with energies and forces of GFN2-xTB beside their other labels."""
    bar = tqdm(total=sum(len(group.positions) for group in groups), desc=GFN2)
    done = []
    for group in groups:
        atoms = Atoms(group.numbers)
        # one calculator for a molecule: the density of one frame starts the next
        atoms.calc = gfn2_calculator()
        energies, forces = [], []
        for positions in group.positions:
            atoms.positions = positions
            energies.append(atoms.get_potential_energy())
            forces.append(atoms.get_forces())
            bar.update()
        done.append(
            replace(
                group,
                energies={**group.energies, GFN2: np.array(energies)},
                forces={**group.forces, GFN2: np.array(forces)},
            )
        )
    bar.close()
    return done


def write_groups(path: Path, groups: Sequence[Group]) -> None:
    """Writes the groups; the file appears when it is complete."""
    levels = sorted({level for group in groups for level in group.energies})
    keys = {level: level.replace("/", "_") for level in levels}
    units = {"coordinates": "angstrom", "energy": "hartree", "forces": "hartree/angstrom"}
    with atomic_file(path) as temporary, h5py.File(temporary, "w") as handle:
        handle.attrs["layout"] = "ani1x"
        handle.attrs["levels"] = json.dumps({key: level for level, key in keys.items()})
        handle.attrs["units"] = json.dumps(units)
        for group in groups:
            section = handle.create_group(group.name)
            section.attrs["molecule"] = group.molecule
            section["atomic_numbers"] = group.numbers.astype(np.uint8)
            section["coordinates"] = group.positions
            for level, values in group.energies.items():
                section[f"{keys[level]}.energy"] = values / Hartree
            for level, values in group.forces.items():
                section[f"{keys[level]}.forces"] = values / Hartree
