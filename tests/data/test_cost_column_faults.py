"""What `tlpot label` writes beside the labels is known to what reads the file."""

import h5py
import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

import tlpot
from tlpot.cli import main

pytestmark = pytest.mark.fault


def test_costs_are_no_unknown_arrays(tmp_path, capsys):
    structures, labelled = tmp_path / "water.xyz", str(tmp_path / "water.h5")
    write(structures, molecule("H2O"))
    command = ["label", str(structures), "--engine", "model:tlpot-tiny", "-o", labelled]
    assert main(command) == 0
    with h5py.File(labelled) as file:
        keys = [name for group in file.values() for name in group]
    assert any(name.endswith(".cost") for name in keys)
    assert not tlpot.open_dataset(labelled).unused_keys
    capsys.readouterr()
    assert main(["data", "validate", labelled]) == 0
    assert "not used" not in capsys.readouterr().out


def test_costs_of_a_level_that_is_not_named_stay_unknown(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file.attrs["levels"] = '{"a": "pbe"}'
        file.attrs["units"] = '{"coordinates": "angstrom", "energy": "ev"}'
        group = file.create_group("H2")
        group["atomic_numbers"] = np.array([1, 1])
        group["coordinates"] = np.array([[[0, 0, 0], [0, 0, 0.74]]])
        group["a.energy"] = np.array([-31.0])
        group["a.cost"] = np.ones((1, 4))
        group["b.cost"] = np.ones((1, 4))
    assert list(tlpot.open_dataset(path).unused_keys) == ["b.cost"]
