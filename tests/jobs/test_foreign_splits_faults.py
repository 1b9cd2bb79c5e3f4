"""Test frames of another split than that of the training may have been trained on."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from shipped_levels import DFT

import tlpot
from tlpot.data import make_split, open_dataset
from tlpot.errors import TLPotWarning
from tlpot.jobs.seen_frames import held_out_hash
from tlpot.models import LIBRARY, load_potential

pytestmark = pytest.mark.train

DATA = LIBRARY / "tlpot-qm.h5"


@pytest.mark.fault
def test_a_split_that_is_not_that_of_the_training_is_told():
    """The errors of `--split NEW --part test` were those of training frames, without a word."""
    dataset = open_dataset([DATA], level=DFT)
    own, other = (
        make_split(dataset, by="random", validation=40, test=60, seed=seed) for seed in (0, 1)
    )
    assert np.isin(other.test, own.train).mean() > 0.8
    model = load_potential("tlpot-tiny", device="cpu")
    model.card = replace(
        model.card,
        dataset={
            "content_hash": dataset.content_hash,
            "split": {"by": "random", "seed": 0, "validation": 40, "test": 60,
                      "held_out": held_out_hash(own)},
        },
    )  # fmt: skip
    found = {
        name: tlpot.evaluate(model, DATA, level=DFT, split=split, part=part, device="cpu").text()
        for name, split, part in (
            ("own", own, "test"), ("other", other, "test"), ("training", other, "train")
        )
    }  # fmt: skip
    assert "may have been trained on" not in found["own"] + found["training"]
    assert "these test frames may have been trained on" in found["other"]
    settings = {"level": DFT, "report": {"parts": []}, "device": "cpu"}
    with pytest.warns(TLPotWarning, match="may have been trained on"):
        tlpot.report(model, DATA, split=other, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TLPotWarning)
        tlpot.report(model, DATA, split=own, **settings)
