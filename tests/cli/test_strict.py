"""`--strict`: what else is a warning ends with status 2, before anything is written."""

import json

import h5py
import numpy as np
import pytest

from tlpot.cli import main


@pytest.fixture
def file(tmp_path):
    """A file in the native layout with a gradient under a name that nobody reads."""
    path = tmp_path / "a.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as handle:
        handle["w/atomic_numbers"] = [1, 1]
        handle["w/coordinates"] = (
            [0, 0, 0.4] * np.array([[-1], [1]]) * rng.uniform(0.9, 1.1, (9, 1, 1))
        )
        handle["w/l.energy"] = rng.normal(size=9)
        handle["w/my_grad"] = np.zeros((9, 2, 3))
        handle.attrs["levels"] = json.dumps({"l": "toy"})
        handle.attrs["units"] = json.dumps({"coordinates": "angstrom", "energy": "hartree"})
    return path


@pytest.mark.fault
@pytest.mark.parametrize("action", ["info", "validate", "convert", "split"])
def test_a_warning_is_an_error_where_none_is_wanted(file, capsys, action):
    options = [] if action in ("info", "validate") else ["-o", str(file.with_name("out"))]
    options += ["--by", "random"] if action == "split" else []
    assert main(["data", action, str(file), *options, "--strict"]) == 2
    assert "'my_grad' is not used" in capsys.readouterr().err.splitlines()[-1]
    assert [x.name for x in file.parent.iterdir()] == ["a.h5"]
    assert main(["data", action, str(file), *options]) == 0


@pytest.mark.fault
def test_a_file_without_a_warning_passes(file):
    with h5py.File(file, "a") as handle:
        del handle["w/my_grad"]
    assert main(["data", "validate", str(file), "--strict"]) == 0
