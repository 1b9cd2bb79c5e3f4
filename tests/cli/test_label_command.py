"""`tlpot label` from the command line."""

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from needs import needs

from tlpot.cli import main
from tlpot.data import open_dataset

tblite = needs("tblite")


@pytest.fixture
def waters(tmp_path):
    rng = np.random.default_rng(0)
    found = [molecule("H2O") for _ in range(4)]
    for atoms in found:
        atoms.rattle(0.05, rng=rng)
    write(tmp_path / "w.xyz", found)
    return str(tmp_path / "w.xyz")


def test_labels_two_levels_and_continues(waters, tmp_path, capsys):
    out = str(tmp_path / "x.h5")
    assert main(["label", waters, "--engine", "gfn2-xtb", "-o", out, "--limit", "3"]) == 0
    shown = capsys.readouterr()
    assert "3 labelled now" in shown.out
    assert "3/3" in shown.err
    again = ["label", out, "--engine", "gfn2-xtb", "-o", out]
    assert main(again) == 0
    assert "1 labelled now, 3 before" in capsys.readouterr().out
    assert main(["label", out, "accuracy=0.1", "--engine", "gfn1-xtb", "-o", out]) == 0
    dataset = open_dataset(out)
    assert set(dataset.levels) == {"gfn1-xtb", "gfn2-xtb"}
    assert '"accuracy": 0.1' in dataset.levels["gfn1-xtb"].definition
    capsys.readouterr()
    assert main([*again, "--level", "gfn2-xtb", "--workers", "0"]) == 2
    assert "--workers is 0" in capsys.readouterr().err


def test_the_exit_status_tells_when_everything_failed(tmp_path, capsys):
    radical = molecule("OH")
    radical.set_initial_magnetic_moments(None)  # a singlet, says the file
    radical.info["spin"] = 1
    write(tmp_path / "r.xyz", radical)
    out = str(tmp_path / "x.h5")
    assert main(["label", str(tmp_path / "r.xyz"), "--engine", "gfn2-xtb", "-o", out]) == 2
    shown = capsys.readouterr().err
    assert "9 electrons" in shown
    assert "every geometry failed" in shown


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--engine", "gfn3-xtb"], "unknown engine 'gfn3-xtb'"),
        (["--engine", "gfn2-xtb", "--forces", "yes"], "forces is 'yes'"),
        (["--engine", "gfn2-xtb", "--limit", "0"], "limit is 0"),
        (["acuracy=1", "--engine", "gfn2-xtb"], "did you mean 'accuracy'"),
    ],
)
def test_mistakes_are_answered(waters, tmp_path, capsys, extra, message):
    assert main(["label", waters, *extra, "-o", str(tmp_path / "x.h5")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.h5").exists()
