"""Acetylacetone with quantum nuclei in i-PI, beside classical ones.

    python benchmarks/ring_polymer.py MODEL DIR --structure test_MD_300K.xyz --ps 1

The model is one for acetylacetone (data of doi:10.1021/acs.jctc.1c00647, as benchmarks/transfer
trains them). Langevin dynamics at 300 K with 8 beads and with one: milliseconds of the processor
a step, the kinetic energy of the nuclei, and where the shared proton is, d = r(OH) − r(O'H), over
the second half of each run. i-PI itself goes on from its RESTART file if a run was stopped.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from tlpot.jobs import EnergyMethod
from tlpot.simulation import RingPolymer, write_ipi_input

TIMESTEP = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--structure", required=True)
    parser.add_argument("--level")
    parser.add_argument("--ps", type=float, default=1.0)
    given = parser.parse_args()
    found = read(given.structure, "0")
    atoms = Atoms(found.numbers, found.positions)
    method = EnergyMethod(model=given.model, level=given.level)
    for beads in (8, 1):
        folder = given.folder / f"beads{beads}"
        settings = RingPolymer(
            beads=beads, timestep=TIMESTEP, steps=round(1e3 * given.ps / TIMESTEP)
        )
        path = write_ipi_input(folder, atoms, method, settings, overwrite=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [Path(sys.executable).with_name("i-pi"), path.name]
        with (folder / "log").open("w") as log:
            subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=log)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{beads} beads, {1e3 * spent / settings.steps:.1f} ms a step; {summary(folder)}")


def summary(folder: Path) -> str:
    """What the nuclei did in the second half of a run."""
    columns = np.loadtxt(folder / "run.properties")
    half = len(columns) // 2
    kinetic = columns[half:, 4]
    beads = [read(path, ":", format="xyz") for path in sorted(folder.glob("run.positions_*.xyz"))]
    first = beads[0][0]
    oxygens = np.flatnonzero(first.numbers == 8)
    hydrogens = np.flatnonzero(first.numbers == 1)
    shared = hydrogens[np.argmin(first.get_all_distances()[np.ix_(hydrogens, oxygens)].min(axis=1))]
    d = np.array([[proton(frame, shared, oxygens) for frame in bead] for bead in beads])
    centroid = np.array(
        [proton(mean_of(frames), shared, oxygens) for frames in zip(*beads, strict=True)]
    )
    crossings = int((np.diff(np.sign(centroid)) != 0).sum())
    second = d[:, half:]
    return (
        f"kinetic energy {kinetic.mean():.3f} ± {kinetic.std():.3f} eV; "
        f"d of the beads: |d| {np.abs(second).mean():.2f} Å, within 0.2 Å of the middle "
        f"{100 * (np.abs(second) < 0.2).mean():.0f} %; {crossings} crossings of the centroid"
    )


def mean_of(frames: tuple[Atoms, ...]) -> Atoms:
    """The centroids."""
    return Atoms(frames[0].numbers, np.mean([frame.positions for frame in frames], axis=0))


def proton(frame: Atoms, shared: int, oxygens: np.ndarray) -> float:
    """r(OH) − r(O'H), Å."""
    near, far = (frame.get_distance(shared, o) for o in oxygens)
    return float(near - far)


if __name__ == "__main__":
    main()
