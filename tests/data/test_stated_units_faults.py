"""Labels in the data of a database, as SchNetPack has them, and the units that it states."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect
from ase.units import Bohr, Hartree, kcal, mol
from layouts import numbers_of_water, water_frames

from tlpot.data import open_dataset
from tlpot.errors import DataError, UnreadLabelWarning
from tlpot.structures import read_all
from tlpot.units import stress_factor

KCAL = kcal / mol


def database(path: Path, *, units=None, length="Ang", factor=1.0, **more) -> Path:
    with connect(str(path)) as handle:
        for k, frame in enumerate(water_frames(4)):
            data = {"energy": np.array([-k - 76.4]), "forces": 0.1 * frame}
            handle.write(Atoms(numbers_of_water(), frame * factor), data=data)
        if units is not None:
            handle.metadata = {"_property_unit_dict": units, "_distance_unit": length, **more}
    return path


@pytest.mark.fault
def test_labels_of_schnetpack_are_read_in_their_units(tmp_path):
    """The labels of such databases were "structures, for 'tlpot label'"."""
    units = {"energy": "kcal/mol", "forces": "kcal/mol/Ang"}
    path = database(tmp_path / "a.db", units=units)
    found = open_dataset(path, level="pbe")[1].labels["pbe"]
    assert found.energy == pytest.approx(-77.4 * KCAL)
    np.testing.assert_allclose(found.forces, 0.1 * water_frames(4)[1] * KCAL)


@pytest.mark.fault
def test_a_named_unit_that_the_file_contradicts_is_refused(tmp_path):
    """A unit of the user's would have been taken for that of the file."""
    path = database(tmp_path / "a.db", units={"energy": "Hartree", "forces": "Hartree/Bohr"})
    with pytest.raises(DataError, match="Hartree"):
        open_dataset(path, level="pbe", keys={"energy": "energy, eV"})
    with pytest.raises(DataError, match="Hartree"):
        open_dataset(path, keys={"gap@pbe": "energy, eV, intensive"})
    named = {"energy": "energy, hartree", "forces": "forces, hartree/bohr"}
    assert open_dataset(path, level="pbe", keys=named)[0].labels["pbe"].energy == (
        pytest.approx(-76.4 * Hartree)
    )


def test_a_label_without_a_unit_beside_one_with_a_unit_is_not_read(tmp_path):
    path = database(tmp_path / "a.db", units={"energy": "Ha", "forces": None})
    with pytest.warns(UnreadLabelWarning, match="forces"):
        dataset = open_dataset(path, level="pbe")
    assert dataset.levels["pbe"].kinds == {"energy"}
    assert "forces" in dataset.unused_keys


@pytest.mark.fault
def test_positions_of_schnetpack_are_in_the_unit_that_it_states(tmp_path):
    """Positions in bohr were taken for Å, by all that reads structures."""
    path = database(
        tmp_path / "a.db", units={}, length="Bohr", factor=1 / Bohr, atomrefs={"E": [0]}
    )
    np.testing.assert_allclose(read_all(path)[0].positions, water_frames(4)[0])
    dataset = open_dataset(path, level="pbe")
    np.testing.assert_allclose(dataset[0].system.positions, water_frames(4)[0])
    assert any("atomrefs" in problem.what for problem in dataset.problems)


def test_data_without_units_are_warned_of(tmp_path):
    dataset = open_dataset(database(tmp_path / "a.db"), level="pbe")
    assert dataset[0].labels["pbe"].energy == pytest.approx(-76.4)
    (problem,) = (p for p in dataset.problems if "units" in p.what)
    assert problem.severity == "warning"


def test_units_that_are_none_name_the_file(tmp_path):
    path = database(tmp_path / "a.db", units={"energy": "furlong"})
    with pytest.raises(DataError, match=r"a\.db.*furlong"):
        open_dataset(path, level="pbe")


def test_a_stress_may_be_divided_by_three_lengths():
    assert stress_factor("eV/Ang/Ang/Ang") == stress_factor("ev/angstrom^3") == 1.0


@pytest.mark.fault
@pytest.mark.parametrize("read", [lambda p: open_dataset(p, level="pbe"), read_all])
def test_a_database_of_another_program_is_left_as_it_is(tmp_path, read):
    """Opening one wrote ASE's tables into it."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as handle:
        handle.execute("CREATE TABLE runs (a INTEGER)")
        handle.commit()
    before = path.read_bytes()
    with pytest.raises(DataError, match="runs"):
        read(path)
    assert path.read_bytes() == before
    path.write_bytes(b"")
    with pytest.raises(DataError, match="no tables"):
        read(path)
    assert path.read_bytes() == b""
