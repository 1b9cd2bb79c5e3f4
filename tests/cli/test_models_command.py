"""`tlpot models`, called as a user would."""

import json
import re

import h5py
import pytest

from tlpot.cli import main
from tlpot.models import LIBRARY, Potential, catalogue, content_hash, preset, save
from tlpot.targets import is_property


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three molecules of the shipped data."""
    path = tmp_path_factory.mktemp("data") / "three.h5"
    with h5py.File(LIBRARY / "tlpot-qm.h5") as source, h5py.File(path, "w") as target:
        for key, value in source.attrs.items():
            target.attrs[key] = value
        for name in ("methanol", "propane", "water"):
            source.copy(name, target)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("zoo")
    made = Potential.create(preset("tiny", (1, 14)), {"a": {1: 0.0, 14: 0.0}})
    save(made, path / "silane.safetensors")
    return str(path)


def test_list_info_and_search(folder, capsys):
    assert main(["models", "list", "--folder", folder]) == 0
    shown = capsys.readouterr().out
    assert "tlpot-tiny\n  wb97x/6-31g*; H C N O; 51,056 weights" in shown
    assert "H Si" in shown
    assert main(["models", "search", "--elements", "C,H,O", "--folder", folder]) == 0
    every = catalogue([folder])
    properties = [entry for entry in every if all(map(is_property, entry.levels))]
    found = capsys.readouterr().out
    assert f"{4 + len(properties)} of {5 + len(properties)} models" in found
    assert f"{len(every)} models" in found
    assert main(["models", "info", "tlpot-tiny"]) == 0
    assert "SHA-256" in capsys.readouterr().out
    assert main(["models", "search", "--elements", "Q"]) == 2
    assert "'Q' is no element" in capsys.readouterr().err


def test_rank(data, folder, tmp_path, capsys):
    output = tmp_path / "rank.json"
    arguments = ["models", "rank", data, "--level", "gfn2-xtb", "--folds", "3"]
    zoo = f"{folder}/silane.safetensors"
    assert main([*arguments, "--json", str(output), "tlpot-tiny", zoo]) == 0
    shown = capsys.readouterr().out
    assert "sorted by molecule" in shown
    assert "composition only" in shown
    assert f"not applicable: {zoo}: does not know C, O" in shown
    assert "cannot decide" in shown  # there are three molecules
    assert "smallest error: tlpot-tiny at wb97x/6-31g*" in shown
    content = json.loads(output.read_text())
    assert content["folds"] == {"random": 3, "molecule": 3, "cluster": 3}
    assert len(content["scores"]) == 10
    assert len(list((tmp_path / "rank.run" / "features").iterdir())) == 3
    assert main([*arguments, "--by", "cluster", "--folder", folder]) == 0
    assert "train from scratch" in capsys.readouterr().out


def test_mistakes(data, capsys):
    assert main(["models", "rank", data, "--level", "pbe"]) == 2
    assert "no level 'pbe'" in capsys.readouterr().err
    assert main(["models", "rank", data, "tlpot-tin", "--level", "gfn2-xtb"]) == 2
    assert "did you mean 'tlpot-tiny'" in capsys.readouterr().err


def test_a_closed_form_transfer_from_the_command_line(data, tmp_path, capsys):
    output = str(tmp_path / "model.safetensors")
    arguments = ["finetune", "tlpot-tiny", data, "--level", "gfn2-xtb", "-o", output,
                 "--strategy", "frozen-ridge", "split.by=random", "split.train=12",
                 "report.md_steps=20"]  # fmt: skip
    assert main([*arguments, "training.epochs=3"]) == 2
    assert "trains nothing" in capsys.readouterr().err
    assert main([*arguments, "strategy.blocks=[layer 1]", "strategy.folds=3"]) == 0
    shown = capsys.readouterr().out
    assert "weights stay" in shown
    assert "linear on layer 1" in shown
    assert len(list((tmp_path / "model.run" / "features").iterdir())) == 1
    assert main(["info", output]) == 0
    assert "+ linear on layer 1" in capsys.readouterr().out


def test_install_from_a_place_and_use_by_name(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TLPOT_MODELS", str(tmp_path / "own"))
    assert main(["models", "index", folder]) == 0
    digest = content_hash(f"{folder}/silane.safetensors")
    assert digest in capsys.readouterr().out
    assert main(["models", "info", "silane", "--from", folder]) == 0
    assert f"tlpot models install silane --from {folder}" in capsys.readouterr().out
    assert main(["models", "search", "--elements", "Si", "--from", folder]) == 0
    found = capsys.readouterr().out
    n = len(catalogue())
    assert re.search(rf"\d+ of {n + 1} models", found)
    assert "silane" in found
    assert main(["models", "install", "silane", "--from", folder, "--as", "mine"]) == 0
    assert f"installed mine  (a)\n  {tmp_path}/own/mine.safetensors\n" in capsys.readouterr().out
    assert main(["models", "install", "silane", "--from", folder, "--as", "mine"]) == 0
    assert "there already" in capsys.readouterr().out
    assert main(["models", "list", "--from", folder]) == 0
    shown = capsys.readouterr().out
    assert f"SHA-256 {digest[:12]}…" in shown
    assert f"to install from {folder}\nsilane\n" in shown
    assert main(["info", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == digest
    assert main(["models", "info", "mine"]) == 0
    assert f"{tmp_path}/own/mine.safetensors" in capsys.readouterr().out
    assert main(["models", "install", "silan", "--from", folder]) == 2
    assert "did you mean 'silane'" in capsys.readouterr().err
