"""Measuring more of a curve: what was measured before stays in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tlpot.config import parse, to_mapping
from tlpot.differences import differences
from tlpot.errors import ConfigError, DataError, ModelFileError, TLPotError
from tlpot.models import content_hash
from tlpot.pipeline.curve_config import CurveConfig
from tlpot.pipeline.curve_point import POINTS
from tlpot.pipeline.curve_record import RECORD, Curve, CurvePoint, load_curve
from tlpot.pipeline.curve_tasks import CurveTasks, curve_tasks

_FREE = ("data", "parents", "strategies", "sizes", "seeds", "output", "keep_models", "licence")
"""Settings of which a curve can have more, or on which no point depends; data by its content."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """A whole curve, of which some is to be measured now.

    Attributes:
        config: of the whole curve: strategies, sizes, seeds and parents of all runs.
        plan: of the whole curve.
        asked: keys of the points that this run is about.
    """

    config: CurveConfig
    plan: CurveTasks
    asked: frozenset[str]


def add_to_curve(
    config: CurveConfig,
    *,
    device: torch.device | str | None = None,
    overwrite: bool = False,
) -> Addition:
    """Joins what is asked for with the curve that is in the folder.

    Args:
        config: what to measure now.
        device: see `tlpot.load`.
        overwrite: leave out what was measured before and is not asked for.

    Raises:
        ConfigError: points of the curve there have another split, other data or other settings;
            the message says which.
        DataError: the record of the curve is damaged.
        TLPotError: see `curve_tasks`.
    """
    plan = curve_tasks(config, device=device)
    alone = Addition(config=config, plan=plan, asked=_asked(config, plan, plan))
    record = config.output / RECORD
    if overwrite or not record.exists():
        return alone
    try:
        curve = load_curve(config.output)
    except DataError as error:
        raise DataError(
            f"{error}. Delete it, or start the curve anew with --overwrite (overwrite=True); its "
            "points stay"
        ) from error
    whole, joined, why = config, plan, ""
    try:
        whole = _joined(parse(CurveConfig, curve.config, str(record)), config)
        joined = curve_tasks(whole, device=device)
    except TLPotError as error:
        why = str(error)
    points = [p for s in curve.series for p in s.points if _file(config, p.key).exists()]
    known = {*_keys(joined)}
    lost = next((point for point in points if point.key not in known), None)
    if points and (lost is not None or why):
        named = _fixed_differences(curve, config, plan)
        if not named and lost is not None:
            named = _point_differences(config, lost, joined)
        raise ConfigError(
            f"{config.output} holds a curve of something else: {'; '.join(named) or why}. Its "
            f"points cannot be compared with new ones: give what it was measured with (see its "
            "config.yaml), another output (-o), or --overwrite (overwrite=True) for a curve of "
            "what is asked for now; the files of all points stay"
        )
    asked = _asked(config, plan, joined)
    # not only what the record lists: a killed run may have measured more
    if not any(t.file.exists() for s in joined.series for t in s.tasks if t.key not in asked):
        return alone
    return Addition(config=whole, plan=joined, asked=asked)


def _joined(before: CurveConfig, now: CurveConfig) -> CurveConfig:
    """All that was asked for before, and all that is asked for now."""
    entries = {
        contender.label: entry
        for config in (before, now)
        for entry, contender in zip(config.strategies, config.contenders(), strict=True)
    }
    there = {name: content for name in before.parents if (content := _content(name)) is not None}
    more = [name for name in now.parents if _content(name) not in there.values()]
    return replace(
        now,
        parents=(*there, *more),
        strategies=tuple(entries.values()),
        sizes=tuple(sorted({*before.sizes, *now.sizes})),
        seeds=max(before.seeds, now.seeds),
    )


def _asked(config: CurveConfig, plan: CurveTasks, whole: CurveTasks) -> frozenset[str]:
    """The points of the whole curve that a configuration with its own plan is about."""
    series = {(s.contender.label, s.parent.content_hash) for s in plan.series}
    scratch = {s.contender.label for s in plan.series if s.contender.is_scratch}
    return frozenset(
        task.key
        for s in whole.series
        # the baseline is that of the first parent, whichever was asked for
        if s.contender.label in scratch or (s.contender.label, s.parent.content_hash) in series
        for task in s.tasks
        if task.size in config.sizes and task.seed < config.seeds
    )


def _content(parent: str) -> str | None:
    """The hash of a parent's file; None if it is gone, which its points will show."""
    try:
        return content_hash(parent)
    except (ModelFileError, OSError):
        return None


def _fixed_differences(curve: Curve, config: CurveConfig, plan: CurveTasks) -> list[str]:
    """What of the settings differs that all points of a curve share."""
    before = {key: value for key, value in curve.config.items() if key not in _FREE}
    now = {key: value for key, value in to_mapping(config).items() if key not in _FREE}
    levels = {"level": curve.level}, {"level": plan.level}
    return differences({**before, **levels[0]}, {**now, **levels[1]}, first=("split",))


def _point_differences(config: CurveConfig, point: CurvePoint, plan: CurveTasks) -> list[str]:
    """What differs between a point that was measured and the one that would be now."""
    tasks = [task for series in plan.series for task in series.tasks]
    try:
        text = _file(config, point.key).read_text(encoding="utf-8")
        before: Mapping[str, Any] = dict(json.loads(text)["identity"])
        same = [t for t in tasks if (t.size, t.seed) == (point.size, point.seed)]
        named = [t for t in same if t.identity["strategy"] == before["strategy"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{_file(config, point.key)} is not a result of tlpot curve ({error!r}); delete it to "
            "have the point measured again"
        ) from error
    other = json.loads(json.dumps((named or same or tasks)[0].identity))
    listed = differences(
        before, other, first=("tlpot", "parent", "data", "strategy.name", "strategy")
    )
    # other data have other frames; a hash of these says something only where nothing else does
    return [text for text in listed if not text.startswith("frames ")] or listed


def _keys(plan: CurveTasks) -> list[str]:
    return [task.key for series in plan.series for task in series.tasks]


def _file(config: CurveConfig, key: str) -> Path:
    return config.output / POINTS / f"{key}.json"
