"""The stage that measures errors against the number of expensive labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tlpot.building.config import LearningCurveSettings
from tlpot.building.labels import LABELS
from tlpot.building.stage import Stage, StageContext, StageResult
from tlpot.building.training import MODEL, SPLIT
from tlpot.config import to_mapping
from tlpot.errors import ConfigError, DataError
from tlpot.jobs import FinetuneConfig, SplitSettings
from tlpot.learning_curves import POINTS, CurveConfig, curve_config, run_curve

LEARNING_CURVE = "curve"
"""Name of the stage."""


def learning_curve_config(
    settings: LearningCurveSettings, given: Mapping[str, Any], tuning: FinetuneConfig, n_frames: int
) -> CurveConfig | None:
    """Returns the configuration of the curve; files are filled in later. None for no curve.

    Args:
        settings: what is wanted.
        given: the section ``finetune``; its training settings are those of all points.
        tuning: the same, complete.
        n_frames: expensive labels before any active round, if none fails.

    Raises:
        ConfigError: an unknown strategy, more labels than there will be to train with, or none
            to validate or test with.
    """
    if not settings.sizes:
        return None
    held = _held_out(tuning.split, n_frames)
    if max(settings.sizes) > n_frames - held:
        raise ConfigError(
            f"curve.sizes has {max(settings.sizes)} training labels, and there will be {n_frames} "
            f"labels in all, of which finetune.split holds out {held}; lower it, or raise "
            "high.budget"
        )
    own = given.get("strategy", "full")
    strategies = settings.strategies or ((own,) if own == "scratch" else (own, "scratch"))
    training = {k: v for k, v in given.get("training", {}).items() if k != "seed"}
    return curve_config(
        {
            "parents": [MODEL], "data": to_mapping(tuning.data), "level": tuning.level,
            "strategies": list(strategies), "sizes": list(settings.sizes),
            "seeds": settings.seeds, "output": LEARNING_CURVE, "source": tuning.source,
            "references": tuning.references, "training": training,
        }
    )  # fmt: skip


def _held_out(split: SplitSettings, n_frames: int) -> int:
    """Returns how many frames are not trained on, as far as this is known before they are made.

    Raises:
        ConfigError: none is for validation, or for the test.
    """
    held = 0
    for name in ("validation", "test"):
        share = getattr(split, name)
        if share == 0:
            raise ConfigError(
                f"a learning curve needs {name} frames, and finetune.split.{name} is 0; raise it, "
                "or leave curve out"
            )
        if isinstance(share, float) and split.by == "random":
            held += round(share * n_frames if share < 1 else share)
    return held


def curve_stage(config: CurveConfig, *, tuned: str, rounds: Sequence[str]) -> Stage:
    """Trains on nested parts of the expensive labels, tested on the frames that were held out.

    `tuned` is the stage with the last fine-tuning, whose split is taken; `rounds` have further
    labels.
    """

    def run(work: StageContext) -> StageResult:
        there = [work.of("high", LABELS), *(work.of(name, LABELS) for name in rounds)]
        own = replace(
            config,
            parents=(str(work.of("pretrain", MODEL)),),
            data=replace(config.data, files=tuple(path for path in there if path.exists())),
            split=SplitSettings(file=work.of(tuned, SPLIT)),
            output=work.folder,
        )
        # what another configuration of the build measured is none of its own
        found = run_curve(own, device=work.device, overwrite=True)
        n_done = sum(len(series.points) for series in found.series)
        if found.failures:
            first = found.failures[0]
            again = "the same command tries the others again; or"
            if all(failure.recurs for failure in found.failures):
                again = "the others would fail again, as their labels are drawn the same:"
            raise DataError(
                f"{len(found.failures)} of {n_done + found.n_missing} points of the "
                f"learning curve failed; the first, {first.label} with {first.size} labels and "
                f"seed {first.seed}: {first.error}. The finished points are kept, and "
                f"{again} leave out of curve.strategies or curve.sizes what cannot work"
            )
        return StageResult(outputs=("curve.json",), facts={"points": n_done})

    settings = to_mapping(config)
    for name in ("data", "output", "parents", "split"):
        del settings[name]
    sizes = ", ".join(map(str, config.sizes))
    return Stage(
        name=LEARNING_CURVE,
        summary=f"{sizes} labels with {', '.join(c.label for c in config.compared_strategies())}"
        + f", {config.seeds} seeds" * (config.seeds > 1),
        settings={"curve": settings},
        needs=("pretrain", "high", tuned, *rounds),
        run=run,
        kept=POINTS,
    )
