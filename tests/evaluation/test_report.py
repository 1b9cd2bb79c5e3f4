"""Predictions, error tables and the parity plot."""

import json
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from training_toys import CUTOFF, ToyDataset, ToyPotential, make_frames

from tlpot.data import collate
from tlpot.energy import evaluate
from tlpot.errors import DataError, OutputError
from tlpot.evaluation import error_report, parity_figure, predict
from tlpot.presentation import drawn


@pytest.fixture
def frames():
    return make_frames(12)


@pytest.fixture
def model():
    return ToyPotential(("low", "high")).at("low")


@pytest.fixture
def predictions(model, frames):
    return predict(model, ToyDataset(frames), range(12), "low", batch_size=5)


def test_predictions_are_those_of_single_frames(model, frames, predictions):
    offsets = np.concatenate([[0], np.cumsum(predictions.sizes)])
    assert sorted(predictions.indices) == list(range(12))
    for k, index in enumerate(predictions.indices):
        frame = frames[index]
        found = evaluate(model, collate([frame], CUTOFF, ()).graph)
        atoms = slice(offsets[k], offsets[k + 1])
        assert predictions.groups[k] == frame.group
        assert predictions.energy[k, 0] == frame.labels["low"].energy
        assert predictions.energy[k, 1] == pytest.approx(found.energy.item(), abs=1e-9)
        np.testing.assert_allclose(predictions.forces[atoms, :, 0], frame.labels["low"].forces)
        np.testing.assert_allclose(predictions.forces[atoms, :, 1], found.forces, atol=1e-12)
        np.testing.assert_array_equal(
            predictions.atomic_numbers[atoms], frame.system.atomic_numbers
        )


def test_errors_overall_by_molecule_and_by_element(predictions):
    report = error_report(predictions)
    energy = 1e3 * (predictions.energy[:, 1] - predictions.energy[:, 0])
    force = 1e3 * (predictions.forces[..., 1] - predictions.forces[..., 0])
    assert report.overall["energy_mae"] == pytest.approx(np.abs(energy).mean())
    per_atom = energy / predictions.sizes
    assert report.overall["energy_per_atom_rmse"] == pytest.approx(np.sqrt((per_atom**2).mean()))
    assert report.overall["forces_mae"] == pytest.approx(np.abs(force).mean())
    three = predictions.groups == "molecule3"
    row = report.by_molecule["molecule3"]
    assert row["n_frames"] == 4
    assert row["energy_mean"] == pytest.approx(energy[three].mean())
    assert row["forces_mae"] == pytest.approx(
        np.abs(force[np.repeat(three, predictions.sizes)]).mean()
    )
    oxygen = np.abs(force[predictions.atomic_numbers == 8]).mean()
    assert report.by_element["O"]["forces_mae"] == pytest.approx(oxygen)


def test_report_goes_to_json_and_text(predictions):
    report = error_report(predictions)
    content = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert content["overall"] == dict(report.overall)
    text = report.text()
    assert "12 frames" in text
    assert f"{report.overall['energy_mae']:.4g}" in text
    assert all(name in text for name in ("molecule2", "molecule3", "molecule4", "meV/Å", "O"))


def test_levels_with_holes_and_without_forces(model, frames):
    report = error_report(predict(model, ToyDataset(frames), range(12), "high"))
    assert "forces_mae" not in report.overall
    assert report.by_element == {}
    known = [f.labels["high"].energy for f in frames if "high" in f.labels]
    assert report.overall["n_frames"] == 12
    assert len(known) == 4
    json.dumps(report.as_json(), allow_nan=False)
    assert "forces" not in report.text()


def test_nothing_labelled_is_an_error(model, frames):
    with pytest.raises(DataError, match="high"):
        predict(model, ToyDataset(frames), [1, 2, 4], "high")


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_parity_plot_writes_the_format_of_the_name(predictions, tmp_path, suffix):
    backend = matplotlib.get_backend()
    path = tmp_path / f"parity.{suffix}"
    drawn(parity_figure(predictions, "toy"), path)
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(start)
    assert matplotlib.get_backend() == backend


def test_parity_plot_of_energies_alone_of_one_frame_and_of_perfect_predictions(
    model, frames, predictions, tmp_path
):
    drawn(
        parity_figure(predict(model, ToyDataset(frames), range(12), "high"), ""), tmp_path / "e.png"
    )
    drawn(parity_figure(predict(model, ToyDataset(frames), [0], "low"), ""), tmp_path / "one.png")
    perfect = replace(
        predictions,
        energy=predictions.energy[:, [0, 0]],
        forces=predictions.forces[..., [0, 0]],
    )
    drawn(parity_figure(perfect, ""), tmp_path / "perfect.png")
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_parity_plot_into_a_folder_that_does_not_exist(predictions, tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        drawn(parity_figure(predictions, ""), tmp_path / "nowhere" / "parity.png")
