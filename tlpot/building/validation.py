"""The force field of the structures: written down, run, and held against a reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tlpot.building.config import ActiveSettings, AssembleSettings
from tlpot.building.dynamics import Trajectory, relaxed, run_dynamics
from tlpot.building.error_budget import FRAMES, error_budget, label_reference
from tlpot.building.force_field import Assembly
from tlpot.building.labels import Level
from tlpot.building.stage import Stage, StageContext, StageResult
from tlpot.building.structures import Target, write_atoms
from tlpot.building.training import MODEL, UNCERTAIN
from tlpot.calculators import FragmentCalculator
from tlpot.config import to_mapping
from tlpot.dynamics import MDSettings
from tlpot.files import copy_file, write_text
from tlpot.stored_results import write_json

FORCE_FIELD, LOW, SNIPPET, TESTS = (
    "model.safetensors", "low.safetensors", "calculator.py", "tests.json",
)  # fmt: skip
_ELSEWHERE = ("reference_steps", "reference_dynamics")
"""Settings that no model takes part in."""


def assemble_stage(
    settings: AssembleSettings,
    assembly: Assembly,
    targets: Sequence[Target],
    reference: Level | None,
    tuned: str,
) -> Stage:
    """Writes the force field, and tests it on the structures.

    Args:
        settings: how.
        assembly: of the force field.
        targets: the structures.
        reference: of the error budget; None for no budget.
        tuned: stage with the model.
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
                label_reference(work, folder, assembly, target, reference)
                budget = error_budget(
                    folder, assembly, target, reference, model, pretrained, name=work.root.name,
                    device=work.device,
                )  # fmt: skip
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
