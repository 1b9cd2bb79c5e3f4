"""New labels are looked at: a calculator of one's own may use other units, or gradients."""

import numpy as np
import pytest
from ase.build import molecule
from ase.units import Bohr, Hartree

import tlpot
from tlpot.cli.main import main
from tlpot.files import write_text

NAMES = ("H2O", "CH3OH", "NH3", "CH4", "HCOOH")


@pytest.fixture(scope="module")
def frames():
    found = []
    for seed in range(30):
        atoms = molecule(NAMES[seed % len(NAMES)])
        atoms.rattle(0.05, seed=seed)
        found.append(atoms)
    return found


def labelled(frames, tmp_path, **factors):
    settings = ", ".join(f"{name}={value!r}" for name, value in factors.items())
    return tlpot.label(
        frames, f"ase:label_toys:Mistaken({settings})", tmp_path / "x.h5", level="toy",
        progress=False,
    )  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"energy": 1 / Hartree, "forces": Bohr / Hartree}, ["as if hartree were read as ev"]),
        ({"forces": -1.0}, ["TRAINING WILL REFUSE THESE LABELS", "look like gradients"]),
        ({"forces": Bohr / Hartree}, ["times the work of the forces"]),
    ],
)
def test_labels_in_other_units_are_warned_of(frames, tmp_path, factors, words):
    """Hartree and gradients were written as labels without a word."""
    report = labelled(frames, tmp_path, **factors)
    assert report.n_labelled == len(frames)
    for word in words:
        assert any(word in warning for warning in report.warnings)
        assert word in str(report)
    assert "eV/Å" in str(report).splitlines()[-1 - len(report.warnings)]


def test_right_labels_are_not(frames, tmp_path):
    report = labelled(frames, tmp_path)
    assert report.warnings == ()
    assert "warning" not in str(report)
    again = labelled(frames, tmp_path)
    assert (again.n_labelled, again.warnings) == (0, ())


def test_strict_counts_them(frames, tmp_path, capsys):
    path = tmp_path / "x.xyz"
    lines = []
    for atoms in frames:
        rows = zip(atoms.symbols, np.round(atoms.positions, 6).tolist(), strict=True)
        lines += [str(len(atoms)), "", *(f"{s} {x} {y} {z}" for s, (x, y, z) in rows)]
    write_text(path, "\n".join(lines) + "\n")
    words = ["label", str(path), "--engine", "ase:label_toys:Mistaken(forces=-1.0)"]
    words += ["--level", "toy", "-o", str(tmp_path / "y.h5")]
    assert main(words) == 0
    assert "look like gradients" in capsys.readouterr().out
    (tmp_path / "y.h5").unlink()
    (tmp_path / "y.h5.journal").unlink()
    assert main([*words, "--strict"]) == 2
