"""`tlpot curve`, and the executors that it offers."""

import json
import os
import sys

import pytest
import yaml
from needs import needs

from tlpot.cli import main
from tlpot.errors import ConfigError, MissingExtraError
from tlpot.execution import workers
from tlpot.models import LIBRARY

pytestmark = pytest.mark.train

DATA = str(LIBRARY / "tlpot-qm.h5")
CC = "ccsd(t)/cbs(dt)"
SHORT = [
    "split.by=random", "split.test=[methanol]", "split.validation=4", "training.batch_size=8",
]  # fmt: skip


def command(folder, *options, strategies=("shift",), sizes=("8", "16", "24")):
    return main(
        ["curve", "tlpot-tiny", DATA, *SHORT, "--level", CC, "--strategies", *strategies,
         "--sizes", *sizes, "--seeds", "1", "-o", str(folder), *options]
    )  # fmt: skip


def test_the_command_writes_tables_and_a_picture(tmp_path, capsys):
    folder = tmp_path / "c"
    assert command(folder, "--dry-run") == 0
    assert capsys.readouterr().out == "shift: 3 points, 0 there, 3 updates\n"
    assert not folder.exists()
    assert command(folder) == 0
    output = capsys.readouterr().out
    assert "energy MAE in meV at ccsd(t)/cbs(dt)" in output
    for name in ("curve.json", "curve.png", "laws.json", "report.txt", "config.yaml"):
        assert (folder / name).exists(), name
    times = {path: path.stat().st_mtime_ns for path in (folder / "points").iterdir()}
    assert command(folder) == 0
    assert times == {path: path.stat().st_mtime_ns for path in (folder / "points").iterdir()}


def test_the_report_covers_what_other_commands_measured(tmp_path, capsys):
    folder = tmp_path / "c"
    assert command(folder) == 0
    assert command(folder, strategies=("frozen-ridge",), sizes=("8", "16")) == 0
    report = (folder / "report.txt").read_text()
    assert "shift" in report
    assert "frozen-ridge" in report
    capsys.readouterr()
    assert command(folder, "split.validation=5") == 2
    assert "split.validation was 4.0, is 5.0" in capsys.readouterr().err
    assert (folder / "report.txt").read_text() == report
    assert command(folder, "split.validation=5", "--overwrite", sizes=("8", "16")) == 0
    assert "frozen-ridge" not in (folder / "report.txt").read_text()


def test_a_file_of_settings_says_the_same(tmp_path, capsys):
    assert command(tmp_path / "c") == 0
    path = tmp_path / "curve.yaml"
    split = {"by": "random", "test": ["methanol"], "validation": 4}
    settings = {
        "parents": "tlpot-tiny", "data": {"files": [DATA], "level": CC}, "level": CC,
        "strategies": ["shift"], "sizes": [8, 16, 24, 32], "seeds": 1, "split": split,
        "output": str(tmp_path / "c"),
    }  # fmt: skip
    path.write_text(yaml.safe_dump(settings))
    capsys.readouterr()
    assert main(["curve", str(path), "sizes=[8, 16, 24, 40]", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("shift: 4 points, 3 there")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainin": {}}, "unknown key 'trainin'; did you mean 'training'"),
        ({"strategies": ["fulll"]}, "unknown strategy 'fulll'; did you mean 'full'"),
        ({"split": {"bye": "random"}}, "split: unknown key 'bye'"),
    ],
)
def test_a_typo_in_the_file_of_settings_names_the_file(tmp_path, capsys, change, message):
    path = tmp_path / "curve.yaml"
    settings = {
        "parents": "tlpot-tiny", "data": {"files": [DATA]}, "level": CC, "sizes": [8],
        "strategies": ["shift"], "output": str(tmp_path / "c"), **change,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(settings))
    assert main(["curve", str(path)]) == 2
    assert f"{path}: {message}" in capsys.readouterr().err


def test_the_resolved_settings_can_be_given_back(tmp_path, capsys):
    assert command(tmp_path / "c") == 0
    capsys.readouterr()
    assert main(["curve", str(tmp_path / "c" / "config.yaml"), "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("shift: 3 points, 3 there")


def test_a_failure_is_reported_at_the_end(tmp_path, capsys, monkeypatch):
    from tlpot.learning_curves import tasks as curve_point

    finetune = curve_point.finetune

    def broken(config, **kwargs):
        if config.name == "shift 16 0":
            raise ValueError("made to fail")
        return finetune(config, **kwargs)

    monkeypatch.setattr(curve_point, "finetune", broken)
    assert command(tmp_path / "c") == 2
    captured = capsys.readouterr()
    assert "ValueError: made to fail" in captured.out
    assert "1 point failed" in captured.err
    assert "energy MAE" in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["curve", "tlpot-tiny"], "expected CONFIG.yaml, or PARENT and DATA"),
        (["curve", "tlpot-tiny", DATA, "--sizes", "8"], "is required"),
        (
            ["curve", "tlpot-tiny", DATA, "--strategies", "full", "training.ema=0.5"],
            "put key=value settings before the options",
        ),
    ],
)
def test_mistakes_on_the_command_line(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def environment(name):
    return os.environ.get(name)


def threads(_):
    import torch

    return torch.get_num_threads()


def test_no_executor_for_one_worker():
    with workers(1, None, alone=True) as (executor, _):
        assert executor is None
    with pytest.raises(ConfigError, match="workers is 0"), workers(0, None):
        pass


def test_processes_have_one_thread_that_does_not_spin():
    with workers(2, None) as (executor, _):
        assert executor.submit(threads, None).result() == 1
        assert executor.submit(environment, "OMP_WAIT_POLICY").result() == "PASSIVE"


@pytest.mark.external
def test_processes_measure_a_curve(tmp_path):
    assert command(tmp_path / "c", "--workers", "2", sizes=("8", "16")) == 0
    assert len(list((tmp_path / "c" / "points").iterdir())) == 2


def test_a_dask_cluster_measures_a_curve(tmp_path):
    needs("distributed")
    assert command(tmp_path / "c", "--dask", "local", "--workers", "1", sizes=("8", "16")) == 0
    content = json.loads((tmp_path / "c" / "curve.json").read_text())
    assert content["n_missing"] == 0
    assert len(content["series"][0]["points"]) == 2


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"tlpot\[dask\]"), workers(1, "local"):
        pass


def test_ensembles_want_the_models(tmp_path, capsys):
    assert command(tmp_path / "c", "--ensembles") == 2
    assert "add --keep-models" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
