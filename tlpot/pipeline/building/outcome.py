"""What came of a build: errors, costs and tests of all stages on one page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import kB

from tlpot._version import __version__
from tlpot.config import to_mapping
from tlpot.data import Dataset, load_split
from tlpot.interfaces.md_record import Sample
from tlpot.interfaces.md_settings import MDSettings
from tlpot.levels import difference_parts
from tlpot.models import TrainedModel, load
from tlpot.pipeline.assembly import BudgetReport
from tlpot.pipeline.building.config import AssembleSettings, BuildConfig
from tlpot.pipeline.building.dynamics import Trajectory
from tlpot.pipeline.building.error_budget import REFERENCE, error_budget
from tlpot.pipeline.building.force_field import Assembly
from tlpot.pipeline.building.labels import LABELS, Level, joined
from tlpot.pipeline.building.record import write_json
from tlpot.pipeline.building.stage import Made, Workplace
from tlpot.pipeline.building.stage import Stage as BuildStage
from tlpot.pipeline.building.structures import Target
from tlpot.pipeline.building.testing import (
    FORCE_FIELD,
    SNIPPET,
    dynamics_settings,
    trajectories,
)
from tlpot.pipeline.building.training import MODEL, SPLIT
from tlpot.pipeline.force_field_report import (
    CostRow,
    ForceFieldReport,
    Motion,
    Provenance,
    Ramachandran,
    Stage,
    compare_angles,
    data_used,
    labelling_cost,
    measure_stage,
    model_chain,
    write_report,
)
from tlpot.pipeline.force_field_report.provenance import data_record, versions

BUILD = "build.json"
_TEST = "test frames"


def report_stage(
    config: BuildConfig,
    low: str,
    high: str,
    assembly: Assembly,
    targets: Sequence[Target],
    reference: Level | None,
    tuned: str,
    rounds: Sequence[str],
) -> BuildStage:
    """Collects what there is to say about the force field.

    Args:
        config: of the build.
        low: name of the cheap level.
        high: name of the expensive level.
        assembly: of the force field.
        targets: the structures.
        reference: of the error budget, or None.
        tuned: stage with the last model.
        rounds: stages with the labels of active rounds.
    """
    needs = (
        "fragments", "sample", "low", "pretrain", "select", "high", "finetune",
        *(name for number in range(1, len(rounds) + 1) for name in _of_round(number)), "assemble",
    )  # fmt: skip

    def run(work: Workplace) -> Made:
        there = [work.of("high", LABELS), *(work.of(name, LABELS) for name in rounds)]
        files = [path for path in there if path.exists()]
        dataset = joined(files)
        stages = _errors(work, dataset, low, high, tuned)
        motions, angles = _motions(work, config.assemble, assembly, targets)
        skipped = {"curve": "A build trains once; tlpot curve measures learning curves."}
        budgets: list[BudgetReport] = []
        if reference is None:
            skipped["budgets"] = "assemble.reference is none."
        else:
            budgets = _budgets(work, assembly, targets, reference)
        model = work.of("assemble", FORCE_FIELD)
        chain, missing_parent = model_chain(model, [work.of("pretrain", MODEL)])
        name = config.name or work.root.name
        report = ForceFieldReport(
            title=name,
            summary=f"{', '.join(target.name for target in targets)}: {low} to {high}.",
            data=data_used(dataset),
            stages=tuple(stages),
            budgets=tuple(budgets),
            motions=tuple(motions),
            ramachandran=tuple(angles),
            cost=tuple(_costs(work, files, targets)),
            provenance=Provenance(
                models=chain,
                missing=missing_parent,
                data=(data_record(dataset),),
                settings=_recipe(config),
                versions=versions(),
            ),
            skipped=skipped,
        )
        written = write_report(work.folder, report)
        errors = [stage.as_json() for stage in stages]
        content = {
            "name": name,
            "tlpot": __version__,
            "config": _recipe(config),
            "stages": {
                stage: {"seconds": record.seconds, "facts": record.facts, "digest": record.digest}
                for stage, record in work.records.items()
            },
            "calculator": work.of("assemble", SNIPPET).read_text(encoding="utf-8"),
        }
        write_json(work.folder / BUILD, content)
        facts = {"page": str(written.page), "errors": [_brief(each) for each in errors]}
        return Made(outputs=(written.page.name, written.numbers.name, BUILD), facts=facts)

    return BuildStage(
        name="report",
        summary="errors, costs and tests on one page",
        settings={"name": config.name},
        needs=needs,
        run=run,
    )


def error_table(errors: Sequence[Mapping[str, Any]]) -> str:
    """Returns the errors as text.

    Args:
        errors: the facts of the report's stage.
    """
    lines = [f"{'':50}{'frames':>7}{'E RMSE':>10}{'relative':>10}{'F RMSE':>10}"]
    for entry in errors:
        lines.append(
            f"{entry['title']}: {entry['model_level']} model, {entry['label_level']} labels"
        )
        for row in entry["rows"]:
            name = row["kind"].rpartition(".")[0] or row["kind"]  # without the hash
            energy = f"{row['energy_rmse']:>10.3g}" if entry["comparable"] else f"{'':>10}"
            lines.append(
                f"  {name:48}{row['n_frames']:>7}{energy}{row['relative_rmse']:>10.3g}"
                f"{row['force_rmse']:>10.3g}"
            )
    lines.append("meV/atom and meV/Å; relative: less the mean error of each kind of fragment")
    return "\n".join(lines)


def _brief(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": stage["title"],
        "model_level": stage["model_level"],
        "label_level": stage["label_level"],
        "comparable": stage["total_energies_comparable"],
        "rows": [*stage["by_kind"], stage["all"]],
    }


def _errors(work: Workplace, dataset: Dataset, low: str, high: str, tuned: str) -> list[Stage]:
    """Errors on frames that the model in question was not trained on."""
    cheap = joined([work.of("low", LABELS)])
    own = load_split(work.of("pretrain", f"{Path(MODEL).stem}.run/{SPLIT}"), cheap)
    split = load_split(work.of(tuned, SPLIT), dataset)
    pretrained = load(work.of("pretrain", MODEL), device=work.device)
    model = load(work.of("assemble", FORCE_FIELD), device=work.device)
    held = split.test if len(split.test) else split.validation
    plan: list[tuple[str, TrainedModel, str, str, Dataset, Any]] = [
        ("pretrained", pretrained, low, low, cheap, own.test if len(own.test) else own.validation),
        ("before transfer", pretrained, low, high, dataset, held),
        ("after transfer", model, high, high, dataset, held),
    ]
    if low in model.levels and difference_parts(low) is None:
        plan.append(("after transfer, low head", model, low, low, dataset, held))
    return [
        measure_stage(
            found.at(level), data, frames, title=title, model=found.card.name or "model",
            model_level=level, label_level=labels, part=_TEST, device=found.device,
        )
        for title, found, level, labels, data, frames in plan
    ]  # fmt: skip


def _motions(
    work: Workplace, settings: AssembleSettings, assembly: Assembly, targets: Sequence[Target]
) -> tuple[list[Motion], list[Ramachandran]]:
    motions, angles = [], []
    for target in targets:
        runs, _ = trajectories(work, settings, assembly, target)
        for ensemble, trajectory in runs.items():
            if not trajectory.moments:
                continue
            own = dynamics_settings(settings, ensemble)
            motions.append(_motion(work.root.name, target, trajectory, own))
            if ensemble == "langevin":
                found = compare_angles(motions[-1], None, target.topology)
                angles += [found] if found is not None else []
    return motions, angles


def _motion(name: str, target: Target, trajectory: Trajectory, settings: MDSettings) -> Motion:
    n_atoms = len(target.frames[0])
    positions = np.array([moment.positions for moment in trajectory.moments])
    i, j = target.topology.bonds.T
    lengths = np.linalg.norm(positions[:, i] - positions[:, j], axis=2)
    step = trajectory.interval
    samples = tuple(
        Sample(k * step, k * step * trajectory.timestep, moment.total, moment.potential,
               2.0 * moment.kinetic / (3 * n_atoms * kB))
        for k, moment in enumerate(trajectory.moments)
    )  # fmt: skip
    return Motion(
        structure=target.name,
        calculator=name,
        settings=settings,
        n_atoms=n_atoms,
        samples=samples,
        positions=positions,
        stretch=float((lengths / lengths[0]).max(initial=1.0)),
        broken=trajectory.ended,
        seconds_per_step=math.nan,
    )


def _budgets(
    work: Workplace, assembly: Assembly, targets: Sequence[Target], reference: Level
) -> list[BudgetReport]:
    model, pretrained = work.of("assemble", FORCE_FIELD), work.of("pretrain", MODEL)
    return [
        error_budget(
            work.of("assemble", target.name), assembly, target, reference, model, pretrained,
            name=work.root.name, device=work.device,
        )
        for target in targets
    ]  # fmt: skip


def _costs(work: Workplace, files: Sequence[Path], targets: Sequence[Target]) -> list[CostRow]:
    rows = list(labelling_cost(files))
    references = [work.of("assemble", f"{target.name}/{REFERENCE}") for target in targets]
    there = [path for path in references if path.exists()]
    rows += [replace(row, what="label, error budget") for row in labelling_cost(there)]
    for name, record in work.records.items():
        if name in ("sample", "pretrain", "assemble") or name.endswith(("finetune", "explore")):
            rows.append(CostRow(what=name, count=1, total_seconds=record.seconds))
    return rows


def _recipe(config: BuildConfig) -> dict[str, Any]:
    return {k: v for k, v in to_mapping(config).items() if k != "output"}


def _of_round(number: int) -> tuple[str, str, str]:
    return (f"round-{number}-explore", f"round-{number}-labels", f"round-{number}-finetune")
