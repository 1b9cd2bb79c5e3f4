"""What the dynamics of a build have shown, read from disk for its page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from ase.units import kB

from tlpot.bond_lengths import BROKEN
from tlpot.building.config import AssembleSettings
from tlpot.building.dynamics import Trajectory
from tlpot.building.force_field import Assembly
from tlpot.building.labels import Level
from tlpot.building.reference_dynamics import reference_run, reference_settings
from tlpot.building.stage import StageContext
from tlpot.building.structures import Target
from tlpot.building.validation import dynamics_settings, trajectories
from tlpot.dynamics import BondMonitor, MDSettings, Motion, Sample
from tlpot.reports import Ramachandran, compare_angles

PROTOCOL = (
    "Runs from the first conformation of each structure, relaxed by the same forces. Langevin: "
    "constant temperature. NVE: velocity Verlet, which goes on from the last frame of the Langevin "
    "run with the velocities that it has there. Bonds are measured in the recorded frames only, "
    f"and one beyond {BROKEN} times its first length counts as broken; so does a run that the "
    "force field or the level of theory refused to go on with."
)
"""How a build makes its runs."""


def recorded_motions(
    work: StageContext,
    settings: AssembleSettings,
    assembly: Assembly,
    targets: Sequence[Target],
    mover: Level | None,
) -> tuple[list[Motion], list[Ramachandran]]:
    """Returns the runs of all structures, and the backbone angles in them.

    Args:
        work: of the stage.
        settings: of the runs.
        assembly: of the force field.
        targets: the structures.
        mover: of the reference dynamics, or None.
    """
    motions, angles = [], []
    for target in targets:
        runs, _ = trajectories(work, settings, assembly, target)
        own: dict[str, Motion] = {}
        for ensemble, trajectory in runs.items():
            if trajectory.moments:
                md = dynamics_settings(settings, ensemble)
                own[ensemble] = motion_of(work.root.name, target, trajectory, md)
        if mover is not None:
            trajectory = reference_run(work, settings, mover, target)
            if trajectory.moments:
                md = reference_settings(settings)
                own["reference"] = motion_of(mover.name, target, trajectory, md)
        motions += list(own.values())
        if "langevin" in own:
            found = compare_angles(own["langevin"], own.get("reference"), target.topology)
            angles += [found] if found is not None else []
    return motions, angles


def motion_of(name: str, target: Target, trajectory: Trajectory, settings: MDSettings) -> Motion:
    """Looks at a run that has at least its start.

    Args:
        name: of what computed the forces.
        target: the structure.
        trajectory: of it.
        settings: of the run.
    """
    atoms, step = target.frames[0].copy(), trajectory.interval
    atoms.set_positions(trajectory.moments[0].positions)
    monitor = BondMonitor.of_molecule(atoms, target.topology.bonds)
    samples, broken = [], ""
    for k, moment in enumerate(trajectory.moments):
        atoms.set_positions(moment.positions)
        now = monitor.measure(atoms, k * step)
        broken = broken or now
        kelvin = 2.0 * moment.kinetic / (3 * len(atoms) * kB)
        samples.append(
            Sample(k * step, k * step * trajectory.timestep, moment.total, moment.potential, kelvin)
        )
    return Motion(
        structure=target.name,
        calculator=name,
        settings=settings,
        n_atoms=len(atoms),
        samples=tuple(samples),
        positions=np.array([moment.positions for moment in trajectory.moments]),
        stretch=monitor.stretch,
        broken="; ".join(filter(None, (broken, trajectory.ended))),
        seconds_per_step=math.nan,
        protocol=PROTOCOL,
    )
