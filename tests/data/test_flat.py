"""Flat arrays: the atoms of all frames in a row, with offsets or counts."""

import pickle

import h5py
import numpy as np
import pytest

from tlpot.data import flat, load_spec, open_dataset, write_dataset
from tlpot.errors import ConfigError, DataError
from tlpot.units import energy_factor, force_factor

SIZES = [3, 5, 1, 4, 3, 2, 3]
SPEC = {
    "container": "hdf5",
    "numbers": "Z",
    "coordinates": "R",
    "offsets": "offsets",
    "charge": "Q",
    "sign": "gradient",
    "units": {"coordinates": "angstrom", "energy": "hartree", "forces": "hartree/angstrom"},
    "levels": {"a/b": {"energy": "E", "forces": "F"}},
}
COUNTS = {**{k: v for k, v in SPEC.items() if k != "offsets"}, "counts": "n"}


def arrays(sizes=SIZES, seed=5):
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    forces = rng.normal(size=(n, 3))
    forces[sizes[0] : sizes[0] + sizes[1]] = np.nan  # the second frame has none
    return {
        "Z": rng.choice([1, 6, 8], size=n),
        "R": rng.normal(size=(n, 3)) * 3,
        "E": rng.normal(size=len(sizes)),
        "F": forces,
        "Q": np.arange(len(sizes)) % 2,
        "offsets": np.concatenate([[0], np.cumsum(sizes)]),
        "n": np.array(sizes),
        "T": np.arange(len(sizes)) * 100.0,
    }


def hdf5(path, content, group=""):
    with h5py.File(path, "a") as handle:
        for name, array in content.items():
            handle[f"{group}/{name}"] = array
    return path


def check(dataset, content):
    """Frames are those of the arrays, in their order."""
    assert len(dataset) == len(content["n"])
    starts = content["offsets"]
    for k, frame in enumerate(dataset.read(range(len(dataset)))):
        atoms = slice(starts[k], starts[k + 1])
        np.testing.assert_array_equal(frame.system.atomic_numbers, content["Z"][atoms])
        np.testing.assert_array_equal(frame.system.positions, content["R"][atoms])
        assert frame.system.charge == content["Q"][k]
        labels = frame.labels["a/b"]
        assert labels.energy == content["E"][k] * energy_factor("hartree")
        if k == 1:
            assert labels.forces is None
        else:
            expected = -content["F"][atoms] * force_factor("hartree/angstrom")
            np.testing.assert_allclose(labels.forces, expected, rtol=1e-15)
        assert frame.name.endswith(f"[{k}]")


@pytest.mark.fault
@pytest.mark.parametrize("spec", [SPEC, COUNTS], ids=["offsets", "counts"])
@pytest.mark.parametrize("block", [2, flat.BLOCK])
def test_frames_of_flat_arrays(tmp_path, monkeypatch, spec, block):
    """No description could say it, although the message asked for one."""
    monkeypatch.setattr(flat, "BLOCK", block)
    content = arrays()
    dataset = open_dataset(hdf5(tmp_path / "a.h5", content), spec)
    check(dataset, content)
    check(pickle.loads(pickle.dumps(dataset)), content)
    assert dataset.labelled("a/b", "forces").tolist() == [k != 1 for k in range(7)]
    np.testing.assert_array_equal(dataset.column("T"), content["T"])
    assert dataset.problems == ()
    # in another order, with gaps
    found = dataset.read([6, 0, 3])
    assert [len(frame.system) for frame in found] == [3, 3, 4]


@pytest.mark.fault
def test_an_npz_file(tmp_path):
    """npz files are flat as often."""
    content = arrays()
    np.savez(tmp_path / "a.npz", **content)
    check(open_dataset(tmp_path / "a.npz", {**SPEC, "container": "npz"}), content)


def test_symbols_and_names_of_ones_own(tmp_path):
    content = arrays()
    symbols = np.array(["", "H", "", "", "", "", "C", "", "O"])[content["Z"]]
    for kind in ("S2", h5py.string_dtype()):
        path = tmp_path / f"{kind!s:.1}.h5"
        hdf5(path, {**content, "Z": symbols.astype("S2").astype(kind)})
        check(open_dataset(path, SPEC), content)
    hdf5(tmp_path / "b.h5", {"ptr" if k == "offsets" else k: v for k, v in content.items()})
    check(open_dataset(tmp_path / "b.h5", SPEC, keys={"offsets": "ptr"}), content)


def test_several_groups(tmp_path):
    first, second = arrays(), arrays([2, 2, 6], seed=9)
    for name, content in (("one", first), ("two", second)):
        hdf5(tmp_path / "a.h5", content, name)
    dataset = open_dataset(tmp_path / "a.h5", SPEC)
    assert len(dataset) == 10
    check(open_dataset(tmp_path / "a.h5", {**SPEC, "groups": "one"}), first)
    np.testing.assert_array_equal(dataset[9].system.positions, second["R"][4:])


def test_only_what_is_asked_for_is_read(tmp_path, monkeypatch):
    content = arrays([3] * 500)
    dataset = open_dataset(hdf5(tmp_path / "a.h5", content), SPEC)
    asked = []
    plain = flat.FlatStore.read

    def read(self, section, key, rows=None):
        found = plain(self, section, key, rows)
        asked.append(found.size)
        return found

    monkeypatch.setattr(flat.FlatStore, "read", read)
    monkeypatch.setattr("tlpot.data.arrays.CHUNK_BYTES", 1)
    dataset = open_dataset(tmp_path / "a.h5", SPEC)
    asked.clear()
    dataset.read([250])
    assert max(asked) == 9


def test_converted_to_the_own_layout(tmp_path):
    content = arrays()
    dataset = open_dataset(hdf5(tmp_path / "a.h5", content), SPEC)
    write_dataset(dataset, tmp_path / "b.h5")
    again = open_dataset(tmp_path / "b.h5")
    assert sorted(f.labels["a/b"].energy for f in again) == pytest.approx(
        sorted(f.labels["a/b"].energy for f in dataset)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": None}, "no array 'offsets'"),
        ({"offsets": [0, 3, 8, 9, 13, 16, 18]}, "ends at 18 atoms, but 'R' has 21"),
        ({"offsets": [3, 5, 1, 4, 3, 2, 3]}, "use counts"),
        ({"offsets": [0, 3, 8, 8, 13, 16, 18, 21]}, "gives frame 2 0 atoms"),
        ({"offsets": [0, 3, 2, 9, 13, 16, 18, 21]}, "gives frame 1 -1 atoms"),
        ({"offsets": [0.5, 21]}, "not whole"),
        ({"offsets": [0, 3, 21]}, "'E' has shape .7,., but .* is of 2 frames"),
        ({"F": np.zeros((20, 3))}, "'F' has shape .20, 3., but 21 atoms in a row"),
        ({"Z": np.ones((7, 3))}, "'Z' has shape .7, 3., but 21 atoms in a row"),
    ],
)
def test_offsets_that_do_not_fit(tmp_path, change, message):
    content = {k: v for k, v in (arrays() | change).items() if v is not None}
    with pytest.raises(DataError, match=message):
        open_dataset(hdf5(tmp_path / "a.h5", content), SPEC)


def test_counts_that_do_not_fit(tmp_path):
    hdf5(tmp_path / "a.h5", arrays() | {"n": np.array([3, 5, 1, 4, 3, 2, 4])})
    with pytest.raises(DataError, match="adds up to 22 atoms, but 'R' has 21"):
        open_dataset(tmp_path / "a.h5", COUNTS)


def test_descriptions_that_make_no_sense():
    with pytest.raises(ConfigError, match="say the same"):
        load_spec({**SPEC, "counts": "n"})
    with pytest.raises(ConfigError, match="not for extended XYZ"):
        load_spec({**SPEC, "container": "extxyz"})


@pytest.mark.fault
def test_a_file_without_a_description_is_told_of_the_fields(tmp_path):
    """ "Write one of ten lines" led nowhere."""
    with pytest.raises(DataError, match="with offsets or counts"):
        open_dataset(hdf5(tmp_path / "a.h5", arrays()))
