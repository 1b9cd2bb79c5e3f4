"""Active rounds: where the force field goes, and where it is not sure of itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from tlpot.building.config import ActiveSettings
from tlpot.building.dynamics import relaxed, run_dynamics
from tlpot.building.error_budget import Assembly
from tlpot.building.labels import Level, labelled
from tlpot.building.stage import Stage, StageContext, StageResult
from tlpot.building.structures import Target, cut_fragments, read_atoms, scheme_of, write_atoms
from tlpot.building.training import MODEL, UNCERTAIN
from tlpot.building.validation import dynamics_settings
from tlpot.config import to_mapping
from tlpot.evaluation import evaluated, system_batches
from tlpot.models import load
from tlpot.numbers import Floats
from tlpot.sampling import ModelView, most_uncertain, scaled
from tlpot.stored_results import write_json
from tlpot.system import System

TRIGGERED = "triggered.xyz"
_AT_ONCE = 32


def explore_stage(
    number: int, settings: ActiveSettings, assembly: Assembly, targets: Sequence[Target], tuned: str
) -> Stage:
    """Runs dynamics of the structures and cuts out the fragments that the model is unsure of.

    `number` is that of the round, from 1 on; `tuned` is the stage with the model.
    """
    name = f"round-{number}-explore"

    def run(work: StageContext) -> StageResult:
        model = work.of(tuned, UNCERTAIN)
        candidates: list[Atoms] = []
        facts: dict[str, object] = {}
        for target in targets:
            frames, ended = _visited(work, number, settings, assembly, target, model)
            seen = Target(name=target.name, frames=tuple(frames), topology=target.topology)
            candidates += cut_fragments([seen], scheme_of(assembly.scheme))
            facts[target.name] = {"frames": len(frames), "ended": ended}
        sigma = spread_per_atom(
            model, assembly.high, candidates, charges=not assembly.trained_charges
        )
        hits = np.flatnonzero(1e3 * sigma > settings.trigger)
        chosen: list[Atoms] = []
        if len(hits):
            some = [candidates[k] for k in hits.tolist()]
            rows = scaled(ModelView(str(model), assembly.high).features(some))
            order = most_uncertain(sigma[hits], rows, settings.budget)
            chosen = [some[k] for k in order.tolist()]
        write_atoms(chosen, work.folder / TRIGGERED)
        facts |= {
            "fragments": len(candidates),
            "triggered": len(hits),
            "chosen": len(chosen),
            "sigma_median": _milli(np.median(sigma)) if len(sigma) else None,
            "sigma_max": _milli(sigma.max()) if len(sigma) else None,
        }
        return StageResult(outputs=(TRIGGERED,), facts=facts)

    return Stage(
        name=name,
        summary=f"{settings.steps} steps at {settings.temperature:g} K, "
        f"above {settings.trigger:g} meV/atom",
        settings={
            "active": {k: v for k, v in to_mapping(settings).items() if k != "rounds"},
            "scheme": to_mapping(assembly.scheme),
            "low": assembly.low,
            "structures": {target.name: target.fingerprint for target in targets},
            **({"trained_charges": True} if assembly.trained_charges else {}),
        },
        needs=(tuned,) if assembly.low is None else (tuned, "pretrain"),
        run=run,
        like=None if number == 1 else "round-1-explore",
    )


def round_label_stage(number: int, low: Level, high: Level) -> Stage:
    """Labels what a round has found at both levels."""

    def run(work: StageContext) -> StageResult:
        frames = read_atoms(work.of(f"round-{number}-explore", TRIGGERED))
        if not frames:
            write_json(work.folder / "nothing.json", {})
            return StageResult(outputs=("nothing.json",), facts={})
        return labelled(work, frames, [low, high])

    return Stage(
        name=f"round-{number}-labels",
        summary=f"labels at {low.name} and {high.name}",
        settings={"low": low.as_json(), "high": high.as_json()},
        needs=(f"round-{number}-explore",),
        run=run,
        like=None if number == 1 else "round-1-labels",
    )


def spread_per_atom(
    model: Path, level: str, frames: Sequence[Atoms], *, charges: bool = True
) -> Floats:
    """Standard deviation of the energy of each structure, [n_frames], eV per atom.

    Without `charges` the model is not told those of the structures.
    """
    found = load(model, device="cpu").at(level)
    systems = [System.from_atoms(atoms) for atoms in frames]
    if not charges:
        systems = [replace(system, charge=0, spin=1) for system in systems]
    batches = system_batches(found, systems, at_once=_AT_ONCE)
    spread: list[float] = []
    for batch, _, own in evaluated(found, batches, forces=False, std="energy"):
        assert own is not None  # the model was made by `tune_stage`
        spread += (own.energy_std / batch.sizes).tolist()
    return np.array(spread, dtype=np.float64)


def _visited(
    work: StageContext,
    number: int,
    settings: ActiveSettings,
    assembly: Assembly,
    target: Target,
    model: Path,
) -> tuple[list[Atoms], list[str]]:
    """The frames that dynamics from each conformation of a structure goes through."""
    pretrained = work.of("pretrain", MODEL)
    frames: list[Atoms] = []
    ends: list[str] = []
    for k, conformation in enumerate(target.frames):
        folder = work.folder / f"{target.name}-{k}"

        def calculator() -> object:
            return assembly.calculator(target, model, pretrained, device=work.device)

        start = relaxed(folder, conformation, calculator, stop=work.stop)  # type: ignore[arg-type]
        seed = _seed(settings.seed, number, target.name, k)
        md = replace(dynamics_settings(settings, "langevin"), seed=seed)
        trajectory = run_dynamics(
            folder, start, calculator, md, stop=work.stop,  # type: ignore[arg-type]
            name=f"{target.name} {k + 1}/{len(target.frames)}",
        )  # fmt: skip
        ends.append(trajectory.ended)
        for moment in trajectory.moments:
            frame = conformation.copy()
            frame.set_positions(moment.positions)
            frames.append(frame)
    return frames, ends


def _seed(*names: object) -> int:
    text = "|".join(map(str, names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def _milli(value: float) -> float:
    return round(1e3 * float(value), 4)
