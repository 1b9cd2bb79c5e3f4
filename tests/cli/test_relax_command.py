"""`tlpot relax` from the command line."""

import json

import pytest
from ase.build import molecule
from ase.io import read

from tlpot.calculators import TLPotCalculator
from tlpot.cli import main


@pytest.fixture
def command(tmp_path):
    start = tmp_path / "start.xyz"
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=2)
    atoms.write(start)
    return ["relax", str(start), "tlpot-tiny", "--device", "cpu", "--out", str(tmp_path / "e.xyz")]


def test_relaxes_writes_and_says_so(command, tmp_path, capsys):
    files = [str(tmp_path / name) for name in ("r.json", "r.png", "way.xyz")]
    more = ["--json", files[0], "--plot", files[1], "--trajectory", files[2], "--fmax", "0.02"]
    assert main([*command, *more]) == 0
    shown = capsys.readouterr()
    assert "converged after" in shown.out
    assert "bonds          as at the start" in shown.out
    stored = json.loads((tmp_path / "r.json").read_text())
    assert stored["max_force_eV_per_A"] <= 0.02
    assert f"{stored['energy_eV']:.6f}" in shown.out
    assert len(read(files[2], index=":")) == stored["steps"] + 1
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_what_is_not_converged_is_said_in_capitals_and_fails(command, tmp_path, capsys):
    assert main([*command, "--steps", "1"]) == 2
    shown = capsys.readouterr()
    assert "NOT CONVERGED after 1 steps" in shown.out
    assert "--optimizer" in shown.err
    assert "Traceback" not in shown.err
    assert len(read(tmp_path / "e.xyz")) == 6  # the last structure, to go on from


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--optimizer", "newton"], "newton"),
        (["--fmax", "-1"], "fmax"),
        (["--fmax", "nan"], "--fmax"),
        (["--steps", "0"], "steps"),
        (["--threads", "0"], "threads"),
        (["--level", "high"], "no level 'high'"),
        (["--set", "inner=3"], "--scheme"),
        (["--cell"], "cell"),
        (["--charge", "1"], "charge"),
        (["--json", "a.json", "--plot", "a.json"], "a.json"),
        (["--plot", "a.abc"], "a.abc"),
    ],
)
def test_mistakes_end_in_one_line(command, tmp_path, capsys, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    try:
        status = main([*command, *arguments])
    except SystemExit as error:  # of the parser
        status = error.code
    assert status == 2
    error = capsys.readouterr().err
    assert word in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["start.xyz"]


def test_ctrl_c_says_what_was_kept(command, tmp_path, capsys, monkeypatch):
    calls = []
    calculate = TLPotCalculator.calculate

    def interrupted(self, *arguments, **options):
        calls.append(1)
        if len(calls) > 6:
            raise KeyboardInterrupt
        calculate(self, *arguments, **options)

    monkeypatch.setattr(TLPotCalculator, "calculate", interrupted)
    assert main(command) == 130
    shown = capsys.readouterr().err
    assert "e.xyz holds the last structure" in shown
    assert "NOT CONVERGED" in shown
    assert len(read(tmp_path / "e.xyz")) == 6
