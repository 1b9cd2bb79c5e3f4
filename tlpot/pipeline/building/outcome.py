"""What came of a build: errors, costs and tests of all stages in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlpot._version import __version__
from tlpot.config import to_mapping
from tlpot.data import load_split
from tlpot.levels import difference_parts
from tlpot.models import load
from tlpot.pipeline.building.config import BuildConfig
from tlpot.pipeline.building.labels import LABELS, joined
from tlpot.pipeline.building.record import read_json, write_json
from tlpot.pipeline.building.stage import Made, Stage, Workplace
from tlpot.pipeline.building.testing import FORCE_FIELD, SNIPPET, TESTS
from tlpot.pipeline.building.training import MODEL, SPLIT
from tlpot.training import error_report, predict

REPORT = "report.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Errors:
    """Errors of a model on the test frames, in meV, meV/atom and meV/Å.

    Attributes:
        model: ``pretrained`` or ``force field``.
        level: of theory, of model and labels.
        frames: how many.
        overall: MAE and RMSE by property.
        by_kind: the same by kind of fragment.
    """

    model: str
    level: str
    frames: int
    overall: Mapping[str, float]
    by_kind: Mapping[str, Mapping[str, float]]


def report_stage(
    config: BuildConfig, low: str, high: str, tuned: str, rounds: tuple[str, ...]
) -> Stage:
    """Collects what there is to say about the force field.

    Args:
        config: of the build.
        low: name of the cheap level.
        high: name of the expensive level.
        tuned: stage with the last model.
        rounds: stages with the labels of active rounds.
    """
    needs = (
        "fragments", "sample", "low", "pretrain", "select", "high", "finetune",
        *(name for number in range(1, len(rounds) + 1) for name in _of_round(number)), "assemble",
    )  # fmt: skip

    def run(work: Workplace) -> Made:
        errors = [_errors(work.of("pretrain", MODEL), "pretrained", [work.of("low", LABELS)], low,
                          work.of("pretrain", f"{Path(MODEL).stem}.run/{SPLIT}"))]  # fmt: skip
        files = [work.of("high", LABELS), *(work.of(name, LABELS) for name in rounds)]
        there = [path for path in files if path.exists()]
        model = work.of("assemble", FORCE_FIELD)
        split = work.of(tuned, SPLIT)
        levels = load(model, device="cpu").levels
        errors += [
            _errors(model, "force field", there, level, split)
            for level in (high, low)
            if level in levels and difference_parts(level) is None
        ]
        content: dict[str, Any] = {
            "name": config.name or work.root.name,
            "tlpot": __version__,
            "low": low,
            "high": high,
            "config": {k: v for k, v in to_mapping(config).items() if k != "output"},
            "stages": {
                name: {"seconds": record.seconds, "facts": record.facts, "digest": record.digest}
                for name, record in work.records.items()
            },
            "errors": [to_mapping(each) for each in errors],
            "before_transfer": _before(work, "finetune"),
            "tests": read_json(work.of("assemble", TESTS)),
            "calculator": work.of("assemble", SNIPPET).read_text(encoding="utf-8"),
        }
        write_json(work.folder / REPORT, content)
        return Made(outputs=(REPORT,), facts={"errors": content["errors"]})

    return Stage(
        name="report",
        summary="errors, costs and tests in one place",
        settings={"name": config.name},
        needs=needs,
        run=run,
    )


def error_table(errors: Sequence[Mapping[str, Any]]) -> str:
    """Returns the errors as text.

    Args:
        errors: `Errors` as plain JSON.
    """
    lines = [f"{'test frames':44}{'frames':>7}{'E MAE':>9}{'E RMSE':>9}{'F MAE':>9}{'F RMSE':>9}"]
    for entry in errors:
        lines.append(_row(f"{entry['model']}, {entry['level']}", entry["frames"], entry["overall"]))
        kinds = entry["by_kind"]
        names = [kind.rpartition(".")[0] or kind for kind in kinds]  # without the hash
        for name, (kind, row) in zip(names, kinds.items(), strict=True):
            shown = name if names.count(name) == 1 else kind
            lines.append(_row(f"  {shown}", int(row["n_frames"]), row))
    lines.append("energies in meV, forces in meV/Å")
    return "\n".join(lines)


def _row(name: str, frames: int, values: Mapping[str, float]) -> str:
    cells = [
        f"{values[key]:>9.4g}" if key in values else f"{'':>9}"
        for key in ("energy_mae", "energy_rmse", "forces_mae", "forces_rmse")
    ]
    return f"{name:44}{frames:>7}{''.join(cells)}"


def _errors(model: Path, name: str, files: Sequence[Path], level: str, split: Path) -> Errors:
    dataset = joined(files)
    divided = load_split(split, dataset)
    part = divided.test if len(divided.test) else divided.validation
    known = part[dataset.labelled(level)[part]]
    report = error_report(predict(load(model, device="cpu").at(level), dataset, known, level))
    return Errors(
        model=name,
        level=level,
        frames=len(known),
        overall=dict(report.overall),
        by_kind={kind: dict(row) for kind, row in report.by_molecule.items()},
    )


def _before(work: Workplace, stage: str) -> Any:
    """Errors at step 0: the pretrained model with the reference energies of the high level."""
    return work.records[stage].facts["metrics"].get("before training")


def _of_round(number: int) -> tuple[str, str, str]:
    return (f"round-{number}-explore", f"round-{number}-labels", f"round-{number}-finetune")
