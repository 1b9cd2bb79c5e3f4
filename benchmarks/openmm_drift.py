"""Energy drift of a peptide in water in OpenMM: python benchmarks/openmm_drift.py [PS] [SCHEME].

Capped alanine in a small box, no constraints, no thermostat, 0.5 fs, after a short warming up:
the slope of the total energy, meV/atom/ps, by the force field alone and with the peptide by
tlpot-fragments, whole or by a scheme. The mixed system should drift as the force field does.
"""

from __future__ import annotations

import sys

import numpy as np
import openmm as mm
import torch
from openmm import app, unit
from openmmml import MLPotential

from tlpot.structures import build_peptide

TIMESTEP, EVERY = 0.0005, 10


def drift(system: mm.System, positions: np.ndarray, time: float) -> tuple[float, float]:
    """Returns the slope and its standard error, meV/atom/ps."""
    platform = mm.Platform.getPlatformByName("CPU")
    warm = mm.Context(
        system, thermostat := mm.LangevinMiddleIntegrator(300, 10, TIMESTEP), platform
    )
    warm.setPositions(positions)
    warm.setVelocitiesToTemperature(300, 1)
    thermostat.step(round(0.1 / TIMESTEP))
    state = warm.getState(positions=True, velocities=True)
    context = mm.Context(system, integrator := mm.VerletIntegrator(TIMESTEP), platform)
    context.setState(state)
    times, totals = [], []
    for k in range(round(time / TIMESTEP / EVERY)):
        integrator.step(EVERY)
        found = context.getState(energy=True)
        totals.append((found.getPotentialEnergy() + found.getKineticEnergy())._value)
        times.append(k * EVERY * TIMESTEP)
    kilojoule = 10.364269  # meV
    values = np.array(totals) * kilojoule / system.getNumParticles()
    (slope, _), covariance = np.polyfit(times, values, 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0, 0]))


def main() -> None:
    torch.set_num_threads(1)
    time = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    scheme = sys.argv[2] if len(sys.argv) > 2 else None
    field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    build_peptide("A").write("alanine.pdb")
    pdb = app.PDBFile("alanine.pdb")
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addSolvent(field, boxSize=mm.Vec3(1.9, 1.9, 1.9) * unit.nanometer)
    region = [a.index for a in modeller.topology.atoms() if a.residue.chain.index == 0]
    classical = field.createSystem(
        modeller.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.8 * unit.nanometer,
        rigidWater=False,
    )
    start = app.Simulation(modeller.topology, classical, mm.VerletIntegrator(0.001))
    start.context.setPositions(modeller.positions)
    start.minimizeEnergy(maxIterations=200)
    positions = start.context.getState(positions=True).getPositions(asNumpy=True)
    potential = MLPotential(
        "tlpot", model="tlpot-fragments", level="pbe-d3bj/def2-svp", scheme=scheme
    )
    mixed = potential.createMixedSystem(modeller.topology, classical, region)
    print(f"{modeller.topology.getNumAtoms()} atoms, {time} ps; meV/atom/ps")
    for name, system in (("force field", classical), ("mixed", mixed)):
        slope, error = drift(system, positions, time)
        print(f"{name:12} {slope:+.4f} ± {error:.4f}", flush=True)


if __name__ == "__main__":
    main()
