"""What a build says about its dynamics: which bonds broke, and how the runs were made."""

import numpy as np
import pytest

from tlpot.building.dynamics import Moment, Trajectory
from tlpot.building.structures import Target
from tlpot.building.validation import _summary, motion_of
from tlpot.dynamics import MDSettings
from tlpot.reports import ForceFieldReport, write_report
from tlpot.structures import build_peptide

MD = MDSettings(ensemble="nve", temperature=300.0, timestep=0.5, steps=60, log_every=20)


@pytest.fixture
def target():
    return Target.of("gly", [build_peptide("G")])


def trajectory(target, stretches, ended=""):
    """The first bond is as many times as long in each frame."""
    i, j = target.topology.bonds[0]
    moments = []
    for k, stretch in enumerate(stretches):
        positions = target.frames[0].positions.copy()
        positions[j] = positions[i] + stretch * (positions[j] - positions[i])
        moments.append(Moment(positions=positions, momenta=np.zeros_like(positions),
                              potential=0.1 * k, kinetic=1.0))  # fmt: skip
    return Trajectory(moments=tuple(moments), ended=ended, timestep=0.5, interval=20)


def test_a_bond_that_is_too_long_in_a_frame_is_broken(target):
    motion = motion_of("ff", target, trajectory(target, [1.0, 1.1, 1.7, 1.8]), MD)
    i, j = target.topology.bonds[0]
    symbols = target.frames[0].symbols
    bond = f"{symbols[i]}{i}-{symbols[j]}{j}"
    assert motion.broken == f"step 40: bond {bond} is 1.70 times its first length"
    assert motion.stretch == pytest.approx(1.8)


def test_a_run_that_was_refused_says_why(target):
    motion = motion_of("ff", target, trajectory(target, [1.0, 1.1], "bonds are broken"), MD)
    assert motion.broken == "bonds are broken"
    assert not motion_of("ff", target, trajectory(target, [1.0, 1.1]), MD).broken


def test_the_page_describes_the_runs_of_a_build(target, tmp_path):
    motion = motion_of("ff", target, trajectory(target, [1.0, 1.1, 1.7]), MD)
    report = ForceFieldReport(title="t", motions=(motion,))
    page = write_report(tmp_path, report).page.read_text(encoding="utf-8")
    assert "last frame of the Langevin run" in page
    assert "scaled to the temperature" not in page
    assert "BROKEN" in page


def test_only_runs_at_constant_energy_have_a_drift(target):
    run, n_atoms = trajectory(target, [1.0] * 4), len(target.frames[0])
    assert _summary(run, n_atoms, False)["drift"] is None
    assert _summary(run, n_atoms, True)["drift"] == pytest.approx(100.0 / n_atoms / 0.01)
    assert _summary(trajectory(target, [1.0]), n_atoms, True)["drift"] is None
