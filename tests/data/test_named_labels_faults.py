"""Labels of one level that stand beside those of another in one file."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from tlpot.data import open_dataset
from tlpot.errors import ConfigError

LEVEL = "cc"


def water(n=4):
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(n):
        atoms = Atoms("OH2", [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
        atoms.positions += rng.normal(scale=0.02, size=(3, 3))
        frames.append(atoms)
    return frames


def two_levels(how, folder):
    """Energy and forces of DFT by a calculator, with energies of CC beside, as a source of data."""
    frames = water()
    for k, atoms in enumerate(frames):
        forces = np.full((3, 3), 0.1 * k)
        atoms.calc = SinglePointCalculator(atoms, energy=-2079.0 + k, forces=forces)
        atoms.info["cc_energy"] = -2078.0 + k
    if how == "atoms":
        return frames
    if how == "db":
        with connect(folder / "a.db") as database:
            for atoms in frames:
                database.write(atoms, cc_energy=atoms.info["cc_energy"])
        return folder / "a.db"
    write(folder / f"a.{how}", frames)
    return folder / f"a.{how}"


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore:.*is not read")
@pytest.mark.parametrize("how", ["xyz", "traj", "db", "atoms"])
@pytest.mark.parametrize("energy", ["cc_energy", "cc_energy, eV"])
def test_forces_of_another_level_are_not_read_unless_named(how, energy, tmp_path):
    """Forces of DFT were learned as CC; with a unit behind the name they were not read."""
    dataset = open_dataset(two_levels(how, tmp_path), level=LEVEL, keys={"energy": energy})
    info = dataset.levels[LEVEL]
    assert (info.kinds, info.keys) == ({"energy"}, ("cc_energy",))
    assert {"energy", "forces"} <= {*dataset.unused_keys}
    (problem,) = [p for p in dataset.problems if p.severity == "warning"]
    assert "--keys forces=forces" in problem.what
    assert [frame.labels[LEVEL].energy for frame in dataset] == [-2078.0, -2077, -2076, -2075]


@pytest.mark.fault
def test_named_forces_are_read_and_unwanted_ones_are_no_warning(tmp_path):
    """A file with labels of two levels could be read only with a warning, or not at all."""
    file = two_levels("xyz", tmp_path)
    named = open_dataset(file, level=LEVEL, keys={"energy": "cc_energy", "forces": "forces"})
    assert named.levels[LEVEL].keys == ("cc_energy", "forces")
    assert (named.unused_keys, named.problems) == (("energy",), ())
    without = open_dataset(file, level=LEVEL, keys={"energy": "cc_energy", "forces": ""})
    assert without.levels[LEVEL].kinds == {"energy"}
    assert (without.unused_keys, without.problems) == (("energy", "forces"), ())
    with_unit = {"energy": "cc_energy, hartree", "forces": ""}
    assert open_dataset(file, level=LEVEL, keys=with_unit).problems == ()
    for keys in ({"energy": ""}, {"energy": " , eV"}, {"forces": ", eV/A"}):
        with pytest.raises(ConfigError):
            open_dataset(file, level=LEVEL, keys=keys)


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore:.*is not read")
def test_an_energy_of_another_level_is_not_read_with_named_forces():
    """Energies of DFT were learned with forces of CC."""
    frames = two_levels("atoms", None)
    for atoms in frames:
        atoms.arrays["cc_forces"] = np.zeros((3, 3))
    dataset = open_dataset(frames, level=LEVEL, keys={"forces": "cc_forces"})
    assert dataset.levels[LEVEL].kinds == {"forces"}
    assert {"energy", "forces", "cc_energy"} == {*dataset.unused_keys}


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore:.*is not read")
def test_one_frame_of_another_level_tells_of_all():
    """Frames that lack the energy of the other level have its forces all the same."""
    frames = two_levels("atoms", None)
    for atoms in frames[1:]:
        atoms.arrays["forces"] = atoms.get_forces()
        atoms.calc = None
    dataset = open_dataset(frames, level=LEVEL, keys={"energy": "cc_energy"})
    assert not dataset.labelled(LEVEL, "forces").any()


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore:.*is not read")
@pytest.mark.parametrize(
    ("energy", "read", "left"),
    [("REF_energy", 2.0, ("energy", "forces")), ("energy", 1.0, ("REF_energy", "REF_forces"))],
)
def test_labels_go_with_the_energy_of_their_family(energy, read, left):
    """Naming one of two energies left the forces of both in contradiction."""
    frames = water()
    for atoms in frames:
        atoms.info |= {"energy": 1.0, "REF_energy": 2.0}
        for key, value in (("forces", 1.0), ("REF_forces", 2.0)):
            atoms.arrays[key] = np.full((3, 3), value)
    dataset = open_dataset(frames, level=LEVEL, keys={"energy": energy})
    labels = dataset[0].labels[LEVEL]
    assert (labels.energy, labels.forces.max()) == (read, read)
    assert not {*left} - {*dataset.unused_keys}


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore:.*is not read")
def test_a_virial_of_another_level_is_no_stress():
    """A virial of DFT was learned as the stress of CC."""
    frames = two_levels("atoms", None)
    for atoms in frames:
        atoms.set_cell([9.0, 9, 9])
        atoms.pbc = True
        atoms.info["energy"], atoms.calc = -2079.0, None
        atoms.info["virial"] = np.eye(3)
    assert open_dataset(frames, level=LEVEL).levels[LEVEL].kinds == {"energy", "stress"}
    dataset = open_dataset(frames, level=LEVEL, keys={"energy": "cc_energy"})
    assert dataset.levels[LEVEL].kinds == {"energy"}
    assert any("stress=virial" in problem.what for problem in dataset.problems)


@pytest.mark.control
@pytest.mark.parametrize("other", [{}, {"energy": np.nan}])
def test_forces_beside_no_other_energy_are_read(other):
    frames = water()
    for atoms in frames:
        atoms.info |= {"E_cc": 1.0, **other}
        atoms.arrays["forces"] = np.zeros((3, 3))
    dataset = open_dataset(frames, level=LEVEL, keys={"energy": "E_cc"})
    assert dataset.levels[LEVEL].keys == ("E_cc", "forces")
    assert dataset.problems == ()
