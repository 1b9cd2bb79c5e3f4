"""`tlpot frequencies` from the command line."""

import json

import pytest
from ase.io import read

from tlpot.cli import main

COMMAND = ["frequencies", "H2CO", "tlpot-tiny", "--device", "cpu"]


def test_computes_writes_and_says_so(tmp_path, capsys):
    files = {name: str(tmp_path / name) for name in ("f.json", "f.png", "m.xyz", "m.molden")}
    more = ["--json", files["f.json"], "--plot", files["f.png"], "--modes", files["m.xyz"],
            "--molden", files["m.molden"], "--relax", "--pressure", "1"]  # fmt: skip
    assert main([*COMMAND, *more]) == 0
    shown = capsys.readouterr().out
    stored = json.loads((tmp_path / "f.json").read_text())
    assert len(stored["wavenumbers_per_cm"]) == 6
    for value in stored["wavenumbers_per_cm"]:
        assert f"{value:.2f}" in shown
    assert stored["thermochemistry"]["symmetry"] == 2
    assert f"{stored['thermochemistry']['free_energy']:.6f}" in shown
    assert "a minimum" in shown
    assert len(read(files["m.xyz"], index=":")) == 6
    assert main([*COMMAND, "--relax", "--modes", files["m.xyz"]]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_structure_that_is_not_relaxed_is_refused(capsys):
    assert main(COMMAND) == 2
    error = capsys.readouterr().err
    assert "--not-relaxed" in error
    assert "--relax" in error
    assert main([*COMMAND, "--not-relaxed"]) == 0
    assert "NO STATIONARY POINT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--temperature", "0"], "temperature"),
        (["--pressure", "-1"], "pressure"),
        (["--symmetry", "0"], "symmetry"),
        (["--relax", "--not-relaxed"], "--relax"),
        (["--relax", "--steps", "1"], "not converged"),
        (["--spin", "2"], "spin 2"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, capsys, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    try:
        status = main([*COMMAND, *arguments])
    except SystemExit as error:  # of the parser
        status = error.code
    assert status == 2
    error = capsys.readouterr().err
    assert word in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
