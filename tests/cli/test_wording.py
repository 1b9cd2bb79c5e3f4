"""Messages speak of options on the command line and of arguments in Python."""

from argparse import Namespace

import h5py
import numpy as np
import pytest

from tlpot.cli import main
from tlpot.cli.parser import reworded
from tlpot.data import open_dataset
from tlpot.errors import UnknownLevelError

FRAME = "2\nProperties=species:S:1:pos:R:3 energy=-1\nH 0 0 0\nH 0 0 0.7\n"


def test_a_file_that_does_not_say_its_level(tmp_path, capsys):
    path = tmp_path / "a.xyz"
    path.write_text(FRAME)
    with pytest.raises(UnknownLevelError, match=r"name it with level=\.\.\."):
        open_dataset(path)
    assert main(["data", "info", str(path)]) == 2
    message = capsys.readouterr().err
    assert "name it with --level ..." in message
    assert "level=" not in message
    config = tmp_path / "train.yaml"
    config.write_text(f"data: {{files: {path}}}\noutput: {tmp_path}/x.safetensors\n")
    assert main(["train", str(config)]) == 2
    assert "name it with data.level=..." in capsys.readouterr().err


def test_a_layout_that_is_not_known(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", N=[1], Z=[[1]], R=np.zeros((1, 1, 3)), E=[0.0])
    assert main(["data", "info", str(tmp_path / "a.npz")]) == 2
    message = capsys.readouterr().err
    assert "--spec physnet" in message
    assert "spec=" not in message
    with h5py.File(tmp_path / "a.h5", "w") as handle:
        handle["x"] = 1.0
    assert main(["data", "validate", str(tmp_path / "a.h5")]) == 2
    assert "name it with --spec FILE.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"level": None, "spec": None, "keys": []}, "--level ..., --spec x, --keys energy=..."),
        ({"level": None, "settings": []}, "--level ..., data.spec=x, data.keys.energy=..."),
        ({"settings": []}, "data.level=..., data.spec=x, data.keys.energy=..."),
        ({}, "level=... (--level on the command line), spec='x', keys={'energy': ...}"),
    ],
)
def test_each_command_is_told_of_its_own(arguments, expected):
    message = "level=... (--level on the command line), spec='x', keys={'energy': ...}"
    assert reworded(message, Namespace(**arguments)) == expected


@pytest.mark.fault
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["finetune", "a", "b", "--level", "x", "-o", "x", "--epochs", "5"],
            "KEY=VALUE without dashes",
        ),
        (["train", "a.yaml", "--lr", "3"], "such as training.epochs=100"),
        (["md", "a", "b", "--stepz", "3"], "did you mean '--steps'?"),
    ],
)
def test_a_setting_given_as_an_option_is_told_how(capsys, arguments, expected):
    with pytest.raises(SystemExit):
        main(arguments)
    assert expected in capsys.readouterr().err


@pytest.mark.fault
def test_what_is_missing_may_have_been_taken_by_an_option(capsys):
    with pytest.raises(SystemExit):
        main(["finetune", "--keys", "energy=E", "tlpot-tiny", "x.xyz", "--level", "a", "-o", "b"])
    said = capsys.readouterr().err
    assert "required: parent, DATA; put them before --keys" in said
    assert "key.path" not in said
