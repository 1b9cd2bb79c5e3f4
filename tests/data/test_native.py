"""The native layout: its attributes, and writing it."""

import errno
import json

import h5py
import numpy as np
import pytest
from layouts import native_file

from tlpot.data import open_dataset, write_dataset, write_structures
from tlpot.errors import DataError, OutputError, UnknownLevelError
from tlpot.models import LIBRARY


def by_name(dataset):
    return {(f.group, f.system.positions.tobytes()): f for f in dataset.read(range(len(dataset)))}


def assert_same(one, two):
    frames, others = by_name(one), by_name(two)
    assert frames.keys() == others.keys()
    for key, frame in frames.items():
        other = others[key]
        assert frame.system.atomic_numbers.tolist() == other.system.atomic_numbers.tolist()
        assert frame.system.cell.tolist() == other.system.cell.tolist()
        assert frame.system.pbc.tolist() == other.system.pbc.tolist()
        assert (frame.system.charge, frame.system.spin) == (other.system.charge, other.system.spin)
        assert frame.labels.keys() == other.labels.keys()
        for level, labels in frame.labels.items():
            found = other.labels[level]
            assert found.energy == pytest.approx(labels.energy, rel=1e-14, nan_ok=True)
            for kind in ("forces", "stress"):
                a, b = getattr(labels, kind), getattr(found, kind)
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_allclose(a, b, rtol=1e-14)


def test_attributes_are_read(tmp_path):
    dataset = open_dataset(native_file(tmp_path / "a.h5"))
    low, high = dataset.levels["gfn2-xtb"], dataset.levels["ccsd(t)/cbs"]
    assert low.kinds == {"energy", "forces"}
    assert high.kinds == {"energy"}
    assert low.isolated_atoms[8] == pytest.approx(-3.8 * 27.211386)
    assert low.definition == "GFN2-xTB"
    assert high.isolated_atoms == {}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"units": None}, "no root attribute 'units'.*no shipped description"),
        ({"levels": None}, "no root attribute 'levels'"),
        ({"levels": "low"}, "'levels' is not JSON"),
        ({"levels": "[1]"}, "must be a JSON object"),
        ({"levels": '{"low": "pbe", "high": "PBE"}'}, "names 'pbe' twice"),
        ({"units": '{"coordinates": "angstrom", "energy": "hartree"}'}, "the unit of 'forces'"),
        (
            {"units": '{"coordinates": "angstrom", "energy": "hatree", "forces": "ev/angstrom"}'},
            "unknown energy unit 'hatree'; did you mean 'hartree'",
        ),
        (
            {"units": '{"coordinates": "feet", "energy": "ev", "forces": "ev/angstrom"}'},
            "unknown length unit 'feet'",
        ),
        ({"isolated_atoms": '{"Hx": {"low.energy": -0.4}}'}, "'Hx' is not an element"),
        ({"isolated_atoms": '{"H": -0.4}'}, "has -0.4 for H, expected the energy by dataset"),
        (
            {"isolated_atoms": '{"H": {"lo.energy": -0.4}}'},
            "no such dataset; did you mean 'low.energy'",
        ),
    ],
)
def test_attributes_that_are_missing_or_wrong(tmp_path, attributes, message):
    with pytest.raises(DataError, match=message):
        open_dataset(native_file(tmp_path / "a.h5", **attributes))


def test_geometries_that_wait_for_labels_are_a_dataset(tmp_path):
    dataset = open_dataset(native_file(tmp_path / "a.h5"))
    write_structures(dataset.read(range(len(dataset))), tmp_path / "b.h5")
    bare = open_dataset(tmp_path / "b.h5")
    assert len(bare) == len(dataset)
    assert bare.levels == {}
    assert bare.unused_keys == ()
    with pytest.raises(UnknownLevelError, match="pbe"):
        open_dataset(tmp_path / "b.h5", level="pbe")


def test_writing_and_reading_back(tmp_path):
    dataset = open_dataset(native_file(tmp_path / "a.h5"))
    done = []
    write_dataset(dataset, tmp_path / "b.h5", progress=done.append)
    assert sum(done) == 12
    again = open_dataset(tmp_path / "b.h5")
    assert_same(dataset, again)
    assert again.levels["gfn2-xtb"].isolated_atoms == pytest.approx(
        dataset.levels["gfn2-xtb"].isolated_atoms
    )
    assert again.levels["gfn2-xtb"].definition == "GFN2-xTB"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_structures_that_differ_in_what_they_have(tmp_path, monkeypatch):
    """Charge, cell, stress and atom order that appear only later in the stream."""
    monkeypatch.setattr("tlpot.data.native.FRAMES_AT_ONCE", 1)
    text = (
        "2\nProperties=species:S:1:pos:R:3 energy=1\nO 0 0 0\nH 0 0 1\n"
        "2\nProperties=species:S:1:pos:R:3 charge=-1 spin=3\nO 0 0 0\nH 0 0 1.1\n"
        "2\nProperties=species:S:1:pos:R:3 energy=2 charge=1\nH 0 0 0\nO 0 0 1.2\n"
        '2\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:forces:R:3 energy=3'
        ' stress="1 0 0 0 1 0 0 0 1"\nO 0 0 0 1 2 3\nH 0 0 1.3 4 5 6\n'
        "2\nProperties=species:S:1:pos:R:3 energy=4\nO 0 0 0\nH 0 0 1.4\n"
    )
    (tmp_path / "a.xyz").write_text(text)
    dataset = open_dataset(tmp_path / "a.xyz", level="pbe")
    write_dataset(dataset, tmp_path / "b.h5")
    again = open_dataset(tmp_path / "b.h5")
    assert_same(dataset, again)
    # two orders of the atoms are two groups but stay one molecule
    assert again.group_names == ("HO",)
    with h5py.File(tmp_path / "b.h5") as handle:
        assert list(handle) == ["HO", "HO.2"]


def test_an_ani1x_reader_understands_it(tmp_path):
    dataset = open_dataset(native_file(tmp_path / "a.h5"))
    write_dataset(dataset, tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5") as handle:
        key = next(k for k, v in json.loads(handle.attrs["levels"]).items() if v == "gfn2-xtb")
        n_frames = 0
        for group in handle.values():
            numbers, coordinates = group["atomic_numbers"][()], group["coordinates"][()]
            energies, forces = group[f"{key}.energy"][()], group[f"{key}.forces"][()]
            assert numbers.shape == coordinates.shape[1:2]
            assert energies.shape == coordinates.shape[:1]
            assert forces.shape == coordinates.shape
            n_frames += len(energies)
        frame = dataset.read([0])[0]
        hartree = handle["hydrogen"][f"{key}.energy"][0]
    assert n_frames == 12
    assert hartree * 27.211386 == pytest.approx(frame.labels["gfn2-xtb"].energy, rel=1e-6)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), RuntimeError("HDF5")])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, error):
    dataset = open_dataset(native_file(tmp_path / "a.h5"))
    (tmp_path / "b.h5").write_text("old")

    def fail(*_):
        raise error

    monkeypatch.setattr(h5py.Dataset, "__setitem__", fail)
    with pytest.raises(OutputError, match="could not write"):
        write_dataset(dataset, tmp_path / "b.h5")
    assert (tmp_path / "b.h5").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]


@pytest.mark.fault
def test_parts_of_energies_that_a_file_defines_are_left_out_on_purpose(tmp_path):
    """The labels that ship with tlpot were warned of in each training, and `--strict` refused."""
    shipped = LIBRARY / "tlpot-qm.h5"
    dataset = open_dataset(shipped)
    assert "mp2_dz.corr_energy" in dataset.unused_keys
    assert not [problem for problem in dataset.problems if problem.severity != "note"]
    copy = tmp_path / "copy.h5"
    copy.write_bytes(shipped.read_bytes())
    with h5py.File(copy, "r+") as handle:
        definitions = json.loads(handle.attrs["definitions"])
        del definitions["mp2_dz"]
        handle.attrs["definitions"] = json.dumps(definitions)
    (problem,) = open_dataset(copy).problems
    assert problem.severity == "warning"
    assert "'mp2_dz.corr_energy'" in problem.what
