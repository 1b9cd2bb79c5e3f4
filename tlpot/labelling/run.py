"""Tasks over an executor: a bounded window in flight, and tries for those that kill workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait

from tlpot.errors import ConfigError, OutputError, TLPotError
from tlpot.labelling.task import LabelTask, Outcome, run_task

TRIES = 3
"""Workers that a geometry may cost before it is given up."""


def run_tasks(
    tasks: Sequence[LabelTask],
    executor: Executor | None = None,
    *,
    in_flight: int | None = None,
    tries: int = TRIES,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[tuple[LabelTask, Outcome]]:
    """Yields each task with its outcome, as they come.

    Closing the iterator cancels what has not started.

    Args:
        tasks: what to do.
        executor: runs them; None for one after the other in this process.
        in_flight: tasks handed to the executor at a time; None for 64.
        tries: how often a task whose worker died is given to another.
        stop: when it returns True, what runs is finished and nothing else is started.

    Raises:
        ConfigError: `in_flight` or `tries` is below 1.
        TLPotError: a worker cannot run the engine at all.
        OutputError: the executor takes no more tasks.
    """
    window = 64 if in_flight is None else in_flight
    if window < 1 or tries < 1:
        raise ConfigError(f"in_flight is {window} and tries is {tries}, expected 1 or more")
    if executor is None:
        for task in tasks:
            if stop():
                return
            yield task, run_task(task)
        return
    waiting = deque(tasks)
    deaths: dict[str, int] = {}
    running: dict[Future[Outcome], LabelTask] = {}
    try:
        while waiting or running:
            if stop():
                waiting.clear()
                running = {f: task for f, task in running.items() if not f.cancel()}
                if not running:
                    return
            while waiting and len(running) < window:
                task = waiting.popleft()
                running[_submit(executor, task)] = task
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                try:
                    outcome = future.result()
                except TLPotError:
                    raise
                except Exception as error:  # of the executor: its worker died, say
                    count = deaths[task.geometry] = deaths.get(task.geometry, 0) + 1
                    if count < tries:
                        waiting.append(task)
                        continue
                    outcome = Outcome(
                        error=f"the worker died {count} times ({type(error).__name__}: {error}); "
                        "out of memory, or a crash in the program?"
                    )
                yield task, outcome
    finally:
        for future in running:
            future.cancel()


def _submit(executor: Executor, task: LabelTask) -> Future[Outcome]:
    try:
        return executor.submit(run_task, task)
    except RuntimeError as error:  # broken, or shut down
        raise OutputError(
            f"the executor takes no more tasks ({type(error).__name__}: {error}); what was "
            "labelled is safe, and the same call with a new executor continues"
        ) from error
