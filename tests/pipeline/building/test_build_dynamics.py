"""Dynamics and relaxations of a build: however they are stopped, they come out the same."""

import numpy as np
import pytest

from tlpot.fragments import build_peptide
from tlpot.interfaces import FragmentCalculator, MDSettings
from tlpot.pipeline.building.dynamics import run_dynamics
from tlpot.pipeline.building.structures import Target


@pytest.fixture(scope="module")
def target():
    return Target.of("ala", [build_peptide("AA", conformation="helix")])


@pytest.fixture
def calculator(target):
    def make():
        return FragmentCalculator(target.frames[0], "tlpot-tiny", "mfcc_mbe2",
                                  topology=target.topology, device="cpu")  # fmt: skip

    return make


def after(count):
    """Says stop when it was asked `count` times."""
    asked = iter(range(count))
    return lambda: next(asked, None) is None


def resumed(function):
    """Calls until nothing stops it any more; each attempt is stopped when it asks again."""
    attempts = 0
    while True:
        attempts += 1
        assert attempts < 300
        try:
            return function(after(1)), attempts
        except KeyboardInterrupt:
            pass


def test_dynamics_that_were_stopped_are_the_same_to_the_last_bit(target, calculator, tmp_path):
    md = MDSettings(ensemble="langevin", temperature=600.0, timestep=1.0, steps=120, log_every=20)

    def run(folder, **rest):
        return run_dynamics(tmp_path / folder, target.frames[0], calculator, md, show=False, **rest)

    whole = run("whole")
    pieces, attempts = resumed(lambda stop: run("pieces", stop=stop))
    assert attempts == len(whole.moments) == 7
    for one, other in zip(whole.moments, pieces.moments, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.momenta, other.momenta)
        assert one.total == other.total
