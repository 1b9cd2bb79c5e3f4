"""Units of the labels of extended XYZ, named with their keys."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import Bohr, Hartree, kcal, mol

from tlpot.cli import main
from tlpot.data import find_problems, open_dataset
from tlpot.errors import ConfigError

pytestmark = pytest.mark.fault


def computed():
    """Water, as a program in eV gives it, with all its electrons."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(5):
        atoms = Atoms("OH2", [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
        atoms.positions += rng.normal(scale=0.02, size=(3, 3))
        forces = rng.normal(size=(3, 3))
        energy = -2079.0 + rng.normal()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces - forces.mean(0))
        frames.append(atoms)
    return frames


def in_units(energy, length, sign=1.0):
    """The same under other names, in other units."""
    found = []
    for atoms in computed():
        copy = atoms.copy()
        copy.info["E"] = atoms.get_potential_energy() / energy
        copy.arrays["F"] = sign * atoms.get_forces() / energy * length
        found.append(copy)
    return found


def labels(given, **options):
    dataset = open_dataset(given, level="pbe", **options)
    return [frame.labels["pbe"] for frame in dataset.read(range(len(dataset)))]


@pytest.mark.parametrize(
    ("units", "keys"),
    [
        ((kcal / mol, 1.0), {"energy": "E, kcal/mol", "forces": "F, kcal/mol/angstrom"}),
        ((Hartree, Bohr), {"energy": "E,hartree", "forces": "F,hartree/bohr"}),
        ((Hartree, Bohr, -1.0), {"energy": "E, hartree", "forces": "F, hartree/bohr, gradient"}),
    ],
)
def test_units_stand_behind_the_names(units, keys, tmp_path):
    write(tmp_path / "a.xyz", in_units(*units), format="extxyz")
    for given in (in_units(*units), tmp_path / "a.xyz"):
        for found, expected in zip(labels(given, keys=keys), computed(), strict=True):
            assert found.energy == pytest.approx(expected.get_potential_energy(), abs=1e-5)
            np.testing.assert_allclose(found.forces, expected.get_forces(), atol=1e-6)


def test_a_label_without_a_unit_is_not_read_beside_one_that_has_one():
    frames = in_units(Hartree, Bohr)
    for atoms in frames:
        atoms.arrays["forces"] = atoms.arrays["F"]
    with pytest.warns(UserWarning, match="forces"):
        found = labels(frames, keys={"energy": "E, hartree"})
    assert found[0].forces is None
    for keys in ({"energy": "E, hartree", "forces": "F"}, {"energy": "E, hartree, gradient"}):
        with pytest.raises(ConfigError, match="unit"):
            labels(frames, keys=keys)
    with pytest.raises(ConfigError, match="hartre"):
        labels(frames, keys={"energy": "E, hartre"})


def test_a_warning_names_every_unit_that_fits_and_the_remedy(tmp_path, capsys):
    frames = computed()
    for atoms in frames:
        atoms.calc.results["energy"] *= mol / kcal
    (what,) = [p.what for p in find_problems(open_dataset(frames, level="pbe"))
               if "total energies" in p.what]  # fmt: skip
    assert "kcal/mol were read as ev" in what
    assert "--keys" in what
    write(tmp_path / "a.xyz", in_units(kcal / mol, 1.0), format="extxyz")
    keys = ["--keys", "energy=E, kcal/mol", "forces=F, kcal/mol/angstrom"]
    words = ["data", "validate", str(tmp_path / "a.xyz"), "--level", "pbe"]
    assert main([*words, *keys, "--strict"]) == 0
    assert "0 kinds of warning" in capsys.readouterr().out


def test_valence_energies_have_candidates_too():
    frames = [Atoms("NH3", np.eye(4)[:, :3] * 1.0) for _ in range(3)]
    for atoms in frames:
        atoms.info["energy"] = -110.0 * mol / kcal  # as GFN1-xTB gives it, in kcal/mol
    (what,) = [p.what for p in find_problems(open_dataset(frames, level="gfn1-xtb"))
               if "total energies" in p.what]  # fmt: skip
    assert "kcal/mol were read as ev" in what


def test_structures_without_labels_are_told_so(tmp_path, capsys):
    bare = [Atoms("H2", [[0, 0, 0], [0, 0, 0.7]], info={"name": "h2"})]
    write(tmp_path / "bare.xyz", bare, format="extxyz")
    assert main(["data", "info", str(tmp_path / "bare.xyz"), "--level", "pbe"]) == 2
    error = capsys.readouterr().err
    assert "--keys" not in error
    assert "tlpot label" in error
    write(tmp_path / "named.xyz", in_units(1.0, 1.0), format="extxyz")
    assert main(["data", "info", str(tmp_path / "named.xyz"), "--level", "pbe"]) == 2
    assert "--keys energy=..." in capsys.readouterr().err
