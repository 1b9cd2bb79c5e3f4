"""Datasets for models that read no charges."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tlpot.data import NeutralDataset, open_dataset
from tlpot.errors import ConfigError
from tlpot.jobs import DataSettings
from tlpot.jobs.data_sources import check_charges


@pytest.fixture
def charged(tmp_path):
    """Two geometries of hydroxide; the energies are made up."""
    frames = []
    for k, length in enumerate((0.95, 1.0)):
        atoms = Atoms("OH", [[0, 0, 0], [0, 0, length]], info={"charge": -1, "spin": 1})
        atoms.calc = SinglePointCalculator(atoms, energy=-float(k))
        frames.append(atoms)
    write(tmp_path / "oh.xyz", frames, format="extxyz")
    return tmp_path / "oh.xyz"


def test_charges_are_hidden_and_nothing_else(charged):
    dataset = open_dataset(charged, level="toy")
    seen = DataSettings(files=(charged,), level="toy", charges="ignore").open()
    assert isinstance(seen, NeutralDataset)
    assert [frame.system.charge for frame in dataset.read([0, 1])] == [-1, -1]
    for own, plain in zip(seen.read([0, 1]), dataset.read([0, 1]), strict=True):
        assert (own.system.charge, own.system.spin) == (0, 1)
        assert np.array_equal(own.system.positions, plain.system.positions)
        assert own.labels["toy"].energy == plain.labels["toy"].energy
    assert seen.content_hash == dataset.content_hash
    assert seen.labelled("toy").all()
    assert list(seen.levels) == ["toy"]


def test_charges_are_not_hidden_from_a_model_that_reads_them(charged):
    settings = DataSettings(files=(charged,), charges="ignore")
    check_charges(settings, reads_charge=False)
    with pytest.raises(ConfigError, match="model that reads charges"):
        check_charges(settings, reads_charge=True)


def test_a_fine_tuning_is_told_of_its_parent_and_not_of_settings_it_lacks(charged):
    settings = DataSettings(files=(charged,), charges="ignore")
    with pytest.raises(ConfigError, match=r"as the parent p\.safetensors does") as error:
        check_charges(settings, reads_charge=True, parent="p.safetensors")
    assert "model.charge_spin" not in str(error.value)
