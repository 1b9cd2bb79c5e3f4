"""Outputs of ORCA: the lines that are read, in the order in which it writes them."""

import io

import numpy as np
import pytest
from ase.io import read
from ase.units import Bohr, Hartree
from layouts import water_frames

from tlpot.data import open_dataset
from tlpot.errors import DataError
from tlpot.structures import read_all

HEAD = """
                                 *****************
                                 * O   R   C   A *
                                 *****************
"""
END = "***        THE OPTIMIZATION HAS CONVERGED     ***\n****ORCA TERMINATED NORMALLY****\n"


def cycle(positions, energy, *, gradients=1, charge=-1, note="", more=""):
    lines = [
        "Number of atoms                             ...      3",
        "---",
        "CARTESIAN COORDINATES (ANGSTROEM)",
    ]
    lines += ["---------------------------------"]
    lines += [f"  {s:<2}{x:13.6f}{y:12.6f}{z:12.6f}" for s, (x, y, z) in zip("OHH", positions,
              strict=True)]  # fmt: skip
    lines += [more, "", "----------------------------", "CARTESIAN COORDINATES (A.U.)", ""]
    lines += [f" Total Charge           Charge          ....   {charge}"]
    lines += [" Multiplicity           Mult            ....    2", ""]
    lines += ["-------------------------   --------------------"]
    lines += [f"FINAL SINGLE POINT ENERGY {note}     {energy:.12f}", ""]
    for _ in range(gradients):
        lines += ["ORCA SCF GRADIENT CALCULATION", "", "------------------", "CARTESIAN GRADIENT"]
        lines += ["------------------", ""]
        slopes = 0.01 * positions
        lines += [f"   {k}   {s}   :  {x:13.9f}  {y:13.9f}  {z:13.9f}" for k, (s, (x, y, z)) in
                  enumerate(zip("OHH", slopes, strict=True), 1)]  # fmt: skip
        lines += ["", "Difference to translation invariance:"]
    return "\n".join(lines) + "\n"


def output(path, *cycles):
    path.write_text(HEAD + "ORCA GEOMETRY RELAXATION STEP\n".join(cycles) + END)
    return path


@pytest.mark.fault
def test_energies_gradients_and_charge_are_read(tmp_path):
    """Was "not an HDF5 file"; ASE, to which it led, gives no charge."""
    frames = water_frames(2)
    path = output(
        tmp_path / "opt.out", cycle(frames[0], -75.5), cycle(frames[1], -75.6, gradients=0)
    )
    dataset = open_dataset(path, level="b3lyp/def2-svp")
    assert len(dataset) == 2
    assert (dataset[0].system.charge, dataset[0].system.spin) == (-1, 2)
    labels = dataset[0].labels["b3lyp/def2-svp"]
    assert labels.energy == pytest.approx(-75.5 * Hartree)
    np.testing.assert_allclose(labels.forces, -0.01 * frames[0] * Hartree / Bohr, atol=1e-7)
    assert dataset[1].labels["b3lyp/def2-svp"].forces is None
    first = read(io.StringIO(path.read_text()), index=0, format="orca-output")
    np.testing.assert_allclose(first.get_forces(), labels.forces, atol=1e-7)
    assert not [p for p in dataset.problems if p.severity == "warning"]
    assert read_all(path)[0].info["charge"] == -1


def test_what_is_left_out_is_told(tmp_path):
    frames = water_frames(3)
    path = output(
        tmp_path / "a.out",
        cycle(frames[0], -75.5, note="(SCF not fully converged!)"),
        cycle(frames[1], -75.6, gradients=2),
        cycle(frames[2], -75.7, gradients=0) + "The final MP2 gradient\n  0:  0.0 0.0 0.0\n",
    )
    dataset = open_dataset(path, level="mp2")
    assert len(dataset) == 2
    told = " ".join(problem.what for problem in dataset.problems)
    assert "1 energies that had not converged" in told
    assert dataset[1].labels["mp2"].forces is None
    assert "MP2" in told


@pytest.mark.parametrize(
    ("text", "term"),
    [
        (cycle(water_frames(1)[0], -75.5) + "FINAL SINGLE POINT ENERGY  -75.1\n", "geometry"),
        (cycle(water_frames(1)[0], -75.5, more="  H :   0.0 0.0 0.0"), "ghost"),
        (cycle(water_frames(1)[0], -75.5).rsplit("   3   H", 1)[0], "cut off"),
        ("", "no step"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, text, term):
    with pytest.raises(DataError, match=term) as error:
        open_dataset(output(tmp_path / "a.out", text), level="b3lyp")
    assert "a.out" in str(error.value)
