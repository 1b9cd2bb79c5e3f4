"""What is said of a model of a property: coverage of its intervals, report, calibration."""

import json

import numpy as np
import pytest
import torch
from ase.build import bulk
from toy_crystals import MODEL, SPLIT, crystals, write_toy

import tlpot
from tlpot.cli import main
from tlpot.data import Split, evaluation_batches, open_dataset
from tlpot.errors import ConfigError, TLPotWarning
from tlpot.evaluation import PropertyReport
from tlpot.evaluation.property_errors import interval_coverage
from tlpot.models import Calibration

pytestmark = pytest.mark.train

QUIET = {"progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("toy")


@pytest.fixture(scope="module")
def data(folder):
    return write_toy(folder, 90)


@pytest.fixture(scope="module")
def split():
    return {**SPLIT, "train": 40, "validation": 20, "test": 30}


def trained(data, folder, split, name, level, **settings):
    return tlpot.train(
        config={"data": data, "model": MODEL, "split": split, "training": {"batch_size": 4}},
        level=level, output=folder / f"{name}.safetensors", epochs=4, progress=False, **settings,
    ).output  # fmt: skip


@pytest.fixture(scope="module")
def parent(data, folder, split):
    return trained(data, folder, split, "parent", "hardness@cheap")


@pytest.fixture(scope="module")
def process(parent, data, folder, split):
    """A Gaussian process of a positive property."""
    return tlpot.finetune(
        parent, config={"data": data, "split": split}, level="hardness@cheap", progress=False,
        strategy="frozen-gp", output=folder / "gp.safetensors",
    ).output  # fmt: skip


def test_intervals_are_counted():
    errors = np.array([0.5, -1.5, 1.8, np.nan])
    found = interval_coverage(errors, np.zeros(4), np.ones(4), None)
    # half widths are 0.67, 1.00, 1.64 and 1.96
    np.testing.assert_allclose(found.found, [1 / 3, 1 / 3, 2 / 3, 1.0])
    assert (found.n_frames, found.mean_std, found.calibrated) == (3, 1.0, False)
    scores = torch.arange(1.0, 11.0, dtype=torch.float64)
    calibration = Calibration(scores, 0.5)  # of 0.9 the tenth of ten, of 0.95 there is none
    conformal = interval_coverage(errors, np.zeros(4), np.full(4, 0.15), calibration)
    np.testing.assert_allclose(conformal.found, [0.0, 0.0, 0.0, np.nan])
    wide = interval_coverage(errors, np.zeros(4), np.full(4, 1.0), calibration)
    np.testing.assert_allclose(wide.found, [1 / 3, 1 / 3, 2 / 3, np.nan])
    assert wide.as_json()["found"][-1] is None


def test_evaluations_say_how_often_labels_are_within_intervals(process, data, folder):
    found = tlpot.evaluate(
        process, data["files"][0], spec=data["spec"], level="hardness@cheap", **QUIET,
        split=folder / "gp.run" / "split.json",
    )  # fmt: skip
    assert "intervals for" in found.text()
    assert "GPa, not calibrated" in found.text()
    numbers = found.as_json()["intervals"]
    error = np.abs(np.diff(found.predictions.energy, axis=1)[:, 0])
    inside = (error <= 1.0006 * found.predictions.std).mean()
    assert numbers["found"][1] == pytest.approx(inside)
    assert numbers["n_frames"] == 30


def test_deviations_of_a_positive_property_are_in_its_unit(process, data):
    """The process is of the logarithm, so its deviations are shares of the value."""
    model = tlpot.load(process, device="cpu").at("hardness@cheap")
    dataset = tlpot.open_dataset(data["files"][0], data["spec"])
    (batch,) = evaluation_batches(
        model, dataset, np.arange(20), (), device="cpu", batch_size=32, show=False
    )
    found, spread = model.predict(batch.graph, forces=False)
    head = model.potential.head("hardness@cheap")
    species, scalars, _ = model.invariants(batch.graph)
    inputs = model.regressor_inputs(batch.graph, species, scalars, head.process.info.blocks)
    latent = head.process.energy_std(*inputs, batch.graph.system_idx, 20)
    torch.testing.assert_close(spread.energy_std, found.energy * latent)


def test_a_report_has_errors_coverage_and_what_needs_no_network(process, parent, data, tmp_path):
    run = process.with_suffix(".run") / "split.json"
    command = [
        "report", str(process), data["files"][0], "--spec", data["spec"], "--level",
        "hardness@cheap", "--split", str(run), "--parent", str(parent), "-o", str(tmp_path),
    ]  # fmt: skip
    assert main(command) == 0
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.txt").read_text()
    for words in ("R²", "composition only", "hold, of the labels", "data:image/png", "GPa"):
        assert words in page
    for words in ("composition only", "the parent's hardness@cheap", "largest errors"):
        assert words in text
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["overall"]["n_frames"] == 30
    assert set(numbers["baselines"]) == {
        "mean", "composition only", "the parent's hardness@cheap",
    }  # fmt: skip
    errors = [abs(row["label"] - row["prediction"]) for row in numbers["worst"]]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == 10
    assert max(errors) >= numbers["overall"]["property_mae"]
    assert main([*command, "report.md_steps=3"]) == 2


def test_without_a_split_nothing_is_fitted(process, data):
    with pytest.warns(TLPotWarning, match="is what 'gp' was trained on"):
        found = tlpot.report(
            process, data["files"][0], spec=data["spec"], level="hardness@cheap", **QUIET
        )
    assert isinstance(found, PropertyReport)
    assert "--split" in found.text()
    assert "--split" in found.html()
    with pytest.warns(TLPotWarning), pytest.raises(ConfigError, match="property"):
        tlpot.report(
            process, data["files"][0], spec=data["spec"], level="hardness@cheap",
            report={"parts": ["drift"]}, **QUIET,
        )  # fmt: skip


def test_yes_and_no_are_counted(data, folder, split):
    model = trained(data, folder, split, "metal", "metal@cheap")
    found = tlpot.report(
        model, data["files"][0], spec=data["spec"], level="metal@cheap", part="test",
        split=folder / "metal.run" / "split.json", **QUIET,
    )  # fmt: skip
    page = found.html()
    assert "said yes" in page
    assert "how sure the model is" in page
    assert (
        sum(found.errors.overall[k] for k in ("true_yes", "true_no", "false_yes", "false_no")) == 30
    )
    assert found.errors.intervals is None


def test_an_ensemble_is_calibrated_in_the_unit_of_the_property(data, folder, split, tmp_path):
    members = [
        trained(data, folder, split, f"m{k}", "volume@cheap", training={"seed": k})
        for k in (0, 1, 2)
    ]
    shared = {"level": "volume@cheap", "spec": data["spec"], "progress": False}
    joined = tlpot.ensemble(
        [str(m) for m in members], data["files"][0], output=tmp_path / "e.safetensors",
        split=members[0].with_suffix(".run") / "split.json", **shared,
    )  # fmt: skip
    assert "A^3" in joined.text()
    assert "meV" not in joined.text()
    joined.calibrated.plot(tmp_path / "e.png")
    found = tlpot.evaluate(
        tmp_path / "e.safetensors", data["files"][0],
        split=members[0].with_suffix(".run") / "split.json", **shared,
    )  # fmt: skip
    assert "A^3, calibrated" in found.text()
    # σ stands for 68.3 %, in evaluation as in calibration
    assert found.errors.intervals.found[1] == pytest.approx(
        joined.calibrated.report.rows[1].interval
    )
    with pytest.warns(TLPotWarning, match="was trained on"):
        page = tlpot.report(tmp_path / "e.safetensors", data["files"][0], **shared)
    assert "conformal" in page.html()


@pytest.mark.fault
def test_a_calculator_says_how_sure_it_is_of_a_property(process, parent):
    """`tlpot predict` did, and the calculator of the same model did not."""
    atoms = crystals(1)[0]
    found = tlpot.predict(process, [atoms], **QUIET)
    atoms.calc = tlpot.TLPotCalculator(process, device="cpu")
    std = atoms.calc.get_property("hardness@cheap_std", atoms)
    assert std == pytest.approx(found.energy_std[0], rel=1e-5)
    assert atoms.calc.results["hardness@cheap"] == pytest.approx(found.energy[0], rel=1e-5)
    bare = tlpot.TLPotCalculator(parent, device="cpu")
    assert "hardness@cheap_std" not in bare.implemented_properties


@pytest.mark.fault
def test_intervals_of_a_process_hold_with_few_labels_of_many_elements(folder):
    """The composition was fitted to the same labels: 95 % intervals held a third of the others."""
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    metals = ("Li", "Na", "K", "Rb", "Cs", "Ag", "Cu", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd")
    anions = ("F", "Cl", "Br", "I", "O", "S", "Se", "Te")
    frames = []
    for _ in range(160):
        atoms = bulk(f"{rng.choice(metals)}{rng.choice(anions)}", "rocksalt", a=rng.uniform(4.5, 6))
        atoms.info["value"] = float(atoms.numbers.mean() / 10 + rng.normal())
        frames.append(atoms)
    dataset = open_dataset(frames, keys={"hardness@dft": "value, GPa, intensive"})
    held = {50: [], 90: []}
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(160)
        split = Split(
            train=np.sort(order[:24]), validation=np.sort(order[24:32]), test=np.sort(order[32:]),
            by="hand", seed=seed, content_hash=dataset.content_hash,
        )  # fmt: skip
        model = tlpot.finetune(
            "tlpot-gap-pbe", dataset, level="hardness@dft", split=split, strategy="frozen-gp",
            output=folder / "few.safetensors", overwrite=True, **QUIET,
        ).output  # fmt: skip
        found = tlpot.evaluate(model, dataset, level="hardness@dft", split=split, device="cpu")
        held[50].append(found.errors.intervals.found[0])
        held[90].append(found.errors.intervals.found[2])
    assert 0.35 < np.mean(held[50]) < 0.85
    assert np.mean(held[90]) > 0.8
