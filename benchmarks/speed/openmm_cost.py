"""What a region of tlpot costs in OpenMM: python benchmarks/speed/openmm_cost.py [SEQUENCE].

Milliseconds (of the processor) a step of a capped peptide in water on the CPU platform with one
thread, in turns, medians: the force field alone, the calculator alone, both in one mixed system,
and the share that the coupling adds. Then mixed systems of water whose region costs nothing, by
its size: what is left are the exceptions that openmmml adds for each pair of the region. Last a
helix of one molecule as such a region, with these exceptions and without (``helix`` alone as
argument: only this).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm as mm
import torch
from ase import Atoms
from openmm import app, unit
from openmmml import MLPotential

import tlpot.simulation.openmm
from tlpot.calculators import FragmentCalculator, TLPotCalculator
from tlpot.structures import build_peptide

TURNS, STEPS = 7, 10
MODEL = {"model": "tlpot-fragments", "level": "pbe-d3bj/def2-svp"}
NM = unit.nanometer


class Nothing:
    """An energy model of no cost."""

    cutoff, elements, uses_charge = 1.0, (1, 6, 7, 8), False

    def atomic_energies(self, graph: Any) -> torch.Tensor:
        """Zeros that know of the positions."""
        return 0.0 * graph.positions.sum(dim=1)


def stepper(topology: app.Topology, system: mm.System, positions: Any) -> Callable[[], float]:
    """Returns what gives milliseconds a step."""
    platform = mm.Platform.getPlatformByName("CPU")
    integrator = mm.VerletIntegrator(0.0001)
    simulation = app.Simulation(topology, system, integrator, platform, {"Threads": "1"})
    simulation.context.setPositions(positions)
    simulation.step(2)

    def run() -> float:
        begin = time.process_time()
        simulation.step(STEPS)
        return 1e3 * (time.process_time() - begin) / STEPS

    return run


def calls(atoms: Atoms) -> Callable[[], float]:
    """Returns what gives milliseconds an evaluation, the atoms moving a little each time."""
    rng = np.random.default_rng(0)
    atoms.get_forces()

    def run() -> float:
        begin = time.process_time()
        for _ in range(STEPS):
            atoms.positions += 1e-4 * rng.normal(size=atoms.positions.shape)
            atoms.get_forces()
        return 1e3 * (time.process_time() - begin) / STEPS

    return run


def medians(**timed: Callable[[], float]) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(TURNS):
        for name, run in timed.items():
            found[name].append(run())
    return {name: statistics.median(values) for name, values in found.items()}


def solvated(field: app.ForceField, sequence: str) -> tuple[app.Modeller, mm.System, list[int]]:
    build_peptide(sequence).write("peptide.pdb")
    pdb = app.PDBFile("peptide.pdb")
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addSolvent(field, padding=0.8 * NM, neutralize=True)
    system = field.createSystem(
        modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.8 * NM
    )
    start = app.Simulation(modeller.topology, system, mm.VerletIntegrator(0.001))
    start.context.setPositions(modeller.positions)
    start.minimizeEnergy(maxIterations=50)
    modeller.positions = start.context.getState(positions=True).getPositions()
    region = [a.index for a in modeller.topology.atoms() if a.residue.chain.index == 0]
    return modeller, system, region


def helix(field: app.ForceField) -> None:
    """Prints a step with a region of one molecule, with all exceptions and with few."""
    build_peptide("A" * 28, conformation="helix").write("helix.pdb")
    pdb = app.PDBFile("helix.pdb")
    places = np.array(pdb.positions.value_in_unit(NM))
    places = (places - places.mean(axis=0)) @ np.linalg.svd(places - places.mean(axis=0))[2].T
    modeller = app.Modeller(pdb.topology, places * NM)
    box = np.ptp(places, axis=0) + 1.2
    modeller.addSolvent(field, boxSize=mm.Vec3(*box) * NM)
    classical = field.createSystem(
        modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.8 * NM
    )
    region = list(range(len(places)))
    timed = {"field": stepper(modeller.topology, classical, modeller.positions)}
    for name, large in (("exceptions", 10**9), ("few", 1)):
        tlpot.simulation.openmm.LARGE = large
        potential = MLPotential("tlpot", model=Nothing())
        mixed = potential.createMixedSystem(modeller.topology, classical, region)
        timed[name] = stepper(modeller.topology, mixed, modeller.positions)
    print(f"\n{modeller.topology.getNumAtoms()} atoms, {len(region)} of them a helix: ms a step")
    for name, value in medians(**timed).items():
        print(f"{name:10} {value:8.2f}")


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:] == ["helix"]:
        helix(app.ForceField("amber14-all.xml", "amber14/tip3p.xml"))
        return
    field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    modeller, classical, region = solvated(field, sys.argv[1] if len(sys.argv) > 1 else "AGA")
    print(f"{modeller.topology.getNumAtoms()} atoms, {len(region)} in the region; ms a step")
    print(f"{'method':10} {'field':>8} {'model':>8} {'mixed':>8} {'added':>7}")
    numbers = [a.element.atomic_number for a in modeller.topology.atoms()][: len(region)]
    places = np.array(modeller.positions.value_in_unit(unit.angstrom))[region]
    for scheme in (None, "mfcc", "mfcc_mbe2"):
        atoms = Atoms(numbers, places)
        options = {"level": MODEL["level"]}
        if scheme is None:
            atoms.calc = TLPotCalculator(MODEL["model"], **options)
        else:
            atoms.calc = FragmentCalculator(atoms, MODEL["model"], scheme, **options)
        potential = MLPotential("tlpot", **MODEL, scheme=scheme)
        mixed = potential.createMixedSystem(modeller.topology, classical, region)
        found = medians(
            field=stepper(modeller.topology, classical, modeller.positions),
            model=calls(atoms),
            mixed=stepper(modeller.topology, mixed, modeller.positions),
        )
        share = found["mixed"] / (found["field"] + found["model"]) - 1.0
        row = " ".join(f"{found[name]:8.2f}" for name in ("field", "model", "mixed"))
        print(f"{scheme or 'whole':10} {row} {100 * share:+6.1f}%", flush=True)

    water = app.Modeller(app.Topology(), [])
    water.addSolvent(field, boxSize=mm.Vec3(2.6, 2.6, 2.6) * NM)
    classical = field.createSystem(
        water.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.8 * NM, rigidWater=False
    )
    timed = {"0": stepper(water.topology, classical, water.positions)}
    for size in (30, 150, 300, 600, 900):
        potential = MLPotential("tlpot", model=Nothing())
        mixed = potential.createMixedSystem(water.topology, classical, list(range(size)))
        timed[str(size)] = stepper(water.topology, mixed, water.positions)
    print(f"\n{water.topology.getNumAtoms()} atoms of water, a region without cost: ms a step")
    for size, value in medians(**timed).items():
        print(f"{size:>4} atoms {value:8.2f}")
    helix(field)


if __name__ == "__main__":
    main()
