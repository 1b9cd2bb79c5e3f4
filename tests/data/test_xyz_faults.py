"""Extended XYZ as users write it: what it says is read, or refused, and never passed over."""

import gzip
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write

from tlpot.cli import main
from tlpot.data import find_problems, open_dataset
from tlpot.errors import DataError

pytestmark = pytest.mark.fault
LEVEL = "pbe"


def water(n=4):
    frames = []
    for k in range(n):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=k)
        frames.append(atoms)
    return frames


def put(path, frames, **options):
    write(path, frames, format="extxyz", **options)
    return path


def labelled(path, *, energy="energy", forces="forces", n=4):
    """A file with labels under given names; the energy of frame k is k, all forces are k."""
    frames = water(n)
    for k, atoms in enumerate(frames):
        atoms.info[energy] = float(k)
        atoms.arrays[forces] = np.full((3, 3), float(k))
    return put(path, frames)


def labels(path, **options):
    dataset = open_dataset(path, level=LEVEL, **options)
    return [frame.labels.get(LEVEL) for frame in dataset.read(range(len(dataset)))]


@pytest.mark.parametrize("key", ["virial", "virials", "REF_virial", "REF_virials"])
@pytest.mark.parametrize("shape", [(3, 3), (9,), (6,)])
def test_a_stress_is_read_from_the_virial(tmp_path, key, shape):
    if key == "virial" and shape != (3, 3):
        pytest.skip("ASE writes this key as a matrix only")
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[0] = "Al"
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.02, 0], [0, 1, 0], [0.01, 0, 1.04]]), True)
    atoms.calc = EMT()
    stress, energy = atoms.get_stress(voigt=False), atoms.get_potential_energy()
    atoms.calc = None
    virial = -stress * atoms.get_volume()
    atoms.info["energy"] = energy
    atoms.info[key] = (
        virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] if shape == (6,) else virial.reshape(shape)
    )
    (found,) = labels(put(tmp_path / "a.xyz", atoms))
    np.testing.assert_allclose(found.stress, stress, atol=1e-7)


def test_a_stress_and_a_virial_that_differ_are_refused(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.info |= {
        "energy": 1.0,
        "REF_stress": np.eye(3),
        "virials": np.eye(3) * atoms.get_volume(),
    }
    path = put(tmp_path / "a.xyz", atoms)
    with pytest.raises(DataError, match="virial"):
        labels(path)
    assert labels(path, keys={"stress": "REF_stress"})[0].stress[0, 0] == 1.0
    assert labels(path, keys={"stress": "virials"})[0].stress[0, 0] == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("force", "forces"),
        ("dft_forces", "forces"),
        ("REF_force", "forces"),
        ("Forces", "forces"),
        ("gradient", "forces"),
        ("Energy", "energy"),
        ("TotEnergy", "energy"),
        ("free_energy", "energy"),
    ],
)
def test_what_looks_like_a_missing_label_is_warned_of(tmp_path, capsys, name, quantity):
    path = labelled(tmp_path / "a.xyz", **{quantity: name})
    with pytest.warns(UserWarning, match=f"'{name}' is not read"):
        dataset = open_dataset(path, level=LEVEL)
    assert name in dataset.unused_keys
    assert any(f"looks like {quantity}" in problem.what for problem in find_problems(dataset))
    assert main(["data", "info", str(path), "--level", LEVEL]) == 0
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count(f"{name!r} is not read") == 1
    assert name in shown.out.partition("not used")[2].partition("\n")[0]


def test_every_unread_key_and_array_is_listed(tmp_path):
    frames = water(2)
    for atoms in frames:
        atoms.info |= {"REF_energy": 1.0, "dipole": [0.0, 0.0, 1.0], "note": "two words"}
        atoms.arrays["hirshfeld"] = np.arange(3.0)
    frames[0].info["once"] = 1
    dataset = open_dataset(put(tmp_path / "a.xyz", frames), level=LEVEL)
    assert dataset.unused_keys == ("dipole", "hirshfeld", "note", "once")


def test_a_unit_that_the_file_states_is_not_passed_over(tmp_path):
    frames = water(1)
    frames[0].info |= {"energy": -76.0, "energy_unit": "Hartree"}
    with pytest.warns(UserWarning, match="energy_unit"):
        labels(put(tmp_path / "a.xyz", frames))
    frames[0].info["energy_unit"] = "eV"
    labels(put(tmp_path / "b.xyz", frames))


@pytest.mark.parametrize(("total", "offset"), [(-2079.0, 5e-4), (-60000.0, 0.5)])
def test_energies_of_two_calculators_are_a_conflict_however_near(tmp_path, total, offset):
    frames = water(1)
    frames[0].info |= {"energy": total + offset, "REF_energy": total}
    path = put(tmp_path / "a.xyz", frames)
    with pytest.raises(DataError, match="REF_energy"):
        labels(path)
    assert labels(path, keys={"energy": "REF_energy"})[0].energy == total
    assert labels(path, keys={"energy": "energy"})[0].energy == total + offset


@pytest.mark.control
@pytest.mark.filterwarnings("ignore:.*is not read")
def test_a_key_that_some_molecules_lack_is_not_replaced_by_another_for_them(tmp_path):
    frames = [*water(2), molecule("CH4"), molecule("CH4")]
    for k, atoms in enumerate(frames):
        atoms.info |= {"energy": 1.0} | ({"REF_energy": 5.0} if k < 2 else {})
    path = put(tmp_path / "a.xyz", frames)
    dataset = open_dataset(path, level=LEVEL, keys={"energy": "REF_energy"})
    assert dataset.labelled(LEVEL).tolist() == [True, True, False, False]
    with pytest.raises(DataError, match="no_such"):
        open_dataset(path, level=LEVEL, keys={"energy": "no_such"})


def test_a_charge_that_is_not_to_be_read_is_not(tmp_path):
    frames = water(2)
    for atoms in frames:
        atoms.info |= {"energy": 1.0, "charge": 2, "spin": 1}
    path = put(tmp_path / "a.xyz", frames)
    dataset = open_dataset(path, level=LEVEL, keys={"charge": "", "spin": ""})
    assert {frame.system.charge for frame in dataset.read(range(2))} == {0}
    assert {"charge", "spin"} <= set(dataset.unused_keys)


@pytest.mark.parametrize("prefix", ["", "REF_"])
def test_nan_is_a_missing_label(tmp_path, prefix):
    frames = water()
    for k, atoms in enumerate(frames):
        atoms.info[f"{prefix}energy"] = np.nan if k == 2 else float(k)
        atoms.arrays[f"{prefix}forces"] = np.full((3, 3), np.nan if k == 3 else k)
    dataset = open_dataset(put(tmp_path / "a.xyz", frames), level=LEVEL)
    assert dataset.labelled(LEVEL).tolist() == [True, True, False, True]
    assert dataset.labelled(LEVEL, "forces").tolist() == [True, True, True, False]


def test_nan_does_not_contradict_a_number(tmp_path):
    frames = water(1)
    frames[0].info |= {"energy": np.nan, "REF_energy": 5.0}
    frames[0].arrays |= {"forces": np.full((3, 3), np.nan), "REF_forces": np.ones((3, 3))}
    (found,) = labels(put(tmp_path / "a.xyz", frames))
    assert found.energy == 5.0
    assert found.forces.tolist() == np.ones((3, 3)).tolist()


@pytest.mark.parametrize("blank", ["\n", "  \n", "\n\n"])
def test_blank_lines_between_frames(tmp_path, blank):
    text = labelled(tmp_path / "a.xyz").read_text()
    text = text.replace("3\nProperties", f"{blank}3\nProperties")
    (tmp_path / "b.xyz.gz").write_bytes(gzip.compress((text + blank).encode()))
    assert [found.energy for found in labels(tmp_path / "b.xyz.gz")] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("energy=", "energy=1 energy=", 1),
        lambda text: text.replace("\nH ", "\nX ", 1),
        lambda text: text.replace(":forces:R:3", "", 1),
        lambda text: text.replace("pbc=", 'note="open pbc=', 1),
        lambda text: text.replace("pos:R:3", "position:R:3", 1),
        lambda text: text.replace("energy=0.0", "energy", 1),
        lambda text: text.replace("energy=0.0", "energy=1_0", 1),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_not_lost(tmp_path, capsys, damage):
    path = labelled(tmp_path / "a.xyz")
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    assert main(["data", "info", str(path), "--level", LEVEL]) == 2
    assert "a.xyz" in capsys.readouterr().err


def isolated(symbol, energy, **info):
    atoms = Atoms(symbol)
    atoms.info |= {"energy": energy, "config_type": "IsolatedAtom", **info}
    return atoms


def test_two_free_atoms_of_one_element(tmp_path):
    frames = water(2)
    for atoms in frames:
        atoms.info["energy"] = 1.0
    path = put(tmp_path / "a.xyz", [isolated("H", -13.6), *frames, isolated("H", -13.5)])
    with pytest.raises(DataError, match="free atom H"):
        labels(path)
    put(path, [isolated("H", -13.6), *frames, isolated("H", np.nan), isolated("O", -2000.0)])
    assert open_dataset(path, level=LEVEL).levels[LEVEL].isolated_atoms == {1: -13.6, 8: -2000.0}
    put(path, [*frames, isolated("H", 0.1, charge=1)])
    with pytest.raises(DataError, match="charge"):
        labels(path)


@pytest.mark.parametrize(
    ("info", "arrays", "expected"),
    [
        ({"total_charge": 1}, {}, (1, 1)),
        ({"net_charge": 1.0}, {}, (1, 1)),
        ({"q": 1}, {}, (1, 1)),
        ({}, {"initial_charges": np.eye(5)[0]}, (1, 1)),
        ({"charge": 1, "multiplicity": 3}, {}, (1, 3)),
        ({}, {"initial_magmoms": np.eye(5)[0]}, (0, 2)),
    ],
)
def test_charge_and_multiplicity_under_their_usual_names(tmp_path, info, arrays, expected):
    atoms = Atoms("NH4", np.random.default_rng(0).normal(size=(5, 3)))
    atoms.info |= {"energy": 1.0, **info}
    atoms.arrays |= arrays
    dataset = open_dataset(put(tmp_path / "a.xyz", atoms), level=LEVEL)
    (frame,) = dataset.read([0])
    assert (frame.system.charge, frame.system.spin) == expected
    assert dataset.unused_keys == ()


@pytest.mark.parametrize(
    "info",
    [
        {"charge": 0.5},
        {"charge": 0, "total_charge": 1},
        {"spin": 1.0},  # eleven electrons
        {"multiplicity": 3},
        {"charge": 1, "spin": 2},
    ],
)
def test_a_charge_or_multiplicity_that_cannot_be_names_its_frame(tmp_path, info):
    frames = [Atoms("NH4", np.random.default_rng(k).normal(size=(5, 3))) for k in range(3)]
    for atoms in frames:
        atoms.info |= {"energy": 1.0}
    frames[2].info |= info
    path = put(tmp_path / "a.xyz", frames)
    with pytest.raises(DataError, match="frame 2"):
        labels(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(labels(path, keys={"charge": "", "spin": ""})) == 3


@pytest.mark.fault
@pytest.mark.parametrize(
    ("keys", "named", "expected"),
    [
        ({"energy": 1.0}, {}, ("energy",)),
        ({"REF_energy": 1.0}, {}, ("REF_energy",)),
        ({"CCSD_energy": 1.0, "hf": 2.0}, {"energy": "CCSD_energy"}, ("CCSD_energy",)),
        ({"energy": 1.0, "REF_energy": 1.0}, {}, ("REF_energy", "energy")),
    ],
)
def test_the_keys_that_were_read_are_named_as_in_the_file(tmp_path, keys, named, expected):
    atoms = molecule("H2O")
    atoms.info |= keys
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    dataset = open_dataset(tmp_path / "a.xyz", level="a/b", keys=named)
    assert dataset.levels["a/b"].keys == expected
