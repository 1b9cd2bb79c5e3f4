"""Training, fine-tuning and evaluation of scalar properties, on crystals made by a formula."""

import numpy as np
import pytest
from ase.io import write
from toy_crystals import MODEL, SPEC, SPLIT, crystals, write_toy

import tlpot
from tlpot.errors import ConfigError, DataError, UnknownElementError
from tlpot.jobs.property_jobs import make_targets, property_baselines
from tlpot.training import fit_composition, fit_odds

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy"))


def trained(data, output, level="gap@cheap", epochs=40, **settings):
    return tlpot.train(
        config={"data": data, "model": MODEL, "split": SPLIT, "training": {"batch_size": 4}},
        level=level, output=output, epochs=epochs, progress=False, overwrite=True, **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def parent(data, tmp_path_factory):
    return trained(data, tmp_path_factory.mktemp("parent") / "parent.safetensors")


@pytest.mark.parametrize(
    ("level", "better"),
    [("gap@cheap", 0.8), ("hardness@cheap", 0.8), ("volume@cheap", 0.8)],
)
def test_training_beats_what_needs_no_network(data, tmp_path, level, better):
    found = trained(data, tmp_path / "m.safetensors", level)
    errors = {each.name: each.errors["property_mae"] for each in found.baselines}
    assert found.end.overall["property_mae"] < better * errors["composition only"]
    assert errors["composition only"] < errors["mean"]
    assert "composition only" in str(found)
    assert found.end.as_json()["units"]["property"] == SPEC["levels"][level]["unit"]


def test_yes_and_no(data, tmp_path):
    found = trained(data, tmp_path / "m.safetensors", "metal@cheap", pooling="attention")
    o = found.end.overall
    assert o["accuracy"] >= 0.75
    assert o["true_yes"] + o["false_yes"] + o["false_no"] + o["true_no"] == 12
    assert "accuracy" in str(found)
    model = tlpot.load(tmp_path / "m.safetensors")
    assert model.target("metal@cheap").pooling == "attention"


def test_several_properties_and_masks_in_one_training(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    data = write_toy(folder)
    frames = crystals(60)
    for k, atoms in enumerate(frames):
        if k % 3:
            del atoms.info["hard"]
    write(folder / "toy.xyz", frames, format="extxyz")
    found = trained(data, tmp_path / "m.safetensors", ["gap@cheap", "hardness@cheap"], epochs=60)
    assert found.end.overall["property_mae"] < found.start.overall["property_mae"]
    start, end = found.others["hardness@cheap"]
    assert end.overall["property_mae"] < start.overall["property_mae"]
    assert end.overall["n_frames"] < 12


STRATEGIES = [
    "full", "head", "scratch", "shift", "reinit", "lora", "gain", "discriminative", "gradual",
    "freeze", "l2sp", "ewc", "replay", "multihead", "delta", "frozen-ridge", "frozen-gp",
    "frozen-forest",
]  # fmt: skip


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_learns_another_level_of_a_property(data, parent, tmp_path, strategy):
    still = strategy.startswith(("frozen", "shift"))
    found = tlpot.finetune(
        parent.output, config={"data": data, "split": {**SPLIT, "train": 24}},
        level="gap@dear", strategy=strategy, output=tmp_path / "m.safetensors", progress=False,
        epochs=None if still else 10,
    )  # fmt: skip
    assert found.end.overall["property_mae"] <= found.start.overall["property_mae"] * 1.2
    names = [each.name for each in found.baselines]
    assert names[:2] == ["mean", "composition only"]
    evaluated = tlpot.evaluate(
        tmp_path / "m.safetensors", tlpot.open_dataset(*data["files"], data["spec"]),
        level="gap@dear", split=tmp_path / "m.run" / "split.json",
    )  # fmt: skip
    assert evaluated.errors.overall["property_mae"] == pytest.approx(
        found.end.overall["property_mae"], rel=1e-4
    )


def test_a_line_on_the_cheap_value_is_told(data, parent, tmp_path):
    found = tlpot.finetune(
        parent.output, config={"data": data, "split": {**SPLIT, "train": 20}}, level="gap@dear",
        strategy={"name": "delta", "low": "gap@cheap"}, output=tmp_path / "m.safetensors",
        progress=False, epochs=2,
    )  # fmt: skip
    (line,) = [each for each in found.baselines if each.name == "line on gap@cheap"]
    assert line.errors["property_mae"] < 1e-6
    # of the high level, so that they compare with those of other strategies
    names = [each.name for each in found.baselines]
    assert names == ["mean", "composition only", "line on gap@cheap", "gap@cheap + composition"]
    assert any("NO BETTER THAN LINE ON GAP@CHEAP" in text for text in found.warnings)


def test_another_property_starts_from_the_composition(data, parent, tmp_path):
    found = tlpot.finetune(
        parent.output, config={"data": data, "split": SPLIT}, level="volume@cheap",
        strategy="full", output=tmp_path / "m.safetensors", progress=False, epochs=10,
    )  # fmt: skip
    (composition,) = [b for b in found.baselines if b.name == "composition only"]
    assert found.start.overall["property_mae"] == pytest.approx(
        composition.errors["property_mae"], rel=1e-3
    )


def test_shuffled_labels_are_no_better_than_the_composition(tmp_path):
    data = write_toy(tmp_path)
    frames = crystals(60)
    values = np.random.default_rng(1).permutation([a.info["cheap"] for a in frames])
    for atoms, gap in zip(frames, values, strict=True):
        atoms.info["cheap"] = gap
    write(tmp_path / "toy.xyz", frames, format="extxyz")
    found = trained(data, tmp_path / "m.safetensors", epochs=60)
    assert any("NO BETTER THAN" in text for text in found.warnings)


def test_labels_without_anything_to_learn_are_refused(tmp_path):
    data = write_toy(tmp_path, cheap=2.0, metal=1)
    for level, key in (("gap@cheap", "all"), ("metal@cheap", "tell apart")):
        with pytest.raises(DataError, match=key):
            trained(data, tmp_path / "m.safetensors", level)


def test_what_does_not_fit_is_refused(data, parent, tmp_path):
    model = tlpot.load(parent.output)
    with pytest.raises(ConfigError, match="extensive"):
        tlpot.evaluate(
            model, tlpot.open_dataset(*data["files"], data["spec"]), level="volume@cheap"
        )
    foreign = write_toy(tmp_path)
    frames = crystals(60)
    frames[3].symbols[0] = "Cs"
    write(tmp_path / "toy.xyz", frames, format="extxyz")
    with pytest.raises(UnknownElementError, match="Cs"):
        tlpot.finetune(
            parent.output, config={"data": foreign, "split": SPLIT}, level="gap@dear",
            output=tmp_path / "m.safetensors", progress=False, epochs=2,
        )  # fmt: skip


def test_pooling_of_crystals_of_one_or_two_cells_is_alike(data):
    dataset = tlpot.open_dataset(*data["files"], data["spec"])
    everything = np.arange(len(dataset))
    targets = make_targets(dataset, everything, ["gap@cheap", "volume@cheap"], "mean")
    assert targets["gap@cheap"].pooling == "mean"
    assert targets["volume@cheap"].pooling == "sum"
    # of extensive values that per atom counts, not how many atoms there are
    per_atom = [a.info["volume"] / len(a) for a in crystals(60)]
    assert targets["volume@cheap"].spread == pytest.approx(np.std(per_atom))


def test_learning_curve_and_its_plan_in_the_unit_of_the_property(data, parent, tmp_path):
    held = {"by": "random", "validation": 12, "test": 12}
    found = tlpot.learning_curve(
        parent.output, config={"data": data, "split": held, "updates": 20},
        level="gap@dear", strategies=["scratch", "full"], sizes=[10, 20, 36], seeds=1,
        output=tmp_path / "curve", progress=False,
    )  # fmt: skip
    assert found.curve.unit == "eV"
    text = str(found)
    assert "property MAE in eV" in text
    assert "(composition only)" in text
    assert set(found.reports) == {"property_mae", "property_rmse"}
    tlpot.plan(found, target=0.1, cost_ratio=10)


def test_composition_fits():
    rng = np.random.default_rng(0)
    x = rng.dirichlet(np.ones(4), size=200)
    true = np.array([1.0, -2.0, 0.5, 3.0])
    fit = fit_composition(x, x @ true)
    np.testing.assert_allclose(fit.shifts, true, atol=0.05)
    assert fit.after < 0.05 * fit.before
    # nothing but noise is drawn to the mean
    noise = rng.normal(2.0, 1.0, 12)
    free = np.linalg.lstsq(x[:12], noise, rcond=None)[0]
    assert np.ptp(fit_composition(x[:12], noise).shifts) < 0.7 * np.ptp(free)
    odds = 1 / (1 + np.exp(-(x @ (5 * true))))
    labels = (rng.uniform(size=200) < odds).astype(float)
    logistic = fit_odds(x, labels, np.zeros(200))
    assert ((x @ logistic.shifts > 0) == (labels > 0.5)).mean() > 0.8
    with pytest.raises(DataError, match="no training structure"):
        fit_composition(x[:0], x[:0, 0])


def test_baselines_of_structures_without_labels_are_none(data):
    dataset = tlpot.open_dataset(*data["files"], data["spec"])
    from tlpot.data import make_split

    split = make_split(dataset, by="random")
    target = make_targets(dataset, split.train, ["gap@cheap"], "mean")["gap@cheap"]
    empty = np.zeros(0, dtype=np.int64)
    assert property_baselines(dataset, split, empty, "gap@cheap", target) == []


def test_ranking_of_parents_by_a_property(data, parent):
    dataset = tlpot.open_dataset(*data["files"], data["spec"])
    found = tlpot.rank(dataset, level="gap@dear", models=[str(parent.output)])
    assert "MAE in eV" in str(found)
    (composition,) = [score for score in found.scores if not score.model]
    best = found.scores[0]
    assert best.model == str(parent.output)
    assert best.errors["random"].mae < 0.8 * composition.errors["random"].mae
    # another property: features alone, and what grows with the structure is summed
    volume = tlpot.rank(dataset, level="volume@cheap", models=[str(parent.output)])
    assert {score.on for score in volume.scores if score.model} == {"total"}
    with pytest.raises(ConfigError, match="yes or no"):
        tlpot.rank(dataset, level="metal@cheap", models=[str(parent.output)])


def test_jobs_that_need_forces_say_what_is_missing(parent):
    for job in (tlpot.relax, tlpot.frequencies):
        with pytest.raises(ConfigError, match=r"forces|property"):
            job(crystals(1)[0], str(parent.output))


def test_elements_that_no_training_structure_has_are_named(data, tmp_path):
    found = tlpot.train(
        config={"data": data, "model": MODEL, "split": {"by": "element", "test": ["Br"]}},
        level="gap@cheap", output=tmp_path / "m.safetensors", dry_run=True,
    )  # fmt: skip
    assert "Br was left out" in found.preflight
    assert "species" in found.preflight


@pytest.mark.parametrize("name", ["frozen-gp", "frozen-forest", "shift"])
def test_nothing_is_said_of_forces(data, parent, tmp_path, name):
    found = tlpot.finetune(
        parent.output, config={"data": data, "split": SPLIT}, level="gap@dear", strategy=name,
        output=tmp_path / "m.safetensors", progress=False,
    )  # fmt: skip
    notes = [line for line in found.preflight.splitlines() if line.startswith("note:")]
    assert not [note for note in notes if "forces" in note or "energies" in note]
    for correction in found.potential.corrections("gap@dear"):
        facts = correction.info.fit
        assert not [key for key in facts if key.endswith("_mev")]
        assert facts["mean_abs_before"] == pytest.approx(
            found.start.overall["property_mae"], rel=0.6
        )


def test_the_readout_of_another_property_is_no_feature(data, parent, tmp_path):
    def fitted(level, source, blocks):
        return tlpot.finetune(
            source.output, config={"data": data, "split": SPLIT}, level=level, progress=False,
            strategy={"name": "frozen-ridge", "blocks": blocks}, overwrite=True,
            output=tmp_path / "m.safetensors",
        )  # fmt: skip

    fitted("gap@dear", parent, ["readout"])  # the parent's is of the same property
    fitted("hardness@cheap", parent, ["layer 1"])
    with pytest.raises(ConfigError, match="random weights"):
        fitted("hardness@cheap", parent, ["layer 1", "readout"])
