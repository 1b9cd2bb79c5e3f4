"""Learning curves of a few seconds, on real labels."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from parents import IMPORTED
from shipped_levels import CC, DFT

from tlpot.errors import ConfigError, DataError
from tlpot.evaluation import predict
from tlpot.jobs import TrainingInterrupted, finetune, finetune_config
from tlpot.learning_curves import curve_config, curve_ensembles, curve_tasks, load_curve, run_curve
from tlpot.learning_curves import tasks as curve_point
from tlpot.learning_curves.joint_budget import measured_laws
from tlpot.learning_curves.tasks import subset_of, write_split
from tlpot.models import load, save

pytestmark = pytest.mark.train


def run(settings, **changes):
    return run_curve(curve_config({**settings, **changes}), device="cpu", show=False)


def keys(settings, **changes):
    plan = curve_tasks(curve_config({**settings, **changes}), device="cpu")
    return [task.key for series in plan.series for task in series.tasks]


def test_points_are_written_and_not_repeated(curve_settings, tmp_path, monkeypatch):
    curve = run(curve_settings)
    files = sorted((tmp_path / "curve" / "points").glob("*.json"))
    assert len(files) == 4
    assert curve.n_missing == 0
    assert {s.pretraining for s in curve.series} == {150}
    assert [s.label for s in curve.series] == ["shift", "full"]
    for series in curve.series:
        assert [m.sizes for m in series.measured("energy_mae")] == [(8,), (16,)]
    content = json.loads(files[0].read_text())
    for quantity in ("energy_mae", "energy_rmse"):
        assert content["start"][quantity] > 0
        assert content["end"][quantity] > 0
    assert content["identity"]["training"]["batch_size"] in (8, 16)
    assert not list((tmp_path / "curve").glob("models/*"))
    assert not list((tmp_path / "curve" / "runs").iterdir())

    monkeypatch.setattr(curve_point, "finetune", None)  # any further training would fail
    again = run(curve_settings)
    assert again == curve
    assert load_curve(tmp_path / "curve") == again


@pytest.mark.parametrize("parent", IMPORTED, indirect=True)
def test_a_curve_of_an_imported_parent(curve_settings):
    """What labels it was trained on is not known, so a plan has to be told that it is paid for."""
    strategies = ["shift", "lora", "frozen-ridge", "delta"]
    curve = run(curve_settings, strategies=strategies, sizes=[8])
    assert curve.n_missing == 0
    assert [s.label for s in curve.series] == strategies
    assert {s.pretraining for s in curve.series} == {None}
    assert all(s.points[0].end["energy_mae"] > 0 for s in curve.series)


def test_only_what_is_new_is_measured(curve_settings, monkeypatch):
    run(curve_settings)
    calls = []
    finetune = curve_point.finetune
    monkeypatch.setattr(
        curve_point, "finetune", lambda *a, **k: calls.append(a) or finetune(*a, **k)
    )
    curve = run(curve_settings, sizes=[8, 16, 24])
    assert len(calls) == 2
    assert len(curve.series[1].points) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"batch_size": 8, "ema": 0.6}},
        {"updates": 3},
        {"references": "parent"},
        {"split": {"by": "random", "test": ["methanol"], "validation": 5}},
        {"strategies": [{"name": "lora", "rank": 3, "label": "full"}]},
    ],
)
def test_other_settings_are_other_points(curve_settings, change):
    before = set(keys(curve_settings, strategies=["full"]))
    after = set(keys({**curve_settings, "strategies": ["full"], **change}))
    assert not before & after


@pytest.mark.parametrize(
    "change", [{"sizes": [8, 16, 20]}, {"seeds": 2}, {"keep_models": True}, {"licence": "CC0"}]
)
def test_what_a_point_does_not_depend_on_leaves_it_alone(curve_settings, change):
    assert set(keys(curve_settings)) <= set(keys(curve_settings, **change))


def test_a_strategy_is_known_by_its_settings_not_its_label(curve_settings):
    a = keys(curve_settings, strategies=[{"name": "lora", "rank": 4}])
    b = keys(curve_settings, strategies=[{"name": "lora", "rank": 4, "label": "x"}])
    c = keys(curve_settings, strategies=[{"name": "lora", "rank": 2}])
    assert a == b
    assert not set(a) & set(c)


@pytest.mark.parametrize("subsets", ["by_seed", "shared"])
def test_subsets_are_nested_and_the_other_frames_fixed(curve_settings, subsets):
    split = curve_tasks(curve_config(curve_settings), device="cpu").split
    drawn = {
        (n, s): subset_of(split, n, s, subsets) for n in (8, 16, 24) for s in (0, 1)
    }  # fmt: skip
    for seed in (0, 1):
        assert set(drawn[8, seed].train) < set(drawn[16, seed].train) < set(drawn[24, seed].train)
    assert np.array_equal(drawn[8, 0].train, drawn[8, 1].train) == (subsets == "shared")
    for part in drawn.values():
        assert np.array_equal(part.test, split.test)
        assert np.array_equal(part.validation, split.validation)


def test_updates_give_every_size_the_same_length(curve_settings):
    config = curve_config({**curve_settings, "strategies": ["full"], "updates": 12})
    (series,) = curve_tasks(config, device="cpu").series
    assert [t.settings["training"]["epochs"] for t in series.tasks] == [12, 6]
    assert [t.updates for t in series.tasks] == [12, 12]
    config = curve_config({**curve_settings, "strategies": ["full"], "updates": 1000})
    (series,) = curve_tasks(config, device="cpu").series
    assert [t.settings["training"]["validate_every"] for t in series.tasks] == [10, 5]


def test_other_data_does_not_lengthen_a_point(curve_settings, data_file):
    strategies = [
        {"name": "multihead", "levels": [DFT]},
        {"name": "replay", "files": [str(data_file)], "share": 0.25},
        "replay",
    ]
    config = curve_config({**curve_settings, "strategies": strategies, "updates": 12})
    series = curve_tasks(config, device="cpu").series
    epochs = [[t.settings["training"]["epochs"] for t in s.tasks] for s in series]
    assert epochs == [[6, 3], [3, 2], [12, 6]]
    assert [[t.updates for t in s.tasks] for s in series] == [[12, 12], [12, 16], [12, 12]]
    task = series[0].tasks[0]
    write_split(curve_tasks(config).split, task, config.subsets)
    config = finetune_config({**task.settings, "output": str(task.folder.parent / "m.safetensors")})
    assert finetune(config, device="cpu", show=False).training.history[-1]["step"] == 12


def test_a_failing_point_does_not_stop_the_others(curve_settings, monkeypatch):
    finetune = curve_point.finetune

    def broken(config, **kwargs):
        if "full 8" in config.name:
            raise DataError("made to fail")
        return finetune(config, **kwargs)

    monkeypatch.setattr(curve_point, "finetune", broken)
    curve = run(curve_settings)
    (failure,) = curve.failures
    assert (failure.label, failure.size, failure.seed) == ("full", 8, 0)
    assert failure.error == "DataError: made to fail"
    assert curve.n_missing == 1
    monkeypatch.undo()
    assert run(curve_settings).failures == ()


def test_an_interruption_keeps_what_is_done(curve_settings, tmp_path, monkeypatch):
    finetune = curve_point.finetune

    def interrupted(config, **kwargs):
        outcome = finetune(config, **kwargs)
        if "full 16" in config.name:
            raise TrainingInterrupted("resume it", outcome)
        return outcome

    monkeypatch.setattr(curve_point, "finetune", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(curve_settings)
    assert str(caught.value) == "", "the curve goes on by itself"
    curve = load_curve(tmp_path / "curve")
    assert curve.n_missing == 1
    assert list((tmp_path / "curve" / "runs").glob("*/model.run/checkpoint*"))
    resumed = []

    def watched(config, **kwargs):
        resumed.append(kwargs.get("resume"))
        return finetune(config, **kwargs)

    monkeypatch.setattr(curve_point, "finetune", watched)
    assert run(curve_settings).n_missing == 0
    assert resumed == [True]


def test_models_are_kept_on_request(curve_settings, tmp_path):
    curve = run(curve_settings, strategies=["full"], sizes=[8], keep_models=True)
    (path,) = (tmp_path / "curve" / "models").iterdir()
    model = load(path, device="cpu")
    assert model.card.metrics["test"][CC] == curve.series[0].points[0].end
    path.unlink()
    run(curve_settings, strategies=["full"], sizes=[8], keep_models=True)
    assert path.exists()


def test_an_executor_gives_the_same_results(curve_settings, tmp_path):
    serial = run(curve_settings)
    config = curve_config({**curve_settings, "output": str(tmp_path / "other")})
    with ThreadPoolExecutor(2) as pool:
        parallel = run_curve(config, executor=pool, in_flight=1, device="cpu", show=False)
    for a, b in zip(serial.series, parallel.series, strict=True):
        assert [(p.key, p.end) for p in a.points] == [(p.key, p.end) for p in b.points]


def test_several_parents_have_their_own_lines(curve_settings, parent, tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(parent.read_bytes())
    config = curve_config(
        {**curve_settings, "parents": [str(parent), str(other)], "strategies": ["scratch", "full"]}
    )
    plan = curve_tasks(config, device="cpu")
    assert [s.label for s in plan.series] == [
        "scratch", "full, parent #1 (150)", "full, parent #2 (150)",
    ]  # fmt: skip


def test_parents_of_three_sizes_meet_in_one_joint_law(curve_settings, parent, tmp_path):
    """The cards are doctored: what is tested is that the numbers arrive, not a law."""
    potential = load(parent, device="cpu")
    paths = []
    for n in (50, 150, 450):
        card = replace(potential.card, name=f"P{n}", dataset={"split": {"train": n}})
        potential.card = card
        paths.append(tmp_path / f"{n}.safetensors")
        save(potential, paths[-1])
    curve = run(
        curve_settings, parents=[str(p) for p in paths], strategies=["shift"], sizes=[8, 16, 24]
    )
    assert [(s.label, s.pretraining) for s in curve.series] == [
        ("shift, P50 (50)", 50), ("shift, P150 (150)", 150), ("shift, P450 (450)", 450),
    ]  # fmt: skip
    laws, left_out = measured_laws(curve, "energy_mae")
    assert [law.label for law in laws] + list(left_out) == ["shift"]
    assert "three or more sizes" not in left_out.get("shift", "")


def test_a_damaged_point_is_not_taken_for_a_result(curve_settings, tmp_path):
    run(curve_settings)
    path = next((tmp_path / "curve" / "points").iterdir())
    path.write_text("{")
    with pytest.raises(DataError, match="delete it"):
        run(curve_settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": [100000]}, "size 100000 is more than the"),
        ({"sizes": []}, "sizes is empty"),
        ({"sizes": [8, 8]}, "sizes names 8 twice"),
        ({"sizes": [0]}, "must be positive"),
        ({"strategies": ["fulll"]}, "did you mean 'full'"),
        ({"strategies": [{"rank": 4}]}, "has no name"),
        ({"strategies": [{"name": "lora", "rnk": 4}]}, "did you mean 'rank'"),
        ({"strategies": [{"name": "lora", "label": "full"}, "full"]}, "two strategies are called"),
        ({"strategies": [{"name": "shift", "training": {"ema": 0.5}}]}, "trains nothing"),
        ({"training": {"epochs": 3}}, r"training\.epochs does not apply when updates"),
        ({"training": {"max_atoms": 30}}, r"training\.max_atoms does not apply"),
        ({"training": {"seed": 3}}, r"training\.seed does not apply"),
        ({"training": {"ema": 2}}, "expected 0 <= ema"),
        ({"training": {"emma": 0.5}}, "did you mean 'ema'"),
        ({"split": {"by": "random", "train": 5}}, r"split\.train does not apply"),
        ({"split": {"by": "random", "test": 0}}, "no test frames"),
        ({"split": {"by": "random", "validation": 0}}, "no validation frames"),
        ({"updates": 0}, "expected 1 or more"),
        ({"parents": ["nowhere"]}, "no file 'nowhere'"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(curve_settings, tmp_path, change, message):
    with pytest.raises((ConfigError, DataError, ValueError), match=message):
        run(curve_settings, **change)
    assert not (tmp_path / "curve" / "points").exists()


def test_a_folder_without_a_curve_is_named(tmp_path):
    with pytest.raises(DataError, match=r"has no curve\.json"):
        load_curve(tmp_path)


def test_the_closed_form_has_a_curve_without_training_settings(curve_settings):
    curve = run(
        curve_settings, sizes=[1, 2, 8, 16],
        strategies=["shift", {"name": "frozen-ridge", "strength": 1.0}, "frozen-ridge"],
    )  # fmt: skip
    assert [s.label for s in curve.series] == ["shift", "frozen-ridge strength=1.0", "frozen-ridge"]
    shift, given, ridge = (s.measured("energy_mae") for s in curve.series)
    assert [m.sizes for m in given] == [(1,), (2,), (8,), (16,)]
    # with one frame there is nothing to choose the strength by
    assert [m.sizes for m in ridge] == [(2,), (8,), (16,)]
    (failure,) = curve.failures
    assert "strategy.strength" in failure.error
    assert ridge[-1].errors[0] != shift[-1].errors[0]
    idle = {"name": "frozen-ridge", "training": {"batch_size": 4}}
    with pytest.raises(ConfigError, match="trains nothing"):
        run(curve_settings, strategies=[idle])


def test_the_models_of_all_seeds_form_ensembles(curve_settings, tmp_path):
    changes = {
        "strategies": ["scratch", "shift"],
        "sizes": [8],
        "seeds": 3,
        "keep_models": True,
    }
    curve = run(curve_settings, **changes)
    config = curve_config({**curve_settings, **changes})
    found = curve_ensembles(config, device="cpu")
    assert list(found.left_out) == ["shift"], found.left_out
    (row,) = found.rows
    assert (row.label, row.size, row.n_members, row.kind) == ("scratch", 8, 3, "energy")
    ends = [p.end["energy_mae"] for p in curve.series[0].points]
    assert row.single == pytest.approx(np.exp(np.mean(np.log(ends))))
    assert row.joined <= row.single
    # mean and spread of the members, frame by frame
    dataset = config.data.open()
    test = curve_tasks(config, device="cpu").split.test
    models = [
        load(path, device="cpu") for path in sorted((tmp_path / "curve/models").glob("scratch*"))
    ]
    each = [predict(m.at(CC), dataset, test, CC).energy for m in models]
    energies = np.stack([e[:, 1] for e in each])
    assert row.joined == pytest.approx(1e3 * np.abs(energies.mean(0) - each[0][:, 0]).mean())
    assert row.std == pytest.approx(1e3 * energies.std(0, ddof=1).mean())
    # E0 alone differ, which are no weights
    assert "have the same weights" in found.left_out["shift"]
    assert "none: " in found.text()
    found.save(tmp_path)
    assert json.loads((tmp_path / "ensembles.json").read_text())["rows"][0]["size"] == 8
    for change, message in (({"keep_models": False}, "--keep-models"), ({"seeds": 1}, "--seeds")):
        with pytest.raises(ConfigError, match=message):
            curve_ensembles(curve_config({**curve_settings, **changes, **change}))
