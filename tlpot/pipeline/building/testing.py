"""The force field of the structures: written down, run, and held against a reference."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units

from tlpot.atomic_file import atomic_file
from tlpot.config import to_mapping
from tlpot.fragments.prepared import Prepared
from tlpot.interfaces import FragmentCalculator
from tlpot.interfaces.md_settings import MDSettings
from tlpot.labelling import label
from tlpot.pipeline.assembly import BudgetReport, measure_budget
from tlpot.pipeline.building.config import AssembleSettings
from tlpot.pipeline.building.dynamics import Trajectory, relaxed, run_dynamics
from tlpot.pipeline.building.force_field import Assembly
from tlpot.pipeline.building.known_labels import KnownLabels
from tlpot.pipeline.building.labels import Level
from tlpot.pipeline.building.record import write_json
from tlpot.pipeline.building.stage import Made, Stage, Workplace
from tlpot.pipeline.building.structures import Target, scheme_of
from tlpot.pipeline.building.training import MODEL, UNCERTAIN
from tlpot.sampling.bonds import Molecule, backbone_dihedrals

FORCE_FIELD, LOW, SNIPPET, TESTS = (
    "model.safetensors",
    "low.safetensors",
    "calculator.py",
    "tests.json",
)


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

    def run(work: Workplace) -> Made:
        uncertain = work.of(tuned, UNCERTAIN)
        source = uncertain if uncertain.exists() else work.of(tuned, MODEL)
        pretrained = work.of("pretrain", MODEL)
        model = work.folder / FORCE_FIELD
        _copy(source, model)
        outputs = [FORCE_FIELD, SNIPPET, TESTS]
        two_files = assembly.low is not None and assembly.low_file(source, pretrained) != source
        if two_files:
            _copy(pretrained, work.folder / LOW)
            outputs.append(LOW)
        text = snippet(assembly, model, work.folder / LOW if two_files else model)
        with atomic_file(work.folder / SNIPPET) as temporary:
            temporary.write_text(text, encoding="utf-8")
        facts = {
            target.name: _tested(work, settings, assembly, target, reference, model, pretrained)
            for target in targets
        }
        write_json(work.folder / TESTS, facts)
        return Made(outputs=tuple(outputs), facts={"snippet": text})

    own = to_mapping(settings)
    return Stage(
        name="assemble",
        summary=f"the force field, {settings.steps} steps of dynamics"
        + ("" if reference is None else f", error budget at {reference.name}"),
        settings={
            "assemble": own,
            "scheme": to_mapping(assembly.scheme),
            "level": assembly.high,
            "low": assembly.low,
            "reference": None if reference is None else reference.as_json(),
            "structures": {target.name: target.fingerprint for target in targets},
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
    return (
        f"{head}atoms.calc = FragmentCalculator(atoms, {str(model)!r}, {made}, "
        f"level={assembly.high!r}{layers})\natoms.get_potential_energy(), atoms.get_forces()\n"
    )


def _tested(
    work: Workplace,
    settings: AssembleSettings,
    assembly: Assembly,
    target: Target,
    reference: Level | None,
    model: Path,
    pretrained: Path,
) -> dict[str, Any]:
    folder = work.folder / target.name

    def calculator(skin: float = 0.3) -> FragmentCalculator:
        return assembly.calculator(target, model, pretrained, device=work.device, skin=skin)

    start = relaxed(folder, target.frames[0], calculator)
    shared: dict[str, Any] = {
        "temperature": settings.temperature, "timestep": settings.timestep,
        "steps": settings.steps, "log_every": settings.interval, "seed": settings.seed,
    }  # fmt: skip
    rest: dict[str, Any] = {"stop": work.stop, "show": work.show}
    heat = MDSettings(ensemble="langevin", **shared)
    warm = run_dynamics(
        folder / "langevin", start, calculator, heat, name=f"{target.name} {heat.ensemble}", **rest
    )
    found: dict[str, Any] = {"n_atoms": len(start), "langevin": _summary(warm, start)}
    found["ramachandran"] = _angles(start, warm)
    if not warm.ended:
        last = start.copy()
        last.set_positions(warm.moments[-1].positions)
        free = MDSettings(ensemble="nve", **shared)
        cold = run_dynamics(
            folder / "nve", last, calculator, free, momenta=warm.moments[-1].momenta,
            name=f"{target.name} {free.ensemble}", **rest,
        )  # fmt: skip
        found["nve"] = _summary(cold, start)
    frames = _spread_out(start, warm, settings.frames)
    calculator_ = calculator(skin=0.0)
    energies = []
    for frame in frames:
        calculator_.calculate(frame, ("energy", "forces"))
        energies.append(float(calculator_.results["energy"]))
    found["energies"] = energies
    if reference is not None:
        report = _budget(work, folder, assembly, target, reference, frames, calculator_)
        with atomic_file(folder / "budget.txt") as temporary:
            temporary.write_text(report.text(), encoding="utf-8")
        found["budget"] = report.as_json()
    return found


def _budget(
    work: Workplace,
    folder: Path,
    assembly: Assembly,
    target: Target,
    reference: Level,
    frames: Sequence[Atoms],
    model: FragmentCalculator,
) -> BudgetReport:
    """The error budget; references are labels like any other, and computed once."""
    scheme = scheme_of(assembly.scheme)
    todo: list[Atoms] = list(frames)
    prepared = Prepared(target.topology, scheme, skin=0.0)
    for frame in frames:
        for fragment in prepared.partition(frame.positions).batch.assembly.fragments:
            todo.append(fragment.atoms(frame.positions))
    path = folder / "reference.h5"
    report = label(
        todo, reference.spec, path, executor=work.executor, in_flight=work.in_flight, threads=1,
        stop=work.stop, show=work.show,
    )  # fmt: skip
    if work.stop() and report.n_left:
        raise KeyboardInterrupt
    known = KnownLabels.read(path, reference.name)
    options: dict[str, Any] = {"topology": target.topology, "device": "cpu", "skin": 0.0}
    whole = FragmentCalculator(frames[0], known.calculator(), "direct", **options)
    layers: dict[str, Any] = {}
    if assembly.low is not None:
        file = assembly.low_file(work.folder / FORCE_FIELD, work.of("pretrain", MODEL))
        layers = {"low": str(file), "low_level": assembly.low}
    pieces = FragmentCalculator(frames[0], known.calculator(), scheme, **layers, **options)
    return BudgetReport(
        budget=measure_budget(frames, whole=whole, fragments=pieces, model=model),
        structure=target.name,
        scheme=scheme.name + ("" if assembly.low is None else f", two layers ({assembly.low})"),
        model=work.root.name,
        reference=reference.name,
    )


def _summary(trajectory: Trajectory, atoms: Atoms) -> dict[str, Any]:
    kinetic = np.array([moment.kinetic for moment in trajectory.moments])
    return {
        "picoseconds": trajectory.picoseconds,
        "ended": trajectory.ended,
        "drift": trajectory.drift(len(atoms)),
        "temperature": float(2.0 * kinetic.mean() / (3 * len(atoms) * units.kB)),
        "potential": [moment.potential for moment in trajectory.moments],
        "total": [moment.total for moment in trajectory.moments],
    }


def _angles(atoms: Atoms, trajectory: Trajectory) -> list[list[float]]:
    """φ and ψ of all residues and frames, degrees."""
    frame, found = atoms.copy(), []
    pairs = backbone_dihedrals(Molecule(atoms))
    for moment in trajectory.moments:
        frame.set_positions(moment.positions)
        for phi, psi in pairs:
            angles = np.array([frame.get_dihedral(*phi), frame.get_dihedral(*psi)])
            found.append(((angles + 180.0) % 360.0 - 180.0).round(2).tolist())
    return found


def _spread_out(start: Atoms, trajectory: Trajectory, count: int) -> list[Atoms]:
    """The relaxed structure, and frames at equal distances in time."""
    picked = np.unique(np.linspace(0, len(trajectory.moments) - 1, count).round().astype(int))
    frames = []
    for k in picked.tolist():
        frame = start.copy()
        frame.set_positions(trajectory.moments[k].positions)
        frames.append(frame)
    return frames


def _copy(source: Path, target: Path) -> None:
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)
