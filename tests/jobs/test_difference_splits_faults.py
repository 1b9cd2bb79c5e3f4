"""Splits of models of differences, which are those of the file that has the two levels."""

import json

import pytest
from few_labels import CC, SPLIT

import tlpot
from tlpot.errors import ConfigError, UnknownLevelError
from tlpot.evaluation import error_report
from tlpot.models import LIBRARY

pytestmark = [pytest.mark.fault, pytest.mark.train]
LOW = "gfn2-xtb"
LEVEL = f"{CC} - {LOW}"


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    """Labels at two levels, and two models of their difference."""
    folder = tmp_path_factory.mktemp("differences")
    data = folder / "both.h5"
    tlpot.select_dataset(LIBRARY / "tlpot-qm.h5", data, each=2)
    for seed in (0, 1):
        tlpot.finetune(
            "tlpot-tiny", data, level=CC, strategy={"name": "delta", "low": LOW},
            output=folder / f"{seed}.safetensors", split=SPLIT, epochs=3,
            training={
                "seed": seed, "batch_size": 4, "selection": "loss", "learning_rate": 3e-2
            }, report={"enabled": False}, progress=False,
        )  # fmt: skip
    return data, [folder / f"{seed}.safetensors" for seed in (0, 1)]


def test_a_difference_is_calibrated_on_its_own_split(differences):
    """The split of the training was refused as one of another dataset."""
    data, models = differences
    split = models[0].with_suffix(".run") / "split.json"
    given = {"level": LEVEL, "split": split, "progress": False}
    assert len(tlpot.calibrate(models[0], data, **given).report.text()) > 0
    joined = tlpot.ensemble(models, data, **given)
    assert joined.calibrated.model.at(LEVEL).calibration is not None


def test_differences_are_not_calibrated_on_their_training_frames(differences):
    """An ensemble was calibrated on all frames, those of the training among them."""
    data, models = differences
    with pytest.raises(ConfigError, match="trained on"):
        tlpot.ensemble(models, data, level=LEVEL, progress=False)
    found = tlpot.evaluate(models[0], data, level=LEVEL, progress=False)
    assert "trained on" in "".join(found.notes)


def test_the_split_of_a_sum_outlives_further_labels(differences, tmp_path):
    """After labels were added to the file, the split of a delta learning was refused."""
    data, models = differences
    split = json.loads((models[0].with_suffix(".run") / "split.json").read_text())
    assert split["structures"]
    path = tmp_path / "split.json"
    path.write_text(json.dumps({**split, "content_hash": "0" * 64}))
    found = tlpot.evaluate(models[0], data, level=LEVEL, split=path, progress=False)
    assert len(found.predictions.indices) == SPLIT["test"]
    card = tlpot.load(models[0]).card
    assert card.dataset["structures"] == split["structures"]


def test_reports_of_sums_and_of_differences(differences, tmp_path):
    """A sum had no report but at its end; a difference was compared with total energies."""
    data, models = differences
    report = {"md_steps": 0, "parts": ["calibration", "drift"]}
    with pytest.raises(ConfigError, match="difference"):
        tlpot.report(models[0], data, level=CC, report=report, progress=False)
    whole = tlpot.finetune(
        "tlpot-tiny", data, level=CC, strategy="delta", output=tmp_path / "sum.safetensors",
        split=SPLIT, epochs=1, report=report, progress=False,
    )  # fmt: skip
    split = whole.output.with_suffix(".run") / "split.json"
    for model in (whole.output, whole.potential):
        again = tlpot.report(
            model, data, level=CC, split=split, parent="tlpot-tiny", report=report, progress=False
        )
        mae = error_report(again.end).overall["energy_mae"]
        assert mae == pytest.approx(whole.end.overall["energy_mae"])
        assert again.drift is not None


def test_the_only_level_of_a_model_is_that_of_the_labels(differences, tmp_path):
    """It had to be named, of files of several levels, though the model has no other."""
    data, models = differences
    split = models[0].with_suffix(".run") / "split.json"
    assert tlpot.evaluate(models[0], data, progress=False).level == LEVEL
    assert tlpot.calibrate(models[0], data, split=split, progress=False).model.levels == (LEVEL,)
    tiny = tlpot.evaluate("tlpot-tiny", data, progress=False)
    assert tiny.level == "wb97x/6-31g*"
    with pytest.raises(UnknownLevelError, match="levels of theory"):
        tlpot.evaluate("tlpot-peptides-tiny", data, progress=False)
