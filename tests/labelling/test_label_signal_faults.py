"""Labels under SIGTERM: the run ends, keeps what is done, blames nothing, and goes on later."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import wait
from pathlib import Path

import pytest
from ase import Atoms

from tlpot.data import open_dataset
from tlpot.engines import EngineSpec
from tlpot.execution import WorkerPool
from tlpot.labelling import LabelSettings, LabelTask, label, run_labels
from tlpot.labelling.task import geometry_key
from tlpot.system import System

SPRING = "ase:label_toys:Spring"
HERE = Path(__file__).parent.parent


def task(atoms, calls):
    system = System.from_atoms(atoms)
    spec = EngineSpec(name=SPRING, level="spring", settings={"calls": str(calls)})
    return LabelTask(
        geometry=geometry_key(system), system=system, engine=spec, forces=True, threads=None
    )


@pytest.mark.parametrize("tries", [pytest.param(1, marks=pytest.mark.fault), 3])
def test_workers_that_die_with_the_run_are_no_failures(tmp_path, tries):
    # helium kills its worker, as SIGTERM to the whole group does, after the stop was asked for
    calls = tmp_path / "calls"
    given = [task(Atoms("He"), calls), task(Atoms("H2", [[0, 0, 0], [0, 0, 0.7]]), calls)]
    with WorkerPool(1) as pool:
        found = list(run_labels(given, pool, in_flight=1, tries=tries, stop=calls.exists))
    assert found == []
    assert calls.read_text().split()[0] == "He"
    assert "H2" not in calls.read_text()


def test_a_pool_starts_nothing_after_a_stop(tmp_path):
    calls = tmp_path / "calls"
    given = [task(Atoms("He"), calls), task(Atoms("H2", [[0, 0, 0], [0, 0, 0.7]]), calls)]
    with WorkerPool(1, stop=calls.exists) as pool:
        found = list(run_labels(given, pool, in_flight=2, stop=calls.exists))
    assert found == []
    assert "H2" not in calls.read_text()


def test_a_pool_that_is_stopped_leaves_nobody_waiting():
    with WorkerPool(1, stop=lambda: True) as pool:
        done, _ = wait([pool.submit(os.getpid) for _ in range(3)], timeout=60)
    assert len(done) == 3
    assert all(future.cancelled() for future in done)


@pytest.mark.fault
def test_a_worker_that_cannot_be_started_fails_its_call(monkeypatch):
    import tlpot.execution as module

    class Unable(module.ProcessPoolExecutor):
        def submit(self, *arguments, **keywords):
            raise BrokenPipeError("the process died while it was started")

    monkeypatch.setattr(module, "ProcessPoolExecutor", Unable)
    with WorkerPool(1) as pool:
        try:
            future = pool.submit(os.getpid)
        except BrokenPipeError:
            pytest.fail("the caller cannot go on")
        done, _ = wait([future], timeout=60)
        assert done
        assert isinstance(future.exception(), BrokenPipeError)


COMMAND = """
import sys
from tlpot.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("whole_group", [pytest.param(True, marks=pytest.mark.fault), False])
def test_a_command_that_is_ended_keeps_what_is_done_and_goes_on(tmp_path, whole_group):
    from ase.io import write

    frames = [Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.01 * k]]) for k in range(40)]
    write(tmp_path / "a.xyz", frames)
    (tmp_path / "run.py").write_text(COMMAND)
    calls, out = tmp_path / "calls", tmp_path / "b.h5"
    words = [sys.executable, "run.py", "label", "a.xyz", "--engine", SPRING, "--level", "spring",
             "-o", str(out), "--workers", "2", "--tries", "1", f"calls={calls}",
             "delay=0.3"]  # fmt: skip
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and (
        not calls.exists() or len(calls.read_text().splitlines()) < 4
    ):
        time.sleep(0.01)  # the workers need the cores
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "failed" not in errors.replace("0 failed", "")
    kept = open_dataset(out).labelled("spring").sum()
    assert 1 <= kept < 40
    spec = EngineSpec(name=SPRING, level="spring", settings={"calls": str(calls), "delay": 0.3})
    assert (
        label(tmp_path / "a.xyz", spec, out, settings=LabelSettings(limit=1), show=False).n_known
        == kept
    )
