"""Tasks over workers: here, on a cluster, or a pool in which one may die without harm to others."""

from __future__ import annotations

import ctypes
import gc
import importlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from traceback import format_exception
from typing import Any, TypeVar

from tlpot.errors import ConfigError, MissingExtraError, OutputError, TLPotError


@contextmanager
def workers(
    n: int,
    dask: str | None = None,
    *,
    alone: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Executor | None, int | None]]:
    """Yields an executor, and how many tasks to hand it at a time; None is its own choice.

    What ends the context by an error, Ctrl-C included, ends the processes at once.

    Args:
        n: processes, of one thread each.
        dask: address of a Dask scheduler, ``local`` for a cluster of `n` processes on this
            machine, or None.
        alone: whether one worker is this process, for which there is no pool.
        stop: when it returns True, nothing else is started.

    Raises:
        ConfigError: there are no workers, or there is no scheduler at the address.
        MissingExtraError: Dask is not installed.
    """
    if n < 1:
        raise ConfigError(f"workers is {n}, expected 1 or more")
    if dask is not None:
        with _dask(n, dask) as executor:
            yield executor, None
        return
    if alone and n == 1:
        yield None, None
        return
    pool = WorkerPool(n, stop=stop)
    try:
        # one waits for each that runs, so that no process is idle while the journal is written
        yield pool, 2 * n
    except BaseException:
        pool.shutdown(wait=False)
        raise
    pool.shutdown()


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@contextmanager
def _dask(n: int, address: str) -> Iterator[Executor]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingExtraError("dask.distributed", "dask", "--dask") from error
    if address == "local":
        with (
            LocalCluster(
                n_workers=n, threads_per_worker=1, processes=True, dashboard_address=None
            ) as cluster,
            Client(cluster) as client,
        ):
            client.run(_one_thread)
            with client.get_executor() as executor:
                yield executor
        return
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--dask {address}: no scheduler answers there ({error}); give the address that "
            "'dask scheduler' prints, such as tcp://10.0.0.1:8786, or 'local'"
        ) from error
    with client:
        client.run(_one_thread)
        with client.get_executor() as executor:
            yield executor


Task = TypeVar("Task")
Found = TypeVar("Found")

_ONE_THREAD = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip

_LOOK = 1.0
"""s; how often `stop` is asked while nothing is done."""

_BYTES = 1 << 30


@dataclass(slots=True)
class _Job:
    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


class WorkerPool(Executor):
    """Processes that each run one call at a time; satisfies `concurrent.futures.Executor`.

    When a process dies (killed for its memory, crashed in compiled code), the call that it ran
    fails with `BrokenExecutor`, and a new process takes its place; in a
    `ProcessPoolExecutor` all calls in flight fail, and nobody knows which is guilty.

    Args:
        n: processes of one thread each.
        stop: when it returns True, calls that wait are cancelled instead of started.

    Raises:
        ConfigError: `n` is below 1.
    """

    def __init__(self, n: int, *, stop: Callable[[], bool] = lambda: False) -> None:
        if n < 1:
            raise ConfigError(f"{n} workers, expected 1 or more")
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._idle = [_lane() for _ in range(n)]
        self._busy: set[ProcessPoolExecutor] = set()
        self._closed = False
        self._stop = stop

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hands a call to the next free process."""
        job = _Job(Future(), fn, args, kwargs)
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            self._waiting.append(job)
        self._start()
        return job.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the processes when they are done, or with ``wait=False`` at once."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting) if cancel_futures or not wait else []
            for job in waiting:
                self._waiting.remove(job)
        for job in waiting:
            job.future.cancel()
        if not wait:
            for lane in [*self._idle, *self._busy]:
                for process in list((lane._processes or {}).values()):
                    process.kill()
        for lane in [*self._idle, *self._busy]:
            lane.shutdown(wait=wait)

    def _start(self) -> None:
        """Starts waiting jobs on idle lanes."""
        if self._stop():
            with self._lock:
                waiting = list(self._waiting)
                self._waiting.clear()
            for job in waiting:
                job.future.cancel()
                job.future.set_running_or_notify_cancel()  # wakes those who wait for it
        while True:
            with self._lock:
                if not self._waiting or not self._idle:
                    return
                job, lane = self._waiting.popleft(), self._idle.pop()
                self._busy.add(lane)
            if not job.future.set_running_or_notify_cancel():
                self._free(lane)
                continue
            try:
                lane, inner = self._handed(lane, job)
            except Exception as error:  # a process that dies while it starts, say
                with self._lock:
                    self._busy.discard(lane)
                    if not self._closed:
                        self._idle.append(_lane())
                # whoever waits for the call would wait for ever
                job.future.set_exception(error)
                continue
            inner.add_done_callback(partial(self._done, lane, job))

    def _handed(
        self, lane: ProcessPoolExecutor, job: _Job
    ) -> tuple[ProcessPoolExecutor, Future[Any]]:
        """Hands a call to a lane, or to a new one if that has died while it was idle."""
        try:
            return lane, lane.submit(job.function, *job.arguments, **job.keywords)
        except BrokenExecutor:  # nobody is guilty
            lane.shutdown(wait=False)
            with self._lock:
                self._busy.discard(lane)
                self._busy.add(lane := _lane())
            return lane, lane.submit(job.function, *job.arguments, **job.keywords)

    def _done(self, lane: ProcessPoolExecutor, job: _Job, done: Future[Any]) -> None:
        error = done.exception()
        if isinstance(error, BrokenExecutor):
            lane.shutdown(wait=False)
            with self._lock:
                self._busy.discard(lane)
                if not self._closed:
                    self._idle.append(_lane())
        else:
            self._free(lane)
        if not self._closed:
            self._start()  # before the result is looked at, so that no process waits for it
        if error is None:
            job.future.set_result(done.result())
        else:
            job.future.set_exception(error)

    def _free(self, lane: ProcessPoolExecutor) -> None:
        with self._lock:
            self._busy.discard(lane)
            self._idle.append(lane)


def _lane() -> ProcessPoolExecutor:
    # the threads of torch and OpenMP do not survive a fork
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    """Runs in a new process before the programs are loaded there."""
    for name in _ONE_THREAD:
        os.environ[name] = "1"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Ctrl-C reaches all processes of a terminal; tasks in progress are finished
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """Ends this process with the one that made it, even when that was killed.

    Waiting for work does not end by itself: the workers hold both ends of the queue.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run_tasks(
    function: Callable[[Task], Found],
    tasks: Iterable[Task],
    executor: Executor | None = None,
    *,
    in_flight: int | None = None,
    tries: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[tuple[Task, Found | Exception]]:
    """Yields each task with what the function returns, or with what went wrong, as they come.

    Closing the iterator cancels what has not started. Mistakes of the user's (`TLPotError`) are
    not tried again; anything else may be the end of a worker.

    Args:
        function: of a task; a function of a module, so that workers find it.
        tasks: what to do, in this order.
        executor: runs them; None for one after the other in this process.
        in_flight: tasks handed to the executor at a time; None for all.
        tries: how often a task whose worker died is given to another.
        stop: when it returns True, what runs is finished and nothing else is started; workers
            that die then are not held against a task, which is left for the next call.

    Raises:
        ConfigError: `in_flight` or `tries` is below 1.
    """
    check_window(in_flight, tries)
    waiting = deque((task, 1) for task in tasks)
    if executor is None:
        while waiting and not stop():
            task, _ = waiting.popleft()
            yield task, _result(partial(function, task))
        return
    running: dict[Future[Found | _Failed], tuple[Task, int]] = {}
    try:
        while waiting or running:
            if stop():
                waiting.clear()
                running = {f: job for f, job in running.items() if not f.cancel()}
                if not running:
                    return
            while waiting and (in_flight is None or len(running) < in_flight):
                task, count = waiting.popleft()
                try:
                    running[executor.submit(_attempted, task, function)] = task, count
                except RuntimeError as error:  # broken, or shut down
                    yield task, _refused(error)
            done, _ = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED)
            for future in done:
                task, count = running.pop(future)
                found = _result(future.result)
                found = found.error if isinstance(found, _Failed) else found
                died = isinstance(found, Exception) and not isinstance(found, TLPotError)
                if died and stop():  # what ends this process may have ended the worker, too
                    continue
                if died and count < tries:
                    waiting.append((task, count + 1))
                else:
                    yield task, found
    finally:
        for future in running:
            future.cancel()


def check_window(in_flight: int | None, tries: int = 1) -> None:
    """Checks the numbers of `run_tasks`, for what is to be refused before anything is prepared.

    Raises:
        ConfigError: one is below 1.
    """
    if (in_flight is not None and in_flight < 1) or tries < 1:
        raise ConfigError(f"in_flight is {in_flight} and tries is {tries}, expected 1 or more")


class _Failed:
    """An error on its way from a worker, with its causes, which pickles of exceptions leave out.

    Args:
        error: what the task ended in.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Callable[..., _Failed], tuple[list[Exception], str]]:
        """Packs each cause by itself; one that cannot be read elsewhere by its name and text."""
        chain: list[BaseException] = [self.error]
        while (cause := chain[-1].__cause__) is not None and cause not in chain:
            chain.append(cause)
        return _unpacked, ([_portable(e) for e in chain], "".join(format_exception(self.error)))


class _InWorkerError(Exception):
    """The traceback of a worker, where the chain of causes ends."""


def _unpacked(chain: list[Exception], text: str) -> _Failed:
    ends = [*chain[1:], _InWorkerError(f"in a worker process:\n{text}")]
    for error, cause in zip(chain, ends, strict=True):
        error.__cause__ = cause
    return _Failed(chain[0])


def _portable(error: BaseException) -> Exception:
    try:
        copy = pickle.loads(pickle.dumps(error))
        if isinstance(error, Exception) and (type(copy), str(copy)) == (type(error), str(error)):
            return error
    except Exception:  # constructors that want other arguments, contents that cannot be pickled
        pass
    kind = TLPotError if isinstance(error, TLPotError) else RuntimeError
    return kind(f"{type(error).__name__}: {error}")


def _attempted(task: Task, function: Callable[[Task], Found]) -> Found | _Failed:
    try:
        return function(task)
    except Exception as error:
        return _Failed(error)


def _result(call: Callable[[], Found]) -> Found | Exception:
    try:
        return call()
    except Exception as error:
        return error


def _refused(error: RuntimeError) -> OutputError:
    refusal = OutputError(
        f"the executor takes no more tasks ({type(error).__name__}: {error}); what was done is "
        "safe, and the same call with a new executor continues"
    )
    refusal.__cause__ = error
    return refusal


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h


def keep_freed_memory() -> None:
    """Lets glibc keep freed memory for the next allocation.

    Each step of a training or a simulation allocates the same tensors anew; returning them to the
    system and fetching zeroed pages again takes time. It concerns the
    whole process, hence only the command line does it. Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    adjust(_MMAP_THRESHOLD, _BYTES)
    adjust(_TRIM_THRESHOLD, _BYTES)


def load_torch() -> None:
    """Imports torch without looking for garbage among its modules, now or ever.

    They stay until the process ends, and looking takes a tenth of the import.
    """
    if "torch" in sys.modules or not gc.isenabled():
        return
    gc.disable()
    try:
        importlib.import_module("torch")
        gc.freeze()
    finally:
        gc.enable()
