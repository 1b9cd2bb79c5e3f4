"""Progress in a log file: whole lines, few of them."""

import io
import types

import pytest

from tlpot.cli import main


@pytest.mark.fault
def test_no_bar_is_drawn_into_a_file(tmp_path, capsys):
    command = ["md", "H2O", "tlpot-tiny", "--steps", "30", "--out", str(tmp_path / "x")]
    assert main(command) == 0
    error = capsys.readouterr().err
    assert "\r" not in error
    (line,) = error.splitlines()
    assert "30/30" in line


@pytest.fixture
def clock(monkeypatch):
    seconds = [0.0]
    clock = types.SimpleNamespace(monotonic=lambda: seconds[0])
    monkeypatch.setattr("tlpot.presentation.progress.time", clock)
    return seconds


@pytest.mark.fault
def test_a_long_job_tells_its_rate_after_half_a_minute(clock):
    from tlpot.presentation import progress_bar

    log = io.StringIO()
    with progress_bar(total=100_000, file=log, unit="step", desc="md") as bar:
        for _ in range(60):
            clock[0] += 1.0
            bar.n += 1
            bar.refresh()
        assert len(log.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    ("total", "step", "expected"),
    [
        (1000, 1.0, 10),  # a job of a quarter of an hour: a line after each tenth, and the last
        (20, 0.1, 1),  # two seconds
        (2000, 60.0, 200),  # a day and a half: a line in ten minutes
    ],
)
def test_lines_come_now_and_then(clock, total, step, expected):
    from tlpot.presentation import progress_bar

    log = io.StringIO()
    with progress_bar(total=total, file=log, unit="step", desc="md") as bar:
        for _ in range(total):
            clock[0] += step
            bar.n += 1
            bar.refresh()
    lines = log.getvalue().splitlines()
    assert expected <= len(lines) <= expected + 1
    assert f"{total}/{total}" in lines[-1]


def test_a_terminal_has_a_bar_and_a_hidden_one_stays_so():
    from tlpot.presentation import progress_bar

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for file, options in ((Terminal(), {}), (io.StringIO(), {"disable": True})):
        for _ in progress_bar(range(3), file=file, **options):
            pass
        assert ("\r" in file.getvalue()) == (not options)


@pytest.mark.fault
def test_a_line_has_one_colon(clock):
    """The lines of a learning curve began with "18 of 18 points: : 100%"."""
    from tlpot.presentation import progress_bar

    log = io.StringIO()
    with progress_bar(total=2, file=log, desc="points") as bar:
        bar.set_description("1 of 2 points")
        bar.update(2)
    assert "1 of 2 points: 100%" in log.getvalue()
