"""Campaigns: simulated ones beside random choice, and those that wait for labels."""

import csv
import json

import numpy as np
import pytest
import yaml
from ase.io import read, write
from toy_crystals import MODEL, SPEC, SPLIT, crystals, write_toy

import tlpot
from tlpot.active_learning import SimulatedCampaign, active_job
from tlpot.active_learning.config import open_candidates
from tlpot.active_learning.surrogate import Surrogate
from tlpot.cli import main
from tlpot.errors import ConfigError, DataError, TLPotError

pytestmark = pytest.mark.train

QUIET = {"progress": False, "device": "cpu"}
SMALL = {"initial": 8, "batch": 4, "rounds": 3, "seeds": 3, "split": {"test": 20, "by": "random"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("toy")


@pytest.fixture(scope="module")
def data(folder):
    return write_toy(folder, 150)


@pytest.fixture(scope="module")
def parent(data, folder):
    """Has learned of the structure what the dear gap depends on."""
    return tlpot.train(
        config={"data": data, "model": MODEL, "split": SPLIT, "training": {"batch_size": 4}},
        level="gap@cheap", output=folder / "parent.safetensors", epochs=20, progress=False,
    ).output  # fmt: skip


def simulated(parent, data, output, **settings):
    return tlpot.active_learning(
        parent, data["files"][0], spec=data["spec"], level="gap@dear", output=output,
        **{**SMALL, **QUIET, **settings},
    )  # fmt: skip


@pytest.mark.parametrize("strategy", ["frozen-gp", "frozen-ridge"])
def test_the_best_are_found_sooner_than_at_random(parent, data, tmp_path, strategy, monkeypatch):
    found = simulated(parent, data, tmp_path / "a", goal="maximise", strategy=strategy)
    assert found.labels.tolist() == [8, 12, 16, 20]
    assert found.n_wanted == 5
    np.testing.assert_array_equal(found.found["active"][:, 0], found.found["random"][:, 0])
    np.testing.assert_array_equal(found.mae["active"][:, 0], found.mae["random"][:, 0])
    assert (np.diff(found.best["active"], axis=1) >= 0).all()
    assert found.better
    # what needs no label: the parent's value, and the cheap one, on which the dear one is a line
    assert set(found.in_order) == {"the parent's gap@cheap", "gap@cheap"}
    assert found.in_order["gap@cheap"].tolist() == [5, 5, 5, 5]
    assert "NO BETTER THAN THE ORDER OF GAP@CHEAP" in found.text()
    assert "better than random choice by" in found.text()
    assert "NO BETTER THAN RANDOM" not in found.text()
    found.plot(tmp_path / "a.png")
    # nothing is computed twice, and more seeds and rounds go on
    with monkeypatch.context() as patched:
        patched.setattr(Surrogate, "fit", None)
        again = simulated(parent, data, tmp_path / "a", goal="maximise", strategy=strategy)
    assert again.as_json() == found.as_json()


def test_shuffled_labels_are_no_better_than_random_choice(parent, tmp_path):
    frames = crystals(150)
    order = np.random.default_rng(0).permutation(len(frames))
    values = [frames[k].info["dear"] for k in order]
    for atoms, value in zip(frames, values, strict=True):
        atoms.info["dear"] = value
    write(tmp_path / "toy.xyz", frames, format="extxyz")
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(SPEC))
    data = {"files": [str(tmp_path / "toy.xyz")], "spec": str(tmp_path / "toy.yaml")}
    found = simulated(parent, data, tmp_path / "a", goal="learn")
    assert isinstance(found, SimulatedCampaign)
    assert not found.in_order  # there is nothing to be found
    assert "BETTER THAN RANDOM CHOICE" in found.text()
    assert not found.as_json()["better_than_random"]


def test_one_seed_says_that_it_says_nothing(parent, data, tmp_path):
    found = simulated(parent, data, tmp_path / "a", seeds=1, rounds=1, goal="window", window=[6, 7])
    assert "one seed says nothing of chance" in found.text()
    assert found.as_json()["standard_error"] is None


@pytest.mark.fault
@pytest.mark.parametrize("n_seeds", [1, 2, 3, 5])
def test_chance_alone_is_seldom_called_better(n_seeds):
    """Two standard errors over three seeds are passed by chance in 9 %, and one seed in 49 %."""
    rng = np.random.default_rng(0)

    def campaign():
        mae = {arm: rng.normal(1.0, 0.1, size=(n_seeds, 3)) for arm in ("active", "random")}
        return SimulatedCampaign(
            title="", unit="eV", goal="learn", method="", labels=np.arange(3), mae=mae, found={},
            best={}, n_wanted=0, wanted="", in_order={},
        )  # fmt: skip

    assert sum(campaign().better for _ in range(600)) <= 0.04 * 600
    one = campaign()
    assert ("one seed says nothing of chance" in one.verdict()) == (n_seeds == 1)


def test_the_newest_labels_count_several_times(parent, data, tmp_path):
    def errors(repeat, strategy="frozen-ridge", **settings):
        config = active_job(
            None, parent, data["files"][0], spec=data["spec"], level="gap@dear", repeat=repeat,
            output=tmp_path, strategy=strategy, **settings,
        )  # fmt: skip
        candidates = open_candidates(config, device="cpu")
        rng = np.random.default_rng(3)
        values = candidates.values + rng.normal(0, 1.0, 150)  # what no model can fit exactly
        candidates = candidates.with_labels([], [])
        noisy = candidates.with_labels(np.arange(150).tolist(), values.tolist())
        surrogate = Surrogate(config=config, candidates=noisy, folder=tmp_path, device="cpu")
        newest = np.arange(40, 45)
        model = surrogate.fit(np.arange(45), newest, seed=0)
        return np.abs(surrogate.ask(model, [], newest)[0] - noisy.values[newest]).mean()

    assert errors(30) < errors(1)
    assert np.isfinite(errors(3, "full", training={"epochs": 1, "batch_size": 8}))
    with pytest.raises(ConfigError, match="repeat"):
        errors(2, "frozen-gp")


def filled(table, *labels):
    """Fills a table from the formula of the toy crystals, or with what is given."""
    with table.open() as file:
        rows = list(csv.reader(file))
    for k, row in enumerate(rows[1:]):
        row[-1] = labels[k] if k < len(labels) else str(crystals(40)[int(row[0])].info["dear"])
    with table.open("w") as file:
        csv.writer(file).writerows(rows)
    return rows


def test_a_campaign_waits_for_labels_and_goes_on(parent, tmp_path, capsys):
    frames = crystals(40)
    for atoms in frames:
        atoms.info = {}
    write(tmp_path / "bare.xyz", frames, format="extxyz")
    out = tmp_path / "campaign"
    command = [
        "active", str(parent), str(tmp_path / "bare.xyz"), "--level", "gap@dear", "--goal",
        "maximise", "--initial", "6", "--batch", "3", "-o", str(out), "--device", "cpu",
    ]  # fmt: skip
    assert main(command) == 0
    assert "6 candidates, drawn at random, of 40" in capsys.readouterr().out
    assert len(read(out / "round-1.xyz", ":")) == 6
    before = (out / "round-1.csv").read_text()
    assert main(command) == 2  # nothing is labelled yet
    assert "6 of 6 candidates have no label yet" in capsys.readouterr().err
    assert (out / "round-1.csv").read_text() == before
    filled(out / "round-1.csv", "failed")
    assert main(command) == 0  # one that failed is not made up for
    assert "chosen by expected improvement" in capsys.readouterr().out
    rows = filled(out / "round-2.csv")
    assert len(rows) == 4
    assert all(float(row[4]) > 0 for row in rows[1:])
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "2  expected improvement" in said
    numbers = json.loads((out / "active.json").read_text())
    assert [len(each["candidates"]) for each in numbers["rounds"]] == [6, 3]
    assert numbers["rounds"][0]["labels"][0] is None
    seen = [k for each in numbers["rounds"] for k in each["candidates"]]
    assert len(set(seen)) == 9  # none is chosen twice, not even what failed
    model = tlpot.predict(out / "model.safetensors", frames, level="gap@dear", **QUIET)
    truth = np.array([atoms.info["dear"] for atoms in crystals(40)])
    assert np.abs(model.energy - truth).mean() < 0.8 * np.abs(truth - truth.mean()).mean()

    write(tmp_path / "bare.xyz", frames[:39], format="extxyz")
    assert main(command) == 2
    assert "candidates differ" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "term"),
    [
        (lambda text: text.replace("score", "points"), "expected the columns"),
        (lambda text: "", "expected the columns"),
        (lambda text: text.replace(",,,,", ",,,,much"), "'much' is no number"),
        (lambda text: text.replace(",,,,", ",,,,inf"), "infinite"),
    ],
)  # fmt: skip
def test_damaged_tables_are_refused(parent, tmp_path, damage, term):
    frames = crystals(10)
    for atoms in frames:
        atoms.info = {}
    settings = {
        "level": "gap@dear", "initial": 2, "output": tmp_path / "a", **QUIET,
        "quantity": {"unit": "eV", "extensive": False},
    }  # fmt: skip
    write(tmp_path / "bare.xyz", frames, format="extxyz")
    tlpot.active_learning(parent, tmp_path / "bare.xyz", **settings)
    table = tmp_path / "a" / "round-1.csv"
    table.write_text(damage(table.read_text()))
    with pytest.raises(DataError, match=term):
        tlpot.active_learning(parent, tmp_path / "bare.xyz", **settings)


def test_labels_of_the_file_are_the_beginning(parent, tmp_path):
    frames = crystals(30)
    for k, atoms in enumerate(frames):
        atoms.info = {"dear": atoms.info["dear"]} if k < 12 else {}
    write(tmp_path / "some.xyz", frames, format="extxyz")
    settings = {
        "level": "gap@dear", "keys": {"gap@dear": "dear, eV, intensive"}, "initial": 10,
        "batch": 30, "goal": "window", "window": [5, 6], "strategy": "frozen-forest", **QUIET,
    }  # fmt: skip
    found = tlpot.active_learning(parent, tmp_path / "some.xyz", output=tmp_path / "a", **settings)
    assert (found.n_chosen, found.n_left, len(found.given)) == (18, 0, 12)
    assert found.plot() is not None
    rows = filled(found.table)
    assert {int(row[0]) for row in rows[1:]} == set(range(12, 30))
    last = tlpot.active_learning(parent, tmp_path / "some.xyz", output=tmp_path / "a", **settings)
    assert "no candidates are left" in last.text()


@pytest.mark.parametrize(
    ("level", "settings", "term"),
    [
        ("metal@cheap", {}, "yes or no"),
        ("wb97x", {}, "level of energies"),
        ("gap@dear", {"quantity": {"extensive": True, "kind": "positive", "unit": ""}}, "kind"),
        ("gap@dear", {"quantity": {"unit": "meV", "extensive": False}}, "quantity"),
        ("gap@dear", {"goal": "window"}, "window"),
        ("gap@dear", {"initial": 140}, "initial"),
        ("gap@dear", {"strategy": "frozen-bp"}, "frozen-gp"),
        ("gap@dear", {"strategy": {"name": "delta", "low": "gap@cheap"}}, "known"),
    ],
)  # fmt: skip
def test_what_does_not_apply_is_refused(parent, data, tmp_path, level, settings, term):
    with pytest.raises(TLPotError, match=term):
        tlpot.active_learning(
            parent, data["files"][0], spec=data["spec"], level=level, output=tmp_path / "a",
            **QUIET, **settings,
        )  # fmt: skip
