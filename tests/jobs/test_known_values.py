"""Properties that a model is told of each structure, such as a gap at a cheaper level."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import yaml
from ase.io import write
from toy_crystals import MODEL, SPEC, SPLIT, crystals

import tlpot
from tlpot.cli import main
from tlpot.errors import ConfigError, DataError, TLPotWarning, UnknownLevelError
from tlpot.models import known_columns
from tlpot.targets import KnownValue

pytestmark = pytest.mark.train

QUIET = {"progress": False, "device": "cpu"}
DEAR = {**QUIET, "level": "gap@dear"}


def labelled(n=60):
    """Crystals whose dear gap is a line on the cheap one, less a step where that is zero.

    What is left over follows from the structure: no line on the cheap value has it.
    """
    frames = crystals(n)
    for k, atoms in enumerate(frames):
        structure = atoms.info["dear"] - 1.7
        gap = 0.0 if k % 3 == 0 else float(np.random.default_rng(k).uniform(1.0, 4.0))
        atoms.info["cheap"] = gap
        atoms.info["dear"] = 1.3 * gap + 0.7 - 0.6 * (gap == 0) + 0.2 * (structure - 3.0)
    return frames


def write_data(folder, frames):
    write(folder / "toy.xyz", frames, format="extxyz")
    (folder / "toy.yaml").write_text(yaml.safe_dump(SPEC))
    return {"files": [str(folder / "toy.xyz")], "spec": str(folder / "toy.yaml")}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("toy"), labelled())


@pytest.fixture(scope="module")
def parent(data, tmp_path_factory):
    """Has learned of the structure what the dear gap depends on."""
    return tlpot.train(
        config={"data": data, "model": MODEL, "split": SPLIT, "training": {"batch_size": 4}},
        level="hardness@cheap", output=tmp_path_factory.mktemp("parent") / "parent.safetensors",
        epochs=30, progress=False,
    )  # fmt: skip


def told(data, parent, output, name="frozen-ridge", **settings):
    still = name.startswith(("frozen", "shift"))
    return tlpot.finetune(
        parent.output, config={"data": data, "split": SPLIT},
        level=settings.pop("level", "gap@dear"),
        strategy={"name": name, "known": settings.pop("known", "gap@cheap")}, output=output,
        progress=False, overwrite=True, epochs=None if still else 10, **settings,
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", ["shift", "frozen-ridge", "frozen-gp", "frozen-forest", "full", "scratch"]
)
def test_what_is_told_is_a_line_and_a_step_at_step_0(data, parent, tmp_path, name):
    found = told(data, parent, tmp_path / "m.safetensors", name)
    target = found.potential.target("gap@dear")
    assert target.known.slope == pytest.approx(1.3, abs=0.15)
    assert target.known.at_zero == pytest.approx(-0.6, abs=0.4)
    (line,) = [b for b in found.baselines if b.name == "line on gap@cheap"]
    start = found.start.overall["property_mae"]
    assert start < line.errors["property_mae"]
    assert found.end.overall["property_mae"] <= 1.05 * start
    assert "told gap@cheap" in found.potential.card.description
    # as saved, by another job
    dataset = tlpot.open_dataset(*data["files"], data["spec"])
    again = tlpot.evaluate(
        tmp_path / "m.safetensors", dataset, level="gap@dear",
        split=tmp_path / "m.run" / "split.json",
    )  # fmt: skip
    assert again.errors.overall["property_mae"] == pytest.approx(
        found.end.overall["property_mae"], rel=1e-4
    )


def test_predictions_and_calculators_want_the_value(data, parent, tmp_path):
    found = told(data, parent, tmp_path / "m.safetensors", "frozen-forest")
    model = tmp_path / "m.safetensors"
    dataset = tlpot.open_dataset(*data["files"], data["spec"])
    of_data = tlpot.predict(model, dataset, level="gap@dear", **QUIET)
    of_files = tlpot.predict(model, data["files"][0], spec=data["spec"], level="gap@dear", **QUIET)
    np.testing.assert_array_equal(of_data.energy, of_files.energy)
    atoms = crystals(60)
    for one, given in zip(atoms, labelled(), strict=True):
        one.info = {"gap@cheap": given.info["cheap"]}
    np.testing.assert_allclose(
        tlpot.predict(model, atoms, level="gap@dear", **QUIET).energy, of_data.energy
    )
    one = atoms[4]
    one.calc = tlpot.TLPotCalculator(found.potential, level="gap@dear")
    first = one.calc.get_property("gap@dear", one)
    assert first == pytest.approx(of_data.energy[4], rel=1e-4)
    one.info["gap@cheap"] += 1.0  # which is no change of the geometry
    assert one.calc.get_property("gap@dear", one) > first + 0.5
    del one.info["gap@cheap"]
    with pytest.raises(DataError, match="gap@cheap"):
        one.calc.get_property("gap@dear", one)
    with pytest.raises(DataError, match="gap@cheap"):
        tlpot.predict(model, crystals(2), level="gap@dear", **QUIET)
    write(tmp_path / "bare.cif", crystals(1)[0])
    assert main(["predict", str(model), str(tmp_path / "bare.cif"), "--level", "gap@dear"]) == 2


def test_a_value_in_another_unit_is_converted(data, parent, tmp_path):
    told(data, parent, tmp_path / "m.safetensors")
    frames = labelled()
    for atoms in frames:
        atoms.info["cheap"] *= 1e3
    other = tmp_path / "other"
    other.mkdir()
    there = write_data(other, frames)
    text = (other / "toy.yaml").read_text()
    spec = yaml.safe_load(text)
    spec["levels"]["gap@cheap"]["unit"] = "meV"
    (other / "toy.yaml").write_text(yaml.safe_dump(spec))
    a = tlpot.predict(tmp_path / "m.safetensors", data["files"][0], spec=data["spec"], **DEAR)
    b = tlpot.predict(tmp_path / "m.safetensors", there["files"][0], spec=there["spec"], **DEAR)
    np.testing.assert_allclose(a.energy, b.energy, rtol=1e-6)


def test_files_without_the_value_are_refused(data, parent, tmp_path):
    output = tmp_path / "m.safetensors"
    with pytest.raises(UnknownLevelError, match="gap@nowhere"):
        told(data, parent, output, known="gap@nowhere")
    frames = labelled()
    del frames[7].info["cheap"]
    partly = write_data(tmp_path, frames)
    with pytest.raises(DataError, match="gap@cheap"):
        told(partly, parent, output)
    alike = labelled()
    for atoms in alike:
        atoms.info["cheap"] = 1.0
    same = tmp_path / "same"
    same.mkdir()
    with pytest.raises(DataError, match="says nothing"):
        told(write_data(same, alike), parent, output)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"known": "gap@dear"}, "is to be learned"),
        ({"known": "metal@cheap"}, "no scalar"),
        ({"level": "metal@cheap"}, "known"),
        ({"name": "delta"}, "known"),
        ({"name": "multihead"}, "known"),
    ],
)
def test_what_cannot_be_told_is_refused(data, parent, tmp_path, settings, key):
    with pytest.raises(ConfigError, match=key):
        told(data, parent, tmp_path / "m.safetensors", **settings)


def test_an_extensive_property_and_a_positive_one(data, parent, tmp_path):
    volume = told(
        data, parent, tmp_path / "v.safetensors", level="volume@cheap", known="hardness@cheap"
    )
    assert np.isfinite(volume.end.overall["property_mae"])
    hard = told(data, parent, tmp_path / "h.safetensors", level="hardness@cheap")
    assert not hard.potential.target("hardness@cheap").known.logarithm


def test_learning_curves_compare_models_that_are_told_with_others(data, parent, tmp_path):
    found = tlpot.learning_curve(
        parent.output,
        config={"data": data, "split": {"by": "random", "validation": 12, "test": 12}},
        level="gap@dear", sizes=[12, 36], seeds=1, output=tmp_path / "curve", progress=False,
        strategies=["frozen-ridge", {"name": "frozen-ridge", "known": "gap@cheap"}],
    )  # fmt: skip
    errors = {s.label: [p.end["property_mae"] for p in s.points] for s in found.curve.series}
    assert errors["frozen-ridge known=gap@cheap"][1] < 0.5 * errors["frozen-ridge"][1]


def test_of_logarithms_one_is_no_zero():
    known = KnownValue(level="k@pbe", unit="GPa", slope=1.0, logarithm=True)
    columns = known_columns(known, torch.tensor([1.0, 2.0], dtype=torch.float64))
    np.testing.assert_allclose(columns, [[0.0, 0.0], [np.log(2.0), 0.0]])


def test_a_network_from_scratch_is_told_too(data, tmp_path):
    def trained(known=None, level="gap@dear"):
        return tlpot.train(
            config={"data": data, "model": MODEL, "split": SPLIT, "training": {"batch_size": 4}},
            level=level, output=tmp_path / "m.safetensors", epochs=10, progress=False,
            overwrite=True, known=known,
        )  # fmt: skip

    plain, told = trained(), trained("gap@cheap")
    target = told.potential.target("gap@dear")
    assert target.known.slope == pytest.approx(1.3, abs=0.15)
    (line,) = [b for b in told.baselines if b.name == "line on gap@cheap"]
    # step 0 is the line, the step at zero and the composition
    assert told.start.overall["property_mae"] < line.errors["property_mae"]
    assert told.end.overall["property_mae"] < 0.5 * plain.end.overall["property_mae"]
    again = tlpot.evaluate(
        tmp_path / "m.safetensors", tlpot.open_dataset(*data["files"], data["spec"]),
        level="gap@dear", split=tmp_path / "m.run" / "split.json",
    )  # fmt: skip
    assert again.errors.overall["property_mae"] == pytest.approx(
        told.end.overall["property_mae"], rel=1e-4
    )
    assert told.potential.card.recipe["known"] == "gap@cheap"
    assert "known" not in plain.potential.card.recipe
    for level, known, error in (
        (["gap@dear", "metal@cheap"], "gap@cheap", ConfigError),
        ("metal@cheap", "gap@cheap", ConfigError),
        ("gap@dear", "gap@dear", ConfigError),
        ("gap@dear", "gap@nowhere", UnknownLevelError),
    ):
        with pytest.raises(error, match=r"known|nowhere"):
            trained(known, level)


@pytest.fixture(scope="module")
def model(data, parent, tmp_path_factory):
    """A file of a model that is told the cheap gap."""
    return told(data, parent, tmp_path_factory.mktemp("told") / "m.safetensors").output


KEYS = {"gap@cheap": "cheap, eV, intensive", "gap@dear": "dear, eV, intensive"}


@pytest.mark.fault
def test_files_are_evaluated_with_the_value(data, model, tmp_path):
    (file,), split = data["files"], model.with_suffix(".run") / "split.json"
    dataset = tlpot.open_dataset(file, data["spec"])
    expected = tlpot.evaluate(model, dataset, split=split, **DEAR).as_json()
    native = tmp_path / "native.h5"
    tlpot.convert_dataset(file, native, spec=data["spec"])
    for given, reading in ((file, {"spec": data["spec"]}), (file, {"keys": KEYS}), (native, {})):
        there = split if given == file else None
        found = tlpot.evaluate(model, given, split=there, **reading, **DEAR)
        if given == file:
            assert found.as_json() == expected
        seen = nullcontext() if there else pytest.warns(TLPotWarning, match="was trained on")
        with seen:
            page = tlpot.report(
                model, given, level="gap@dear", split=there, **reading, progress=False
            )
        assert page.errors.overall == found.errors.overall


@pytest.mark.fault
def test_commands_take_the_value_from_keys(data, model, capsys):
    (file,), keys = data["files"], [f"{name}={text}" for name, text in KEYS.items()]
    told_words = ["--level", "gap@dear", "--keys", *keys]
    for words in (["evaluate", str(model), file], ["report", str(model), file]):
        assert main([*words, *told_words]) == 0
    assert main(["predict", str(model), file, *told_words]) == 0
    capsys.readouterr()
    for command in ("evaluate", "predict"):
        assert main([command, str(model), file, "--level", "gap@dear"]) == 2
        error = capsys.readouterr().err
        assert "gap@cheap" in error
        assert "--spec" in error
        assert "name it with --level" not in error
