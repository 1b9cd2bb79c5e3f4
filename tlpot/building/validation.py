"""The force field of the structures: written down, run, and held against a reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import kB

from tlpot.bond_thresholds import BROKEN
from tlpot.building.config import ActiveSettings, AssembleSettings
from tlpot.building.dynamics import Trajectory, relaxed, run_dynamics
from tlpot.building.error_budget import FORCE_FIELD, FRAMES, Assembly, error_budget, label_reference
from tlpot.building.labels import Level
from tlpot.building.stage import Stage, StageContext, StageResult
from tlpot.building.structures import Target, write_atoms
from tlpot.building.training import MODEL, UNCERTAIN
from tlpot.calculators import FragmentCalculator, LevelCalculator
from tlpot.config import to_mapping
from tlpot.dynamics import BondMonitor, MDSettings, Motion, Sample
from tlpot.engines import make_engine
from tlpot.errors import ConfigError
from tlpot.files import copy_file, write_text
from tlpot.reports import Ramachandran, compare_angles, complete
from tlpot.stored_results import write_json

LOW, SNIPPET, TESTS = "low.safetensors", "calculator.py", "tests.json"
_ELSEWHERE = ("reference_steps", "reference_dynamics")
"""Settings that no model takes part in."""

REFERENCE = "reference"
"""Name of the stage."""

PROTOCOL = (
    "Runs from the first conformation of each structure, relaxed by the same forces. Langevin: "
    "constant temperature. NVE: velocity Verlet, which goes on from the last frame of the Langevin "
    "run with the velocities that it has there. Bonds are measured in the recorded frames only, "
    f"and one beyond {BROKEN} times its first length counts as broken; so does a run that the "
    "force field or the level of theory refused to go on with."
)
"""How a build makes its runs."""


def assemble_stage(
    settings: AssembleSettings,
    assembly: Assembly,
    targets: Sequence[Target],
    reference: Level | None,
    tuned: str,
) -> Stage:
    """Writes the force field, and tests it on the structures.

    The error budget is at `reference`, if there is one; `tuned` is the stage with the model.
    """

    def run(work: StageContext) -> StageResult:
        uncertain = work.of(tuned, UNCERTAIN)
        source = uncertain if uncertain.exists() else work.of(tuned, MODEL)
        pretrained = work.of("pretrain", MODEL)
        model = work.folder / FORCE_FIELD
        copy_file(source, model)
        outputs = [FORCE_FIELD, SNIPPET, TESTS]
        two_files = assembly.low is not None and assembly.low not in assembly.levels(model)
        if two_files:
            copy_file(pretrained, work.folder / LOW)
            outputs.append(LOW)
        text = snippet(assembly, model, work.folder / LOW if two_files else model)
        write_text(work.folder / SNIPPET, text)
        found = {}
        for target in targets:
            runs, start = trajectories(work, settings, assembly, target)
            found[target.name] = {
                name: _summary(run, len(start), name == "nve") for name, run in runs.items()
            }
            folder = work.folder / target.name
            write_atoms(_spread_out(start, runs["langevin"], settings.frames), folder / FRAMES)
            if reference is not None:
                label_reference(work, assembly, target, reference)
                budget = error_budget(work, assembly, target, reference)
                write_text(folder / "budget.txt", budget.text())
                found[target.name]["budget"] = budget.as_json()
        write_json(work.folder / TESTS, found)
        return StageResult(outputs=tuple(outputs), facts={"snippet": text})

    return Stage(
        name="assemble",
        summary=f"the force field, {settings.steps} steps of dynamics"
        + ("" if reference is None else f", error budget at {reference.name}"),
        settings={
            "assemble": {k: v for k, v in to_mapping(settings).items() if k not in _ELSEWHERE},
            "scheme": to_mapping(assembly.scheme),
            "level": assembly.high,
            "low": assembly.low,
            "reference": None if reference is None else reference.as_json(),
            "structures": {target.name: target.fingerprint for target in targets},
            **({"trained_charges": True} if assembly.trained_charges else {}),
        },
        needs=("fragments", "pretrain", tuned),
        run=run,
    )


def snippet(assembly: Assembly, model: Path, low: Path) -> str:
    """Returns three lines of Python that use the force field."""
    scheme = assembly.scheme
    made: str = repr(scheme)
    head = "from tlpot import FragmentCalculator\n"
    if not isinstance(scheme, str):
        options = "".join(f", {k}={v!r}" for k, v in scheme.items() if k != "name")
        made = f"choose_scheme({scheme['name']!r}{options})"
        head += "from tlpot.fragments import choose_scheme\n"
    layers = "" if assembly.low is None else f", low={str(low)!r}, low_level={assembly.low!r}"
    if assembly.trained_charges:
        layers += ", trained_charges=True"
    return (
        f"{head}atoms.calc = FragmentCalculator(atoms, {str(model)!r}, {made}, "
        f"level={assembly.high!r}{layers})\natoms.get_potential_energy(), atoms.get_forces()\n"
    )


def dynamics_settings(settings: AssembleSettings | ActiveSettings, ensemble: Any) -> MDSettings:
    """Returns the settings of a run."""
    return MDSettings(
        ensemble=ensemble, temperature=settings.temperature, timestep=settings.timestep,
        steps=settings.steps, log_every=settings.interval, seed=settings.seed,
    )  # fmt: skip


def trajectories(
    work: StageContext, settings: AssembleSettings, assembly: Assembly, target: Target
) -> tuple[dict[str, Trajectory], Atoms]:
    """Returns the test runs of a structure, and where they start; what is done is read.

    The run at constant energy goes on where the thermostat left off.
    """
    folder = work.root / "assemble" / target.name
    model, pretrained = work.of("assemble", FORCE_FIELD), work.of("pretrain", MODEL)

    def calculator() -> FragmentCalculator:
        return assembly.calculator(target, model, pretrained, device=work.device)

    start = relaxed(folder, target.frames[0], calculator, stop=work.stop)
    warm = run_dynamics(
        folder / "langevin", start, calculator, dynamics_settings(settings, "langevin"),
        name=f"{target.name} langevin", stop=work.stop,
    )  # fmt: skip
    found = {"langevin": warm}
    if not warm.ended:
        last = start.copy()
        last.set_positions(warm.moments[-1].positions)
        found["nve"] = run_dynamics(
            folder / "nve", last, calculator, dynamics_settings(settings, "nve"),
            momenta=warm.moments[-1].momenta, name=f"{target.name} nve", stop=work.stop,
        )  # fmt: skip
    return found, start


def _summary(trajectory: Trajectory, n_atoms: int, conserves: bool) -> dict[str, Any]:
    # a thermostat changes the energy, and three frames are the least for a slope
    drift = trajectory.drift(n_atoms) if conserves else np.nan
    return {
        "picoseconds": trajectory.picoseconds,
        "ended": trajectory.ended,
        "drift": drift if np.isfinite(drift) else None,
    }


def _spread_out(start: Atoms, trajectory: Trajectory, count: int) -> list[Atoms]:
    """The relaxed structure, and frames at equal distances in time."""
    picked = np.unique(np.linspace(0, len(trajectory.moments) - 1, count).round().astype(int))
    frames = []
    for k in picked.tolist():
        frame = start.copy()
        frame.set_positions(trajectory.moments[k].positions)
        frames.append(frame)
    return frames or [start]


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
        return StageResult(
            outputs=tuple(sorted(str(p.relative_to(work.folder)) for p in made)), facts=facts
        )

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


def recorded_motions(
    work: StageContext,
    settings: AssembleSettings,
    assembly: Assembly,
    targets: Sequence[Target],
    mover: Level | None,
) -> tuple[list[Motion], list[Ramachandran]]:
    """Returns the runs of all structures, also those of `mover`, and their backbone angles."""
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
    """Looks at a run that has at least its start; `name` is that of what computed the forces."""
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
