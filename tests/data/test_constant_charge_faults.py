"""One charge and multiplicity for all frames of a file that states none."""

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.io import write

import tlpot
from tlpot.cli import main
from tlpot.errors import ConfigError, DataError
from tlpot.jobs import DataSettings

pytestmark = pytest.mark.fault
SPEC = {
    "container": "hdf5", "numbers": "Z", "coordinates": "xyz",
    "units": {"coordinates": "angstrom", "energy": "eV"},
    "levels": {"hf": {"energy": "E"}},
}  # fmt: skip


def states(dataset):
    return {(frame.system.charge, frame.system.spin) for frame in dataset}


@pytest.fixture
def hydroxide(tmp_path):
    """OH- and the free atoms, in extended XYZ."""
    frames = []
    for k in range(3):
        frames.append(Atoms("OH", [[0, 0, 0], [0, 0, 0.97]]))
        frames[-1].rattle(0.05, seed=k)
        frames[-1].info["energy"] = -2060.0 + k
    frames.append(Atoms("H", info={"energy": -13.6, "config_type": "isolated_atom"}))
    frames.append(Atoms("O", info={"energy": -2040.0, "config_type": "isolated_atom"}))
    write(tmp_path / "a.xyz", frames, format="extxyz")
    return tmp_path / "a.xyz"


@pytest.fixture
def columns(tmp_path):
    """The same in HDF5, with a column of charges that a description may name."""
    with h5py.File(tmp_path / "a.h5", "w") as handle:
        group = handle.create_group("OH")
        group["Z"], group["xyz"] = [8, 1], np.random.default_rng(0).normal(size=(3, 2, 3))
        group["E"], group["q"] = [-2060.0, -2061.0, -2062.0], [1, 1, 1]
    return tmp_path / "a.h5"


@pytest.mark.parametrize("keys", [{"charge": "-1"}, {"charge": -1}, {"charge": " -1", "spin": "1"}])
def test_a_number_is_the_charge_of_every_frame(hydroxide, columns, keys):
    """A number was taken for the name of an array, which is nowhere in the file."""
    dataset = tlpot.open_dataset(hydroxide, level="hf", keys=keys)
    assert states(dataset) == {(-1, 1)}
    assert dataset.levels["hf"].isolated_atoms == {1: -13.6, 8: -2040.0}
    assert not [p for p in tlpot.validate_dataset(dataset).problems if "electrons" in p.what]
    assert states(tlpot.open_dataset(columns, SPEC, keys=keys)) == {(-1, 1)}
    structures = [Atoms("OH", [[0, 0, 0], [0, 0, 0.97]])]
    structures[0].info["energy"] = -2060.0
    assert states(tlpot.open_dataset(structures, level="hf", keys=keys)) == {(-1, 1)}


def test_a_description_states_it(columns):
    """The same in YAML; it comes before what the description names."""
    described = tlpot.open_dataset(columns, {**SPEC, "charge": 1, "spin": 3})
    assert states(described) == {(1, 3)}
    named = {**SPEC, "charge": "q"}
    assert states(tlpot.open_dataset(columns, named)) == {(1, 1)}
    assert states(tlpot.open_dataset(columns, named, keys={"charge": "-1"})) == {(-1, 1)}
    with pytest.raises(ConfigError, match="spin"):
        tlpot.open_dataset(columns, {**SPEC, "spin": 0})
    with pytest.raises(DataError, match="'Q'"):
        tlpot.open_dataset(columns, SPEC, keys={"charge": "Q"})


def test_commands_take_it(hydroxide, tmp_path, capsys):
    """Conversion, evaluation, and the settings of a training."""
    output = tmp_path / "native.h5"
    command = ["data", "convert", str(hydroxide), "-o", str(output), "--level", "hf"]
    assert main([*command, "--keys", "charge=-1"]) == 0
    assert states(tlpot.open_dataset(output)) == {(-1, 1)}
    read = DataSettings(files=(hydroxide,), level="hf", keys={"charge": -1})
    assert states(read.open()) == {(-1, 1)}
    level = "wb97x/6-31g*"
    command = ["evaluate", "tlpot-tiny", str(hydroxide), "--level", level]
    assert main([*command, "--keys", "charge=-1"]) != 0  # a model that reads no charges says so
    assert "charge -1" in capsys.readouterr().err
    config = tmp_path / "train.yaml"
    config.write_text(
        f"data: {{files: [{hydroxide}], level: hf, keys: {{charge: -1}}}}\n"
        f"output: {tmp_path / 'm.safetensors'}\nsplit: {{by: random, validation: 1}}\n"
    )
    assert main(["train", str(config), "--dry-run"]) != 0
    assert "charge -1" in capsys.readouterr().err
    charges = "data.charges=ignore"
    assert main(["train", str(config), "--dry-run", charges]) == 0


def test_structures_without_labels_have_an_option_for_it(hydroxide):
    """It was "no frame has the key '-1'"."""
    with pytest.raises(ConfigError, match="--charge"):
        tlpot.predict("tlpot-tiny", hydroxide, keys={"charge": "-1"})
