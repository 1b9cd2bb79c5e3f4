"""Dynamics of the structures at a level of theory, and what all dynamics have shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator
from ase.units import kB

from tlpot.bond_thresholds import BROKEN
from tlpot.building.config import AssembleSettings
from tlpot.building.dynamics import Trajectory, relaxed, run_dynamics
from tlpot.building.force_field import Assembly
from tlpot.building.labels import Level
from tlpot.building.stage import Stage, StageContext, StageResult
from tlpot.building.structures import Target
from tlpot.building.validation import dynamics_settings, trajectories
from tlpot.calculators import LevelCalculator
from tlpot.dynamics import BondMonitor, MDSettings, Motion, Sample
from tlpot.engines import make_engine
from tlpot.errors import ConfigError
from tlpot.reports import Ramachandran, compare_angles, complete

REFERENCE = "reference"
"""Name of the stage."""


def reference_level(settings: AssembleSettings, low: Level, high: Level) -> Level | None:
    """Returns the level that moves the structures; None if there is no such run."""
    if not settings.reference_steps:
        return None
    return high if settings.reference_dynamics == "high" else low


def reference_settings(settings: AssembleSettings) -> MDSettings:
    """Returns the settings of the run: those of the force field's, but for length and seed.

    With the same noise short runs would go alike, and agree better than their densities do.
    """
    own = dynamics_settings(settings, "langevin")
    return replace(own, steps=settings.reference_steps, seed=own.seed + 1)


def reference_stage(settings: AssembleSettings, level: Level, targets: Sequence[Target]) -> Stage:
    """Relaxes each structure and runs Langevin dynamics of it.

    It depends on no model, so that nothing of it is repeated when the force field changes.

    Args:
        settings: lengths, temperature and so on.
        level: that moves the structures.
        targets: the structures.

    Raises:
        ConfigError: the level has no forces or lacks an element, or no structure has φ and ψ.
    """
    if not make_engine(level.spec).has_forces:
        key = "reference_dynamics: low" if settings.reference_dynamics == "high" else "another low"
        raise ConfigError(
            f"assemble.reference_steps needs forces, and {level.settings.engine} has none here; "
            f"take {key}, forces: numerical (6 energies for each atom and step), or leave "
            "reference_steps out"
        )
    if not any(complete(target.topology) for target in targets):
        raise ConfigError(
            "assemble.reference_steps is for φ and ψ, and none of the structures has an amino acid "
            "with both; leave it out"
        )
    level.check([target.frames[0] for target in targets])
    md = reference_settings(settings)

    def run(work: StageContext) -> StageResult:
        facts: dict[str, object] = {}
        for target in targets:
            found = reference_run(work, settings, level, target)
            facts[target.name] = {"picoseconds": found.picoseconds, "ended": found.ended}
        made = (
            path for pattern in ("*.npz", "*.json") for path in work.folder.glob(f"*/{pattern}")
        )
        return StageResult(outputs=tuple(sorted(str(p.relative_to(work.folder)) for p in made)),
                    facts=facts)  # fmt: skip

    return Stage(
        name=REFERENCE,
        summary=f"{settings.reference_steps} steps of dynamics at {level.name}",
        settings={
            "level": level.as_json(),
            "dynamics": {
                "steps": md.steps, "temperature": md.temperature, "timestep": md.timestep,
                "interval": md.log_every, "seed": md.seed,
            },
            "structures": {target.name: target.fingerprint for target in targets},
        },
        needs=(),
        run=run,
    )  # fmt: skip


def reference_run(
    work: StageContext, settings: AssembleSettings, level: Level, target: Target
) -> Trajectory:
    """Returns the run of a structure; what is done is read.

    Raises:
        LabelError: the engine fails at the very start.
        KeyboardInterrupt: the user stopped it; all finished intervals are kept.
    """
    folder: Path = work.root / REFERENCE / target.name

    def calculator() -> Calculator:
        return LevelCalculator(level.spec)(target.frames[0])

    start = relaxed(folder, target.frames[0], calculator, stop=work.stop)
    return run_dynamics(
        folder, start, calculator, reference_settings(settings), stop=work.stop,
        name=f"{target.name} {level.name}",
    )  # fmt: skip


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
