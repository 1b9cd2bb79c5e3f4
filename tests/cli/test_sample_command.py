"""`tlpot sample` from the command line."""

import json

import pytest

from tlpot.cli import main
from tlpot.data import open_dataset
from tlpot.levels import canonical_level

LEVEL = "wb97x/6-31g*"


def test_samples_a_molecule_with_a_model_and_reports(tmp_path, capsys):
    out = tmp_path / "s.h5"
    command = ["sample", "CH3OH", "H2O", "--calculator", "tlpot-tiny", "--level", LEVEL, "-o",
               str(out), "--method", "modes,md", "--temperatures", "300", "--budget", "5",
               "--pool", "2", "--interval", "5", "--model", "tlpot-tiny"]  # fmt: skip
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "CH3OH" in shown.out
    assert "radius (random)" in shown.out
    assert "2/2 fragments" in shown.err
    data = open_dataset(out)
    assert len(data) == 10
    assert list(data.levels) == [canonical_level(LEVEL)]
    rows = json.loads((tmp_path / "s.json").read_text())
    assert [row["name"] for row in rows] == ["CH3OH", "H2O"]
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["residus"], "did you mean 'residues'"),
        (["H2O", "--method", "mds"], "did you mean"),
        (["H2O", "--temperatures", "warm"], "expected numbers such as 300,600"),
        (["H2O", "--method", "scan", "--temperatures", "300"], "not to a scan"),
        (["H2O", "--select", "uncertainty"], "--model"),
        (["H2O", "--workers", "0"], "--workers is 0"),
        (["H2O", "--calculator", "gfn2xtb"], "gfn2xtb"),
        (["ACE-CYS-NME", "--model", "tlpot-tiny"], "does not know S"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, capsys, arguments, message):
    assert main(["sample", *arguments, "-o", str(tmp_path / "x.h5")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
