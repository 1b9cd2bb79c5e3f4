"""Extended XYZ, and what is read like it, with labels at several levels of theory."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.db import connect
from ase.io import write

import tlpot
from tlpot.data import open_dataset
from tlpot.errors import ConfigError, DataError, UnknownLevelError

SPEC = """\
container: extxyz
sign: force
units: {coordinates: angstrom, energy: hartree, forces: hartree/bohr}
levels:
  pbe/def2-svp: {energy: dft_energy, forces: dft_forces}
  ccsd(t)/cbs: {energy: [cc_ref, cc_corr]}
"""
HARTREE, BOHR = 27.211386245988, 0.529177210903


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(SPEC)
    return path


def structures(n=6):
    rng = np.random.default_rng(3)
    found = []
    for k in range(n):
        atoms = molecule(("H2O", "CH4")[k % 2])
        atoms.rattle(0.05, seed=k)
        atoms.info["dft_energy"] = -20.0 - k
        if k != 1:
            atoms.info |= {"cc_ref": -19.0 - k, "cc_corr": -1.5}
        atoms.set_array("dft_forces", rng.normal(size=(len(atoms), 3)))
        found.append(atoms)
    return found


@pytest.mark.fault
def test_both_levels_are_read(tmp_path, spec):
    """It was refused: "extended XYZ holds the energies of one level"."""
    given = structures()
    write(tmp_path / "a.xyz", given, format="extxyz")
    for source in (tmp_path / "a.xyz", given):
        dataset = open_dataset(source, spec)
        assert list(dataset.levels) == ["pbe/def2-svp", "ccsd(t)/cbs"]
        assert dataset.levels["pbe/def2-svp"].keys == ("dft_energy", "dft_forces")
        assert dataset.levels["ccsd(t)/cbs"].kinds == {"energy"}
        assert dataset.labelled("ccsd(t)/cbs").tolist() == [True, False, True, True, True, True]
        frame = dataset[2]
        assert frame.labels["ccsd(t)/cbs"].energy == pytest.approx(-22.5 * HARTREE)
        np.testing.assert_allclose(
            frame.labels["pbe/def2-svp"].forces,
            given[2].arrays["dft_forces"] * HARTREE / BOHR,
            rtol=1e-7,
        )
        assert dataset.unused_keys == ()


@pytest.mark.fault
def test_both_levels_of_a_database(tmp_path, spec):
    """A database of ASE shares the reader of extended XYZ, and its limit."""
    with connect(tmp_path / "a.db") as database:
        for atoms in structures():
            numbers = {key: float(value) for key, value in atoms.info.items()}
            database.write(Atoms(atoms.numbers, atoms.positions), key_value_pairs=numbers)
    only_energies = SPEC.replace(", forces: dft_forces", "")
    spec.write_text(only_energies)
    dataset = open_dataset(tmp_path / "a.db", spec)
    assert int(dataset.labelled("pbe/def2-svp").sum()) == 6
    assert int(dataset.labelled("ccsd(t)/cbs").sum()) == 5


@pytest.mark.fault
def test_one_of_them_alone_warns_of_nothing(tmp_path, spec):
    """Keys of the level that was not asked for were warned of."""
    write(tmp_path / "a.xyz", structures(), format="extxyz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = open_dataset(tmp_path / "a.xyz", spec, level="ccsd(t)/cbs")
    assert list(dataset.levels) == ["ccsd(t)/cbs"]
    assert dataset.problems == ()


@pytest.mark.fault
def test_two_levels_reach_delta_and_multihead(tmp_path, spec):
    """Neither strategy could find the second level, in a file or in atoms."""
    for data in (tmp_path / "a.xyz", structures(8)):
        if not isinstance(data, list):
            write(data, structures(8), format="extxyz")
        for strategy in ({"name": "delta", "low": "pbe/def2-svp"}, "multihead"):
            found = tlpot.finetune(
                "tlpot-tiny", data, level="ccsd(t)/cbs", strategy=strategy, epochs=1,
                spec=str(spec), output=tmp_path / "m.safetensors", dry_run=True,
                split={"by": "random", "validation": 2}, progress=False,
            )  # fmt: skip
            assert "pbe/def2-svp" in found.preflight


def test_a_level_that_no_frame_has_is_left_out_and_a_key_that_none_has_is_an_error(tmp_path, spec):
    given = structures()
    for atoms in given:
        atoms.info = {"dft_energy": atoms.info["dft_energy"]}
    assert list(open_dataset(given, spec).levels) == ["pbe/def2-svp"]
    for atoms in given:
        del atoms.arrays["dft_forces"]
    with pytest.raises(DataError, match="no frame has forces under dft_forces"):
        open_dataset(given, spec)
    with pytest.raises(DataError, match="no frame has energy under dft_energy"):
        open_dataset([Atoms("H2", [[0, 0, 0], [0, 0, 0.8]], info={"other": 1.0})], spec)


def test_usual_names_are_of_the_level_that_names_them(tmp_path, spec):
    """REF_energy stands for energy, unless it is that of the other level."""
    spec.write_text(
        SPEC.replace("energy: dft_energy, forces: dft_forces", "energy: energy").replace(
            "[cc_ref, cc_corr]", "REF_energy"
        )
    )
    given = [molecule("H2O") for _ in range(3)]
    for k, atoms in enumerate(given):
        atoms.info |= {"energy": -20.0 - k, "REF_energy": -21.0 - k}
    for level in (None, "pbe/def2-svp"):
        frame = open_dataset(given, spec, level=level)[0]
        assert frame.labels["pbe/def2-svp"].energy == pytest.approx(-20.0 * HARTREE)


def test_free_atoms_have_an_energy_at_each_level(spec):
    given = structures()
    for symbol, low, high in (("H", -0.4, -0.5), ("O", -74.0, -75.0), ("C", -37.0, -38.0)):
        info = {"config_type": "isolated_atom", "dft_energy": low, "cc_ref": high, "cc_corr": 0.0}
        given.append(Atoms(symbol, info=info))
    dataset = open_dataset(given, spec)
    assert len(dataset) == 6
    for level, energy in (("pbe/def2-svp", -74.0), ("ccsd(t)/cbs", -75.0)):
        assert dataset.levels[level].isolated_atoms[8] == pytest.approx(energy * HARTREE)


def test_labels_of_one_level_are_told_how_to_be_of_two(tmp_path):
    given = structures()
    keys = {"energy": "dft_energy", "forces": "dft_forces"}
    with pytest.raises(UnknownLevelError, match=r"several levels, with a description \(spec"):
        open_dataset(given)
    for strategy, error in (
        ({"name": "delta", "low": "ccsd(t)/cbs"}, UnknownLevelError),
        ("multihead", ConfigError),
    ):
        with pytest.raises(error, match=r"in a description \(spec="):
            tlpot.finetune(
                "tlpot-tiny", given, level="pbe/def2-svp", strategy=strategy, keys=keys,
                output=tmp_path / "m.safetensors", dry_run=True,
                split={"by": "random", "validation": 2}, progress=False,
            )  # fmt: skip
