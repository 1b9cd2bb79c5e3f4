"""Charge and multiplicity of structures that are evaluated, where their files state none."""

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

import tlpot
from tlpot.errors import ConfigError, GeometryError
from tlpot.models import LIBRARY

STATES = "tlpot-peptides-tiny"


@pytest.fixture
def ammonium():
    d = 0.6
    corners = [(0, 0, 0), (d, d, d), (-d, -d, d), (-d, d, -d), (d, -d, -d)]
    return Atoms("NH4", positions=corners)


@pytest.mark.fault
def test_an_ion_without_a_stated_charge_can_be_evaluated(ammonium, tmp_path):
    """The message of the refusal said ``--charge``, and there was none."""
    write(tmp_path / "ion.xyz", ammonium, format="xyz")
    found = tlpot.predict(STATES, tmp_path / "ion.xyz", level="aimnet2", charge=1)
    stated = ammonium.copy()
    stated.info["charge"] = 1
    same = tlpot.predict(STATES, stated, level="aimnet2")
    np.testing.assert_allclose(found.energy, same.energy, atol=1e-4)
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "a.xyz", ammonium, format="xyz")
    of_folder = tlpot.predict(STATES, folder, level="aimnet2", charge=1)
    np.testing.assert_array_equal(of_folder.energy, found.energy)


def test_what_is_stated_is_not_overruled(ammonium):
    ammonium.info["charge"] = 1
    with pytest.raises(GeometryError, match="charge"):
        tlpot.predict(STATES, ammonium, level="aimnet2", charge=-1)


def test_datasets_say_their_own():
    dataset = tlpot.open_dataset(LIBRARY / "tlpot-qm.h5")
    with pytest.raises(ConfigError, match="charge does not apply to a dataset"):
        tlpot.predict(STATES, dataset, level="aimnet2", charge=1)
