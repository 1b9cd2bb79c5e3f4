"""Predictions are a sequence of structures, know how sure forces are, and go to files of ASE."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

import tlpot
from tlpot.data import open_dataset
from tlpot.errors import OutputError
from tlpot.jobs import StructurePredictions
from tlpot.jobs.uncertainty import make_ensemble
from tlpot.models import Potential, preset
from tlpot.system import System

QUIET = {"progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def found():
    given = [molecule("H2O"), molecule("CH4"), molecule("CH3OH")]
    return tlpot.predict("tlpot-tiny", given, **QUIET)


@pytest.fixture(scope="module")
def joined():
    e0 = {1: -13.0, 6: -1030.0, 8: -2040.0}
    sizes = preset("tiny", tuple(e0), hidden_irreps="4x0e", cutoff=3.0)
    return make_ensemble([Potential.create(sizes, {"a/b": e0}, seed=k) for k in (1, 2)])


@pytest.mark.fault
def test_one_by_one(found):
    """``found[0]`` and ``list(found)`` were TypeErrors."""
    assert [len(atoms) for atoms in found] == [3, 5, 6]
    for k in (0, 2, -1):
        assert isinstance(found[k], Atoms)
        assert found[k].get_potential_energy() == found.energy[k]
        np.testing.assert_array_equal(found[k].get_forces(), found.forces[k])
    assert [len(atoms) for atoms in found[1:]] == [5, 6]
    assert found[np.int64(1)] == found.to_atoms()[1]
    with pytest.raises(IndexError, match="structure 3 of 3"):
        found[3]


@pytest.mark.fault
def test_an_ensemble_says_how_sure_its_forces_are(joined):
    """The calculator had them, and the predictions did not."""
    given = [molecule("H2O"), molecule("CH3OH")]
    found = tlpot.predict(joined, given, **QUIET)
    for k, atoms in enumerate(given):
        calculator = tlpot.TLPotCalculator(joined)
        expected = calculator.get_property("forces_std", atoms)
        np.testing.assert_allclose(found.forces_std[k], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(found[k].arrays["forces_std"], found.forces_std[k])
    assert np.shape(found.as_json()["forces_std"][1]) == (6, 3)


def test_a_single_model_has_none(found):
    assert found.forces_std is None
    assert "forces_std" not in found.as_json()


@pytest.mark.parametrize(
    "ending",
    [
        *(pytest.param(ending, marks=pytest.mark.fault) for ending in ("traj", "db", "json")),
        pytest.param("xyz", marks=pytest.mark.control),
    ],
)
def test_files_of_ase(joined, tmp_path, ending):
    """They were refused as outputs, although such files are read."""
    given = [molecule("H2O"), bulk("C", "diamond", a=3.6), molecule("CH3OH")]
    found = tlpot.predict(joined, given, output=tmp_path / f"p.{ending}", **QUIET)
    dataset = open_dataset(tmp_path / f"p.{ending}", level="x")
    assert [len(frame.system) for frame in dataset] == [3, 2, 6]
    for k, frame in enumerate(dataset):
        labels = frame.labels["x"]
        assert labels.energy == pytest.approx(found.energy[k], abs=1e-6)
        np.testing.assert_allclose(labels.forces, found.forces[k], atol=1e-6)
        if k == 1:
            np.testing.assert_allclose(labels.stress, found.stress[k], atol=1e-6)
    np.testing.assert_allclose(dataset.column("energy_std").astype(float), found.energy_std)
    # the same call again
    with pytest.raises(OutputError, match="overwrite"):
        tlpot.predict(joined, given, output=tmp_path / f"p.{ending}", **QUIET)
    tlpot.predict(joined, given, output=tmp_path / f"p.{ending}", overwrite=True, **QUIET)
    assert len(open_dataset(tmp_path / f"p.{ending}", level="x")) == 3


@pytest.mark.parametrize("ending", ["traj", "db", "json", "xyz", "h5"])
def test_charges_are_kept(tmp_path, ending):
    system = System.from_atoms(Atoms("OH", np.eye(3)[:2], info={"charge": -1, "spin": 1}))
    made = StructurePredictions(
        model="m", level="a/b", names=("one",), systems=(system,), energy=np.array([-1.0]),
        forces=(np.ones((2, 3)),), stress=np.full((1, 3, 3), np.nan), energy_std=None, domain=None,
    )  # fmt: skip
    made.write(tmp_path / f"p.{ending}")
    level = None if ending == "h5" else "x"
    assert open_dataset(tmp_path / f"p.{ending}", level=level)[0].system.charge == -1
    assert isinstance(made[0].calc, SinglePointCalculator)


def test_other_endings_are_named(found, tmp_path):
    with pytest.raises(OutputError, match=r"must end in \.xyz, .*\.traj, \.db, \.json or \.csv"):
        found.write(tmp_path / "p.cif")
