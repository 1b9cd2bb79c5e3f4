"""Errors on a model's own training file are said to be that."""

import pytest
from rattled import rattled

import tlpot

QUIET = {"progress": False}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    tlpot.convert_dataset(rattled(12), folder / "a.h5", level="a/b", **QUIET)
    tlpot.convert_dataset(rattled(12, shift=1.0), folder / "b.h5", level="a/b", **QUIET)
    tlpot.convert_dataset(rattled(9), folder / "c.h5", level="a/b", **QUIET)
    tlpot.finetune(
        "tlpot-tiny", folder / "a.h5", strategy="shift", output=folder / "m.safetensors",
        split={"by": "random", "validation": 2, "test": 2}, report={"enabled": False}, **QUIET,
    )  # fmt: skip
    return folder


@pytest.mark.fault
@pytest.mark.parametrize("data", ["a.h5", "b.h5"], ids=["file", "structures"])
def test_the_training_file_is_noted_with_the_split(trained, data):
    """Nothing was said, although a calibration refuses the very same frames."""
    model = trained / "m.safetensors"
    found = tlpot.evaluate(model, trained / data, **QUIET)
    (note,) = found.notes
    assert "was trained on" in note
    assert f"split={trained / 'm.run' / 'split.json'}" in note
    assert str(found).count("note: ") == 1
    (note,) = tlpot.evaluate(tlpot.load(model), trained / data, **QUIET).notes
    assert "split=MODEL.run/split.json" in note


@pytest.mark.control
def test_parts_of_the_split_are_not_and_of_other_data_what_is_the_same(trained):
    model = trained / "m.safetensors"
    (note,) = tlpot.evaluate(model, trained / "c.h5", **QUIET).notes
    assert note.startswith("6 of these 9 frames are structures that 'm' was trained on")
    split = trained / "m.run" / "split.json"
    assert tlpot.evaluate(model, trained / "a.h5", split=split, **QUIET).notes == ()
