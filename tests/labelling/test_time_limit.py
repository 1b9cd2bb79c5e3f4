"""A label that takes too long has failed; the others go on."""

import signal
import sys
import threading
import time

import numpy as np
import pytest
from ase import Atoms

import tlpot
from tlpot.cli.main import main
from tlpot.errors import ConfigError
from tlpot.files import write_text
from tlpot.labelling.task import OutOfTimeError, time_limit

LONG = 60.0
"""s, much more than any limit here."""


def frames():
    return [Atoms("H2", [[0, 0, 0], [0, 0, d]]) for d in (0.7, 0.8)]


@pytest.mark.parametrize(
    ("python", "timeout"), [("", 0.5), (f"env:{sys.executable} ", 8.0)], ids=["here", "elsewhere"]
)  # another Python has to start first
def test_what_takes_too_long_has_failed(tmp_path, python, timeout, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    engine = f"{python}ase:label_toys:Slow(symbol=Ne, delay={LONG})"
    first, last = frames()
    given = [first, Atoms("Ne2", [[0, 0, 0], [0, 0, 1.5]]), last]
    report = tlpot.label(
        given, engine, tmp_path / "x.h5", level="toy", timeout=timeout, progress=False
    )
    assert report.n_labelled == 2
    (failed,) = report.failures
    assert f"took longer than {timeout:g} s" in failed.outcome.error
    # the label after it is its own
    found = tlpot.open_dataset(tmp_path / "x.h5")
    for frame in found:
        if "toy" in frame.labels:
            expected = 0.5 * np.sum(frame.system.positions**2)
            assert frame.labels["toy"].energy == pytest.approx(expected)


def test_in_worker_processes(tmp_path):
    write_text(tmp_path / "x.xyz", "2\n\nNe 0 0 0\nNe 0 0 1.5\n2\n\nH 0 0 0\nH 0 0 0.7\n")
    words = ["label", str(tmp_path / "x.xyz"), "--level", "toy", "--timeout", "0.5"]
    words += ["--engine", f"ase:label_toys:Slow(symbol=Ne, delay={LONG})", "--workers", "2"]
    assert main([*words, "-o", str(tmp_path / "x.h5")]) == 0
    assert "took longer than 0.5 s" in (tmp_path / "x.h5.failures.txt").read_text()


def test_a_program_that_swallows_the_exception_gets_another():
    swallowed = []

    def program():
        try:
            time.sleep(LONG)
        except OutOfTimeError as error:
            swallowed.append(error)
        time.sleep(LONG)

    with pytest.raises(OutOfTimeError), time_limit(0.05):
        program()
    assert len(swallowed) == 1


def test_handlers_and_timers_are_put_back():
    before = signal.getsignal(signal.SIGALRM)
    with time_limit(LONG):
        assert signal.getsignal(signal.SIGALRM) is not before
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_where_there_can_be_none_it_is_refused(tmp_path):
    for timeout in (0, -1.0):
        with pytest.raises(ConfigError, match="timeout"):
            tlpot.label(frames(), "gfn2-xtb", tmp_path / "x.h5", timeout=timeout)
    with pytest.raises(ConfigError, match="Dask"):
        tlpot.label(frames(), "gfn2-xtb", tmp_path / "x.h5", timeout=1.0, dask="local")
    caught = []

    def elsewhere():
        try:
            with time_limit(1.0):
                pass
        except ConfigError as error:
            caught.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "main thread" in caught[0]
    assert not list(tmp_path.iterdir())
