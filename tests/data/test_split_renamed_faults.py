"""Conformers of one molecule under several names are no new molecules."""

import h5py
import numpy as np
import pytest
from ase.build import molecule

import tlpot
from tlpot.cli import main
from tlpot.errors import TLPotError

NAMES = ("CH3OH", "CH3CH2OH", "H2O", "NH3", "CH4", "C2H6", "H2CO", "HCOOH", "C2H4", "C6H6")


def write(path, conformers):
    """Ten molecules of four frames, in groups of their own or in one group of each molecule."""
    with h5py.File(path, "w") as handle:
        for name in NAMES:
            frames = [molecule(name) for _ in range(4)]
            for k, atoms in enumerate(frames):
                atoms.rattle(0.03, seed=k)
            parts = [[atoms] for atoms in frames] if conformers else [frames]
            for k, part in enumerate(parts):
                group = handle.create_group(f"{name}_{k}")
                group["species"] = part[0].numbers
                group["coordinates"] = np.stack([atoms.positions for atoms in part])
                group["energies"] = np.full(len(part), -40.0 * len(part[0]))


@pytest.mark.fault
def test_conformers_in_groups_of_their_own_are_told(tmp_path, capsys):
    """A split by molecule had every held-out molecule in training, and said nothing."""
    write(tmp_path / "conformers.h5", conformers=True)
    write(tmp_path / "molecules.h5", conformers=False)
    found = tlpot.split_dataset(tmp_path / "conformers.h5", spec="ani1", by="molecule", test=0.2)
    (said,) = found.warnings
    assert "held-out molecules have the atoms and bonds of one in training" in said
    assert "by=formula" in said
    for path, by in (("molecules.h5", "molecule"), ("conformers.h5", "formula")):
        assert not tlpot.split_dataset(tmp_path / path, spec="ani1", by=by, test=0.2).warnings
    with pytest.raises(TLPotError, match="held-out molecules"):
        tlpot.split_dataset(
            tmp_path / "conformers.h5", spec="ani1", by="molecule", test=0.2, strict=True
        )
    split = ["data", "split", str(tmp_path / "conformers.h5"), "--spec", "ani1"]
    assert main([*split, "--by", "molecule", "-o", str(tmp_path / "split.json")]) == 0
    assert "warning: " in capsys.readouterr().err


@pytest.mark.fault
@pytest.mark.train
def test_a_training_says_so_before_it_begins(tmp_path):
    write(tmp_path / "conformers.h5", conformers=True)
    found = tlpot.train(
        tmp_path / "conformers.h5", spec="ani1", level="wb97x/6-31g*", dry_run=True,
        split={"by": "molecule"}, output=tmp_path / "model.safetensors", progress=False,
    )  # fmt: skip
    assert "held-out molecules have the atoms and bonds of one in training" in found.text()
