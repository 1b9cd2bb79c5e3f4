"""Worker processes of a job, here or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import torch

from tlpot.errors import ConfigError, MissingExtraError
from tlpot.execution import WorkerPool


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
