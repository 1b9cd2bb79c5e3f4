"""`tlpot data split` of files with one level that they do not name, and with several."""

import json

import h5py
import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from layouts import native_file

from tlpot.cli import main

pytestmark = pytest.mark.fault


def divide(path, *options):
    output = path.with_suffix(".json")
    command = ["data", "split", str(path), "--by", "random", "-o", str(output), *options]
    assert main(command) == 0
    content = json.loads(output.read_text())
    return sorted(content["train"] + content["validation"] + content["test"])


def xyz(path):
    frames = []
    for k in range(12):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=k)
        if k < 9:
            atoms.info["energy"] = float(k)
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return path


def test_extended_xyz_needs_no_level(tmp_path):
    assert divide(xyz(tmp_path / "a.xyz")) == list(range(12))


@pytest.mark.parametrize("option", ["--level", "--labelled"])
def test_a_level_leaves_frames_without_label_out(tmp_path, option):
    assert divide(xyz(tmp_path / "a.xyz"), option, "pbe") == list(range(9))


def test_a_level_of_several(tmp_path):
    path = native_file(tmp_path / "a.h5")
    with h5py.File(path) as handle:
        names = sorted(handle)
        key = next(k for k in handle[names[-1]] if k.endswith(".energy") and "low" not in k)
        n = sum(int(np.isfinite(handle[f"{name}/{key}"]).sum()) for name in names)
    assert len(divide(path, "--level", "ccsd(t)/cbs")) == n < 12
