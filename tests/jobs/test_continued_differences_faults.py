"""A model of a difference learns from more labels of both levels."""

import json

import pytest
from few_labels import CC, SPLIT

import tlpot
from tlpot.data import open_dataset
from tlpot.errors import ConfigError, UnknownLevelError
from tlpot.jobs import finetune_config, prepare_finetune, prepare_train, train_config
from tlpot.models import LIBRARY, load_potential, save

pytestmark = pytest.mark.fault
LEVEL = f"{CC} - gfn2-xtb"
LOW = {"engine": "ase:toys:Low"}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Labels at two levels."""
    path = tmp_path_factory.mktemp("both") / "both.h5"
    tlpot.select_dataset(LIBRARY / "tlpot-qm.h5", path, each=2)
    return path


@pytest.fixture(scope="module")
def difference(tmp_path_factory):
    """A model of their difference, whose card says what computed the low level."""
    model = load_potential("tlpot-tiny")
    zero = dict.fromkeys(model.elements, 0.0)
    model = model.with_level(LEVEL, zero).only(LEVEL)
    model.card = type(model.card)(name="delta", dataset={"low": LOW})
    path = tmp_path_factory.mktemp("model") / "delta.safetensors"
    save(model, path)
    return path


def settings(data, tmp_path, level=LEVEL):
    data = {"files": [str(data)], "level": level}
    return {"data": data, "level": level, "output": str(tmp_path / "more.safetensors"),
            "split": SPLIT, "training": {"epochs": 1}}  # fmt: skip


@pytest.mark.parametrize("strategy", ["full", "shift", "frozen-ridge", "replay"])
def test_a_difference_is_fine_tuned_with_labels_of_both_levels(
    both, difference, tmp_path, strategy
):
    """The data had "no level 'high - low'; did you mean 'high'?"."""
    given = {**settings(both, tmp_path), "parent": str(difference)}
    if strategy in ("shift", "frozen-ridge"):
        given["training"] = {}
    if strategy == "replay":
        given["strategy"] = {"name": strategy, "files": [str(both)]}
    else:
        given["strategy"] = strategy
    job = prepare_finetune(finetune_config(given), device="cpu").job
    assert job.levels[0] == job.saved_level == LEVEL
    assert job.card.dataset["low"] == LOW
    (frame,) = job.dataset.read(job.split.train[:1])
    parts = [frame.labels[name].energy for name in (CC, "gfn2-xtb")]
    assert frame.labels[LEVEL].energy == pytest.approx(parts[0] - parts[1])
    assert job.split.content_hash == open_dataset(both).content_hash


def test_a_training_goes_on_from_a_difference(both, difference, tmp_path):
    """The same of `start`."""
    given = {**settings(both, tmp_path), "start": str(difference)}
    job = prepare_train(train_config(given), device="cpu").job
    assert job.levels == (LEVEL,)
    assert job.card.dataset["low"] == LOW


@pytest.mark.train
def test_it_is_evaluated_on_the_split_of_its_training(both, difference, tmp_path):
    """The same from Python, in which the data may be open."""
    output = tmp_path / "more.safetensors"
    tlpot.finetune(
        difference, open_dataset(both), level=LEVEL, output=output, split=SPLIT, epochs=1,
        report={"enabled": False}, progress=False,
    )  # fmt: skip
    split = output.with_suffix(".run") / "split.json"
    assert json.loads(split.read_text())["content_hash"] == open_dataset(both).content_hash
    found = tlpot.evaluate(output, both, split=split, progress=False)
    assert found.level == LEVEL
    assert len(found.predictions.indices) == SPLIT["test"]


def test_what_is_missing_is_named(both, difference, tmp_path):
    """Labels of the high level alone, and total energies, are answered with what to do."""
    given = {**settings(both, tmp_path, f"{CC} - pm7"), "parent": str(difference)}
    with pytest.raises(UnknownLevelError, match=r"pm7.*tlpot label"):
        prepare_finetune(finetune_config(given))
    given = {**settings(both, tmp_path, CC), "parent": str(difference)}
    with pytest.raises(ConfigError, match="labels of both levels"):
        prepare_finetune(finetune_config(given))
