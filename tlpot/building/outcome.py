"""What came of a build: errors, costs and tests of all stages on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlpot import reports
from tlpot._version import __version__
from tlpot.building.config import BuildConfig
from tlpot.building.error_budget import FORCE_FIELD, REFERENCE, Assembly, TargetTests, error_budget
from tlpot.building.labels import LABELS, labels_of
from tlpot.building.learning_curve import LEARNING_CURVE
from tlpot.building.pretraining import Pretraining
from tlpot.building.stage import Stage, StageContext, StageResult
from tlpot.building.structures import Target
from tlpot.building.training import MODEL, RUN_SPLIT, SPLIT, TRAINED, pretraining_use
from tlpot.building.validation import REFERENCE as REFERENCE_RUN
from tlpot.building.validation import SNIPPET, recorded_motions
from tlpot.config import to_mapping
from tlpot.data import Dataset, load_split
from tlpot.jobs import FinetuneConfig, SplitSettings
from tlpot.learning_curves import load_curve
from tlpot.levels import difference_parts
from tlpot.models import TrainedModel, load
from tlpot.numbers import Ints
from tlpot.stored_results import write_json


def stage_errors(
    work: StageContext,
    dataset: Dataset,
    pretraining: Pretraining,
    tuning: FinetuneConfig,
    tuned: str,
) -> list[reports.StageErrors]:
    """Measures errors on frames that no model in question was trained on, as far as there are any.

    Where the expensive labels have too few that the pretraining left out, or a parent was trained
    elsewhere, the part says so.

    `dataset` has all labels, as the model sees them; `tuned` is the stage with the last model.

    Raises:
        DataError: a file is damaged.
    """
    low, high = pretraining.level, tuning.level
    cheap = labels_of([work.of("low", LABELS)], pretraining.data.charges == "ignore")
    own = load_split(work.of("pretrain", RUN_SPLIT), cheap)
    split = SplitSettings(file=work.of(tuned, SPLIT), train=tuning.split.train).divide(
        dataset, high
    )
    pretrained = load(work.of("pretrain", MODEL), device=work.device)
    model = load(work.of("assemble", FORCE_FIELD), device=work.device)
    held = split.test if len(split.test) else split.validation
    part = "test frames" if len(split.test) else "validation frames"
    own_part = "test frames" if len(own.test) else "validation frames"
    seen = int((pretraining_use(cheap, own, dataset)[held] == TRAINED).sum())
    if seen:
        part += f", {seen} of {len(held)} pretrained on"
    adopted = pretraining.config is None
    if adopted and pretraining.split is None:
        own_part = "all labels of this build"
    if pretraining.parent is not None:
        part, own_part = (f"{each}, of which the parent may know some" for each in (part, own_part))

    def measured(
        title: str, shown: TrainedModel, level: str, labels: str, on: reports.LabelledFragments,
        shift_on: Ints | None = None,
    ) -> reports.StageErrors:  # fmt: skip
        return reports.measure_stage(
            shown.at(level), on, title=title, model=shown.card.name or "model",
            model_level=level, label_level=labels, shift_on=shift_on, device=shown.device,
        )  # fmt: skip

    before = reports.LabelledFragments(
        dataset=cheap,
        indices=own.test if len(own.test) else own.validation,
        part=own_part,
        train=None if adopted else own.train,
    )
    here = reports.LabelledFragments(dataset=dataset, indices=held, part=part)
    found = [
        measured("adopted parent" if adopted else "pretrained", pretrained, low, low, before),
        measured("before transfer", pretrained, low, high, here, shift_on=split.train),
        measured("after transfer", model, high, high, replace(here, train=split.train)),
    ]
    if low in model.levels and difference_parts(low) is None:
        found.append(measured("after transfer, low head", model, low, low, here))
    return found


def without_points(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the plain dicts of a `StageErrors` without the energies of single frames."""
    return {key: value for key, value in stage.items() if key != "relative_energies_per_atom"}


BUILD = "build.json"


def report_stage(
    config: BuildConfig,
    pretraining: Pretraining,
    tuning: FinetuneConfig,
    assembly: Assembly,
    tests: TargetTests,
    tuned: str,
    rounds: Sequence[str],
) -> Stage:
    """Collects what there is to say about the force field.

    `tuned` is the stage with the last model, `rounds` are those with the labels of active rounds.
    """
    targets, reference, mover = tests.targets, tests.reference, tests.mover
    needs = (
        "fragments", "sample", "low", "pretrain", "select", "high", "finetune",
        *(name for number in range(1, len(rounds) + 1) for name in _of_round(number)), "assemble",
        *([] if mover is None else [REFERENCE_RUN]),
        *([LEARNING_CURVE] if config.curve.sizes else []),
    )  # fmt: skip

    def run(work: StageContext) -> StageResult:
        there = [work.of("high", LABELS), *(work.of(name, LABELS) for name in rounds)]
        files = [path for path in there if path.exists()]
        dataset = labels_of(files, config.trained_charges)
        stages = stage_errors(work, dataset, pretraining, tuning, tuned)
        motions, angles = recorded_motions(work, config.assemble, assembly, targets, mover)
        skipped = {} if config.curve.sizes else {"curve": "curve.sizes is empty."}
        budgets: list[reports.BudgetReport] = []
        if reference is None:
            skipped["budgets"] = "assemble.reference is none."
        else:
            budgets = [error_budget(work, assembly, target, reference) for target in targets]
        model = work.of("assemble", FORCE_FIELD)
        # an adopted parent goes by its own name
        ancestors = [] if pretraining.parent is None else [pretraining.parent.source]
        ancestors.append(str(work.of("pretrain", MODEL)))
        chain, missing_parent = reports.model_chain(model, ancestors)
        name = config.name or work.root.name
        report = reports.ForceFieldReport(
            title=name,
            summary=f"{', '.join(target.name for target in targets)}: "
            f"{pretraining.level} to {assembly.high}.",
            data=reports.data_used(dataset),
            stages=tuple(stages),
            curve=load_curve(work.root / LEARNING_CURVE) if config.curve.sizes else None,
            budgets=tuple(budgets),
            motions=tuple(motions),
            ramachandran=tuple(angles),
            cost=tuple(_costs(work, files, targets)),
            provenance=reports.Provenance(
                models=chain,
                missing=missing_parent,
                data=(reports.data_record(dataset),),
                settings=_recipe(config),
                versions=reports.versions(),
            ),
            skipped=skipped,
        )
        written = reports.write_report(work.folder, report)
        errors = [without_points(stage.as_json()) for stage in stages]
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
        facts = {"page": str(written.page), "errors": errors}
        return StageResult(outputs=(written.page.name, written.numbers.name, BUILD), facts=facts)

    return Stage(
        name="report",
        summary="errors, costs and tests on one page",
        settings={"name": config.name},
        needs=needs,
        run=run,
    )


def _costs(
    work: StageContext, files: Sequence[Path], targets: Sequence[Target]
) -> list[reports.CostRow]:
    rows = list(reports.labelling_cost(files))
    references = [work.of("assemble", f"{target.name}/{REFERENCE}") for target in targets]
    there = [path for path in references if path.exists()]
    rows += [replace(row, what="label, error budget") for row in reports.labelling_cost(there)]
    for name, record in work.records.items():
        if name in ("sample", "pretrain", REFERENCE_RUN, "assemble") or name.endswith(
            ("finetune", "explore")
        ):
            # it is the one that shares its work, so its clock is not that of the workers
            what = "sample, wall time" if name == "sample" else name
            own = record.seconds - record.label_seconds
            rows.append(reports.CostRow(what=what, count=1, total_seconds=own))
    return rows


def _recipe(config: BuildConfig) -> dict[str, Any]:
    return {k: v for k, v in to_mapping(config).items() if k != "output"}


def _of_round(number: int) -> tuple[str, str, str]:
    return (f"round-{number}-explore", f"round-{number}-labels", f"round-{number}-finetune")
