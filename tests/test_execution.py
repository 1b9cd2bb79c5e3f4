"""The one loop over tasks, whatever runs them."""

from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor

import pytest

from tlpot.errors import ConfigError, DataError, OutputError
from tlpot.execution import WorkerPool, run_tasks
from tlpot.learning_curves.record import Failure


def double(k):
    if k == 3:
        raise DataError("three")
    return 2 * k


class OddError(Exception):
    """One whose pickle cannot be read."""

    def __init__(self, code, text):
        super().__init__(f"{text} ({code})")


def fail(k):
    try:
        raise FileNotFoundError(k, "gone") if k else OddError(k, "odd")
    except OSError as error:
        raise DataError("no labels") from error


@pytest.mark.fault
def test_what_caused_a_failure_comes_back_from_a_worker():
    """Causes were lost, and an error that cannot be unpickled broke the pool."""
    with WorkerPool(1) as pool:
        found = dict(run_tasks(fail, [2, 0], pool))
    assert isinstance(found[2], DataError)
    assert type(found[2].__cause__) is FileNotFoundError
    assert "in fail" in str(found[2].__cause__.__cause__)  # the worker's own traceback
    assert not Failure.of("a", 1, 0, found[2]).recurs  # as in one process: the file may return
    assert str(found[0]) == "OddError: odd (0)"


class Dying(Executor):
    """A worker that dies at task 1, `lives` times; it notes how many tasks it has at a time."""

    def __init__(self, lives):
        self.lives, self.asked = lives, []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.asked.append(args[0])
        if args[0] == 1 and self.lives:
            self.lives -= 1
            future.set_exception(BrokenExecutor("killed"))
        else:
            future.set_result(fn(*args))
        return future


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("in_flight", [None, 1])
def test_all_tasks_come_and_a_failure_harms_none(workers, in_flight):
    executor = ThreadPoolExecutor(workers) if workers else None
    found = dict(run_tasks(double, range(6), executor, in_flight=in_flight))
    assert isinstance(found.pop(3), DataError)
    assert found == {k: 2 * k for k in (0, 1, 2, 4, 5)}


def test_a_task_that_kills_workers_is_tried_as_often_as_is_said():
    for lives, ok in ((2, True), (3, False)):
        executor = Dying(lives)
        found = dict(run_tasks(double, [0, 1, 2], executor, in_flight=2, tries=3))
        assert executor.asked.count(1) == 3
        assert isinstance(found[1], BrokenExecutor) != ok
        assert (found[0], found[2]) == (0, 4)


def test_nothing_is_started_after_a_stop():
    done = []
    for task, _ in run_tasks(double, range(9), stop=lambda: len(done) == 2):
        done.append(task)
    assert done == [0, 1]


def test_an_executor_that_is_shut_down_is_said_for_each_task():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    found = [result for _, result in run_tasks(double, range(2), executor)]
    assert [type(each) for each in found] == [OutputError, OutputError]


def test_senseless_numbers_are_refused():
    for given in ({"in_flight": 0}, {"tries": 0}):
        with pytest.raises(ConfigError, match="expected 1 or more"):
            list(run_tasks(double, [1], **given))
