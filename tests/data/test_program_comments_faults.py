"""Comment lines in the words of programs: units that are stated, energies in free text, i-PI."""

from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, Hartree
from layouts import water_frames

from tlpot.data import open_dataset
from tlpot.errors import DataError, TLPotWarning, UnreadLabelWarning
from tlpot.structures import read_all

ENERGY = -76.4


def xyz(path: Path, comment: str, positions=None, *, more="") -> Path:
    positions = water_frames(3) if positions is None else positions
    lines = []
    for k, frame in enumerate(positions):
        lines += ["3", comment.format(energy=ENERGY + 0.01 * k)]
        lines += [
            f"{s} {x:.8f} {y:.8f} {z:.8f}{more}" for s, (x, y, z) in zip("OHH", frame, strict=True)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.fault
@pytest.mark.parametrize(
    "comment", ["energy={energy} Eh", "energy = {energy} Hartree", "energy={energy} a.u. step=1"]
)
def test_a_unit_behind_an_energy_is_not_passed_over(tmp_path, comment):
    """Was read as eV, with 'Eh' among what is not used."""
    path = xyz(tmp_path / "a.xyz", comment)
    with pytest.raises(DataError, match="energy=energy, "):
        open_dataset(path, level="pbe")
    dataset = open_dataset(path, level="pbe", keys={"energy": "energy, hartree"})
    assert dataset[0].labels["pbe"].energy == pytest.approx(ENERGY * Hartree)


def test_a_unit_that_is_the_one_read_is_fine(tmp_path):
    path = xyz(tmp_path / "a.xyz", "energy={energy} eV")
    assert open_dataset(path, level="pbe")[0].labels["pbe"].energy == pytest.approx(ENERGY)


@pytest.mark.fault
@pytest.mark.parametrize(
    "comment",
    [
        " energy: {energy:.12f} gnorm: 0.000307 xtb: 6.6.1 (8d0f1dd)",
        "Coordinates from ORCA-job water E {energy:.12f}",
        "Iteration 3 Energy {energy:.12f}",
        "frame 7 Energy: {energy:.12f} hartree, converged",
    ],
)
def test_energies_of_xtb_orca_and_geometric_can_be_named(tmp_path, comment):
    """Were 'no labels at all', as if the file held structures only."""
    path = xyz(tmp_path / "a.xyz", comment)
    with pytest.raises(DataError, match="comment_energy, hartree"):
        open_dataset(path, level="gfn2-xtb")
    with pytest.raises(DataError, match="hartree"):
        open_dataset(path, level="gfn2-xtb", keys={"energy": "comment_energy"})
    keys = {"energy": "comment_energy, hartree"}
    assert open_dataset(path, level="gfn2-xtb", keys=keys)[2].labels["gfn2-xtb"].energy == (
        pytest.approx((ENERGY + 0.02) * Hartree)
    )


@pytest.mark.fault
def test_the_energy_of_cp2k_is_in_hartree(tmp_path):
    """Was read as eV under keys energy=E, although only CP2K writes such a line."""
    path = xyz(tmp_path / "a.xyz", " i =        0, time =        0.000, E = {energy:19.10f}")
    with pytest.raises(DataError, match="hartree"):
        open_dataset(path, level="pbe", keys={"energy": "E"})
    dataset = open_dataset(path, level="pbe", keys={"energy": "E, hartree"})
    assert dataset[0].labels["pbe"].energy == pytest.approx(ENERGY * Hartree)


@pytest.mark.fault
@pytest.mark.parametrize("comment", ["coordinates in bohr energy={energy}", "Bohr", "H2O (bohr)"])
def test_a_comment_that_speaks_of_bohr_is_warned_of(tmp_path, comment):
    """Positions in bohr were taken for Å."""
    with pytest.warns(TLPotWarning, match="bohr"):
        read_all(xyz(tmp_path / "a.xyz", comment))


def test_a_unit_of_forces_is_none_of_positions(tmp_path):
    read_all(xyz(tmp_path / "a.xyz", "forces in hartree/bohr energy={energy}"))


@pytest.mark.fault
def test_three_columns_without_a_name_are_warned_of_and_can_be_named(tmp_path):
    """Forces behind the positions were left out unsaid, and could not be named."""
    path = xyz(tmp_path / "a.xyz", "{energy:.8f}", more=" 0.1 0.2 -0.3")
    keys = {"energy": "comment_energy, hartree"}
    with pytest.warns(UnreadLabelWarning, match="unnamed_columns"):
        open_dataset(path, level="b3lyp", keys=keys)
    keys |= {"forces": "unnamed_columns, hartree/bohr, gradient"}
    forces = open_dataset(path, level="b3lyp", keys=keys)[0].labels["b3lyp"].forces
    np.testing.assert_allclose(forces, np.array([[-0.1, -0.2, 0.3]] * 3) * Hartree / Bohr)


@pytest.mark.fault
def test_positions_and_cell_of_ipi_are_in_the_units_that_it_states(tmp_path):
    """Positions in bohr were taken for Å and the cell was lost, by all that reads structures."""
    line = (
        "# CELL(abcABC): 20.0 21.0 22.0 90.0 90.0 90.0 Step: 0 Bead: 0 positions{{{}}} cell{{{}}}"
    )
    text = line.format("atomic_unit", "atomic_unit").replace("{", "{{").replace("}", "}}")
    (atoms, *_) = read_all(xyz(tmp_path / "a.xyz", text, water_frames(2) / Bohr))
    np.testing.assert_allclose(atoms.positions, water_frames(2)[0], atol=1e-7)
    np.testing.assert_allclose(atoms.cell.lengths(), np.array([20, 21, 22]) * Bohr)
    assert atoms.pbc.all()
    text = line.format("angstrom", "angstrom").replace("{", "{{").replace("}", "}}")
    (atoms, *_) = read_all(xyz(tmp_path / "b.xyz", text))
    np.testing.assert_allclose(atoms.positions, water_frames(2)[0], atol=1e-7)
    np.testing.assert_allclose(atoms.cell.lengths(), [20, 21, 22])


@pytest.mark.fault
@pytest.mark.parametrize(
    ("what", "term"),
    [("forces{{atomic_unit}} cell{{angstrom}}", "forces"), ("cell{{angstrom}}", "no unit")],
)
def test_what_ipi_does_not_say_or_says_of_forces_is_refused(tmp_path, what, term):
    """A file of forces was taken for one of positions."""
    path = xyz(tmp_path / "a.xyz", f"# CELL(abcABC): 9.0 9.0 9.0 90.0 90.0 90.0 Step: 0 {what}")
    with pytest.raises(DataError, match=term):
        read_all(path)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("word", "term"), [("********", "places"), ("1,25", "comma"), ("2.7657*^-4", "sed")]
)
def test_a_number_that_cannot_be_read_is_shown(tmp_path, word, term):
    """Was "column 'pos' holds what is not numbers", without atom, word or remedy."""
    path = xyz(tmp_path / "a.xyz", "energy={energy}")
    path.write_text(path.read_text().replace("\nH ", f"\nH {word} 0.0 ", 1).rsplit(" ", 1)[0])
    with pytest.raises(DataError, match=term) as error:
        open_dataset(path, level="pbe")
    assert word in str(error.value)
    assert "atom 1" in str(error.value)
