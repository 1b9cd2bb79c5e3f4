"""`tlpot sample` from the command line."""

import json

import pytest
from needs import needs

from tlpot.cli import main
from tlpot.data import open_dataset

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
    assert list(data.levels) == ["tlpot-tiny"]  # no prediction has the name of a level of theory
    rows = json.loads((tmp_path / "s.json").read_text())
    assert [row["name"] for row in rows] == ["CH3OH", "H2O"]
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_samples_smiles_cheaply_with_a_salt_bridge(tmp_path, capsys):
    needs("rdkit")
    out = tmp_path / "s.h5"
    command = ["sample", "OCC", "--pairs", "C[NH3+]+CC(=O)[O-]", "--calculator", "mmff94",
               "--method", "etkdg,md,noise", "--temperatures", "200-500", "--interval", "5",
               "--conformers", "3", "--noise", "0.05", "--separations", "-0.4", "4", "--window",
               "1", "--budget", "8", "--pool", "1", "-o", str(out)]  # fmt: skip
    assert main(command) == 0
    assert "dimer" in capsys.readouterr().out
    data = open_dataset(out)
    assert list(data.levels) == ["mmff94"]
    assert set(data.group_names) == {"OCC", "C[NH3+]+CC(=O)[O-]"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["[CH3]", "--calculator", "mmff94"], "no radicals"),
        (["CB(C)C", "--calculator", "mmff94"], "lacks parameters"),
        (["C1C[C@H]2CC[C@H]1C2", "--calculator", "mmff94"], "finds no geometry"),
        (["C(C)(C)(C)(C)C", "--calculator", "mmff94"], "valence"),
        (["OCC", "--separations", "4", "-0.4"], "two increasing distances"),
    ],
)
def test_smiles_that_cannot_be_sampled_end_in_one_line(tmp_path, capsys, arguments, message):
    needs("rdkit")
    test_mistakes_end_in_one_line(tmp_path, capsys, arguments, message)


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
