"""Datasets as sequences of frames, and frames as ase.Atoms."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

import tlpot
from tlpot.errors import DataError, UnknownLevelError


def labelled(name, energy, stretched=1.0):
    atoms = molecule(name)
    atoms.positions *= stretched
    forces = np.full((len(atoms), 3), 0.5 * energy)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


@pytest.fixture
def dataset(tmp_path):
    frames = [labelled("H2O", -1.0), labelled("CH4", -2.0), labelled("H2O", -3.0, stretched=1.1)]
    path = tmp_path / "data.h5"
    tlpot.data.write_dataset(tlpot.open_dataset(frames, level="pbe"), path)
    return tlpot.open_dataset(path)


def energies(frames):
    return sorted(frame.labels["pbe"].energy for frame in frames)


def test_frames_are_indexed_like_a_list(dataset):
    everything = dataset.read(range(3))
    assert dataset[0].name == everything[0].name
    assert dataset[-1].name == everything[-1].name
    assert dataset[np.int64(1)].name == everything[1].name
    assert [f.name for f in dataset[1:]] == [f.name for f in everything[1:]]
    assert [f.name for f in dataset[[2, 0]]] == [everything[2].name, everything[0].name]
    assert [f.name for f in dataset[np.array([True, False, True])]] == [
        everything[0].name, everything[2].name,
    ]  # fmt: skip
    assert [f.name for f in dataset] == [f.name for f in everything]
    assert energies(dataset) == [-3.0, -2.0, -1.0]
    water = next(name for name in dataset.group_names if "O" in name)
    assert energies(dataset[water]) == [-3.0, -1.0]
    with pytest.raises(IndexError):
        dataset[3]
    with pytest.raises(DataError, match=r"data\.h5 has no molecule 'H20'"):
        dataset["H20"]


def test_joined_and_seen_differently_they_are_sequences_as_well(dataset, tmp_path):
    joined = tlpot.open_dataset([dataset.path, labelled_file(tmp_path)])
    assert energies(joined) == [-5.0, -3.0, -2.0, -1.0]
    assert joined[3].labels["pbe"].energy == -5.0


def labelled_file(tmp_path):
    path = tmp_path / "more.h5"
    tlpot.data.write_dataset(tlpot.open_dataset([labelled("NH3", -5.0)], level="pbe"), path)
    return path


def test_a_dataset_says_what_it_is(dataset):
    assert repr(dataset) == (
        f"<ArrayDataset {dataset.path}: 3 frames of 2 molecules; pbe (energy, forces)>"
    )


def test_frames_become_atoms_with_their_labels(dataset):
    atoms = dataset[-1].to_atoms()
    assert isinstance(atoms, Atoms)
    assert atoms.get_potential_energy() == dataset[-1].labels["pbe"].energy
    np.testing.assert_array_equal(atoms.get_forces(), dataset[-1].labels["pbe"].forces)
    again = tlpot.open_dataset([frame.to_atoms() for frame in dataset], level="pbe")
    assert energies(again) == energies(dataset)
    with pytest.raises(UnknownLevelError, match="no level 'pbe0'"):
        dataset[0].to_atoms("pbe0")


def test_stress_and_properties_are_kept(tmp_path):
    atoms = Atoms("NaCl", [[0, 0, 0], [2.8, 0, 0]], cell=np.diag([5.6, 5.7, 5.8]), pbc=True)
    voigt = np.array([1.0, 2.0, 3.0, 0.4, 0.5, 0.6])
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, stress=voigt)
    frame = tlpot.open_dataset([atoms], level="pbe")[0]
    np.testing.assert_array_equal(frame.to_atoms().get_stress(), voigt)
    assert "forces" not in frame.to_atoms().calc.results


def test_several_levels_are_told_apart(tmp_path):
    """Neither is taken in silence."""
    one = tmp_path / "one.h5"
    atoms = labelled("H2O", -1.0)
    tlpot.data.write_dataset(tlpot.open_dataset([atoms], level="pbe"), one)
    tlpot.label(one, "ase:ase.calculators.emt:EMT", one, level="emt", progress=False)
    frame = tlpot.open_dataset(one)[0]
    with pytest.raises(UnknownLevelError, match="2 levels of theory"):
        frame.to_atoms()
    assert frame.to_atoms("PBE").get_potential_energy() == -1.0
