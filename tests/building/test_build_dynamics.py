"""Dynamics and relaxations of a build: however they are stopped, they come out the same."""

from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator

from tlpot.building import dynamics
from tlpot.building.config import ActiveSettings
from tlpot.building.dynamics import relaxed, run_dynamics
from tlpot.building.exploration import _visited
from tlpot.building.structures import Target
from tlpot.calculators import FragmentCalculator
from tlpot.dynamics import MDSettings
from tlpot.errors import DataError
from tlpot.structures import build_peptide


@pytest.fixture(scope="module")
def target():
    return Target.of("ala", [build_peptide("GG", conformation="helix")])


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


def resumed(function, asked=1):
    """Calls until nothing stops it any more; an attempt is stopped when it has asked so often."""
    attempts = 0
    while True:
        attempts += 1
        assert attempts < 300
        try:
            return function(after(asked)), attempts
        except KeyboardInterrupt:
            pass


def test_dynamics_that_were_stopped_are_the_same_to_the_last_bit(target, calculator, tmp_path):
    md = MDSettings(ensemble="langevin", temperature=600.0, timestep=1.0, steps=48, log_every=8)

    def run(folder, **rest):
        return run_dynamics(tmp_path / folder, target.frames[0], calculator, md, show=False, **rest)

    whole = run("whole")
    pieces, attempts = resumed(lambda stop: run("pieces", stop=stop))
    assert attempts == len(whole.moments) == 7
    for one, other in zip(whole.moments, pieces.moments, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.momenta, other.momenta)
        assert one.total == other.total


@pytest.fixture
def strained(target):
    atoms = target.frames[0].copy()
    atoms.rattle(0.02, seed=1)
    return atoms


def test_a_relaxation_that_was_stopped_is_the_same_to_the_last_bit(strained, calculator, tmp_path):
    whole = relaxed(tmp_path / "whole", strained, calculator)
    pieces, attempts = resumed(
        lambda stop: relaxed(tmp_path / "pieces", strained, calculator, stop=stop), 3
    )
    assert attempts > 5
    np.testing.assert_array_equal(pieces.positions, whole.positions)
    assert sorted(path.name for path in (tmp_path / "pieces").iterdir()) == ["relaxed.npz"]
    whole.calc = calculator()
    assert np.linalg.norm(whole.get_forces(), axis=1).max() < 0.05


def test_a_relaxation_without_end_ends_after_its_steps_however_often_it_was_stopped(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(dynamics, "_STEPS", 50)

    class Slope(Calculator):
        """A toy force that is 2 / (1 + z), and too large to end at wherever 50 steps lead."""

        implemented_properties = ("energy", "forces")

        def calculate(self, atoms, properties, changes):
            super().calculate(atoms, properties, changes)
            z = atoms.positions[0, 2]
            self.results = {"energy": -2 * np.log1p(z), "forces": np.array([[0, 0, 2 / (1 + z)]])}

    pieces, attempts = resumed(
        lambda stop: relaxed(tmp_path / "pieces", Atoms("Ar"), Slope, stop=stop), 8
    )
    whole = relaxed(tmp_path / "whole", Atoms("Ar"), Slope)
    np.testing.assert_array_equal(pieces.positions, whole.positions)
    assert attempts > 5
    assert 4.5 < whole.positions[0, 2] < 5.0


def test_a_damaged_relaxation_is_refused_by_name(strained, calculator, tmp_path):
    (tmp_path / "relaxing.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"relaxing.npz is damaged .* remove it"):
        relaxed(tmp_path, strained, calculator)


def test_the_relaxations_of_a_round_heed_the_wish_to_stop(strained, calculator, tmp_path):
    """Not only the dynamics that follow them."""
    assembly = SimpleNamespace(calculator=lambda *models, device: calculator())
    work = SimpleNamespace(folder=tmp_path, device="cpu", stop=after(3), of=lambda *names: tmp_path)
    there = Target.of("ala", [strained])
    with pytest.raises(KeyboardInterrupt):
        _visited(work, 1, ActiveSettings(), assembly, there, tmp_path)
    assert [path.name for path in (tmp_path / "ala-0").iterdir()] == ["relaxing.npz"]
