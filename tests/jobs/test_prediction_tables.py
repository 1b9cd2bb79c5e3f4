"""Predictions as a table: a folder of CIFs to CSV."""

import csv

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write
from toy_crystals import MODEL, SPLIT, crystals, write_toy

import tlpot
from tlpot.cli import main
from tlpot.errors import ConfigError, DataError, OutputError, UnknownElementError

QUIET = {"progress": False, "device": "cpu"}
LEVELS = ("gap@cheap", "metal@cheap")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    tlpot.train(
        config={"data": write_toy(folder), "model": MODEL, "split": SPLIT},
        level=list(LEVELS), output=folder / "m.safetensors", epochs=1, progress=False,
    )  # fmt: skip
    return folder / "m.safetensors"


@pytest.fixture
def cifs(tmp_path):
    folder = tmp_path / "cifs"
    folder.mkdir()
    for k, atoms in enumerate(crystals(3)):
        write(folder / f"mp-{k}.cif", atoms)
    return folder


def rows(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.fault
def test_a_folder_that_is_read_with_its_table_has_the_same_ids(model, cifs, tmp_path):
    """Tables of models that are told a value had `cifs[0]`, by line, in place of the ids."""
    (cifs / "id_prop.csv").write_text("mp-2,1.0\nmp-0,2.0\n")
    data = tlpot.open_dataset(cifs, keys={"gap@cheap": "value, eV, intensive"})
    tlpot.predict(model, data, level=LEVELS[0], output=tmp_path / "a.csv", **QUIET)
    table = rows(tmp_path / "a.csv")
    assert [row["id"] for row in table] == ["mp-2", "mp-0", "mp-1"]


def test_a_folder_of_cifs_becomes_a_table_of_all_levels(model, cifs, tmp_path, capsys):
    write(cifs / "strange.cif", bulk("GaAs", "zincblende", a=5.6))
    found = tlpot.predict(model, cifs, level="all", output=tmp_path / "a.csv", **QUIET)
    table = rows(tmp_path / "a.csv")
    assert [row["id"] for row in table] == ["mp-0", "mp-1", "mp-2", "strange"]
    values = {each.level: each.energy for each in (found, *found.others)}
    assert tuple(values) == LEVELS
    for name, level in (("gap@cheap (eV)", LEVELS[0]), ("metal@cheap (probability)", LEVELS[1])):
        got = [float(row[name]) for row in table[:3]]
        np.testing.assert_allclose(got, values[level][:3], rtol=1e-5)
        assert table[3][name] == ""
    assert "Ga" in table[3]["warnings"]
    assert "gap@cheap (eV)" in str(found)
    command = ["predict", str(model), str(cifs), "--level", "all", "--device", "cpu"]
    assert main([*command, "-o", str(tmp_path / "b.csv")]) == 0
    assert (tmp_path / "b.csv").read_text() == (tmp_path / "a.csv").read_text()


def test_a_table_has_what_each_structure_alone_gives(model, cifs):
    found = tlpot.predict(model, cifs, level="gap@cheap", **QUIET)
    assert found.names == ("mp-0", "mp-1", "mp-2")
    for k, atoms in enumerate(crystals(3)):
        alone = tlpot.predict(model, atoms, level="gap@cheap", **QUIET)
        np.testing.assert_allclose(alone.energy[0], found.energy[k], rtol=1e-4)
    assert found.forces is None
    assert found.as_json()["unit"] == "eV"


def test_a_cif_that_cannot_be_read_does_not_stop_the_others(model, cifs, tmp_path, capsys):
    (cifs / "broken.cif").write_text("data_x\n_cell_length_a 4.0\n")
    tiny = crystals(1)[0]
    tiny.set_cell(0.2 * tiny.cell, scale_atoms=True)
    write(cifs / "tiny.cif", tiny)
    found = tlpot.predict(model, cifs, level="all", output=tmp_path / "a.csv", **QUIET)
    table = {row["id"]: row for row in rows(tmp_path / "a.csv")}
    assert len(found) == 3
    assert set(found.unread) == {"broken", "tiny"}
    assert table["broken"]["gap@cheap (eV)"] == ""
    assert "not read" in table["tiny"]["warnings"]
    assert table["mp-1"]["warnings"] == rows(tmp_path / "a.csv")[1]["warnings"]
    command = ["predict", str(model), str(cifs), "--level", "gap@cheap", "--device", "cpu"]
    assert main(command) == 0
    assert "NOT READ: broken" in capsys.readouterr().out
    for file in cifs.glob("mp-*.cif"):
        file.unlink()
    with pytest.raises(DataError, match="read"):
        tlpot.predict(model, cifs, level="gap@cheap", **QUIET)


def test_how_much_unless_there_is_none(model, cifs, tmp_path):
    both = "gap@cheap unless metal@cheap"
    found = tlpot.predict(model, cifs, level=both, output=tmp_path / "a.csv", **QUIET)
    gap, metal = found.others
    expected = [0.0 if p > 0.5 else g for g, p in zip(gap.energy, metal.energy, strict=True)]
    np.testing.assert_array_equal(found.energy, expected)
    assert [float(row[f"{both} (eV)"]) for row in rows(tmp_path / "a.csv")] == pytest.approx(
        expected, rel=1e-4
    )
    for level in ("metal@cheap unless gap@cheap", "gap@cheap unless gap@cheap"):
        with pytest.raises(ConfigError, match="yes_no"):
            tlpot.predict(model, cifs, level=level, **QUIET)


def test_energies_are_written_as_a_table_too(tmp_path):
    structures = [bulk("NaCl", "rocksalt", a=5.6)]
    with pytest.raises(UnknownElementError):
        tlpot.predict("tlpot-tiny", structures, level="wb97x/6-31g*", **QUIET)
    tlpot.predict(
        "tlpot-tiny", structures, level="wb97x/6-31g*", output=tmp_path / "a.csv", **QUIET
    )
    (row,) = rows(tmp_path / "a.csv")
    assert row["wb97x/6-31g* energy (eV)"] == ""
    assert "Na" in row["warnings"]


@pytest.mark.fault
def test_energies_in_a_table_have_all_their_digits(tmp_path):
    """Total energies were rounded to six digits: by 5 meV at 3000 eV."""
    found = tlpot.predict(
        "tlpot-tiny", molecule("CH3OH"), level="wb97x/6-31g*", output=tmp_path / "a.csv", **QUIET
    )
    (row,) = rows(tmp_path / "a.csv")
    assert abs(found.energy[0]) > 1000
    assert float(row["wb97x/6-31g* energy (eV)"]) == found.energy[0]
    assert float(row["domain"]) == found.domain[0]


def test_other_files_are_not_for_properties(model, cifs, tmp_path):
    with pytest.raises(OutputError, match="csv"):
        tlpot.predict(model, cifs, level="gap@cheap", output=tmp_path / "a.xyz", **QUIET)


@pytest.mark.fault
def test_a_property_is_no_energy(model):
    found = tlpot.predict(model, crystals(2), level="all", **QUIET)
    (atoms, _) = found.to_atoms()
    assert atoms.calc is None
    assert atoms.info["gap@cheap"] == pytest.approx(found.energy[0])
    assert atoms.info["metal@cheap"] == pytest.approx(found.others[0].energy[0])
