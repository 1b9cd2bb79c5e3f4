"""Every job in one line of Python: what it returns is what the command line prints."""

import json

import pytest
from few_labels import CC, DFT, SPLIT

import tlpot
from tlpot.cli import main
from tlpot.data import load_split, make_split, open_dataset
from tlpot.errors import ConfigError, TLPotWarning
from tlpot.models import load

SHARED = ["split.by=random", "split.validation=12", "split.test=6", "split.train=16"]
QUIET = {"progress": False, "device": "cpu"}
PARTS = {"parts": ["calibration", "drift"]}
PNG = b"\x89PNG"


@pytest.fixture
def printed(capsys):
    """Runs a command; returns what it prints, and its exit status must be 0."""

    def run(*command):
        capsys.readouterr()
        assert main([str(word) for word in command]) == 0
        return capsys.readouterr().out.rstrip("\n")

    return run


def check(result, tmp_path):
    """What every result can do."""
    result.save(tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text())
    shown = result._repr_html_()
    assert shown.startswith("<pre>")
    if hasattr(result, "plot"):
        result.plot(tmp_path / "result.png")
        assert (tmp_path / "result.png").read_bytes().startswith(PNG)
        assert "<img" in shown


def test_the_jobs_are_where_one_looks_for_them():
    jobs = {
        "train", "finetune", "evaluate", "predict", "learning_curve", "plan", "rank", "ensemble",
        "calibrate", "report", "validate_dataset", "convert_dataset", "split_dataset",
        "select_dataset", "sample",
    }  # fmt: skip
    assert jobs <= set(dir(tlpot)) == set(tlpot.__all__)
    assert all(getattr(tlpot, name).__doc__ for name in jobs)


def test_evaluate(data, tmp_path, printed):
    found = tlpot.evaluate("tlpot-tiny", data, level=CC, model_level=DFT, **QUIET)
    assert str(found) == printed(
        "evaluate", "tlpot-tiny", data, "--level", CC, "--model-level", DFT, "--json",
        tmp_path / "e.json", "--device", "cpu",
    )  # fmt: skip
    assert json.loads((tmp_path / "e.json").read_text()) == found.as_json()
    assert found.errors.overall["n_frames"] == 40
    check(found, tmp_path)


def test_finetune(data, tmp_path, printed):
    """But for the last line, which names the file and the time."""
    found = tlpot.finetune(
        "tlpot-tiny", data, level=CC, strategy="head", output=tmp_path / "a.safetensors",
        split=SPLIT, epochs=2, report=PARTS, **QUIET,
    )  # fmt: skip
    shown = printed(
        "finetune", "tlpot-tiny", data, "--level", CC, "--strategy", "head", "-o",
        tmp_path / "b.safetensors", *SHARED, "training.epochs=2",
        "report.parts=[calibration,drift]", "--device", "cpu",
    )  # fmt: skip
    *lines, last = str(found).splitlines()
    assert shown.splitlines()[-len(lines) - 1 : -1] == lines
    assert str(found.output) in last
    assert found.report.as_json()["drift"]["n_frames"] == 6
    assert "reference energies" in found.preflight
    check(found, tmp_path)


def test_train(data, tmp_path, printed):
    sizes = {"hidden_irreps": "4x0e+4x1o", "radial_hidden": [], "readout_hidden": 4}
    found = tlpot.train(
        data, level=CC, output=tmp_path / "a.safetensors", preset="tiny", model=sizes,
        split=SPLIT, epochs=1, **QUIET,
    )  # fmt: skip
    settings = {
        "data": {"files": [data]}, "level": CC, "output": str(tmp_path / "b.safetensors"),
        "model": {"preset": "tiny", **sizes}, "split": SPLIT, "training": {"epochs": 1},
    }  # fmt: skip
    (tmp_path / "train.yaml").write_text(json.dumps(settings))
    shown = printed("train", tmp_path / "train.yaml", "--device", "cpu")
    lines = str(found).splitlines()[:-1]
    assert shown.splitlines()[-len(lines) - 1 : -1] == lines
    check(found, tmp_path)


def test_a_dry_run_stops_after_the_report(data, tmp_path):
    found = tlpot.finetune(
        "tlpot-tiny", data, level=CC, output=tmp_path / "a.safetensors", split=SPLIT,
        dry_run=True, **QUIET,
    )  # fmt: skip
    assert not found.started
    assert str(found) == found.preflight.rstrip("\n")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="dry_run"):
        found.plot()


@pytest.mark.train
def test_learning_curve_and_plan(data, tmp_path, printed):
    folder = tmp_path / "curve"
    split = {"by": "random", "test": 8, "validation": 4}
    found = tlpot.learning_curve(
        "tlpot-tiny", data, level=CC, strategies=["shift", "frozen-ridge"], sizes=[6, 12, 24],
        seeds=2, split=split, output=folder, **QUIET,
    )  # fmt: skip
    command = [
        "curve", "tlpot-tiny", data, "split.by=random", "split.test=8", "split.validation=4",
        "--level", CC, "--strategies", "shift", "frozen-ridge", "--sizes", "6", "12", "24",
        "--seeds", "2", "-o", folder, "--device", "cpu",
    ]  # fmt: skip
    assert str(found) == printed(*command)
    todo = printed(*command, "--dry-run").splitlines()
    assert [line.partition(":")[0] for line in todo] == ["shift", "frozen-ridge"]
    assert set(found.laws) == set(found.curve.quantities())
    check(found, tmp_path)
    terms = {"budget": 1e5, "cost_ratio": 100}
    plan = found.plan(**terms)
    assert str(plan) == str(tlpot.plan(folder, **terms))
    assert str(plan) == printed("plan", folder, "--budget", "1e5", "--cost-ratio", "100")
    check(plan, tmp_path)
    test = tlpot.plan(found, fit_up_to=12)
    assert str(test) == printed("plan", folder, "--fit-up-to", "12")


def test_rank(data, tmp_path, printed):
    found = tlpot.rank(data, ["tlpot-tiny"], level=CC, folds=3, by="random", **QUIET)
    assert str(found) == printed(
        "models", "rank", data, "tlpot-tiny", "--level", CC, "--folds", "3", "--by", "random",
        "--device", "cpu",
    )  # fmt: skip
    assert "ridge on" in str(found)
    check(found, tmp_path)


def test_ensemble_and_calibrate(data, tuned, tmp_path, printed):
    split = f"{tuned[0].removesuffix('.safetensors')}.run/split.json"
    plain = tlpot.ensemble(tuned, level=CC, output=tmp_path / "e.safetensors", **QUIET)
    assert "not calibrated" in str(plain)
    kept = ("--level", CC, "--device", "cpu", "--overwrite")
    assert str(plain) == printed("ensemble", *tuned, "-o", tmp_path / "e.safetensors", *kept)
    output = tmp_path / "c.safetensors"
    found = tlpot.calibrate(plain.model, data, level=CC, split=split, output=output, **QUIET)
    assert str(found) == printed(
        "calibrate", tmp_path / "e.safetensors", data, "--split", split, "-o", output, *kept
    )
    check(found, tmp_path)
    both = tlpot.ensemble(tuned, data, level=CC, split=split, **QUIET)
    assert both.output is None
    assert both.as_json()["calibration"] == found.as_json()
    check(both, tmp_path)
    with pytest.raises(ConfigError, match="split"):
        tlpot.ensemble(tuned, level=CC, split=split, **QUIET)


def test_report(data, tuned, tmp_path, printed):
    with pytest.warns(TLPotWarning, match="was trained on"):
        found = tlpot.report(tuned[0], data, level=CC, parent="tlpot-tiny", report=PARTS, **QUIET)
    assert str(found) == printed(
        "report", tuned[0], data, "--level", CC, "--parent", "tlpot-tiny",
        "report.parts=[calibration,drift]", "--device", "cpu",
    )  # fmt: skip
    check(found, tmp_path)


def test_datasets(data, tmp_path, printed):
    found = tlpot.validate_dataset(data)
    assert found.ok
    assert str(found) == printed("data", "validate", data)
    check(found, tmp_path)
    written = tlpot.convert_dataset(data, tmp_path / "copy.h5")
    assert str(written) == printed(
        "data", "convert", data, "-o", tmp_path / "copy.h5", "--overwrite"
    )
    check(written, tmp_path)
    split = tlpot.split_dataset(data, tmp_path / "s.json", by="random", test=5, seed=3)
    assert str(split) == printed(
        "data", "split", data, "-o", tmp_path / "s.json", "--by", "random", "--test", "5",
        "--seed", "3", "--overwrite",
    )  # fmt: skip
    assert load_split(tmp_path / "s.json", open_dataset(data)).test.tolist() == (
        split.split.test.tolist()
    )
    check(split, tmp_path)


def test_objects_do_what_their_files_do(atoms, data, tmp_path):
    """Structures, a dataset and loaded models; labels in a file are rounded once more."""
    parent = load("tlpot-tiny", device="cpu")
    before = {name: weight.clone() for name, weight in parent.named_parameters()}

    def run(parent, data, name):
        return tlpot.finetune(
            parent, data, level=CC, strategy="full", output=tmp_path / name, split=SPLIT,
            epochs=1, report={"enabled": False}, **QUIET,
        )  # fmt: skip

    filed = run("tlpot-tiny", data, "a.safetensors").end.overall
    opened = run(parent, open_dataset(data), "b.safetensors").end.overall
    assert opened == filed
    frames = open_dataset(data).read(range(40))
    ordered = []
    for frame in frames:  # the file has them by molecule
        ordered.append(frame.system.to_atoms())
        ordered[-1].info["energy"] = frame.labels[CC].energy
    loose = run(parent, ordered, "c.safetensors").end.overall
    assert loose == pytest.approx(filed, rel=1e-3)
    assert all(bool((w == before[name]).all()) for name, w in parent.named_parameters())
    one = tlpot.evaluate(parent, atoms, level=CC, model_level=DFT, **QUIET)
    other = tlpot.evaluate("tlpot-tiny", data, level=CC, model_level=DFT, **QUIET)
    assert one.errors.overall == pytest.approx(other.errors.overall, rel=1e-6)


@pytest.mark.train
def test_a_curve_of_objects(atoms, tmp_path):
    found = tlpot.learning_curve(
        load("tlpot-tiny", device="cpu"), atoms, level=CC, strategies=["shift"], sizes=[6],
        seeds=1, split={"by": "random", "test": 8, "validation": 4}, output=tmp_path / "c",
        workers=2, **QUIET,
    )  # fmt: skip
    assert [len(series.points) for series in found.curve.series] == [1]
    assert not found.failures


@pytest.mark.train
def test_auto_is_a_strategy_like_any_other(data, tmp_path, printed):
    section = {"name": "auto", "folds": 2, "epochs": 1, "candidates": ["head"]}
    common = {"split": SPLIT, "epochs": 1, "report": {"enabled": False}, "level": CC}
    found = tlpot.finetune(
        "tlpot-tiny", data, strategy=section, output=tmp_path / "a.safetensors", **common, **QUIET
    )
    chosen = found.potential.card.recipe["strategy"]["name"]
    assert chosen in ("shift", "head")
    assert found.preflight.startswith("strategy=auto")
    settings = tmp_path / "auto.yaml"
    settings.write_text(json.dumps({"strategy": section}))
    shown = printed(
        "finetune", "tlpot-tiny", data, "--level", CC, "--config", settings, "-o",
        tmp_path / "b.safetensors", *SHARED, "training.epochs=1", "report.enabled=false",
    )  # fmt: skip
    assert shown.startswith("strategy=auto")
    with pytest.raises(ConfigError, match="auto"):
        tlpot.learning_curve(
            "tlpot-tiny", data, level=CC, strategies=["auto"], sizes=[6], output=tmp_path / "c"
        )


def test_a_split_of_objects_can_be_stored(atoms, tmp_path):
    dataset = open_dataset(atoms, level=CC)
    make_split(dataset, by="random", validation=6, test=6, seed=0).save(tmp_path / "s.json")
    found = tlpot.evaluate(
        "tlpot-tiny", dataset, model_level=DFT, split=tmp_path / "s.json", **QUIET
    )
    assert found.errors.overall["n_frames"] == 6
