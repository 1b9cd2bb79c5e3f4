"""`tlpot data`, called as a user would."""

import json

import h5py
import numpy as np
import pytest

from tlpot.cli import main
from tlpot.data import load_split, open_dataset


@pytest.fixture
def path(tmp_path):
    """Two molecules of six frames at a low level, half of them also at a high one."""
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "two.h5", "w") as handle:
        handle.attrs["levels"] = '{"low": "gfn2-xtb", "high": "ccsd(t)/cbs"}'
        handle.attrs["units"] = (
            '{"coordinates": "angstrom", "energy": "ev", "forces": "ev/angstrom"}'
        )
        for name, numbers in (("water", [8, 1, 1]), ("hydrogen", [1, 1])):
            group = handle.create_group(name)
            group["atomic_numbers"] = numbers
            group["coordinates"] = rng.normal(scale=3.0, size=(6, len(numbers), 3))
            group["low.energy"] = rng.normal(size=6)
            group["low.forces"] = rng.normal(size=(6, len(numbers), 3))
            group["high.energy"] = np.where(np.arange(6) % 2, rng.normal(size=6), np.nan)
    return tmp_path / "two.h5"


def test_info(path, capsys):
    assert main(["data", "info", str(path), "--molecules"]) == 0
    output = capsys.readouterr().out
    assert "12 of 2 molecules" in output
    assert "elements        H O" in output
    lines = {line.split()[0]: line.split() for line in output.splitlines() if line}
    assert lines["gfn2-xtb"][1:4] == ["12", "12", "-"]
    assert lines["ccsd(t)/cbs"][1:4] == ["6", "-", "-"]
    assert lines["water"] == ["water", "3", "6", "6", "3"]


def test_info_as_json(path, capsys):
    assert main(["data", "info", str(path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["n_frames"] == 12
    assert content["levels"]["gfn2-xtb"]["n_forces"] == 12


def test_validate_reports_errors_with_status_2(path, capsys):
    main(["data", "validate", str(path)])
    with h5py.File(path, "a") as handle:
        handle["water"]["coordinates"][2, 0, 0] = np.nan
    capsys.readouterr()
    assert main(["data", "validate", str(path)]) == 2
    captured = capsys.readouterr()
    assert "positions that are NaN" in captured.out
    assert "two.h5:/water[2]" in captured.out
    assert "positions that are NaN" in captured.err


def test_convert(path, tmp_path, capsys):
    output = tmp_path / "one.h5"
    arguments = ["data", "convert", str(path), "-o", str(output), "--level", "ccsd(t)/cbs"]
    assert main(arguments) == 0
    assert "12 frames at ccsd(t)/cbs" in capsys.readouterr().out
    assert list(open_dataset(output).levels) == ["ccsd(t)/cbs"]
    assert main([*arguments[:-1], "pbe", "--overwrite"]) == 2
    assert "no level 'pbe'" in capsys.readouterr().err


def test_split(path, tmp_path, capsys):
    output = tmp_path / "split.json"
    arguments = ["data", "split", str(path), "-o", str(output), "--overwrite"]
    assert main([*arguments, "--by", "random", "--validation", "2", "--test", "0.25"]) == 0
    split = load_split(output, open_dataset(path))
    assert [len(split.train), len(split.validation), len(split.test)] == [7, 2, 3]
    assert main([*arguments, "--test", "water", "--validation", "0"]) == 0
    assert "train            6          1" in capsys.readouterr().out
    assert main([*arguments, "--test", "wather"]) == 2
    assert "did you mean 'water'" in capsys.readouterr().err


def test_keys_and_spec(tmp_path, capsys):
    path = tmp_path / "a.xyz"
    path.write_text("2\nProperties=species:S:1:pos:R:3 E_dft=-1\nH 0 0 0\nH 0 0 0.7\n")
    arguments = ["data", "info", str(path), "--level", "pbe"]
    assert main(arguments) == 2
    assert "--keys energy=..." in capsys.readouterr().err
    assert main([*arguments, "--keys", "energy=E_dft"]) == 0
    assert main([*arguments, "--keys", "energy"]) == 2
    assert "QUANTITY=NAME" in capsys.readouterr().err
    assert main([*arguments, "--spec", "extxy"]) == 2
    assert "did you mean 'extxyz'" in capsys.readouterr().err
