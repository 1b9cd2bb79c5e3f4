"""A split made in Python is passed on to every job that takes one, as its file is."""

import json

import numpy as np
import pytest
import yaml
from rattled import rattled

import tlpot
from tlpot.data import Split, load_split, open_dataset
from tlpot.errors import ConfigError, DataError

QUIET = {"progress": False}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "a.h5"
    tlpot.convert_dataset(rattled(), path, level="a/b", **QUIET)
    return path


@pytest.fixture(scope="module")
def other_labels(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "b.h5"
    tlpot.convert_dataset(rattled(shift=1.0), path, level="c", **QUIET)
    return path


@pytest.fixture(scope="module")
def divided(file):
    return tlpot.split_dataset(file, by="random", validation=5, test=4, seed=3, **QUIET)


def by_hand(file):
    return Split(
        train=list(range(10, 24)), validation=[9, 8, 7, 6, 5], test=[0, 1, 2, 3, 4],
        by="hand", seed=0, content_hash=open_dataset(file).content_hash,
    )  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("how", ["result", "split", "section"])
def test_a_training_takes_a_split(file, divided, how, tmp_path):
    """It was "unknown key 'content_hash'", whether the result or its split was given."""
    given = {"result": divided, "split": divided.split, "section": {"file": divided, "train": 6}}
    found = tlpot.finetune(
        "tlpot-tiny", file, strategy="shift", output=tmp_path / "m.safetensors", split=given[how],
        report={"enabled": False}, **QUIET,
    )  # fmt: skip
    np.testing.assert_array_equal(np.sort(found.predictions.indices), divided.split.test)
    stored = load_split(tmp_path / "m.run" / "split.json", open_dataset(file))
    np.testing.assert_array_equal(stored.validation, divided.split.validation)
    assert len(stored.train) == (6 if how == "section" else 15)
    # the settings of the run say what was done
    recipe = yaml.safe_load((tmp_path / "m.run" / "config.yaml").read_text())
    assert recipe["split"]["file"] == str(tmp_path / "m.run" / "split.json")
    assert found.potential.card.dataset["split"]["by"] == "random"


@pytest.mark.fault
def test_one_of_ones_own_making(file, tmp_path):
    """There was no way but to write the file of a split by hand."""
    found = tlpot.train(
        file, preset="tiny", epochs=1, output=tmp_path / "m.safetensors", split=by_hand(file),
        dry_run=True, **QUIET,
    )  # fmt: skip
    assert "train 14 frames" in found.preflight
    assert "validation 5 frames" in found.preflight
    assert "test 5 frames" in found.preflight


@pytest.mark.fault
def test_what_looks_at_a_part_takes_a_split(file, divided, tmp_path):
    """``evaluate(split=Split)`` was a TypeError of pathlib."""
    given = {"model_level": "wb97x/6-31g*", **QUIET}
    for split in (divided, divided.split):
        found = tlpot.evaluate("tlpot-tiny", file, split=split, **given)
        np.testing.assert_array_equal(np.sort(found.predictions.indices), divided.split.test)
        assert found.part == "test"
    report = tlpot.report(
        "tlpot-tiny", file, split=divided, report={"parts": ["calibration"]}, part="validation",
        **given,
    )  # fmt: skip
    assert len(report.end.indices) == 5
    curve = tlpot.learning_curve(
        "tlpot-tiny", file, strategies=["shift"], sizes=[4, 8], seeds=1, split=divided,
        output=tmp_path / "curve", **QUIET,
    )  # fmt: skip
    assert curve.curve.n_test == 4
    assert curve.curve.n_validation == 5


@pytest.mark.fault
def test_a_calibration_takes_a_split(file, tmp_path):
    """Here, too, pathlib was what answered."""
    divided = tlpot.split_dataset(file, by="random", validation=12, test=4, **QUIET)
    found = tlpot.finetune(
        "tlpot-tiny", file, strategy="head", epochs=1, output=tmp_path / "m.safetensors",
        split=divided, report={"enabled": False}, **QUIET,
    )  # fmt: skip
    calibrated = tlpot.calibrate(found.potential, file, split=divided.split, **QUIET)
    assert len(calibrated.judged.energy) == 4


@pytest.mark.fault
def test_lists_of_indices_are_told_what_takes_them(file, tmp_path):
    """They were "validation[0] must be str, not 3"."""
    for split in (
        {"train": [0, 1, 2], "validation": [3], "test": [4]},
        {"validation": np.array([3, 4])},
    ):
        with pytest.raises(ConfigError, match=r"tlpot\.data\.Split\(train="):
            tlpot.finetune(
                "tlpot-tiny", file, output=tmp_path / "m.safetensors", split=split, **QUIET
            )
    with pytest.raises(ConfigError, match="split is a dict; expected a file"):
        tlpot.evaluate("tlpot-tiny", file, model_level="wb97x/6-31g*", split={"test": 0.5}, **QUIET)


def test_a_split_holds_for_the_same_structures_only(other_labels, divided):
    with pytest.raises(DataError, match="the split was made for a dataset with SHA-256"):
        load_split(divided, open_dataset(rattled(23), level="a/b"))
    # with other labels it holds, as its file does
    other = load_split(divided, open_dataset(other_labels))
    np.testing.assert_array_equal(other.test, divided.split.test)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": [0, 1, 99]}, "names frames that"),
        ({"test": [0, 9]}, "uses a frame more than once"),
        ({"test": [0.5]}, "expected the indices of its frames"),
        ({"test": [[0], [1]]}, "expected the indices of its frames"),
    ],
)
def test_a_split_by_hand_is_checked(file, change, message):
    split = by_hand(file)
    parts = {name: getattr(split, name) for name in ("train", "validation", "test", "content_hash")}
    with pytest.raises(DataError, match=message):
        load_split(Split(by="hand", seed=0, **{**parts, **change}), open_dataset(file))


def test_a_file_says_the_same(other_labels, divided, tmp_path):
    divided.split.save(tmp_path / "split.json")
    assert json.loads((tmp_path / "split.json").read_text())["structures"]
    again = load_split(tmp_path / "split.json", open_dataset(other_labels))
    np.testing.assert_array_equal(again.train, divided.split.train)
