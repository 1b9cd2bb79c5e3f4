"""The pure function that is mapped over workers: engine and geometry in, labels out, in time."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from tlpot.data import Labels, fingerprint
from tlpot.engines import (
    BatchEngine,
    Engine,
    EngineSpec,
    check_electrons,
    forget_engines,
    gives_stress,
    make_engine,
    only_heavy,
)
from tlpot.errors import ConfigError, MissingExtraError, ModelFileError, TLPotError
from tlpot.execution import run_tasks
from tlpot.numbers import Floats, result_fault
from tlpot.system import System

AGAIN = 1.0
"""s after which a program that has swallowed the exception gets another."""


class OutOfTimeError(RuntimeError):
    """A calculation took too long. Pipes raise ``TimeoutError`` for other reasons."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Ends what runs inside with an exception; what does not come back to Python runs on till then.

    Args:
        seconds: by the clock; None for no limit.

    Raises:
        OutOfTimeError: it took longer.
        ConfigError: this is not the main thread, or the system has no such signal.
    """
    if seconds is None:
        yield
        return
    check_time_limit(seconds)

    def expire(*_: object) -> NoReturn:
        raise OutOfTimeError(f"took longer than {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, expire)
    before = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *before)


def check_time_limit(seconds: float | None) -> None:
    """Checks that there can be such a limit in this thread.

    Raises:
        ConfigError: there cannot.
    """
    if seconds is None:
        return
    if not seconds > 0:
        raise ConfigError(f"timeout is {seconds!r}; expected seconds above 0")
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError(
            "timeout works in the main thread of a process only, and Dask's workers use others; "
            "leave it out, or take workers=N (--workers)"
        )
    if not hasattr(signal, "setitimer"):
        raise ConfigError("timeout needs the alarm signal of Unix; leave it out")


PRECISION = 1e-6
"""Å; geometries that agree to this are the same, and are labelled once."""

LOG_CHARACTERS = 20_000
"""Of the log of a failure, from its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a label cost.

    Attributes:
        seconds: by the clock.
        cpu_seconds: of all threads and of programs that were started.
        threads: in use.
        gflops: 1e9 floating-point operations per second that one thread of the worker's machine
            does in a matrix product; with it, costs of several machines can be compared.
    """

    seconds: float
    cpu_seconds: float
    threads: int
    gflops: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelOutcome:
    """What came of one geometry.

    Attributes:
        energy: eV; None if it failed.
        forces: [n_atoms, 3], eV/Å, or None.
        stress: [3, 3], eV/Å³, positive when tensile, or None.
        error: why it failed, or None.
        log: what the program printed, if it failed.
        cost: None if the worker did not live to tell.
    """

    energy: float | None = None
    forces: Floats | None = None
    stress: Floats | None = None
    error: str | None = None
    log: str = ""
    cost: Cost | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelTask:
    """One geometry to label.

    Attributes:
        geometry: its key, see `geometry_key`.
        system: the geometry.
        engine: what labels it.
        forces: whether to compute forces.
        threads: to use; None leaves them as they are.
        timeout: s, after which it is given up; None for never.
        state: what the engine was when the labelling began, see `engine_state`; None for any.
    """

    geometry: str
    system: System
    engine: EngineSpec
    forces: bool
    threads: int | None = 1
    timeout: float | None = None
    state: str | None = None


def engine_key(level: str, definition: Mapping[str, Any]) -> str:
    """Returns a hash of what makes the energies; how forces are had is not part of it."""
    content = {
        name: value
        for name, value in definition.items()
        if name != "forces" and not only_heavy(name, definition)
    }
    text = json.dumps([level, content], sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


_STATES = weakref.WeakKeyDictionary[Engine, str]()


def engine_state(engine: Engine) -> str:
    """Returns a hash of settings and files of an engine, whatever the version of its program."""
    if engine not in _STATES:
        content = {name: value for name, value in engine.definition.items() if name != "program"}
        _STATES[engine] = engine_key(engine.level, content)
    return _STATES[engine]


def _engine(task: LabelTask) -> Engine:
    """Returns the engine of a task; files behind its name may have been replaced meanwhile."""
    engine = make_engine(task.engine)
    if task.state is not None and engine_state(engine) != task.state:
        raise ConfigError(
            f"{task.engine.name} is not what it was when the labelling began: its files have been "
            "replaced, or are others on this worker. Labels so far are kept; put the files back, "
            "or start again under another level (--level) or output"
        )
    return engine


def geometry_key(system: System) -> str:
    """Returns a hash of elements, positions (to 1e-6 Å), cell, charge and multiplicity."""
    return fingerprint(system, PRECISION).hex()


def run_task(task: LabelTask) -> LabelOutcome:
    """Labels one geometry; what goes wrong with it is part of the outcome.

    Raises:
        ConfigError, MissingExtraError, ModelFileError: the engine cannot be made on this worker,
            so no geometry can be labelled there; or it is another than the labels were begun with.
    """
    engine = _engine(task)
    before = engine.use_threads(None)
    threads = engine.use_threads(task.threads)
    gflops = _gflops()
    log = io.StringIO()
    labels, error = None, None
    strained = task.forces and task.engine.stress and gives_stress(engine, task.system)
    start, cpu = time.perf_counter(), _cpu_seconds()
    try:
        if not task.system.pbc.any():
            check_electrons(task.system)
        options = {"stress": True} if strained else {}
        with time_limit(task.timeout):
            labels = engine.compute(task.system, forces=task.forces, log=log, **options)
        if (fault := _fault(labels, task.system)) is not None:
            labels, error = None, f"the program gives {fault}"
    except (ConfigError, MissingExtraError, ModelFileError):
        raise
    except Exception as problem:  # programs raise whatever they like
        error = f"{type(problem).__name__}: {problem}".strip()
        if isinstance(problem, OutOfTimeError):
            forget_engines()
        if strained and "NotImplemented" in error:
            error += "; if it is the stress that is missing, leave it out with stress=False "
            error += "(--no-stress)"
        log.write(f"\n{traceback.format_exc()}")
    finally:
        engine.use_threads(before)  # of whoever asked for the label in this process
    cost = Cost(
        seconds=time.perf_counter() - start,
        cpu_seconds=_cpu_seconds() - cpu,
        threads=threads,
        gflops=gflops,
    )
    return LabelOutcome(
        energy=None if labels is None else labels.energy,
        forces=None if labels is None else labels.forces,
        stress=None if labels is None else labels.stress,
        error=error,
        log="" if error is None else log.getvalue()[-LOG_CHARACTERS:],
        cost=cost,
    )


def run_batch(tasks: Sequence[LabelTask]) -> list[LabelOutcome]:
    """Labels molecules of one number of atoms at once, those that then have no label one by one.

    Args:
        tasks: of one engine; a single one, or more where the engine takes batches.

    Raises:
        ConfigError, MissingExtraError, ModelFileError: see `run_task`.
    """
    together = _together(tasks) if len(tasks) > 1 else [None] * len(tasks)
    return [
        run_task(task) if outcome is None else outcome
        for task, outcome in zip(tasks, together, strict=True)
    ]


def _together(tasks: Sequence[LabelTask]) -> list[LabelOutcome | None]:
    """Returns the labels of a batch that can be used; the cost is shared equally."""
    engine = _engine(tasks[0])
    assert isinstance(engine, BatchEngine)
    before = engine.use_threads(None)
    threads = engine.use_threads(tasks[0].threads)
    gflops = _gflops()
    start, cpu = time.perf_counter(), _cpu_seconds()
    systems = [task.system for task in tasks]
    try:
        for system in systems:
            check_electrons(system)
        limit = tasks[0].timeout
        with time_limit(None if limit is None else limit * len(tasks)):
            found = engine.compute_batch(systems, forces=tasks[0].forces, log=io.StringIO())
    except (ConfigError, MissingExtraError, ModelFileError):
        raise
    except Exception as problem:  # whose fault it was turns out one by one
        if isinstance(problem, OutOfTimeError):
            forget_engines()
        return [None] * len(tasks)
    finally:
        engine.use_threads(before)
    cost = Cost(
        seconds=(time.perf_counter() - start) / len(tasks),
        cpu_seconds=(_cpu_seconds() - cpu) / len(tasks),
        threads=threads,
        gflops=gflops,
    )
    return [
        LabelOutcome(energy=each.energy, forces=each.forces, cost=cost)
        if _fault(each, system) is None
        else None
        for each, system in zip(found, systems, strict=True)
    ]


def _fault(labels: Labels, system: System) -> str | None:
    found = {"energy": labels.energy, "forces": labels.forces, "stress": labels.stress}
    given = {name: value for name, value in found.items() if value is not None}
    return result_fault(given, len(system))


TRIES = 3
"""Workers that a geometry may cost before it is given up."""
WINDOW = 64
"""Labels handed to an executor at a time."""


def run_labels(
    tasks: Iterable[LabelTask],
    executor: Executor | None = None,
    *,
    in_flight: int | None = None,
    tries: int = TRIES,
    stop: Callable[[], bool] = lambda: False,
    batch: int = 1,
) -> Generator[tuple[LabelTask, LabelOutcome]]:
    """Yields each task with its outcome, as they come; see `tlpot.execution.run_tasks`.

    A geometry that its workers do not survive has failed; a batch is then worked off one by one.

    Args:
        tasks: what to label.
        executor: runs it; None for this process.
        in_flight: geometries, or batches, handed to the executor at a time.
        tries: workers that one may cost.
        stop: see `tlpot.execution.run_tasks`.
        batch: molecules of one number of atoms at once, where the engine takes batches.

    Raises:
        ConfigError: `in_flight` or `tries` is below 1.
        TLPotError: a worker cannot run the engine at all.
        OutputError: the executor takes no more tasks.
    """
    window = WINDOW if in_flight is None else in_flight
    waiting = _batches(tasks, batch)
    while waiting:
        found = run_tasks(run_batch, waiting, executor, in_flight=window, tries=tries, stop=stop)
        waiting = []
        with closing(found):
            for some, outcomes in found:
                if isinstance(outcomes, list):
                    yield from zip(some, outcomes, strict=True)
                elif executor is None or isinstance(outcomes, TLPotError):
                    raise outcomes
                elif len(some) > 1:
                    waiting += [(task,) for task in some]
                else:
                    error = f"the worker died {tries} times ({type(outcomes).__name__}: {outcomes})"
                    error += "; out of memory, or a crash in the program?"
                    yield some[0], LabelOutcome(error=error)


def _batches(tasks: Iterable[LabelTask], size: int) -> list[tuple[LabelTask, ...]]:
    """Returns tasks of one number of atoms together, in their order where they stay alone."""
    if size == 1:
        return [(task,) for task in tasks]
    alike: dict[tuple[int, bool], list[LabelTask]] = {}
    for task in tasks:
        kind = len(task.system), bool(task.system.pbc.any())
        alike.setdefault(kind, []).append(task)
    found: list[tuple[LabelTask, ...]] = []
    for (_, periodic), some in sorted(alike.items()):
        step = 1 if periodic else size
        found += [tuple(some[k : k + step]) for k in range(0, len(some), step)]
    return found


def _cpu_seconds() -> float:
    children = os.times()  # in hundredths of a second, which will do for programs
    return time.process_time() + children.children_user + children.children_system


@functools.cache
def _gflops() -> float:
    """Measures this machine once, by the processor's clock, so that others do not disturb."""
    n, repeats = 256, 8
    matrix = np.ones((n, n))
    matrix @ matrix
    best = np.inf
    for _ in range(5):
        start = time.process_time()
        for _ in range(repeats):
            matrix @ matrix
        best = min(best, time.process_time() - start)
    return 2e-9 * n**3 * repeats / max(best, 1e-6)
