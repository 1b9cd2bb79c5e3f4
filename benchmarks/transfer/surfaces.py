"""Surfaces of small molecules at two or three levels (task 1), in one file for each.

Data: Käser et al., doi:10.1021/acs.jctc.1c00249; https://github.com/dralgroup/ani1ccxgelu.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from labelled import Group, write_groups

from tlpot.data import open_dataset

MP2, CC, F12 = "mp2/aug-cc-pvtz", "ccsd(t)/aug-cc-pvtz", "ccsd(t)-f12/aug-cc-pvtz-f12"


@dataclass(frozen=True, kw_only=True)
class Surface:
    """One molecule.

    Attributes:
        files: by level; the geometries and their order are the same in all.
        below: eV against free atoms at CCSD(T); frames above are left out.
    """

    files: dict[str, str]
    below: float = np.inf


SURFACES = {
    "H2CO": Surface(
        files={
            MP2: "ch2o_mp2_avtz_3601.npz",
            CC: "ch2o_cc_avtz_3601.npz",
            F12: "ch2o_ccf12_avtz_3601.npz",
        }
    ),
    "HONO": Surface(
        files={
            MP2: "hono_mp2_avtz_6406.npz",
            CC: "hono_cc_avtz_6406.npz",
            F12: "hono_ccf12_avtz_6406.npz",
        },
        below=-13.0,
    ),
    "HCOOH": Surface(files={MP2: "meuwly_db_HCOOH_MP2.npz", CC: "hcooh_cc_avtz_5401.npz"}),
}


def write_surface(name: str, folder: Path, path: Path) -> None:
    """Writes one molecule with all its levels; geometries that occur twice are written once.

    Raises:
        ValueError: the files do not have the same geometries in the same order.
    """
    surface = SURFACES[name]
    frames = {}
    for level, file in surface.files.items():
        dataset = open_dataset(folder / file, "physnet", level=level)
        frames[level] = dataset.read(range(len(dataset)))
    first = frames[MP2]
    positions = np.array([frame.system.positions for frame in first])
    for level, others in frames.items():
        there = np.array([frame.system.positions for frame in others])
        if there.shape != positions.shape or np.abs(there - positions).max() > 1e-6:
            raise ValueError(f"{surface.files[level]} has other geometries than the MP2 file")
    relative = np.load(folder / surface.files[CC])["E"]
    _, once = np.unique(positions.round(6).reshape(len(first), -1), axis=0, return_index=True)
    kept = np.array([k for k in np.sort(once) if relative[k] < surface.below])
    write_groups(
        path,
        [
            Group(
                name=name,
                molecule=name,
                numbers=first[0].system.atomic_numbers,
                positions=positions[kept],
                energies={
                    level: np.array([rows[k].labels[level].energy for k in kept])
                    for level, rows in frames.items()
                },
                forces={
                    level: np.array([rows[k].labels[level].forces for k in kept])
                    for level, rows in frames.items()
                },
            )
        ],
    )
