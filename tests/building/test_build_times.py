"""What a build books as the time of a stage: all attempts, and no label twice."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tlpot.building import Record, runner
from tlpot.building import stage as stage_module
from tlpot.building.outcome import _costs
from tlpot.building.stage import Origin, Stage, StageContext, StageResult, read_record


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes when it is told to."""
    found = SimpleNamespace(now=0.0)
    found.perf_counter = lambda: found.now
    monkeypatch.setattr(runner, "time", found)
    monkeypatch.setattr(stage_module, "time", found)
    return found


def made_stage(clock, plan):
    """Takes the times of a plan, (labels, others, error), one attempt after the other."""

    def run(work):
        labels, others, error = plan.pop(0)
        with work.labelling():
            clock.now += labels
        clock.now += others
        if error is not None:
            raise error
        return StageResult(outputs=())

    return Stage(name="assemble", summary="", settings={}, needs=(), run=run)


def test_time_of_a_stage_is_that_of_all_its_attempts(clock, tmp_path):
    plan = [(5.0, 85.0, KeyboardInterrupt()), (1.0, 2.0, ValueError("x")), (3.0, 4.0, None)]
    stage = made_stage(clock, plan)
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error):
            runner.run_stages([stage], tmp_path)
    record = runner.run_stages([stage], tmp_path)["assemble"]
    assert (record.seconds, record.label_seconds) == (100.0, 9.0)
    assert read_record(tmp_path / "assemble") == record


def test_a_stage_that_is_done_again_starts_from_zero(clock, tmp_path):
    stage = made_stage(clock, [(0.0, 50.0, KeyboardInterrupt()), (0.0, 7.0, None)])
    with pytest.raises(KeyboardInterrupt):
        runner.run_stages([stage], tmp_path)
    changed = Stage(name=stage.name, summary="", settings={"a": 1}, needs=(), run=stage.run)
    assert runner.run_stages([changed], tmp_path)["assemble"].seconds == 7.0


def test_labels_of_the_error_budget_count_once_and_wall_time_is_called_that():
    origin = Origin(settings={}, inputs={})
    records = {
        name: Record(origin=origin, outputs={}, facts={}, seconds=100.0, label_seconds=labels)
        for name, labels in {"sample": 0.0, "pretrain": 0.0, "assemble": 60.0}.items()
    }
    work = StageContext(root=Path("out"), folder=Path("out/report"), records=records)
    rows = {row.what: row.total_seconds for row in _costs(work, [], [])}
    assert rows == {"sample, wall time": 100.0, "pretrain": 100.0, "assemble": 40.0}
