"""Layouts of crystals with values: CIFs with id_prop.csv, matbench JSON, ASE databases."""

import gzip
import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from tlpot.data import open_dataset, write_dataset
from tlpot.errors import ConfigError, DataError, UnknownLevelError
from tlpot.jobs.data_sources import DataSettings
from tlpot.structures import read_all

GAP = {"gap@pbe": "gap_pbe, eV, intensive"}
CRYSTALS = {
    "mp-1": bulk("NaCl", "rocksalt", a=5.6),
    "mp-2": bulk("Si", "diamond", a=5.4, cubic=True),
    "mp-3": bulk("ZnS", "wurtzite", a=3.8, c=6.2),
}


def folder(path, table="id,gap_pbe,phase\nmp-1,5.0,salt\nmp-2,,\nmp-3,2.1,layered\n"):
    path.mkdir()
    for name, atoms in CRYSTALS.items():
        write(path / f"{name}.cif", atoms)
    if table is not None:
        (path / "id_prop.csv").write_text(table)
    return path


def structure(atoms, **changes):
    """As pymatgen writes it."""
    sites = [
        {"species": [{"element": s, "occu": 1}], "abc": list(f), "xyz": list(x), "label": s}
        for s, f, x in zip(
            atoms.symbols, atoms.get_scaled_positions().tolist(), atoms.positions.tolist(),
            strict=True,
        )
    ]  # fmt: skip
    return {
        "@module": "pymatgen.core.structure", "@class": "Structure", "charge": None,
        "lattice": {"matrix": atoms.cell.tolist()}, "sites": sites, **changes,
    }  # fmt: skip


def matbench(path, rows=None, **changes):
    rows = rows or [[structure(a), 1.5 * k] for k, a in enumerate(CRYSTALS.values())]
    content = {
        "index": list(CRYSTALS)[: len(rows)], "columns": ["structure", "gap pbe"], "data": rows,
        **changes,
    }  # fmt: skip
    text = json.dumps(content)
    if path.suffix == ".gz":
        with gzip.open(path, "wt") as handle:
            handle.write(text)
    else:
        path.write_text(text)
    return path


def same_geometry(frame, atoms):
    """Whether the distances within and the lattice agree."""
    found = frame.system.to_atoms()
    assert sorted(found.symbols) == sorted(atoms.symbols)
    np.testing.assert_allclose(found.cell.cellpar(), atoms.cell.cellpar(), atol=1e-4)
    assert found.pbc.all()
    for one, two in ((found, atoms), (atoms, found)):
        far = np.sort(one.get_all_distances(mic=True).ravel())
        np.testing.assert_allclose(far, np.sort(two.get_all_distances(mic=True).ravel()), atol=1e-3)


def test_cifs_with_a_header(tmp_path):
    dataset = open_dataset(folder(tmp_path / "cifs"), keys=GAP)
    assert dataset.column("id").tolist() == ["mp-1", "mp-2", "mp-3"]
    assert dataset.column("phase").tolist() == ["salt", "", "layered"]
    assert dataset.labelled("gap@pbe").tolist() == [True, False, True]
    quantity = dataset.levels["gap@pbe"].quantity
    assert (quantity.unit, quantity.extensive, quantity.kind) == ("eV", False, "scalar")
    frames = dataset.read([0, 1, 2])
    assert [f.labels["gap@pbe"].energy for f in (frames[0], frames[2])] == [5.0, 2.1]
    for frame, atoms in zip(frames, CRYSTALS.values(), strict=True):
        same_geometry(frame, atoms)
    assert len(dataset.content_hash) == 64
    again = open_dataset(tmp_path / "cifs", keys=GAP)
    assert again.content_hash == dataset.content_hash
    (tmp_path / "cifs" / "id_prop.csv").write_text("id,gap_pbe\nmp-1,6\nmp-2,1\nmp-3,2\n")
    assert open_dataset(tmp_path / "cifs", keys=GAP).content_hash != dataset.content_hash


def test_the_layout_of_cgcnn_has_no_header(tmp_path):
    path = folder(tmp_path / "cifs", "mp-3,0.5\nmp-1,7\n")
    dataset = open_dataset(path, keys={"gap@hse06": "value, eV, intensive, positive"})
    assert dataset.column("id").tolist() == ["mp-3", "mp-1", "mp-2"]
    assert [f.labels["gap@hse06"].energy for f in dataset.read([0, 1])] == [0.5, 7.0]
    notes = [p.what for p in dataset.problems if p.severity == "note"]
    assert any("mp-2.cif" in note and "1 structure" in note for note in notes)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "id_prop.csv"),
        ("mp-1,5\nmp-9,3\nmp-8,1\n", "2 rows .*mp-9, mp-8"),
        ("mp-1,5\nmp-2,wide\n", "line 2.*'wide'"),
        ("id,gap_pbe\nmp-1,5\nmp-2,wide\n", "line 3.*'wide'"),
        ("mp-1,5\nmp-1,5\n", "line 2.*twice"),
        ("mp-1,5\nmp-2\n", "line 2 has 1 col"),
        ("mp-1,5,6\n", "no header"),
        ("id,a,a\nmp-1,5,6\n", "'a'"),
        ("", "expected an id"),
    ],
)
def test_tables_that_do_not_fit(table, message, tmp_path):
    with pytest.raises(DataError, match=message):
        open_dataset(folder(tmp_path / "cifs", table), keys={"gap@pbe": "value, eV, intensive"})


def test_an_unknown_column_is_answered_with_those_there_are(tmp_path):
    path = folder(tmp_path / "cifs")
    with pytest.raises(DataError, match="gap_pbe"):
        open_dataset(path, keys={"gap@pbe": "bandgap, eV, intensive"})
    with pytest.raises(UnknownLevelError, match="gap_pbe"):
        open_dataset(path)
    with pytest.raises(ConfigError, match="gap_pbe"):
        open_dataset(path, level="gap@pbe")


@pytest.mark.parametrize(
    "text", ["gap_pbe", "gap_pbe, eV", "gap_pbe, intensive", "gap_pbe, eV, mean", ", , ,"]
)
def test_a_property_needs_its_unit_and_its_kind(text, tmp_path):
    with pytest.raises(ConfigError, match="intensive"):
        open_dataset(folder(tmp_path / "cifs"), keys={"gap@pbe": text})


def test_properties_by_keys_in_other_layouts(tmp_path):
    atoms = CRYSTALS["mp-1"].copy()
    atoms.info.update(energy=-3.0, gap=5.0, metal=0)
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    keys = {"gap@pbe": "gap, eV, intensive", "metal@pbe": "metal, intensive, yes_no"}
    every = open_dataset(tmp_path / "a.xyz", keys=keys, level="pbe")
    assert set(every.levels) == {"pbe", "gap@pbe", "metal@pbe"}
    assert set(open_dataset(tmp_path / "a.xyz", keys=keys).levels) == {"gap@pbe", "metal@pbe"}
    assert set(open_dataset(tmp_path / "a.xyz", keys=keys, level="gap@pbe").levels) == {"gap@pbe"}
    settings = DataSettings(files=(tmp_path / "a.xyz",), keys=keys, level="gap@pbe")
    assert set(settings.open_all_levels().levels) == {"gap@pbe", "metal@pbe"}


@pytest.mark.parametrize("place", [0, 1])
def test_partial_occupancies_in_a_cif_are_refused_by_name(place, tmp_path):
    path = folder(tmp_path / "cifs")
    lines = (path / "mp-3.cif").read_text().splitlines()
    sites = [k for k, line in enumerate(lines) if " 1.0000" in line and "Zn" in line]
    lines[sites[place]] = lines[sites[place]].replace("1.0000", "0.5000")
    (path / "mp-3.cif").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"mp-3.cif.*Zn.*occupied by 0.5"):
        open_dataset(path, keys=GAP)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data_x\n_cell_length_a 3\n", r"it has 0 blocks with a structure"),
        ("junk", r"there is no block 'data_\.\.\.' that can be read"),
    ],
)
def test_a_broken_cif_is_named_with_the_reason(tmp_path, text, reason):
    path = folder(tmp_path / "cifs")
    (path / "mp-2.cif").write_text(text)
    with pytest.raises(DataError, match=rf"mp-2.cif .*\({reason}\)"):
        open_dataset(path, keys=GAP)


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_matbench(ending, tmp_path):
    path = matbench(tmp_path / f"mp_gap{ending}")
    dataset = open_dataset(path, keys={"gap@pbe": "gap pbe, eV, intensive"})
    for k, (frame, atoms) in enumerate(zip(dataset.read(range(3)), CRYSTALS.values(), strict=True)):
        same_geometry(frame, atoms)
        assert frame.labels["gap@pbe"].energy == 1.5 * k
    assert dataset.column("id").tolist() == list(CRYSTALS)
    assert [len(atoms) for atoms in read_all(path)] == [2, 8, 4]


def test_matbench_with_fractions_truth_text_and_nothing(tmp_path):
    one = structure(CRYSTALS["mp-1"])
    for site in one["sites"]:
        del site["xyz"]
    rows = [[one, True, "cubic"], [structure(CRYSTALS["mp-2"]), None, None]]
    path = matbench(tmp_path / "m.json", rows, columns=["structure", "is_metal", "system"])
    dataset = open_dataset(path, keys={"metal@pbe": "is_metal, intensive, yes_no"})
    same_geometry(dataset.read([0])[0], CRYSTALS["mp-1"])
    assert dataset.read([0])[0].labels["metal@pbe"].energy == 1.0
    assert dataset.labelled("metal@pbe").tolist() == [True, False]
    assert dataset.column("system").tolist() == ["cubic", ""]


def test_what_matbench_files_may_not_hold(tmp_path):
    disordered = structure(CRYSTALS["mp-1"])
    disordered["sites"][1]["species"] = [
        {"element": "Cl", "occu": 0.5}, {"element": "Br", "occu": 0.5},
    ]  # fmt: skip
    dummy = structure(CRYSTALS["mp-1"])
    dummy["sites"][0]["species"] = [{"element": "Xx", "occu": 1}]
    good = structure(CRYSTALS["mp-1"])
    cases = [
        ({"rows": [[disordered, 1.0]]}, "'mp-1'.*Cl 0.5 . Br 0.5"),
        ({"rows": [[dummy, 1.0]]}, "'Xx'"),
        ({"rows": [[good, 1.0], [good, "wide"]]}, "'mp-2'.*'wide'"),
        ({"rows": [[good, 1.0], [{"sites": 3}, 1.0]]}, "'mp-2'"),
        ({"rows": [["NaCl", 1.0]]}, "no column"),
        ({"index": ["a", "a", "b"]}, "'a'"),
        ({"index": ["a"]}, "one length"),
    ]
    for k, (changes, message) in enumerate(cases):
        path = matbench(tmp_path / f"{k}.json", changes.pop("rows", None), **changes)
        with pytest.raises(DataError, match=message):
            open_dataset(path, keys={"gap@pbe": "gap pbe, eV, intensive"})
    (tmp_path / "other.json").write_text("[1, 2]")
    (tmp_path / "cut.json").write_text('{"index": [')
    for name, message in (("other", "orient='split'"), ("cut", "not complete JSON")):
        with pytest.raises(DataError, match=message):
            open_dataset(tmp_path / f"{name}.json", keys=GAP)
    with pytest.raises(DataError, match="no such file"):
        open_dataset(tmp_path / "absent.json", keys=GAP)


def test_structures_of_other_formats_beside_a_table(tmp_path):
    """POSCARs as ALIGNN lists them, with their endings, and molecules."""
    path = tmp_path / "mixed"
    path.mkdir()
    write(path / "POSCAR-1.vasp", CRYSTALS["mp-1"], format="vasp")
    write(path / "mp-2.cif", CRYSTALS["mp-2"])
    ion = Atoms("OH", [[0, 0, 0], [0, 0, 0.96]], info={"charge": -1})
    write(path / "hydroxide.xyz", ion, format="extxyz")
    (path / "id_prop.csv").write_text("POSCAR-1.vasp,5.0\nmp-2,1.0\nhydroxide,3.0\n")
    dataset = open_dataset(path, keys={"gap@pbe": "value, eV, intensive"})
    assert dataset.column("id").tolist() == ["POSCAR-1", "mp-2", "hydroxide"]
    salt, silicon, molecule = dataset.read(range(3))
    same_geometry(salt, CRYSTALS["mp-1"])
    same_geometry(silicon, CRYSTALS["mp-2"])
    assert (molecule.system.charge, molecule.system.pbc.any()) == (-1, False)
    assert [frame.labels["gap@pbe"].energy for frame in (salt, silicon, molecule)] == [5, 1, 3]


def test_a_folder_whose_files_and_table_disagree(tmp_path):
    path = tmp_path / "mixed"
    path.mkdir()
    water = Atoms("OH2", [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]], info={"gap": 7.0})
    write(path / "a.xyz", water, format="extxyz")
    (path / "id_prop.csv").write_text("id,gap\na.xyz,6.5\n")
    with pytest.raises(DataError, match=r"gap=7\.0, and the table 6\.5"):
        open_dataset(path, keys={"gap@pbe": "gap, eV, intensive"})
    write(path / "a.xyz", [water, water], format="extxyz")
    with pytest.raises(DataError, match="2 structures, expected one"):
        open_dataset(path, keys={"gap@pbe": "gap, eV, intensive"})
    write(path / "a.cif", CRYSTALS["mp-1"])
    with pytest.raises(DataError, match=r"a\.cif and a\.xyz have one id"):
        open_dataset(path, keys={"gap@pbe": "gap, eV, intensive"})
    (path / "a.cif").unlink()
    (path / "a.xyz").rename(path / "b.poscar")
    (path / "id_prop.csv").write_text("b,6.5\n")
    with pytest.raises(DataError, match="is not a POSCAR"):
        open_dataset(path, keys={"gap@pbe": "value, eV, intensive"})


@pytest.mark.parametrize("ending", [".db", ".json"])
def test_databases_of_ase(ending, tmp_path):
    database = connect(str(tmp_path / f"a{ending}"))
    for k, atoms in enumerate(CRYSTALS.values()):
        atoms = atoms.copy()
        forces = np.full((len(atoms), 3), 0.1 * k)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0 * k, forces=forces)
        pairs = {"gap_pbe": 0.5 * k, "phase": "x"} if k else {"phase": "y"}
        database.write(atoms, key_value_pairs=pairs)
    dataset = open_dataset(tmp_path / f"a{ending}", level="pbe", keys=GAP)
    assert set(dataset.levels) == {"pbe", "gap@pbe"}
    assert dataset.labelled("gap@pbe").tolist() == [False, True, True]
    frame = dataset.read([2])[0]
    same_geometry(frame, CRYSTALS["mp-3"])
    assert frame.labels["pbe"].energy == -2.0
    np.testing.assert_allclose(frame.labels["pbe"].forces, 0.2)
    assert frame.labels["gap@pbe"].energy == 1.0
    assert dataset.column("phase").tolist() == ["y", "x", "x"]
    assert len(read_all(tmp_path / f"a{ending}")) == 3


def test_no_databases(tmp_path):
    (tmp_path / "a.db").write_bytes(b"nothing of the sort" * 100)
    with pytest.raises(DataError, match=r"a.db"):
        open_dataset(tmp_path / "a.db", keys=GAP)
    with pytest.raises(DataError, match="no such file"):
        open_dataset(tmp_path / "b.db", keys=GAP)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="without structures"):
        open_dataset(tmp_path / "empty", keys=GAP)


def test_a_molecule_of_pymatgen(tmp_path):
    water = Atoms("OH2", [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
    water.cell = np.eye(3)  # for the fractions, which are dropped
    content = structure(water, charge=1, **{"@class": "Molecule"})
    del content["lattice"]
    path = matbench(tmp_path / "m.json", [[content, 1.0]])
    system = open_dataset(path, keys={"gap@pbe": "gap pbe, eV, intensive"}).read([0])[0].system
    assert not system.pbc.any()
    assert system.charge == 1
    np.testing.assert_allclose(system.positions, water.positions)


def test_converted_they_keep_ids_texts_and_values(tmp_path):
    dataset = open_dataset(folder(tmp_path / "cifs"), keys=GAP)
    write_dataset(dataset, tmp_path / "a.h5")
    native = open_dataset(tmp_path / "a.h5")
    write_dataset(native, tmp_path / "b.h5")
    for found in (native, open_dataset(tmp_path / "b.h5")):
        order = np.argsort(found.column("id"))
        assert found.column("id")[order].tolist() == list(CRYSTALS)
        assert found.column("phase")[order].tolist() == ["salt", "", "layered"]
        assert not {"id", "phase"} & set(found.unused_keys)
        labels = [frame.labels for frame in found.read(order)]
        assert labels[0]["gap@pbe"].energy == 5.0
        assert "gap@pbe" not in labels[1]
        for frame, atoms in zip(found.read(order), CRYSTALS.values(), strict=True):
            same_geometry(frame, atoms)


def test_declared_columns_of_extended_xyz_are_kept(tmp_path):
    rows = []
    for k, atoms in enumerate(CRYSTALS.values()):
        rows.append(atoms.copy())
        rows[-1].info.update(energy=1.0 * k, **({"facet": 211, "surface": "a"} if k else {}))
    write(tmp_path / "a.xyz", rows, format="extxyz")
    (tmp_path / "a.yaml").write_text(
        "container: extxyz\nunits: {coordinates: angstrom, energy: ev}\n"
        "columns: [facet, surface, nowhere]\nlevels: {pbe: {energy: energy}}\n"
    )
    write_dataset(open_dataset(tmp_path / "a.xyz", tmp_path / "a.yaml"), tmp_path / "a.h5")
    found = open_dataset(tmp_path / "a.h5")
    order = [int(f.labels["pbe"].energy + 0.5) for f in found.read(range(3))]
    assert found.column("surface")[np.argsort(order)].tolist() == ["", "a", "a"]
    np.testing.assert_array_equal(found.column("facet")[np.argsort(order)], [np.nan, 211, 211])


@pytest.mark.fault
def test_structures_are_called_by_their_ids(tmp_path):
    """Messages and tables said `cifs[51]`, which is no file, and no line of the table either."""
    dataset = open_dataset(folder(tmp_path / "cifs"), keys=GAP)
    assert [frame.name for frame in dataset] == ["cifs/mp-1", "cifs/mp-2", "cifs/mp-3"]
    rows = matbench(tmp_path / "a.json")
    named = open_dataset(rows, keys={"gap@pbe": "gap pbe, eV, intensive"})
    assert [frame.name for frame in named] == ["a.json/mp-1", "a.json/mp-2", "a.json/mp-3"]
    with connect(str(tmp_path / "a.db")) as database:
        database.write(bulk("Cu"), gap_pbe=1.0)
    numbered = open_dataset(tmp_path / "a.db", keys=GAP)
    assert [frame.name for frame in numbered] == ["a.db[0]"]


@pytest.mark.fault
@pytest.mark.parametrize("orient", ["columns", "index", "records", "numbered"])
def test_tables_of_pandas_in_every_orientation(orient, tmp_path):
    """What `DataFrame.to_json` writes by default, and records of a database, were refused."""
    rows = {
        name: {"material_id": name, "structure": structure(atoms), "gap pbe": 1.5 * k or None}
        for k, (name, atoms) in enumerate(CRYSTALS.items())
    }
    content = {
        "columns": {key: {n: row[key] for n, row in rows.items()} for key in rows["mp-1"]},
        "index": rows,
        "records": list(rows.values()),
        "numbered": {str(k): row for k, row in enumerate(rows.values())},
    }[orient]
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset = open_dataset(tmp_path / "a.json", keys={"gap@pbe": "gap pbe, eV, intensive"})
    assert dataset.column("material_id").tolist() == list(CRYSTALS)
    ids = list("012") if orient == "numbered" else list(CRYSTALS)
    assert dataset.column("id").tolist() == ids
    gaps = [frame.labels["gap@pbe"].energy if frame.labels else None for frame in dataset]
    assert gaps == [None, 1.5, 3.0]
    for frame, atoms in zip(dataset, CRYSTALS.values(), strict=True):
        same_geometry(frame, atoms)


@pytest.mark.fault
@pytest.mark.parametrize("wrap", ["one", "list", "by id"])
def test_structures_alone(wrap, tmp_path):
    """What `Structure.to` of pymatgen writes could not be predicted for."""
    written = {name: structure(atoms) for name, atoms in CRYSTALS.items()}
    content = {"one": written["mp-1"], "list": list(written.values()), "by id": written}[wrap]
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = read_all(tmp_path / "a.json")
    assert len(found) == (1 if wrap == "one" else 3)
    assert sorted(found[0].symbols) == sorted(CRYSTALS["mp-1"].symbols)
    ids = list(CRYSTALS) if wrap == "by id" else list("012")[: len(found)]
    assert [atoms.info["id"] for atoms in found] == ids


@pytest.mark.fault
@pytest.mark.parametrize("line", ["mp-1;0,5", "mp-1\t0.5", "mp-1 0.5"])
def test_a_table_without_commas_is_shown_its_line(tmp_path, line):
    """The message did not say that commas are expected, nor what was found."""
    with pytest.raises(DataError, match="comma") as caught:
        open_dataset(folder(tmp_path / "cifs", f"{line}\n"), keys=GAP)
    assert repr(line) in str(caught.value)


@pytest.mark.fault
@pytest.mark.parametrize("cartesian", [True, False])
def test_records_of_jarvis(tmp_path, cartesian):
    """The layout of JARVIS, which ALIGNN reads, was refused."""
    records = [
        {
            "jid": name,
            "atoms": {
                "lattice_mat": atoms.cell.tolist(), "elements": list(atoms.symbols),
                "coords": (atoms.positions if cartesian else atoms.get_scaled_positions()).tolist(),
                "cartesian": cartesian, "props": [""] * len(atoms),
            },
            "optb88vdw_bandgap": "na" if name == "mp-2" else 1.5,
        }
        for name, atoms in CRYSTALS.items()
    ]  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(records))
    keys = {"gap@optb88": "optb88vdw_bandgap, eV, intensive"}
    dataset = open_dataset(tmp_path / "a.json", keys=keys)
    assert dataset.column("id").tolist() == list(CRYSTALS)
    assert [len(frame.labels) for frame in dataset] == [1, 0, 1]
    for frame, atoms in zip(dataset, CRYSTALS.values(), strict=True):
        same_geometry(frame, atoms)


@pytest.mark.fault
@pytest.mark.parametrize("column", ["charge", "q", "spin", "multiplicity"])
def test_a_property_is_no_charge_or_multiplicity_beside_it(tmp_path, column):
    """A column `q` or `spin` that was named as a property was refused as what it was not."""
    table = f"id,{column}\nmp-1,0.3\nmp-2,-1\nmp-3,0\n"
    keys = {"moment@pbe": f"{column}, , intensive"}
    dataset = open_dataset(folder(tmp_path / "cifs", table), keys=keys)
    assert {(frame.system.charge, frame.system.spin) for frame in dataset} == {(0, 1)}
    assert [frame.labels["moment@pbe"].energy for frame in dataset] == [0.3, -1.0, 0.0]


@pytest.mark.control
def test_a_charge_beside_a_property_of_that_name_is_kept(tmp_path):
    ion = bulk("NaCl", "rocksalt", a=5.6)
    ion.info.update(charge=0.7, total_charge=2)
    write(tmp_path / "a.xyz", [ion], format="extxyz")
    keys = {"bader@pbe": "charge, e, intensive"}
    dataset = open_dataset(tmp_path / "a.xyz", keys=keys)
    write_dataset(dataset, tmp_path / "a.h5")
    for found in (dataset[0], open_dataset(tmp_path / "a.h5")[0]):
        assert found.system.charge == 2
        assert found.labels["bader@pbe"].energy == 0.7
