"""Compositions of training fix the energies of held-out molecules, or the split says otherwise."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

from tlpot.data import make_split, open_dataset
from tlpot.errors import DataError
from tlpot.jobs.data_sources import SplitSettings

# three of the five are independent
CLOSED = ("CH4", "C2H6", "CH3OH", "H2O", "C3H8")
# as many molecules as independent compositions
NEEDED = ("CH4", "NH3", "CH3OH", "CH3SH")


def opened(path, names, n=8, free_atoms=""):
    info = {"energy": -10.0, "config_type": "IsolatedAtom"}
    frames = [Atoms(symbol, info=info) for symbol in free_atoms]
    for name in names:
        for k in range(n):
            atoms = molecule(name)
            atoms.rattle(0.05, seed=k)
            atoms.info["energy"] = -float(k)
            frames.append(atoms)
    write(path, frames, format="extxyz")
    return open_dataset(path, level="a/b")


def rank(dataset, frames):
    rows = [
        [(f.system.atomic_numbers == z).sum() for z in dataset.elements]
        for f in dataset.read(frames)
    ]
    return np.linalg.matrix_rank(np.array(rows))


@pytest.mark.fault
def test_training_keeps_the_compositions_that_fix_the_energies(tmp_path):
    dataset = opened(tmp_path / "a.xyz", CLOSED)
    for seed in range(12):
        split = make_split(dataset, validation=0.2, test=0.2, seed=seed, labelled="a/b")
        assert rank(dataset, split.train) == 3
        assert (len(split.validation), len(split.test)) == (8, 8)


@pytest.mark.fault
def test_where_every_molecule_is_needed_frames_are_divided_and_it_is_said(tmp_path):
    dataset = opened(tmp_path / "a.xyz", NEEDED)
    split = SplitSettings(validation=0.25).divide(dataset, "a/b")
    assert split.by.startswith("random, as every molecule is needed")
    assert rank(dataset, split.train) == 4
    assert set(dataset.group_idx[split.validation]) <= set(dataset.group_idx[split.train])


@pytest.mark.fault
def test_where_no_molecule_is_small_enough_frames_are_divided_and_it_is_said(tmp_path):
    dataset = opened(tmp_path / "a.xyz", ("CH4", "H2O"), n=12)
    split = SplitSettings().divide(dataset, "a/b")
    assert (
        split.way == "at random, as the smallest molecule has more frames than are to be held out"
    )
    assert len(split.validation) == 2
    with pytest.raises(DataError, match=r"which stay whole.*validation=12"):
        SplitSettings(by="molecule").divide(dataset, "a/b")


@pytest.mark.control
@pytest.mark.parametrize("settings", [{"by": "molecule"}, {"validation": ("CH4S",)}])
def test_who_asks_for_whole_molecules_gets_them(tmp_path, settings):
    dataset = opened(tmp_path / "a.xyz", NEEDED)
    split = SplitSettings(**{"validation": 0.25, **settings}).divide(dataset, "a/b")
    assert split.by == "molecule"
    assert not set(dataset.group_idx[split.validation]) & set(dataset.group_idx[split.train])


@pytest.mark.control
def test_known_free_atoms_leave_every_division_as_it_is(tmp_path):
    dataset = opened(tmp_path / "a.xyz", NEEDED, free_atoms="HCNOS")
    assert set(dataset.levels["a/b"].isolated_atoms) == set(dataset.elements)
    split = SplitSettings(validation=0.25).divide(dataset, "a/b")
    assert split.by == "molecule"
