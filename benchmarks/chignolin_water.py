"""Chignolin in water with OpenMM: the protein by fragments of a model, the rest by a force field.

    python benchmarks/chignolin_water.py run chig.pdb DIR --by ai2bmd --ps 20
    python benchmarks/chignolin_water.py report chig.pdb DIR

``run`` prepares once (ff14SB, TIP3P, minimisation, 2 ps at 1 bar) and goes on where an earlier
run of the same DIR ended; ``--by ff14SB`` is the force field alone. All runs start at the same
state: NVT at 300 K, steps of 1 fs, hydrogens of 3 amu, rigid water, no constraints in the protein;
the force field's pairs are computed every second step (``--outer``), bonds and the model in each.
DIR gets a DCD file and a CSV file of each; ``report`` has the backbone's RMSD from the start of
the runs, phi and psi, hydrogen bonds of the hairpin, lengths of bonds, and a picture.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import openmm as mm
import torch
from openmm import app, unit

TIMESTEP, EVERY, SAVE = 0.001, 50, 100
METHODS = ("ff14SB", "ai2bmd", "mfcc", "mfcc_mbe2")
FIELD = ("amber14-all.xml", "amber14/tip3p.xml")
NM = unit.nanometer


def classical(topology: app.Topology, **options: object) -> mm.System:
    """The system of the force field."""
    return app.ForceField(*FIELD).createSystem(
        topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.8 * NM,
        hydrogenMass=3 * unit.amu,
        **options,
    )


def prepare(protein: Path, folder: Path, side: float) -> app.PDBFile:
    """Returns the solvated protein, equilibrated; its state lies beside it."""
    target = folder / "prepared.pdb"
    if not target.exists():
        pdb = app.PDBFile(str(protein))
        modeller = app.Modeller(pdb.topology, pdb.positions)
        box = mm.Vec3(side, side, side) * NM
        modeller.addSolvent(app.ForceField(*FIELD), boxSize=box, neutralize=True)
        system = classical(modeller.topology, constraints=app.HBonds)
        system.addForce(mm.MonteCarloBarostat(1.0, 300, 10))
        integrator = mm.LangevinMiddleIntegrator(300, 1, 0.002)
        simulation = simulated(modeller.topology, system, integrator)
        simulation.context.setPositions(modeller.positions)
        simulation.minimizeEnergy(maxIterations=300)
        simulation.context.setVelocitiesToTemperature(300, 1)
        simulation.step(1000)
        state = simulation.context.getState(positions=True, velocities=True)
        (folder / "prepared.xml").write_text(mm.XmlSerializer.serialize(state))
        modeller.topology.setPeriodicBoxVectors(state.getPeriodicBoxVectors())
        with target.open("w") as file:
            app.PDBFile.writeFile(modeller.topology, state.getPositions(), file, keepIds=True)
    return app.PDBFile(str(target))


def simulated(
    topology: app.Topology, system: mm.System, integrator: mm.Integrator
) -> app.Simulation:
    platform = mm.Platform.getPlatformByName("CPU")
    return app.Simulation(topology, system, integrator, platform, {"Threads": "1"})


def protein_atoms(topology: app.Topology) -> list[int]:
    return [atom.index for atom in topology.atoms() if atom.residue.chain.index == 0]


def run(given: argparse.Namespace) -> None:
    """Runs, or goes on, up to the time wanted."""
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    start = prepare(given.protein, given.folder, given.side)
    topology, system = start.topology, classical(start.topology)
    region = protein_atoms(topology)
    if given.by != "ff14SB":
        from openmmml import MLPotential

        potential = MLPotential("tlpot", model=given.model, level=given.level, scheme=given.by)
        system = potential.createMixedSystem(topology, system, region)
    for force in system.getForces():
        force.setForceGroup(0 if isinstance(force, mm.NonbondedForce) else 1)
    integrator = mm.LangevinMiddleIntegrator(300, 1, TIMESTEP)
    if given.outer > 1:
        groups = [(0, 1), (1, given.outer)]
        integrator = mm.MTSLangevinIntegrator(300, 1, given.outer * TIMESTEP, groups)
    simulation = simulated(topology, system, integrator)
    every, save = EVERY // given.outer, SAVE // given.outer
    saved = given.folder / f"{given.by}.xml"
    begun = saved.exists()
    first = saved if begun else given.folder / "prepared.xml"
    simulation.context.setState(mm.XmlSerializer.deserialize(first.read_text()))
    if not begun:
        simulation.context.setStepCount(0)
        simulation.context.setTime(0)
    dcd = app.DCDReporter(
        str(given.folder / f"{given.by}.dcd"), every, append=begun, enforcePeriodicBox=False
    )
    log = app.StateDataReporter(
        str(given.folder / f"{given.by}.csv"),
        every,
        time=True,
        potentialEnergy=True,
        temperature=True,
        append=begun,
    )
    simulation.reporters += [dcd, log]
    print(f"{topology.getNumAtoms()} atoms, {len(region)} in the protein, {given.by}", flush=True)
    while (now := simulation.context.getTime()._value) < given.ps - 0.5 * TIMESTEP:
        began = time.process_time()
        simulation.step(save)
        spent = 1e3 * (time.process_time() - began) / SAVE
        # what the reporters have written and what a restart begins with are of one step
        simulation.saveState(f"{saved}.new")
        Path(f"{saved}.new").replace(saved)
        with (given.folder / f"{given.by}.ms").open("a") as file:
            file.write(f"{spent:.2f}\n")
        print(f"{now + SAVE * TIMESTEP:6.2f} ps {spent:8.1f} ms a step", flush=True)


def hydrogen_bonds(reference: object, backbone: set[int]) -> np.ndarray:
    """Backbone hydrogen and oxygen within 2.5 Å, three residues or more apart, [n, 2]."""
    top = reference.topology
    donors = [a for a in top.atoms if a.name == "H" and a.index in backbone]
    oxygens = [a for a in top.atoms if a.name == "O" and a.index in backbone]
    found = [
        (h.index, o.index)
        for h in donors
        for o in oxygens
        if abs(h.residue.index - o.residue.index) > 2
        and np.linalg.norm(reference.xyz[0, h.index] - reference.xyz[0, o.index]) < 0.25
    ]
    return np.array(found)


def circular(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of angles over the first axis, radians."""
    vector = np.exp(1j * angles).mean(axis=0)
    return np.angle(vector), np.sqrt(-2 * np.log(np.minimum(np.abs(vector), 1.0)))


def report(given: argparse.Namespace) -> None:
    """Prints a table of all runs, over their second halves, and draws ``chignolin.png``."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import mdtraj

    folder = given.folder
    reference = mdtraj.load(str(folder / "prepared.pdb"))
    top = reference.topology
    protein = {i for i, atom in enumerate(top.atoms) if atom.residue.chain.index == 0}
    backbone = [i for i in top.select("name N CA C O") if i in protein]
    bonds = np.array(
        [
            (a.index, b.index)
            for a, b in top.bonds
            if a.index in protein and "H" not in (a.element.symbol, b.element.symbol)
        ]
    )
    at_rest = mdtraj.compute_distances(reference, bonds, periodic=False)
    pairs = hydrogen_bonds(reference, protein)
    print(f"hydrogen bonds: {[f'{top.atom(h)} {top.atom(o)}' for h, o in pairs]}")
    figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
    by_field: dict[str, np.ndarray] = {}
    for name in [n for n in METHODS if (folder / f"{n}.ms").exists()]:
        frames = mdtraj.load(str(folder / f"{name}.dcd"), top=top)
        rows = np.genfromtxt(folder / f"{name}.csv", delimiter=",", skip_header=1)
        cost = float(np.mean(np.loadtxt(folder / f"{name}.ms", ndmin=1)))
        # times after the last saved state are there twice if a run was stopped
        once = np.unique(rows[:, 0].round(4), return_index=True)[1]
        frames, rows = frames[once], rows[once]
        picosecond = rows[:, 0]
        half = picosecond > picosecond[-1] / 2
        rmsd = 10 * mdtraj.rmsd(frames, reference, atom_indices=backbone)
        apart = 10 * mdtraj.compute_distances(frames, pairs, periodic=False)
        stretch = (mdtraj.compute_distances(frames, bonds, periodic=False) / at_rest).max()
        print(
            f"{name:10} {picosecond[-1]:.1f} ps, {cost:.1f} ms a step, {86.4 / cost:.2f} ns/day; "
            f"{rows[half, 2].mean():.0f} ± {rows[half, 2].std():.0f} K; "
            f"RMSD {rmsd[half].mean():.2f} (largest {rmsd.max():.2f}) Å; "
            f"longest bond {stretch:.2f} of the first; "
            f"{len(pairs) * (apart[half] < 2.5).mean():.1f} of {len(pairs)} hydrogen bonds"
        )
        axes[0, 0].plot(picosecond, rmsd, label=name)
        axes[0, 1].plot(picosecond, apart.mean(axis=1), label=name)
        for axis, which, compute in (
            (axes[1, 0], "phi", mdtraj.compute_phi),
            (axes[1, 1], "psi", mdtraj.compute_psi),
        ):
            quartets, angles = compute(frames)
            mean, spread = (np.degrees(x) for x in circular(angles[half]))
            place = [top.atom(q[2]).residue for q in quartets]
            by_field.setdefault(which, mean)
            away = np.abs((mean - by_field[which] + 180) % 360 - 180)
            words = " ".join(
                f"{r}:{m:.0f}±{s:.0f}" for r, m, s in zip(place, mean, spread, strict=True)
            )
            print(f"    {which}, {away.mean():.0f}° from {first(folder)} in the mean; {words}")
            axis.errorbar(
                [r.resSeq for r in place], mean, spread, fmt="o", capsize=3, alpha=0.7, label=name
            )
            axis.set(xlabel="residue", ylabel=f"{which} (°)", ylim=(-190, 190))
    axes[0, 0].set(xlabel="ps", ylabel="RMSD of the backbone (Å)", ylim=0)
    axes[0, 1].set(xlabel="ps", ylabel="H to O of hydrogen bonds, mean (Å)")
    axes[0, 0].legend()
    figure.savefig(folder / "chignolin.png", dpi=110)


def first(folder: Path) -> str:
    return next(n for n in METHODS if (folder / f"{n}.ms").exists())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("run", "report"))
    parser.add_argument("protein", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--by", choices=METHODS, default="ai2bmd")
    parser.add_argument("--ps", type=float, default=20.0)
    parser.add_argument("--model", default="tlpot-peptides-tiny")
    parser.add_argument("--level", default="aimnet2")
    parser.add_argument("--outer", type=int, default=2, help="steps between forces of pairs")
    parser.add_argument("--side", type=float, default=3.7, help="of the box, nm")
    given = parser.parse_args()
    (run if given.task == "run" else report)(given)


if __name__ == "__main__":
    main()
