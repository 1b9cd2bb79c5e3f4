"""Snapshots of peptides at 300 K for the other scripts here.

    python snapshots.py --data DIR --out DIR

Chignolin as it comes (charge -2) and with its acids protonated, and ACE-Ala12-NME as helix and as
strand; Langevin dynamics with ff14SB and the GBn2 solvent model of OpenMM, one snapshot every
2 ps. The Ala12 are held near where they begin by their short time only. DIR of --data holds
proteins/chig.pdb (https://github.com/microsoft/AI2BMD, MIT).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write
from openmm import LangevinMiddleIntegrator, unit
from openmm.app import ForceField, NoCutoff, Simulation

from tlpot.fragments.layer import openmm_topology
from tlpot.structures import build_peptide
from tlpot.system import System
from tlpot.topology import perceive_topology


def neutralised(atoms: Atoms) -> Atoms:
    """Adds a proton to one oxygen of each carboxylate, 0.97 Å from it and anti to the carbon."""
    topology = perceive_topology(System.from_atoms(atoms))
    bonded: dict[int, list[int]] = {}
    for i, j in topology.bonds.tolist():
        bonded.setdefault(i, []).append(j)
        bonded.setdefault(j, []).append(i)
    added = []
    for carbon in np.flatnonzero(atoms.numbers == 6):
        oxygens = [o for o in bonded[carbon] if atoms.numbers[o] == 8 and len(bonded[o]) == 1]
        if len(oxygens) == 2:
            one, other = oxygens
            away = atoms.positions[one] - atoms.positions[carbon]
            side = atoms.positions[other] - atoms.positions[carbon]
            side -= away * (side @ away) / (away @ away)
            direction = 0.3 * away / np.linalg.norm(away) + side / np.linalg.norm(side)
            direction /= np.linalg.norm(direction)
            added.append(atoms.positions[one] + 0.97 * direction)
    return atoms + Atoms(f"H{len(added)}", added) if added else atoms


def run(name: str, atoms: Atoms, count: int, out: Path, picoseconds: float) -> None:
    topology = perceive_topology(System.from_atoms(atoms))
    field = ForceField("amber14-all.xml", "implicit/gbn2.xml")
    made, order = openmm_topology(topology)
    back = np.argsort(order)
    system = field.createSystem(made, nonbondedMethod=NoCutoff)
    integrator = LangevinMiddleIntegrator(300, 1 / unit.picosecond, 0.5 * unit.femtosecond)
    integrator.setRandomNumberSeed(1)
    simulation = Simulation(made, system, integrator)
    simulation.context.setPositions(atoms.positions[order] * unit.angstrom)
    simulation.minimizeEnergy(maxIterations=300)
    simulation.context.setVelocitiesToTemperature(300, 1)
    frames = []
    for _ in range(count):
        simulation.step(round(2000 * picoseconds))
        state = simulation.context.getState(getPositions=True)
        frame = Atoms(atoms.numbers, 10.0 * state.getPositions(asNumpy=True)._value[back])
        frame.info["charge"] = topology.charge
        frames.append(frame)
    write(out / f"{name}.xyz", frames, format="extxyz")
    print(f"{name}: {len(frames)} frames of {len(atoms)} atoms, charge {topology.charge}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--interval", type=float, default=2.0, help="ps")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    chignolin = read(options.data / "proteins" / "chig.pdb")
    chignolin = Atoms(chignolin.numbers, chignolin.positions)
    jobs = {
        "chignolin": chignolin,
        "chignolin-neutral": neutralised(chignolin),
        "ala12-helix": build_peptide("A" * 12, conformation="helix"),
        "ala12-strand": build_peptide("A" * 12, conformation="strand"),
    }
    for name, atoms in jobs.items():
        run(name, atoms, options.count, options.out, options.interval)


if __name__ == "__main__":
    main()
