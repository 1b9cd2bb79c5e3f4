"""Learning curves: nested subsets x strategies x seeds on one split, resumable and parallel."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import replace
from typing import Any

import torch
import yaml
from tqdm import tqdm

from tlpot.atomic_file import make_folder, write_text
from tlpot.config import to_mapping
from tlpot.errors import ConfigError
from tlpot.pipeline.curve_addition import Addition, add_to_curve
from tlpot.pipeline.curve_config import CurveConfig
from tlpot.pipeline.curve_point import PointTask, read_point, run_point
from tlpot.pipeline.curve_record import Curve, CurvePoint, Failure, Series
from tlpot.pipeline.curve_tasks import write_split
from tlpot.pipeline.output import alone_in_folder
from tlpot.progress_bar import progress_bar

Results = dict[str, dict[str, Any]]
"""Contents of point files by key."""


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
    if in_flight is not None and in_flight < 1:
        raise ConfigError(f"in_flight is {in_flight}, expected 1 or more")
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
    errors: dict[str, str] = {}
    total = sum(task.updates for task in tasks.values())
    with progress_bar(total=total, disable=not show, unit="update", unit_scale=True) as bar:
        bar.initial = bar.n = total - sum(task.updates for task in todo)
        _announce(bar, results, tasks, errors)
        try:
            for task, outcome in _outcomes(todo, executor, in_flight):
                if isinstance(outcome, Exception):
                    errors[task.key] = f"{type(outcome).__name__}: {outcome}"
                else:
                    results[task.key] = outcome
                bar.update(task.updates)
                _announce(bar, results, tasks, errors)
        finally:
            curve = _assemble(whole, {**earlier, **results}, errors)
            curve.save(config.output)
    return curve


def _announce(
    bar: tqdm[Any], results: Results, tasks: dict[str, PointTask], errors: dict[str, str]
) -> None:
    failed = f", {len(errors)} failed" if errors else ""
    bar.set_description(f"{len(results)} of {len(tasks)} points{failed}")


def _outcomes(
    todo: list[PointTask], executor: Executor | None, in_flight: int | None
) -> Iterator[tuple[PointTask, dict[str, Any] | Exception]]:
    """Yields each task with its result or what went wrong, as they come."""
    if executor is None:
        for task in todo:
            try:
                yield task, run_point(task)
            except Exception as error:
                yield task, error
        return
    waiting = list(reversed(todo))
    running: dict[Future[dict[str, Any]], PointTask] = {}
    try:
        while waiting or running:
            while waiting and (in_flight is None or len(running) < in_flight):
                task = waiting.pop()
                try:
                    running[executor.submit(run_point, task)] = task
                except (BrokenExecutor, RuntimeError) as error:  # a worker died, or shut down
                    yield task, error
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                try:
                    outcome: dict[str, Any] | Exception = future.result()
                except Exception as error:
                    outcome = error
                yield task, outcome
    finally:
        for future in running:
            future.cancel()


def _assemble(whole: Addition, results: Results, errors: dict[str, str]) -> Curve:
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
                failures.append(
                    Failure(
                        label=line.label, size=task.size, seed=task.seed, error=errors[task.key]
                    )
                )
        series.append(
            Series(
                label=line.label,
                name=line.contender.label,
                strategy=line.contender.strategy,
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
    )
