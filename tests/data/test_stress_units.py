"""Units of stress, and free atoms that an attribute gives twice."""

import h5py
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.io import write
from layouts import native_file

from tlpot.data import open_dataset
from tlpot.errors import ConfigError, DataError

pytestmark = pytest.mark.fault

SPEC = """
container: extxyz
one_level: true
units: {{coordinates: angstrom, energy: ev, forces: ev/angstrom, stress: {unit}}}
sign: force
other_levels: {{energy: energy, stress: stress}}
"""


def stress(tmp_path, unit, **info):
    (tmp_path / "a.yaml").write_text(SPEC.format(unit=unit), encoding="utf-8")
    atoms = bulk("Cu", cubic=True)
    atoms.info |= {"energy": 1.0, **(info or {"stress": np.eye(3)})}
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    dataset = open_dataset(tmp_path / "a.xyz", tmp_path / "a.yaml", level="pbe")
    return dataset.read([0])[0].labels["pbe"].stress[0, 0]


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("kbar", 0.1 * units.GPa),
        ("bar", 1e-4 * units.GPa),
        ("Mbar", 100 * units.GPa),
        ("MPa", 1e-3 * units.GPa),
        ("Pa", 1e-9 * units.GPa),
        ("eV/Å^3", 1.0),
        ("ev/angstrom**3", 1.0),
        ("ha/bohr^3", units.Hartree / units.Bohr**3),
    ],
)
def test_units_of_stress(tmp_path, unit, factor):
    assert stress(tmp_path, unit) == pytest.approx(factor, rel=1e-9)


def test_a_virial_does_not_have_the_unit_of_the_stress(tmp_path):
    volume = bulk("Cu", cubic=True).get_volume()
    found = stress(tmp_path, "kbar", virial=-volume * np.eye(3))
    assert found == pytest.approx(1.0, rel=1e-9)


def test_mbar_has_two_meanings(tmp_path):
    with pytest.raises(ConfigError, match="Mbar"):
        stress(tmp_path, "mbar")


def test_a_free_atom_given_twice_in_an_attribute(tmp_path):
    path = native_file(tmp_path / "a.h5")
    with h5py.File(path, "a") as handle:
        text = handle.attrs["isolated_atoms"]
        handle.attrs["isolated_atoms"] = '{"H": {"low.energy": -0.1}, ' + text[1:]
    with pytest.raises(DataError, match="'H' is given twice"):
        open_dataset(path)
