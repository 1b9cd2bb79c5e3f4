"""A thousand atoms of water in LAMMPS: python benchmarks/lammps_water.py [PS [MODEL]].

343 molecules at 1 g/cm³ from a grid, minimised and warmed up by 0.25 ps of NVT; then PS of NVE and,
from there, PS of NPT (300 K, 1 bar), 0.5 fs: drift of the total energy, temperature,
density, and milliseconds of the processor a step; where LAMMPS loses an atom, when and how hot it
was. It is no test of the model as a water model, but needs one that holds water together:
`tlpot-peptides` does, `tlpot-peptides-tiny` does not (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from tlpot.errors import SimulationError
from tlpot.simulation import LAMMPSForce, start_lammps

LEVEL, SIDE, EVERY = "aimnet2", 7, 10


def water() -> Atoms:
    """Molecules on a grid, each turned by chance."""
    one, rng = molecule("H2O"), np.random.default_rng(0)
    step = 29.9 ** (1 / 3)
    atoms = Atoms(cell=[SIDE * step] * 3, pbc=True)
    for place in np.ndindex(SIDE, SIDE, SIDE):
        turned = one.copy()
        turned.euler_rotate(*rng.uniform(0, 360, 3))
        turned.positions += step * (np.array(place) + 0.5) - turned.positions.mean(axis=0)
        atoms += turned
    return atoms


def started(atoms: Atoms, model: str):
    """LAMMPS with the atoms, and the forces of tlpot."""
    lammps = start_lammps("-screen", "none", "-log", "none")
    a, b, c = atoms.cell.lengths()
    lammps.commands_string(f"""
units metal
atom_style atomic
atom_modify map array
region box block 0 {a} 0 {b} 0 {c}
create_box 2 box
mass 1 15.999
mass 2 1.008
pair_style zero 6.0
pair_coeff * *
timestep 0.0005
thermo {EVERY}
thermo_style custom step temp pe etotal press vol
thermo_modify norm no
""")
    lammps.create_atoms(
        len(atoms),
        list(range(1, len(atoms) + 1)),
        [1 if z == 8 else 2 for z in atoms.numbers],
        atoms.positions.ravel().tolist(),
    )
    force = LAMMPSForce(lammps, model, elements=["O", "H"], level=LEVEL)
    return lammps, force


def sampled(lammps, force: LAMMPSForce, steps: int) -> tuple[np.ndarray, float]:
    """Runs, and returns step, temperature, total energy and volume, and milliseconds a step."""
    rows, spent = [], 0.0
    for _ in range(steps // EVERY):
        began = time.process_time()
        try:
            force.run(f"run {EVERY}")
        except SimulationError:
            for step, kelvin, *_ in rows[-6:]:
                print(f"  {0.0005 * step:.3f} ps, {kelvin:.0f} K")
            raise
        spent += time.process_time() - began
        rows.append([lammps.get_thermo(name) for name in ("step", "temp", "etotal", "vol")])
    return np.array(rows), 1e3 * spent / steps


def main() -> None:
    torch.set_num_threads(1)
    steps = round((float(sys.argv[1]) if len(sys.argv) > 1 else 1.0) / 0.0005)
    atoms = water()
    lammps, force = started(atoms, sys.argv[2] if len(sys.argv) > 2 else "tlpot-peptides")
    lammps.command("min_style fire")
    force.run("minimize 0 0.05 100 200")
    lammps.commands_string("velocity all create 300 1\nfix 1 all langevin 300 300 0.02 7")
    lammps.command("fix 2 all nve")
    force.run("run 500")
    lammps.command("unfix 1")
    nve, cost = sampled(lammps, force, steps)
    times = 0.0005 * nve[:, 0]
    (slope, _), covariance = np.polyfit(times, 1e3 * nve[:, 2] / len(atoms), 1, cov=True)
    print(
        f"{len(atoms)} atoms, NVE: drift {slope:+.4f} ± {np.sqrt(covariance[0, 0]):.4f} "
        f"meV/atom/ps, {nve[:, 1].mean():.0f} K, {cost:.1f} ms a step",
        flush=True,
    )
    lammps.command("unfix 2")
    lammps.command("fix 1 all npt temp 300 300 0.1 iso 1 1 1")
    npt, cost = sampled(lammps, force, steps)
    density = atoms.get_masses().sum() * 1.66054 / npt[:, 3]
    print(
        f"NPT: {npt[:, 1].mean():.0f} K, density {density[0]:.3f} to {density[-1]:.3f} g/cm³, "
        f"{cost:.1f} ms a step"
    )


if __name__ == "__main__":
    main()
