"""Stresses among the labels: of crystals, from every engine that has them."""

import h5py
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write

import tlpot
from tlpot.engines import EngineSpec
from tlpot.labelling import label

EMT_ENGINE = "ase:ase.calculators.emt:EMT"


@pytest.fixture
def crystals():
    found = []
    for k in range(3):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * (0.97 + 0.02 * k), scale_atoms=True)
        atoms.rattle(0.05, seed=k)
        found.append(atoms)
    return found


def tensor(atoms):
    copy = atoms.copy()
    copy.calc = EMT()
    return copy.get_stress(voigt=False)


def test_crystals_get_the_stress_of_the_calculator(crystals, tmp_path):
    output = tmp_path / "labels.h5"
    report = tlpot.label(crystals, EMT_ENGINE, output, level="emt")
    assert report.n_stress == 3
    assert "(3 with stress)" in str(report)
    dataset = tlpot.open_dataset(output)
    assert "stress" in dataset.levels["emt"].kinds
    for frame, atoms in zip(dataset, crystals, strict=True):
        np.testing.assert_allclose(frame.labels["emt"].stress, tensor(atoms), atol=1e-12)
        assert np.abs(frame.labels["emt"].stress).max() > 1e-3


def test_only_what_is_periodic_in_three_directions_has_one(crystals, tmp_path):
    slab = crystals[0].copy()
    slab.pbc = [True, True, False]
    output = tmp_path / "labels.h5"
    report = tlpot.label(
        [molecule("H2O"), crystals[1], slab], EMT_ENGINE, output, level="emt", workers=2
    )
    assert report.n_labelled == 3
    assert report.n_stress == 1
    dataset = tlpot.open_dataset(output)
    assert dataset.labelled("emt", "stress").sum() == 1


@pytest.mark.parametrize("options", [{"stress": False}, {"forces": "no"}])
def test_it_can_be_left_out(crystals, tmp_path, options):
    output = tmp_path / "labels.h5"
    report = tlpot.label(crystals, EMT_ENGINE, output, level="emt", **options)
    assert report.n_stress == 0
    assert "stress" not in tlpot.open_dataset(output).levels["emt"].kinds


def test_the_journal_keeps_it(crystals, tmp_path):
    output = tmp_path / "labels.h5"
    tlpot.label(crystals, EMT_ENGINE, output, level="emt")
    whole = tlpot.open_dataset(output)[0].labels["emt"].stress
    output.unlink()
    assert tlpot.label(crystals, EMT_ENGINE, output, level="emt").n_labelled == 0
    np.testing.assert_array_equal(tlpot.open_dataset(output)[0].labels["emt"].stress, whole)


def test_stresses_of_a_file_in_voigt_form_stay(crystals, tmp_path):
    output = tmp_path / "labels.h5"
    tlpot.label(crystals[:2], EMT_ENGINE, output, level="emt")
    with h5py.File(output, "r+") as handle:
        (group,) = handle.values()
        nine = group["emt.stress"][()]
        del group["emt.stress"]
        six = nine[:, (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]
        group.create_dataset("emt.stress", data=six, maxshape=(None, 6))
    tlpot.label(crystals, EMT_ENGINE, output, level="emt")
    dataset = tlpot.open_dataset(output)
    for frame, atoms in zip(dataset, crystals, strict=True):
        np.testing.assert_allclose(frame.labels["emt"].stress, tensor(atoms), atol=1e-12)


class NoStress(EMT):
    """A calculator that claims a stress and has none, as some have in one of their modes."""

    def get_property(self, name, atoms=None, allow_calculation=True):
        if name == "stress":
            raise NotImplementedError("no stress in this mode")
        return super().get_property(name, atoms, allow_calculation)


def test_one_that_is_promised_and_missing_is_named_with_the_way_out(crystals, tmp_path):
    engine = EngineSpec(name=f"ase:{__name__}:NoStress", level="emt")
    report = label(crystals, engine, tmp_path / "labels.h5")
    assert len(report.failures) == 3
    assert "stress=False (--no-stress)" in report.failures[0].outcome.error
    again = label(
        crystals, EngineSpec(name=engine.name, level="emt", stress=False), tmp_path / "other.h5"
    )
    assert again.n_labelled == 3


def test_a_delta_model_learns_from_the_stress_of_an_engine(crystals, tmp_path):
    """The difference of stresses is that of the labels and the engine's."""
    from tlpot.data import Split, open_dataset
    from tlpot.jobs.engine_values import engine_values
    from tlpot.transfer import Delta

    high = []
    for atoms in crystals:
        copy = atoms.copy()
        copy.info["energy"] = 1.0
        copy.info["stress"] = np.eye(3) * 0.01
        copy.arrays["forces"] = np.zeros((len(atoms), 3))
        high.append(copy)
    write(tmp_path / "high.xyz", high, format="extxyz")
    dataset = open_dataset(tmp_path / "high.xyz", level="dft")
    split = Split(
        train=np.array([0, 1]), validation=np.array([2]), test=np.array([], dtype=int),
        by="random", seed=0, content_hash=dataset.content_hash,
    )  # fmt: skip
    chosen = Delta(low=f"{EMT_ENGINE}")
    found = engine_values(chosen, dataset, split, "dft", tmp_path)
    for k, atoms in enumerate(crystals):
        # a file of eight decimals
        np.testing.assert_allclose(found.labels(k).stress, tensor(atoms), atol=1e-7)
