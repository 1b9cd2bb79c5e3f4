"""What else a file says of its structures goes with the predictions."""

import h5py
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import read, write

import tlpot

MODEL = "tlpot-tiny"


@pytest.fixture
def frames():
    found = []
    for name in ("H2O", "CH4"):
        atoms = molecule(name)
        atoms.info |= {"mol id": f"{name}-7", "weight": 2.5, "REF_energy": -1.0}
        atoms.arrays["REF_forces"] = np.ones((len(atoms), 3))
        found.append(atoms)
    return found


@pytest.mark.fault
@pytest.mark.parametrize("ending", [".xyz", ".traj"])
def test_ids_stay_and_labels_do_not(frames, tmp_path, ending):
    """They were dropped, so frames could be told apart by their order only."""
    write(tmp_path / "in.xyz", frames, format="extxyz")
    target = tmp_path / f"out{ending}"
    found = tlpot.predict(MODEL, tmp_path / "in.xyz", output=target)
    for k, atoms in enumerate(read(target, ":")):
        assert atoms.info["mol id"] == frames[k].info["mol id"]
        assert atoms.info["weight"] == 2.5
        assert "REF_energy" not in atoms.info
        assert "REF_forces" not in atoms.arrays
        assert atoms.get_potential_energy() == pytest.approx(found.energy[k])


@pytest.mark.fault
def test_databases_hold_them_under_any_name(frames, tmp_path):
    tlpot.predict(MODEL, frames, output=tmp_path / "out.db")
    rows = list(connect(tmp_path / "out.db").select())
    assert [row.data["about"]["mol id"] for row in rows] == ["H2O-7", "CH4-7"]


def test_labels_of_a_model_are_alone_in_a_dataset(frames, tmp_path):
    tlpot.predict(MODEL, frames, output=tmp_path / "out.h5")
    assert list(tlpot.open_dataset(tmp_path / "out.h5").levels) == [MODEL]


@pytest.mark.fault
def test_converted_structures_keep_their_ids(tmp_path):
    """A table of a converted folder named group and number, in another order than the folder."""
    folder = tmp_path / "cifs"
    folder.mkdir()
    for k, (symbol, a) in enumerate((("Cu", 3.6), ("Ag", 4.1), ("Ni", 3.5))):
        write(folder / f"mat{k}.cif", bulk(symbol, a=a))
    (folder / "id_prop.csv").write_text("mat0,0.0\nmat1,0.1\nmat2,0.2\n")
    data = tmp_path / "c.h5"
    tlpot.convert_dataset(folder, data, keys={"gap@pbe": "value, eV, intensive"})
    expected = tlpot.predict("tlpot-gap-pbe", folder)
    for given in (data, [data], tlpot.open_dataset(data)):
        found = tlpot.predict("tlpot-gap-pbe", given)
        assert found.names == ("mat1", "mat0", "mat2")
        values = dict(zip(found.names, found.energy, strict=True))
        for name, value in zip(expected.names, expected.energy, strict=True):
            assert values[name] == pytest.approx(value, abs=1e-6)


@pytest.mark.fault
def test_a_dataset_with_ids_is_read_once(tmp_path, monkeypatch):
    """Its geometries were read a second time, for the names of the ids."""
    frames = []
    for k, name in enumerate(("H2O", "CH4", "H2O")):
        frames.append(molecule(name))
        frames[-1].info |= {"id": f"mol{k}", "energy": -1.0}
    data = tmp_path / "a.h5"
    spec = {
        "container": "extxyz", "units": {"coordinates": "angstrom", "energy": "eV"},
        "columns": ["id"], "levels": {"hf": {"energy": "energy"}},
    }  # fmt: skip
    write(tmp_path / "a.xyz", frames, format="extxyz")
    tlpot.convert_dataset(tmp_path / "a.xyz", data, spec=spec)
    read_names, getitem = [], h5py.Dataset.__getitem__

    def counted(self, *key, **options):
        read_names.append(self.name)
        return getitem(self, *key, **options)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    found = tlpot.predict(MODEL, data)
    monkeypatch.undo()
    by_name = dict(zip(found.names, found.systems, strict=True))
    assert {name: len(system) for name, system in by_name.items()} == {
        "mol0": 3, "mol1": 5, "mol2": 3,
    }  # fmt: skip
    coordinates = [name for name in read_names if name.endswith("coordinates")]
    assert len(coordinates) == len(set(coordinates)) == 2
