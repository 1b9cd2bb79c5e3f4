"""What an argument, a file and a configuration made by hand mean: the same."""

import json
from dataclasses import replace

import pytest
import torch
from few_labels import CC, DFT, SPLIT

import tlpot
from tlpot.config import configured, to_mapping
from tlpot.errors import ConfigError, UnknownLevelError
from tlpot.jobs import (
    DataSettings,
    FinetuneConfig,
    SplitSettings,
    TrainConfig,
    finetune_config,
    prepare_finetune,
    prepare_train,
    train_config,
)
from tlpot.learning_curves import curve_config
from tlpot.models import LIBRARY, load
from tlpot.training import TrainingSettings

QUIET = {"progress": False, "device": "cpu"}


def by_hand(data, output, **changes):
    settings = {"parent": "tlpot-tiny", "level": CC, "output": output, **changes}
    split = SplitSettings(by="random", validation=6, test=6, train=16)
    return FinetuneConfig(data=DataSettings(files=(data,)), split=split, **settings)


@pytest.mark.parametrize(
    ("strategy", "rate"), [("full", 2e-3), ("lora", 1e-2), ("head", 1e-2), ("scratch", 1e-2)]
)
def test_a_configuration_by_hand_has_the_defaults_of_its_strategy(data, tmp_path, strategy, rate):
    hand = by_hand(data, tmp_path / "m.safetensors", strategy=strategy)
    read = finetune_config(
        {**to_mapping(hand), "training": {}, "strategy": strategy, "output": str(hand.output)}
    )
    found, other = (prepare_finetune(c, device="cpu").job for c in (hand, read))
    assert found.settings.learning_rate == rate
    assert found.settings == other.settings
    assert {**found.recipe, "data": 0} == {**other.recipe, "data": 0}


def test_what_is_set_by_hand_stays(data, tmp_path):
    training = {"learning_rate": 0.01, "epochs": 3}
    hand = by_hand(data, tmp_path / "m.safetensors", training=training)
    settings = prepare_finetune(hand, device="cpu").job.settings
    assert (settings.learning_rate, settings.epochs, settings.ema) == (0.01, 3, 0.99)
    assert hand.resolved() == hand.resolved().resolved()


@pytest.mark.parametrize("strategy", ["full", "shift"])
def test_older_defaults_apply_to_a_configuration_by_hand(data, tmp_path, strategy):
    hand = by_hand(data, tmp_path / "m.safetensors", defaults=1, strategy=strategy)
    trains = strategy == "full"
    for training in (hand.resolved().training, prepare_finetune(hand).job.recipe["training"]):
        assert training["selection"] == ("loss" if trains else "relative")
        assert training["loss"]["forces"] == (10.0 if trains else 1.0)


def test_settings_of_which_nobody_knows_what_was_set_are_refused(data, tmp_path):
    hand = by_hand(data, tmp_path / "m.safetensors", training=TrainingSettings(epochs=3))
    with pytest.raises(ConfigError, match="training must be a section"):
        prepare_finetune(hand, device="cpu")
    with pytest.raises(ConfigError, match=r"training\.epochs does not apply"):
        by_hand(data, tmp_path, strategy="shift", training={"epochs": 3}).resolved()


def test_a_training_by_hand_has_the_defaults_of_its_version(data, tmp_path):
    split = {"by": "random", "validation": 6}
    output = tmp_path / "m.safetensors"
    hand = TrainConfig(
        data=DataSettings(files=(data,)), output=output, split=SplitSettings(**split), defaults=1
    )
    read = train_config(
        {"data": {"files": [data]}, "output": str(output), "split": split, "defaults": 1}
    )
    assert prepare_train(hand, device="cpu").job.settings == (
        prepare_train(read, device="cpu").job.settings
    )


def test_arguments_win_over_the_file(data, tmp_path):
    settings = {
        "parent": "tlpot-tiny", "data": {"files": [data]}, "level": CC, "strategy": "lora",
        "output": str(tmp_path / "a.safetensors"), "split": SPLIT, "report": {"enabled": False},
        "training": {"epochs": 7, "batch_size": 4, "loss": {"energy": 2.0}},
    }  # fmt: skip
    path = tmp_path / "f.yaml"
    path.write_text(json.dumps(settings))

    def recipe(**given):
        found = tlpot.finetune(config=path, dry_run=True, **given, **QUIET)
        return found.preflight

    assert "epochs: 7" in recipe()
    shown = recipe(epochs=1, training={"loss": {"forces": 3.0}}, strategy="head")
    for text in ("epochs: 1\n", "batch_size: 4\n", "energy: 2.0\n", "forces: 3.0\n", "name: head"):
        assert text in shown
    assert "rank" not in shown  # a setting of lora
    assert "rank: 2" in recipe(strategy={"rank": 2})
    path.write_text(json.dumps({**settings, "trainin": {}}))
    with pytest.raises(ConfigError, match=rf"{path}: unknown key 'trainin'"):
        recipe()


def test_the_level_may_be_left_out_where_there_is_one(data, tmp_path):
    given = {"split": SPLIT, "output": tmp_path / "m.safetensors", "dry_run": True, **QUIET}
    assert tlpot.finetune("tlpot-tiny", data, **given).level == CC
    with pytest.raises(UnknownLevelError, match="level="):
        tlpot.finetune("tlpot-tiny", LIBRARY / "tlpot-qm.h5", **given)


def test_the_signature_of_a_job_is_its_configuration(data, tmp_path):
    settings = {"model": "tlpot-tiny", "data": data, "model_level": DFT, "batch_size": 8}
    path = tmp_path / "e.yaml"
    path.write_text(json.dumps(settings))
    found = tlpot.evaluate(config=path, **QUIET)
    other = tlpot.evaluate("tlpot-tiny", data, model_level=DFT, **QUIET)
    assert found.errors.overall == pytest.approx(other.errors.overall)
    for change, term in (
        ({"batch": 8}, "unknown key 'batch'.*batch_size"),
        ({"batch_size": "many"}, "batch_size must be int"),
        ({"part": "tests"}, "part is 'tests'"),
    ):
        with pytest.raises(ConfigError, match=term):
            tlpot.evaluate(config={**settings, **change}, **QUIET)
    with pytest.raises(ConfigError, match="data is required"):
        tlpot.evaluate("tlpot-tiny", **QUIET)


def test_what_the_caller_gives_is_not_read_again():
    @configured
    def job(a: int, b: float = 1.0, *, config: object = None) -> tuple[int, float]:
        return a, b

    assert job(1, b=2.0, config={"b": 3}) == (1, 2.0)
    assert job(config={"a": 1, "b": "1e-3"}) == (1, 1e-3)


def test_a_cancelled_training_is_resumed_to_the_same_weights(data, tmp_path):
    def run(name, **options):
        return tlpot.finetune(
            "tlpot-tiny", data, level=CC, strategy="full", output=tmp_path / name, split=SPLIT,
            epochs=3, training={"batch_size": 4}, report={"enabled": False}, device="cpu",
            **options,
        )  # fmt: skip

    def stop(done, total, text):
        if done == 6:
            raise InterruptedError(text)

    whole = run("whole.safetensors", progress=False)
    with pytest.raises(InterruptedError, match="epoch 1/3"):
        run("parts.safetensors", progress=stop)
    told = []
    parts = run("parts.safetensors", resume=True, progress=lambda *what: told.append(what))
    assert told[0][:2] == (7, 12)
    assert parts.end == whole.end
    names = ("whole.safetensors", "parts.safetensors")
    one, other = (dict(load(tmp_path / n, device="cpu").named_parameters()) for n in names)
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.mark.parametrize("job", ["train", "finetune", "curve"])
def test_labels_without_a_level_are_of_the_one_to_learn(atoms, tmp_path, job):
    from ase.io import write

    frames = [a.copy() for a in atoms]
    for frame, labelled in zip(frames, atoms, strict=True):
        frame.info = {"energy": labelled.get_potential_energy()}
    write(tmp_path / "mine.xyz", frames, format="extxyz")
    settings = {"data": {"files": [str(tmp_path / "mine.xyz")]}, "level": "mine"}
    output = str(tmp_path / "m.safetensors")
    if job == "curve":
        found = curve_config(
            {**settings, "parents": ["tlpot-tiny"], "strategies": ["shift"], "sizes": [10],
             "output": str(tmp_path / "curve")}
        )  # fmt: skip
    elif job == "train":
        found = train_config({**settings, "output": output})
    else:
        found = finetune_config({**settings, "output": output, "parent": "tlpot-tiny"})
    assert list(found.data.open().levels) == ["mine"]
    assert "assumed" not in to_mapping(found)["data"]
    several = replace(found.data, assumed=None)
    with pytest.raises(UnknownLevelError, match="does not say which level"):
        several.open()
