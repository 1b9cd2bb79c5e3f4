"""`--strict`: what else is a warning ends with status 2, before anything is written."""

import json

import h5py
import numpy as np
import pytest
from needs import needs

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
    options = [] if action in ("info", "validate") else ["-o", str(file.with_name("out.h5"))]
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


SPLIT = ["split.by=random", "split.validation=2"]


def label(path, options):
    """A file with half a structure; labels of the others are right."""
    with h5py.File(path, "a") as handle:
        handle["half/coordinates"] = np.zeros((2, 3, 3))
    output = path.with_name("out.h5")
    return ["label", str(path), "--engine", "model:tlpot-tiny", "-o", str(output), *options]


def train(path, options):
    config = path.with_name("train.yaml")
    config.write_text(
        f"data: {{files: [{path}]}}\noutput: {path.with_name('m.safetensors')}\n"
        "model: {preset: tiny, hidden_irreps: 4x0e+4x1o, cutoff: 3.0}\n"
    )
    return ["train", str(config), *SPLIT, "training.epochs=1", "--device", "cpu", *options]


def finetune(path, options):
    output = path.with_name("m.safetensors")
    return ["finetune", "tlpot-tiny", str(path), "--level", "toy", "--strategy", "shift",
            "-o", str(output), *SPLIT, "--device", "cpu", *options]  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("command", [label, train, finetune])
def test_nothing_is_computed_or_written_after_a_warning(file, capsys, command):
    arguments = command(file, ["--strict"])
    before = sorted(x.name for x in file.parent.iterdir())
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "--strict was given" in error
    assert ("half" if command is label else "'my_grad'") in error
    assert sorted(x.name for x in file.parent.iterdir()) == before


@pytest.mark.fault
def test_a_failed_label_is_an_error(tmp_path, capsys):
    needs("tblite")
    (tmp_path / "in.xyz").write_text(
        "3\n\nO 0 0 0\nH 0 0.757 0.587\nH 0 -0.757 0.587\n2\n\nO 0 0 0\nH 0 0 0.97\n"
    )
    arguments = ["label", str(tmp_path / "in.xyz"), "--engine", "gfn2-xtb"]
    assert main([*arguments, "-o", str(tmp_path / "a.h5")]) == 0
    assert main([*arguments, "-o", str(tmp_path / "b.h5"), "--strict"]) == 2
    assert "electrons" in capsys.readouterr().err.splitlines()[-1]
