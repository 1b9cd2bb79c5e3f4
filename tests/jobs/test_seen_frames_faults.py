"""Frames that a model was trained on are told in whatever file they come."""

import warnings

import pytest
import torch
from ase.io import write

import tlpot
from tlpot.errors import ConfigError, TLPotWarning
from tlpot.models import LIBRARY, Ensemble, load

pytestmark = pytest.mark.train

CC = "ccsd(t)/cbs(dt)"
TEST = ["ethanol", "methanol"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seen")
    tlpot.finetune(
        "tlpot-tiny", LIBRARY / "tlpot-qm.h5", level=CC, strategy="head", epochs=2,
        split={"by": "molecule", "test": TEST, "validation": ["ketene"]}, device="cpu",
        output=folder / "m.safetensors", report={"enabled": False},
    )  # fmt: skip
    return folder


def part(folder, name, *, seen, unseen):
    """A file of its own with some frames of the training and some others."""
    split = tlpot.data.load_split(folder / "m.run" / "split.json", dataset())
    chosen = [*split.train[:seen].tolist(), *split.test[:unseen].tolist()]
    path = folder / f"{name}.xyz"
    frames = [dataset()[k].to_atoms(CC) for k in chosen]
    write(path, frames, format="extxyz")
    return path


def dataset():
    return tlpot.open_dataset(LIBRARY / "tlpot-qm.h5", level=CC)


@pytest.mark.fault
def test_evaluations_and_reports_say_so(fitted):
    """Errors of training frames came without a word where they stood in another file."""
    model = load(fitted / "m.safetensors", device="cpu")
    mixed, other = part(fitted, "mixed", seen=7, unseen=5), part(fitted, "other", seen=0, unseen=9)
    settings = {"level": CC, "device": "cpu"}
    text = tlpot.evaluate(model, mixed, **settings).text()
    assert "7 of these 12 frames are structures that" in text
    assert "say nothing about others" in text
    assert "structures that" not in tlpot.evaluate(model, other, **settings).text()
    settings["report"] = {"parts": []}
    with pytest.warns(TLPotWarning, match="7 of these 12 frames"):
        tlpot.report(model, mixed, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TLPotWarning)
        tlpot.report(model, other, **settings)


@pytest.mark.fault
def test_a_calibration_refuses_them(fitted):
    """An ensemble was calibrated on a file that held its training frames and more."""
    model = load(fitted / "m.safetensors", device="cpu")
    other = load(fitted / "m.safetensors", device="cpu")
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    members = Ensemble([model, other])
    mixed = part(fitted, "more", seen=30, unseen=30)
    with pytest.raises(ConfigError, match=r"30 of these 60 frames.*has not seen"):
        tlpot.calibrate(members, mixed, level=CC)


def test_held_out_frames_of_the_training_are_none_of_them(fitted):
    model = load(fitted / "m.safetensors", device="cpu")
    text = tlpot.evaluate(
        model,
        LIBRARY / "tlpot-qm.h5",
        level=CC,
        split=fitted / "m.run" / "split.json",
        device="cpu",
    ).text()
    assert "structures that" not in text
