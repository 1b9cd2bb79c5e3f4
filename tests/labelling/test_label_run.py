"""Labels over executors, with workers that die."""

import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from needs import needs

from tlpot.engines import EngineSpec
from tlpot.errors import ConfigError, OutputError
from tlpot.execution import WorkerPool
from tlpot.labelling import LabelSettings, LabelTask, label, run_labels
from tlpot.labelling.task import geometry_key
from tlpot.system import System

SPRING = "ase:label_toys:Spring"


def spring(**settings):
    return EngineSpec(name=SPRING, level="spring", settings=settings)


def hydrogens(n):
    return [Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.01 * k]]) for k in range(n)]


def tasks(structures, spec):
    systems = [System.from_atoms(atoms) for atoms in structures]
    return [
        LabelTask(geometry=geometry_key(s), system=s, engine=spec, forces=True, threads=None)
        for s in systems
    ]


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(2) as made:
        yield made


def test_a_killed_worker_costs_its_own_point_only(pool, tmp_path):
    calls = tmp_path / "calls"
    killer = Atoms("HeBe", [[0, 0, 0], [0, 0, 1.0]])
    given = [*hydrogens(4), killer, *hydrogens(8)[4:]]
    outcomes = {
        task.geometry: outcome
        for task, outcome in run_labels(
            tasks(given, spring(calls=str(calls))), pool, in_flight=4, tries=2
        )
    }
    failed = [outcome for outcome in outcomes.values() if outcome.error is not None]
    assert len(outcomes) == 9
    assert len(failed) == 1
    assert "died 2 times" in failed[0].error
    assert outcomes[geometry_key(System.from_atoms(killer))].energy is None
    counts = Counter(calls.read_text().splitlines())
    assert counts.pop("HeBe 1.000000") == 2
    assert set(counts.values()) == {1}  # the others were computed once


def test_a_batch_that_kills_its_worker_is_worked_off_one_by_one(pool):
    killer = Atoms("HeBe", [[0, 0, 0], [0, 0, 1.0]])
    spec = EngineSpec(name="ase:label_toys:Together", level="spring")
    given = tasks([*hydrogens(3), killer, *hydrogens(9)[4:]], spec)
    outcomes = {t.geometry: o for t, o in run_labels(given, pool, tries=1, batch=4)}
    assert len(outcomes) == 9
    failed = [key for key, outcome in outcomes.items() if outcome.error is not None]
    assert failed == [geometry_key(System.from_atoms(killer))]
    costs = [outcome.cost.seconds for outcome in outcomes.values() if outcome.cost]
    assert len(set(costs)) < 8  # some were computed together


def test_a_point_whose_worker_was_killed_from_outside_is_tried_again(pool, tmp_path):
    killer = Atoms("He", [[0, 0, 0.5]])
    spec = spring(calls=str(tmp_path / "calls"), lives=1)
    ((_, outcome),) = run_labels(tasks([killer], spec), pool)
    assert outcome.error is None
    assert outcome.energy == 0.125


def test_a_pool_survives_the_death_of_an_idle_worker():
    with WorkerPool(1) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        found = None
        for _ in range(3):
            try:
                found = pool.submit(os.getpid).result()
                break
            except Exception:
                continue
        assert found is not None


ORPHANS = """
import os, sys
from tlpot.execution import WorkerPool

if __name__ == "__main__":
    pool = WorkerPool(1)
    print(pool.submit(os.getpid).result(), flush=True)
    sys.stdin.read()
"""


def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(ORPHANS)
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)  # it lives
        parent.kill()
        # the worker holds the other end of the pipe: this returns when it is gone
        assert parent.stdout.read() == ""


class Counting(Executor):
    """Counts what is in flight."""

    def __init__(self):
        self.inner, self.now, self.most = ThreadPoolExecutor(2), 0, 0

    def submit(self, fn, /, *args, **kwargs):
        self.now += 1
        self.most = max(self.most, self.now)
        future = self.inner.submit(fn, *args, **kwargs)
        future.add_done_callback(self._done)
        return future

    def _done(self, future):
        self.now -= 1

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.inner.shutdown(wait)


def test_the_window_in_flight_is_bounded():
    with Counting() as executor:
        assert len(list(run_labels(tasks(hydrogens(20), spring()), executor, in_flight=3))) == 20
        assert 1 <= executor.most <= 3


def test_stopping_finishes_what_runs_and_starts_nothing():
    done = []
    with ThreadPoolExecutor(1) as executor:
        for task, _ in run_labels(
            tasks(hydrogens(20), spring()), executor, in_flight=2, stop=lambda: len(done) >= 3
        ):
            done.append(task.geometry)
    assert 3 <= len(done) <= 5


class Closed(Executor):
    """Takes nothing."""

    def submit(self, fn, /, *args, **kwargs):
        raise RuntimeError("cannot schedule new futures after shutdown")


class Failing(Executor):
    """A worker that cannot make the engine."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def test_an_executor_that_is_gone_and_an_engine_that_is_missing_end_the_run():
    with pytest.raises(OutputError, match="takes no more tasks"):
        list(run_labels(tasks(hydrogens(2), spring()), Closed()))
    wrong = EngineSpec(name="ase:label_toys:Nothing", level="x")
    with pytest.raises(ConfigError, match="no class"):
        list(run_labels(tasks(hydrogens(2), wrong), Failing()))


def waters(n):
    rng = np.random.default_rng(0)
    found = [molecule("H2O") for _ in range(n)]
    for atoms in found:
        atoms.rattle(0.05, rng=rng)
    return found


def test_the_executor_does_not_change_the_labels(pool, tmp_path):
    needs("tblite")
    given = waters(6)
    one = label(given, "gfn2-xtb", tmp_path / "1.h5", show=False)
    two = label(
        given,
        "gfn2-xtb",
        tmp_path / "2.h5",
        executor=pool,
        settings=LabelSettings(threads=1),
        show=False,
    )
    assert one.n_labelled == two.n_labelled == 6
    from tlpot.data import open_dataset

    a, b = (open_dataset(tmp_path / name).read(range(6)) for name in ("1.h5", "2.h5"))
    for x, y in zip(a, b, strict=True):
        assert x.labels["gfn2-xtb"].energy == pytest.approx(y.labels["gfn2-xtb"].energy, abs=1e-9)


@pytest.mark.external
@pytest.mark.filterwarnings("ignore")
def test_labels_on_a_dask_cluster(tmp_path):
    needs("tblite")
    distributed = needs("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        report = label(
            waters(5),
            "gfn2-xtb",
            tmp_path / "x.h5",
            executor=executor,
            settings=LabelSettings(in_flight=3),
            show=False,
        )
    assert (report.n_labelled, report.failures) == (5, ())


@pytest.mark.external
@pytest.mark.filterwarnings("ignore")
def test_labels_on_parsl_workers(tmp_path):
    needs("tblite")
    parsl = needs("parsl.concurrent")
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    workers = HighThroughputExecutor(
        label="local",
        address="127.0.0.1",
        max_workers_per_node=2,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
        encrypted=False,
    )
    config = Config(executors=[workers], run_dir=str(tmp_path / "parsl"), initialize_logging=False)
    with parsl.ParslPoolExecutor(config=config) as executor:
        report = label(
            waters(5),
            "gfn2-xtb",
            tmp_path / "x.h5",
            executor=executor,
            settings=LabelSettings(in_flight=3),
            show=False,
        )
    assert (report.n_labelled, report.failures) == (5, ())
