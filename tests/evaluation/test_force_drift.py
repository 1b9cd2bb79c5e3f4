"""Force drift and forgetting against what is known in closed form."""

import numpy as np
import pytest
from probe_toys import PairToy, frames, repulsion

from tlpot.evaluation import force_drift
from tlpot.evaluation.offsets import centred, composition_idx


def test_a_model_does_not_drift_from_itself():
    drift = force_drift(PairToy(), PairToy(), frames())
    assert drift.rms == 0.0
    assert drift.as_json()["relative_energy_rms"] == 0.0
    assert drift.n_frames == 3


def test_other_reference_energies_are_no_drift():
    drift = force_drift(PairToy(references={1: -3.0, 8: -70.0}), PairToy(), frames())
    assert drift.rms == 0.0
    assert drift.as_json()["relative_energy_rms"] < 1e-9


def test_a_scaled_model_drifts_by_the_scale():
    drift = force_drift(PairToy(pair=lambda r: 1.25 * repulsion(r)), PairToy(), frames())
    assert drift.relative == pytest.approx(0.25)
    assert drift.rms == pytest.approx(0.25 * drift.parent_rms)
    found = drift.as_json()
    assert set(found["forces_rms_by_element"]) == {"H", "C", "O"}
    weights = np.bincount(drift.atomic_numbers, minlength=9)[[1, 6, 8]]
    squares = np.square(list(found["forces_rms_by_element"].values()))
    assert np.sqrt((weights * squares).sum() / weights.sum()) == pytest.approx(drift.rms)
    assert "25 % of its forces" in drift.summary()


def test_energies_are_compared_only_within_a_composition():
    drift = force_drift(PairToy(pair=lambda r: 2 * repulsion(r)), PairToy(), frames())
    assert len(drift.energies) == 2  # the one water frame has nothing to be relative to
    assert drift.energies.sum() == pytest.approx(0.0, abs=1e-9)


def test_compositions_do_not_depend_on_the_order_of_atoms():
    sizes = np.array([3, 3, 2])
    numbers = np.array([1, 8, 1, 8, 1, 1, 1, 8])
    assert composition_idx(sizes, numbers).tolist() == [0, 0, 1]


def test_a_group_of_one_has_no_relative_value():
    found = centred(np.array([1.0, 3.0, 7.0]), np.array([0, 0, 1]))
    assert found[:2].tolist() == [-1.0, 1.0]
    assert np.isnan(found[2])
