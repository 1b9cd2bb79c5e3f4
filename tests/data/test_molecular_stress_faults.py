"""A stress of what has no volume: no label, and said so."""

import h5py
import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

from tlpot.cli import main
from tlpot.data import open_dataset

pytestmark = pytest.mark.fault
LEVEL = "pbe"


def xyz(path, pbc, stress):
    frames = []
    for k, each in enumerate(stress):
        atoms = molecule("H2O", cell=[9.0, 9.0, 9.0], pbc=pbc)
        atoms.rattle(0.05, seed=k)
        atoms.info |= {"energy": float(k), "stress": each * np.eye(3)}
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return path


def hdf5(path, pbc, stress):
    with h5py.File(path, "w") as handle:
        handle.attrs["levels"] = '{"a": "pbe"}'
        handle.attrs["units"] = (
            '{"coordinates": "angstrom", "energy": "ev", "stress": "ev/angstrom^3"}'
        )
        group = handle.create_group("w")
        water = molecule("H2O")
        rng = np.random.default_rng(0)
        group["atomic_numbers"] = water.numbers
        group["coordinates"] = water.positions + 0.05 * rng.normal(size=(len(stress), 3, 3))
        group["cell"] = 9.0 * np.eye(3)
        group["pbc"] = np.array(pbc)
        group["a.energy"] = np.arange(len(stress), dtype=float)
        group["a.stress"] = np.multiply.outer(stress, np.eye(3))
    return path


SUFFIX = {xyz: "xyz", hdf5: "h5"}


def opened(path):
    return open_dataset(path, level=LEVEL if path.suffix == ".xyz" else None)


@pytest.mark.filterwarnings("ignore:.*stress")
@pytest.mark.parametrize("written", [xyz, hdf5])
@pytest.mark.parametrize("pbc", [(False, False, False), (True, True, False)])
def test_it_is_no_label(tmp_path, written, pbc):
    dataset = opened(written(tmp_path / f"a.{SUFFIX[written]}", pbc, [0.1, 0.0, 0.2]))
    assert dataset.levels[LEVEL].kinds == {"energy"}
    assert not dataset.labelled(LEVEL, "stress").any()
    assert [frame.labels[LEVEL].stress for frame in dataset.read(range(3))] == [None] * 3


@pytest.mark.parametrize("written", [xyz, hdf5])
def test_it_is_warned_of_unless_it_is_zero(tmp_path, capsys, written):
    options = ["--level", LEVEL] if written is xyz else []
    for stress, status in (([0.1, 0.0, 0.2], 2), ([0.0, 0.0, 0.0], 0)):
        path = str(written(tmp_path / f"a.{SUFFIX[written]}", [False] * 3, stress))
        assert main(["data", "validate", path, *options, "--strict"]) == status
        assert ("2 frames have a stress" in capsys.readouterr().out) is (status == 2)


@pytest.mark.control
@pytest.mark.parametrize("written", [xyz, hdf5])
def test_it_stays_a_label_of_what_is_periodic(tmp_path, written):
    dataset = opened(written(tmp_path / f"a.{SUFFIX[written]}", (True, True, True), [0.1, 0.0]))
    assert dataset.labelled(LEVEL, "stress").all()
    assert dataset.read([0])[0].labels[LEVEL].stress[2, 2] == pytest.approx(0.1)
