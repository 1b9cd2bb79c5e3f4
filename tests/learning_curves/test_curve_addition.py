"""A curve is added to: what was measured before stays, and what cannot be compared is refused."""

import shutil
from dataclasses import replace

import pytest
import yaml

from tlpot.errors import ConfigError, DataError
from tlpot.learning_curves import curve_config, curve_tasks, load_curve, run_curve
from tlpot.learning_curves import tasks as curve_point
from tlpot.models import load, save

pytestmark = pytest.mark.train


def run(settings, *, overwrite=False, **changes):
    config = curve_config({**settings, **changes})
    return run_curve(config, device="cpu", show=False, overwrite=overwrite)


def measured(curve):
    return {s.label: sorted((p.size, p.seed) for p in s.points) for s in curve.series}


def test_other_strategies_sizes_and_seeds_are_added(curve_settings, tmp_path, monkeypatch):
    first = run(curve_settings)
    calls = []
    finetune = curve_point.finetune

    def counted(config, **options):
        calls.append(config.name)
        return finetune(config, **options)

    monkeypatch.setattr(curve_point, "finetune", counted)
    added = run(curve_settings, strategies=["head", "shift"], sizes=[24, 8], seeds=2)
    # just what was asked for, not every strategy with every size
    assert sorted(calls) == sorted(
        [f"head {n} {k}" for n in (8, 24) for k in (0, 1)]
        + ["shift 24 0", "shift 24 1", "shift 8 1"]
    )
    assert measured(added) == {
        "shift": [(8, 0), (8, 1), (16, 0), (24, 0), (24, 1)],
        "full": [(8, 0), (16, 0)],
        "head": [(8, 0), (8, 1), (24, 0), (24, 1)],
    }
    assert added.n_missing == 0
    assert load_curve(tmp_path / "curve") == added
    before = {p.key: p.end for s in first.series for p in s.points}
    after = {p.key: p.end for s in added.series for p in s.points}
    assert before.items() <= after.items()
    # the configuration is that of all, and its points are there
    settings = yaml.safe_load((tmp_path / "curve" / "config.yaml").read_text())
    assert [settings[k] for k in ("strategies", "sizes", "seeds")] == [
        ["shift", "full", "head"], [8, 16, 24], 2,
    ]  # fmt: skip
    assert added.config["strategies"] == ["shift", "full", "head"]
    assert curve_tasks(curve_config(settings), device="cpu").series[1].tasks[0].file.exists()


def test_an_addition_that_keeps_models_leaves_the_earlier_points(curve_settings):
    run(curve_settings, strategies=["shift"])
    added = run(curve_settings, strategies=["head"], sizes=[8], keep_models=True)
    assert measured(added) == {"shift": [(8, 0), (16, 0)], "head": [(8, 0)]}


def test_an_addition_that_is_interrupted_leaves_the_earlier_points(
    curve_settings, tmp_path, monkeypatch
):
    run(curve_settings, strategies=["shift"])

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(curve_point, "finetune", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(curve_settings, strategies=["full"])
    assert measured(load_curve(tmp_path / "curve")) == {"shift": [(8, 0), (16, 0)], "full": []}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"split": {"by": "random", "test": ["methanol"], "validation": 5}},
            "split.validation was 4.0, is 5.0",
        ),
        ({"training": {"batch_size": 4, "ema": 0.5}}, "training.batch_size was 8, is 4"),
        ({"updates": 3}, "updates was 2, is 3"),
        ({"references": "parent"}, "references was"),
        ({"sizes": [8], "strategies": [{"name": "lora", "label": "full"}]}, "strategy.name was"),
    ],
)
def test_what_cannot_be_compared_is_refused(curve_settings, tmp_path, change, named):
    run(curve_settings, strategies=["full"], sizes=[8])
    before = (tmp_path / "curve" / "curve.json").read_bytes()
    with pytest.raises(ConfigError) as caught:
        run(curve_settings, **{"strategies": ["head"], **change})
    assert f"a curve of something else: {named}" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert (tmp_path / "curve" / "curve.json").read_bytes() == before
    anew = run(curve_settings, overwrite=True, **{"strategies": ["shift"], **change})
    assert "head" not in measured(anew)
    assert len(list((tmp_path / "curve" / "points").iterdir())) > len(anew.series[0].points)


def test_what_a_killed_run_measured_is_in_the_curve(curve_settings, tmp_path):
    curve = run(curve_settings, strategies=["shift"])
    empty = tuple(replace(series, points=()) for series in curve.series)
    replace(curve, series=empty).save(tmp_path / "curve")  # as it was when the run began
    added = run(curve_settings, strategies=["head"], sizes=[8])
    assert measured(added) == {"shift": [(8, 0), (16, 0)], "head": [(8, 0)]}


def test_a_parent_that_changed_is_refused_and_another_added(curve_settings, parent, tmp_path):
    path = tmp_path / "p.safetensors"
    shutil.copy(parent, path)
    run(curve_settings, parents=[str(path)], strategies=["scratch", "shift"], sizes=[8])
    potential = load(parent, device="cpu")
    with_other_weights = next(iter(potential.parameters()))
    with_other_weights.data += 0.01
    other = tmp_path / "other.safetensors"
    save(potential, other)
    both = run(curve_settings, parents=[str(other)], strategies=["scratch", "shift"], sizes=[8])
    assert [len(s.points) for s in both.series] == [1, 1, 1]
    assert [s.strategy["name"] for s in both.series] == ["scratch", "shift", "shift"]
    save(potential, path)
    with pytest.raises(ConfigError, match="parent was"):
        run(curve_settings, parents=[str(path)], strategies=["head"], sizes=[8])


def test_a_deleted_point_is_not_in_the_curve_and_a_damaged_record_is_named(
    curve_settings, tmp_path
):
    run(curve_settings, strategies=["shift"])
    folder = tmp_path / "curve"
    next(iter((folder / "points").iterdir())).unlink()
    added = run(curve_settings, strategies=["head"], sizes=[8])
    assert len(measured(added)["shift"]) == 1
    (folder / "curve.json").write_text("{")
    with pytest.raises(DataError, match="--overwrite"):
        run(curve_settings, strategies=["head"], sizes=[8])
