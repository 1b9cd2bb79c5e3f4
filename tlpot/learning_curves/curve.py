"""Learning curves: nested subsets x strategies x seeds on one split, resumable and parallel."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from tqdm import tqdm

from tlpot.config import differences, parse, to_mapping
from tlpot.errors import ConfigError, DataError, TLPotError
from tlpot.execution import check_window, run_tasks
from tlpot.files import make_folder, write_text
from tlpot.jobs import alone_in_folder, parent_hash
from tlpot.learning_curves.config import CurveConfig
from tlpot.learning_curves.record import RECORD, Curve, CurvePoint, Failure, Series, load_curve
from tlpot.learning_curves.tasks import (
    POINTS,
    CurveTasks,
    PointTask,
    curve_tasks,
    read_point,
    run_point,
    write_split,
)
from tlpot.presentation import progress_bar
from tlpot.stored_results import as_stored, stored_result

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
    config: CurveConfig, *, device: torch.device | str | None = None, overwrite: bool = False
) -> Addition:
    """Joins what is asked for with the curve that is in the folder.

    With `overwrite` what was measured before and is not asked for is left out.

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
        compared.label: entry
        for config in (before, now)
        for entry, compared in zip(config.strategies, config.compared_strategies(), strict=True)
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
    series = {(s.compared.label, s.parent.content_hash) for s in plan.series}
    scratch = {s.compared.label for s in plan.series if s.compared.is_scratch}
    return frozenset(
        task.key
        for s in whole.series
        # the baseline is that of the first parent, whichever was asked for
        if s.compared.label in scratch or (s.compared.label, s.parent.content_hash) in series
        for task in s.tasks
        if task.size in config.sizes and task.seed < config.seeds
    )


def _content(parent: str) -> str | None:
    """The hash of a parent; None if it is gone, which its points will show."""
    try:
        return parent_hash(parent)
    except (TLPotError, OSError):
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
    found = stored_result(_file(config, point.key))
    before: Mapping[str, Any] = {} if found is None else found["identity"]
    same = [t for t in tasks if (t.size, t.seed) == (point.size, point.seed)]
    named = [t for t in same if t.identity["strategy"] == before.get("strategy")]
    other = as_stored((named or same or tasks)[0].identity)
    listed = differences(
        before, other, first=("tlpot", "parent", "data", "strategy.name", "strategy")
    )
    # other data have other frames; a hash of these says something only where nothing else does
    return [text for text in listed if not text.startswith("frames ")] or listed


def _keys(plan: CurveTasks) -> list[str]:
    return [task.key for series in plan.series for task in series.tasks]


def _file(config: CurveConfig, key: str) -> Path:
    return config.output / POINTS / f"{key}.json"


Results = dict[str, dict[str, Any]]
"""Contents of point files by key."""

Errors = dict[str, Exception]
"""What went wrong with points, by key."""


@alone_in_folder
def run_curve(
    config: CurveConfig,
    *,
    executor: Executor | None = None,
    in_flight: int | None = None,
    device: torch.device | str | None = None,
    overwrite: bool = False,
    show: bool = True,
) -> Curve:
    """Measures what is not there yet and writes ``curve.json``.

    What was measured in the folder before, with other strategies, sizes, seeds or parents, stays
    in the curve. Each point is written by its worker as soon as it is known, so that nothing is
    lost by an interruption. A point that fails is reported and the others go on.

    Args:
        config: what to measure.
        executor: runs the points, on other machines too if they see the same files; None for
            one after the other in this process. It is not shut down.
        in_flight: points handed to the executor at a time; None for all. With as many as there
            are workers, Ctrl-C has none left waiting in the executor.
        device: see `tlpot.load`.
        overwrite: leave out what was measured before and is not asked for; its points stay in
            their folder.
        show: whether to show a progress bar.

    Returns:
        The whole curve; failures and missing points are those of this run.

    Raises:
        ConfigError: the curve in the folder has another split, other data or other settings.
        TLPotError: something is wrong with the parents, the data or the settings; nothing has
            been measured then.
        KeyboardInterrupt: ``curve.json`` has what was measured until then.
    """
    check_window(in_flight)
    whole = add_to_curve(config, device=device, overwrite=overwrite)
    plan = whole.plan
    make_folder(config.output)
    text = yaml.safe_dump(to_mapping(whole.config), sort_keys=False, allow_unicode=True)
    write_text(config.output / "config.yaml", text)
    plan.split.save(config.output / "split.json")
    every = [task for series in plan.series for task in series.tasks]
    tasks = {task.key: task for task in every if task.key in whole.asked}
    others = [replace(task, model=None) for task in every if task.key not in whole.asked]
    earlier: Results = {t.key: found for t in others if (found := read_point(t)) is not None}
    found = {key: read_point(task) for key, task in tasks.items()}
    results: Results = {key: content for key, content in found.items() if content is not None}
    _assemble(whole, {**earlier, **results}, {}).save(config.output)  # whatever happens now
    todo = [task for key, task in tasks.items() if key not in results]
    todo.sort(key=lambda task: (task.seed, task.size))  # a first look at everything comes early
    for task in todo:
        write_split(plan.split, task, config.subsets)
    errors: Errors = {}
    total = sum(task.updates for task in tasks.values())
    with progress_bar(total=total, disable=not show, unit="update", unit_scale=True) as bar:
        bar.initial = bar.n = total - sum(task.updates for task in todo)
        _announce(bar, results, tasks, errors)
        try:
            for task, outcome in run_tasks(run_point, todo, executor, in_flight=in_flight):
                if isinstance(outcome, Exception):
                    errors[task.key] = outcome
                else:
                    results[task.key] = outcome
                bar.update(task.updates)
                _announce(bar, results, tasks, errors)
        finally:
            curve = _assemble(whole, {**earlier, **results}, errors)
            curve.save(config.output)
    return curve


def _announce(
    bar: tqdm[Any], results: Results, tasks: dict[str, PointTask], errors: Errors
) -> None:
    failed = f", {len(errors)} failed" if errors else ""
    bar.set_description(f"{len(results)} of {len(tasks)} points{failed}")


def _assemble(whole: Addition, results: Results, errors: Errors) -> Curve:
    plan = whole.plan
    series, failures, n_missing = [], [], 0
    for line in plan.series:
        points = []
        for task in line.tasks:
            if task.key in results:
                points.append(_point(task, results[task.key]))
                continue
            n_missing += task.key in whole.asked
            if task.key in errors:
                failures.append(Failure.of(line.label, task.size, task.seed, errors[task.key]))
        series.append(
            Series(
                label=line.label,
                name=line.compared.label,
                strategy=line.compared.strategy,
                parent=line.parent.name,
                pretraining=line.parent.labels,
                points=tuple(points),
            )
        )
    return Curve(
        level=plan.level,
        n_validation=len(plan.split.validation),
        n_test=len(plan.split.test),
        series=tuple(series),
        failures=tuple(failures),
        n_missing=n_missing,
        n_train=len(plan.split.train),
        config=to_mapping(whole.config),
        unit=plan.unit,
    )


def _point(task: PointTask, content: dict[str, Any]) -> CurvePoint:
    return CurvePoint(
        key=task.key,
        size=task.size,
        seed=task.seed,
        start=content["start"],
        end=content["end"],
        seconds=content["seconds"],
        updates=content.get("updates"),
        late_fall=content.get("late_fall", {}),
        baselines=content.get("baselines", {}),
    )
