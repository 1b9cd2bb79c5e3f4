"""Short dynamics: a good model holds a molecule together, an explosive toy does not."""

import json

import numpy as np
import pytest
import torch
from probe_toys import PairToy, frames

from tlpot.calculators import TLPotCalculator
from tlpot.data import open_dataset
from tlpot.evaluation import choose_frame, probe_stability
from tlpot.models import LIBRARY


def test_the_shipped_model_holds_methanol_together():
    data = open_dataset([LIBRARY / "tlpot-qm.h5"])
    index = int(np.flatnonzero(np.array(data.group_names)[data.group_idx] == "methanol")[0])
    (frame,) = data.read([index], [])
    run = probe_stability(frame, TLPotCalculator("tlpot-tiny", device="cpu"), steps=60)
    assert run.broken == ""
    assert len(run.samples) == 61
    assert run.picoseconds == pytest.approx(0.03)
    assert np.abs(run.deviations).max() < 5.0
    assert 1.0 <= run.stretch < 1.4
    assert "intact" in run.summary()
    assert json.loads(json.dumps(run.as_json(), allow_nan=False))["broken"] is None


def test_velocities_are_those_of_300_kelvin_and_of_the_seed():
    (frame, *_) = frames()
    calculator = TLPotCalculator(PairToy())
    runs = [probe_stability(frame, calculator, steps=2, seed=s) for s in (1, 1, 2)]
    assert [r.samples[0].temperature for r in runs] == pytest.approx([300.0] * 3)
    ends = [r.samples[-1].potential for r in runs]
    assert ends[0] == ends[1] != ends[2]


def test_an_exploding_toy_is_broken():
    (frame, *_) = frames()
    toy = PairToy(pair=lambda r: 200.0 * torch.exp(-r))
    run = probe_stability(frame, TLPotCalculator(toy), steps=200)
    assert "times its first length" in run.broken
    assert len(run.samples) < 200
    assert run.stretch > 1.6
    assert "BROKEN" in run.summary()


def test_energies_that_are_not_finite_are_broken():
    (frame, *_) = frames()
    first = []

    def poisoned(r):
        first.append(1)
        return torch.exp(-r) * (float("nan") if len(first) > 5 else 1.0)

    run = probe_stability(frame, TLPotCalculator(PairToy(pair=poisoned)), steps=50)
    assert run.broken
    assert len(run.samples) < 10
    json.dumps(run.as_json(), allow_nan=False)


def test_the_frame_is_the_calmest_of_the_largest_molecule():
    some = frames(("H2O", "CH3OH", "CH3OH", "CH3OH"), shake=0.2)
    chosen = choose_frame(some, PairToy())
    energies = {
        f.name: probe_stability(f, TLPotCalculator(PairToy()), steps=1).samples[0].potential
        for f in some[1:]
    }
    assert chosen.name == min(energies, key=energies.get)
    assert choose_frame([], PairToy()) is None
