"""Energy drift of a peptide in water in OpenMM: python benchmarks/openmm_drift.py DIR --ps 50.

Capped alanine in a small box, no constraints, no thermostat, 0.5 fs, after 0.5 ps of warming up:
the slope of the total energy, meV/atom/ps, by the force field alone and with the peptide by a
model, whole or by a scheme. The mixed system should drift as the force field does. A call with
the same DIR, where energies and states lie, goes on where the last one ended.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import openmm as mm
import torch
from openmm import app, unit
from openmmml import MLPotential

from tlpot.structures import build_peptide

TIMESTEP, EVERY, SAVE = 0.0005, 10, 1000
KILOJOULE = 10.364269
"""1 kJ/mol in meV."""


def prepare(folder: Path, field: app.ForceField) -> app.PDBFile:
    """Returns the peptide in water, minimised by the force field."""
    target = folder / "solvated.pdb"
    if not target.exists():
        build_peptide("A").write(folder / "alanine.pdb")
        pdb = app.PDBFile(str(folder / "alanine.pdb"))
        modeller = app.Modeller(pdb.topology, pdb.positions)
        modeller.addSolvent(field, boxSize=mm.Vec3(1.9, 1.9, 1.9) * unit.nanometer)
        start = app.Simulation(
            modeller.topology, flexible(field, modeller.topology), mm.VerletIntegrator(0.001)
        )
        start.context.setPositions(modeller.positions)
        start.minimizeEnergy(maxIterations=200)
        positions = start.context.getState(positions=True).getPositions()
        with target.open("w") as file:
            app.PDBFile.writeFile(modeller.topology, positions, file)
    return app.PDBFile(str(target))


def flexible(field: app.ForceField, topology: app.Topology) -> mm.System:
    """The system of the force field, with bonds of water as springs."""
    return field.createSystem(
        topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.8 * unit.nanometer,
        rigidWater=False,
    )


def advance(system: mm.System, start: app.PDBFile, base: Path, time: float) -> None:
    """Simulates up to a time, ps, and adds times and total energies to a file."""
    state, log = base.with_suffix(".xml"), base.with_suffix(".csv")
    platform = mm.Platform.getPlatformByName("CPU")
    context = mm.Context(
        system, integrator := mm.VerletIntegrator(TIMESTEP), platform, {"Threads": "1"}
    )
    if state.exists():
        context.setState(mm.XmlSerializer.deserialize(state.read_text()))
    else:
        thermostat = mm.LangevinMiddleIntegrator(300, 10, TIMESTEP)
        warm = mm.Context(system, thermostat, platform, {"Threads": "1"})
        warm.setPositions(start.positions)
        warm.setVelocitiesToTemperature(300, 1)
        thermostat.step(round(0.5 / TIMESTEP))
        context.setState(warm.getState(positions=True, velocities=True))
        context.setTime(0)
        log.write_text("")
    while (now := context.getTime()._value) < time - 0.5 * TIMESTEP:
        lines = []
        for _ in range(SAVE // EVERY):
            integrator.step(EVERY)
            found = context.getState(energy=True)
            total = (found.getPotentialEnergy() + found.getKineticEnergy())._value
            now = found.getTime()._value
            lines.append(f"{now:.4f},{total * KILOJOULE / system.getNumParticles():.6f}\n")
        with log.open("a") as file:
            file.writelines(lines)
        saved = context.getState(positions=True, velocities=True)
        state.write_text(mm.XmlSerializer.serialize(saved))


def slope(base: Path) -> str:
    """The drift with its standard error, blocks of 0.25 ps taken as independent."""
    rows = np.loadtxt(base.with_suffix(".csv"), delimiter=",")
    rows = rows[np.unique(rows[:, 0], return_index=True)[1]]
    times, totals = (column[: len(column) // 50 * 50].reshape(-1, 50) for column in rows.T)
    means = times.mean(axis=1), totals.mean(axis=1)
    (found, _), covariance = np.polyfit(*means, 1, cov=True)
    return (
        f"{rows[-1, 0]:6.1f} ps {found:+.5f} ± {np.sqrt(covariance[0, 0]):.5f} meV/atom/ps, "
        f"fluctuation {(rows[:, 1] - np.polyval(np.polyfit(*rows.T, 1), rows[:, 0])).std():.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ps", type=float, default=50.0)
    parser.add_argument("--scheme")
    parser.add_argument("--model", default="tlpot-peptides-tiny")
    parser.add_argument("--level", default="aimnet2")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    start = prepare(given.folder, field)
    region = [a.index for a in start.topology.atoms() if a.residue.chain.index == 0]
    classical = flexible(field, start.topology)
    potential = MLPotential("tlpot", model=given.model, level=given.level, scheme=given.scheme)
    mixed = potential.createMixedSystem(start.topology, classical, region)
    print(f"{start.topology.getNumAtoms()} atoms, {len(region)} by {given.scheme or 'the model'}")
    for name, system in (("mixed", mixed), ("field", classical)):
        base = given.folder / (name if given.scheme is None else f"{name}-{given.scheme}")
        advance(system, start, base, given.ps)
        print(f"{name:6} {slope(base)}", flush=True)


if __name__ == "__main__":
    main()
