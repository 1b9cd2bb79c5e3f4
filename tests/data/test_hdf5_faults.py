"""HDF5 and npz files as users have them: what they hold is read as it stands, or refused."""

import json
import shutil

import h5py
import numpy as np
import pytest
from ase.units import Hartree

from tlpot.cli import main
from tlpot.data import open_dataset
from tlpot.errors import DataError

WATER = np.array([[0.0, 0.0, 0.117], [0.0, 0.757, -0.469], [0.0, -0.757, -0.469]])
N = 4


def fault(*values):
    """Parameters with which a test failed before; without, it says what worked and must go on."""
    return pytest.param(*values, marks=pytest.mark.fault)


def arrays(seed=1):
    rng = np.random.default_rng(seed)
    return {
        "atomic_numbers": np.array([8, 1, 1]),
        "coordinates": WATER + 0.05 * rng.normal(size=(N, 3, 3)),
        "l.energy": -76.4 + 0.01 * rng.normal(size=N),
        "l.forces": 0.01 * rng.normal(size=(N, 3, 3)),
    }


def add(handle, name="w", seed=1, **changes):
    group = handle.create_group(name)
    for key, value in {**arrays(seed), **changes}.items():
        if isinstance(value, list):
            group.create_dataset(key, data=value, dtype=h5py.string_dtype())
        elif value is not None:
            group[key] = value
    handle.attrs["levels"] = json.dumps({"l": "toy/x"})
    handle.attrs["units"] = json.dumps(
        {"coordinates": "angstrom", "energy": "hartree", "forces": "hartree/angstrom"}
    )
    return group


def file(path, **changes):
    with h5py.File(path, "w") as handle:
        add(handle, **changes)
    return path


def check(dataset, rows=slice(0, N)):
    """The frames from `rows` on are those of `arrays`, to the last digit."""
    given = arrays()
    frames = dataset.read(range(rows.start, rows.stop))
    for k, frame in enumerate(frames):
        labels = frame.labels["toy/x"]
        assert frame.system.atomic_numbers.tolist() == [8, 1, 1]
        np.testing.assert_array_equal(frame.system.positions, given["coordinates"][k])
        assert labels.energy == given["l.energy"][k] * Hartree
        np.testing.assert_array_equal(labels.forces, given["l.forces"][k] * Hartree)


@pytest.mark.fault
@pytest.mark.parametrize("shape", [(0,), (0, 3, 3), None])
def test_a_group_without_frames_is_passed_over_and_counted(tmp_path, capsys, shape):
    path = file(tmp_path / "a.h5")
    nothing = h5py.Empty("f8") if shape is None else np.zeros(shape)
    with h5py.File(path, "a") as handle:
        add(handle, "54X VAL", **{"coordinates": nothing, "l.energy": np.zeros(0),
                                  "l.forces": nothing})  # fmt: skip
        handle.create_group("nothing at all")
    dataset = open_dataset(path)
    assert list(dataset.group_names) == ["w"]
    assert len(dataset) == N
    check(dataset)
    assert main(["data", "info", str(path), "--molecules"]) == 0
    assert "hold no frame: 2 (54X VAL" in capsys.readouterr().out
    assert main(["data", "validate", str(path)]) == 0
    assert "hold no frame: 2" in capsys.readouterr().out


@pytest.mark.fault
def test_a_file_of_empty_groups_has_no_frames(tmp_path):
    empty = {"coordinates": np.zeros(0), "l.energy": np.zeros(0), "l.forces": np.zeros(0)}
    with pytest.raises(DataError, match="no frames"):
        open_dataset(file(tmp_path / "a.h5", **empty))


@pytest.mark.fault
def test_labels_of_shape_zero_are_absent(tmp_path):
    path = file(tmp_path / "a.h5")
    with h5py.File(path, "a") as handle:
        add(handle, "z", seed=2, **{"l.forces": np.zeros(0)})
    dataset = open_dataset(path)
    check(dataset)
    assert dataset.labelled("toy/x", "forces").tolist() == [True] * N + [False] * N
    assert dataset.labelled("toy/x", "energy").all()


@pytest.mark.parametrize("text", [fault(b"[OH-:1]"), fault("[OH-:1]"), ["[OH-:1]"]])
def test_text_scalars_are_read(tmp_path, text):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as handle:
        group = handle.create_group("oh")
        group["atomic_numbers"] = [8, 1]
        group["conformations"] = np.array([[[0, 0, 0], [0, 0, 1.9]]])
        group["dft_total_energy"] = np.array([-75.5])
        group["dft_total_gradient"] = np.zeros((1, 2, 3))
        group.create_dataset("smiles", data=text, dtype=h5py.string_dtype())
    assert open_dataset(path, "spice").read([0])[0].system.charge == -1


@pytest.mark.fault
def test_a_charge_as_text_is_read(tmp_path):
    dataset = open_dataset(file(tmp_path / "a.h5", charge="-1", spin=np.int8(2)))
    assert {(f.system.charge, f.system.spin) for f in dataset.read(range(N))} == {(-1, 2)}


@pytest.mark.parametrize(
    "numbers",
    [
        np.array([8, 1, 1], ">i2"), np.array([8, 1, 1], ">f4"),
        fault(np.array([b"O ", b"H ", b"H\x00"])),
        fault(["O ", "H", " H"]),
    ],
)  # fmt: skip
def test_species_of_any_kind_and_byte_order(tmp_path, numbers):
    given = arrays()
    big = {key: given[key].astype(">f8") for key in ("coordinates", "l.energy", "l.forces")}
    check(open_dataset(file(tmp_path / "a.h5", atomic_numbers=numbers, **big)))


@pytest.mark.parametrize(
    ("change", "term"),
    [
        fault({"pbc": np.array([b"F", b"F", b"F"])}, "periodic"),
        fault({"pbc": np.array([0.0, np.nan, 0.0])}, "periodic"),
        fault({"pbc": np.array([0, 2, 0])}, "periodic"),
        fault({"atomic_numbers": np.array([8, 0, 1])}, "padded"),
        fault({"atomic_numbers": np.array([b"O", b"", b"H"])}, "padded"),
        fault({"atomic_numbers": np.array([[8, 0, 1]] * N)}, "padded"),
        fault({"atomic_numbers": np.array([True, True, True])}, "truth"),
        fault({"l.energy": arrays()["l.energy"].astype("f2")}, "16 bits"),
        fault({"coordinates": arrays()["coordinates"].astype("f2")}, "16 bits"),
        fault({"l.energy": np.array([True] * N)}, "truth"),
        fault({"l.forces": np.ones((N, 3, 3), bool)}, "truth"),
        fault({"l.energy": np.array([(1.0, 2.0)] * N, [("a", "f8"), ("b", "f8")])}, "compound"),
        fault({"l.energy": np.array([(1.0,)] * N, [("a", "f8")])}, "compound"),
        fault({"charge": np.uint8(255)}, "sign"),
        ({"charge": np.zeros(0)}, "charge"),
        fault({"charge": "one"}, "charge"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(tmp_path, capsys, change, term):
    path = file(tmp_path / "a.h5", **change)
    with pytest.raises(DataError, match=term):
        open_dataset(path).read(range(N))
    assert main(["data", "validate", str(path)]) == 2
    assert term in capsys.readouterr().err


def test_rows_padded_at_their_end_keep_their_atoms(tmp_path):
    numbers = np.array([[8, 1, 1]] * 3 + [[8, 1, 0]])
    frames = open_dataset(file(tmp_path / "a.h5", atomic_numbers=numbers)).read(range(N))
    assert [len(f.system) for f in frames] == [3, 3, 3, 2]


@pytest.mark.fault
def test_links_are_followed_once(tmp_path):
    path = file(tmp_path / "a.h5", charge=np.array(1), spin=np.array(2))
    with h5py.File(path, "a") as handle:
        handle["alias"] = h5py.SoftLink("/w")
        handle["w/loop"] = h5py.SoftLink("/")
    dataset = open_dataset(path)
    assert list(dataset.group_names) == ["w"]
    check(dataset)
    with h5py.File(tmp_path / "b.h5", "w") as handle:
        add(handle, "mine", seed=2, charge=np.array(1), spin=np.array(2))
        handle["theirs"] = h5py.ExternalLink("a.h5", "/w")
    other = open_dataset(tmp_path / "b.h5")
    names = [other.group_names[k] for k in other.group_idx]
    check(other, slice(names.index("theirs"), names.index("theirs") + N))
    assert {f.system.charge for f in other.read(range(len(other)))} == {1}
    changed = tmp_path / "changed"
    changed.mkdir()
    shutil.copy(tmp_path / "b.h5", changed / "b.h5")
    file(changed / "a.h5", **{"l.energy": np.ones(N)})
    assert open_dataset(changed / "b.h5").content_hash != other.content_hash


@pytest.mark.fault
def test_content_that_is_not_there_is_refused(tmp_path):
    for k, link in enumerate((h5py.SoftLink("/no"), h5py.ExternalLink("no.h5", "/w"))):
        path = file(tmp_path / f"{k}.h5")
        with h5py.File(path, "a") as handle:
            handle["more"] = link
        with pytest.raises(DataError, match="not there"):
            open_dataset(path)
    path = file(tmp_path / "v.h5", **{"l.energy": None})
    with h5py.File(path, "a") as handle:
        layout = h5py.VirtualLayout(shape=(N,), dtype="f8")
        layout[:] = h5py.VirtualSource("gone.h5", "e", shape=(N,))
        handle["w"].create_virtual_dataset("l.energy", layout)
    with pytest.raises(DataError, match="not there"):
        open_dataset(path)


@pytest.mark.parametrize("name", [fault("a\nb"), "ü/Å", fault(b"k\xff")])
def test_names_of_groups_never_break_the_output(tmp_path, capsys, name):
    with h5py.File(tmp_path / "a.h5", "w") as handle:
        add(handle, name)
        add(handle, "a b")
    assert main(["data", "info", str(tmp_path / "a.h5"), "--molecules"]) == 0
    out = capsys.readouterr().out
    out.encode()
    if name == "a\nb":
        assert "a\\nb" in out


@pytest.mark.fault
@pytest.mark.parametrize("quantity", ["energy", "forces"])
def test_an_array_that_the_user_names_and_the_file_lacks_is_refused(tmp_path, capsys, quantity):
    path = str(file(tmp_path / "a.h5"))
    assert main(["data", "info", path, "--keys", f"{quantity}=no_such"]) == 2
    assert "'no_such'" in capsys.readouterr().err
    assert main(["data", "info", path, "--keys", f"{quantity}=l.{quantity}"]) == 0


def test_a_molecule_within_a_molecule_is_converted(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as handle:
        add(handle, "m")
        add(handle, "m/n", seed=2)
    assert main(["data", "convert", str(tmp_path / "a.h5"), "-o", str(tmp_path / "b.h5")]) == 0
    assert sorted(open_dataset(tmp_path / "b.h5").group_names) == ["m", "m/n"]


@pytest.mark.fault
def test_energies_of_32_bits_are_warned_of(tmp_path, capsys):
    energies = arrays()["l.energy"] * np.ones((5, 1)) + 0.01 * np.arange(5)[:, None]
    many = {
        "coordinates": np.tile(arrays()["coordinates"], (5, 1, 1)),
        "l.forces": np.tile(arrays()["l.forces"], (5, 1, 1)),
    }
    for kind in ("f4", "f4 as f8", "f8", "i8"):
        stored = energies.reshape(-1).astype(kind[:2]).astype(kind[-2:])
        path = file(tmp_path / f"{kind}.h5", **many, **{"l.energy": stored})
        assert main(["data", "validate", str(path)]) == 0
        assert ("in steps of" in capsys.readouterr().out) is (kind != "f8")
    relative = (energies.reshape(-1) + 76.4).astype("f4")
    path = file(tmp_path / "relative.h5", **many, **{"l.energy": relative})
    assert main(["data", "validate", str(path)]) == 0
    assert "in steps of" not in capsys.readouterr().out


@pytest.mark.fault
@pytest.mark.parametrize("name", ["l.force", "gradient", "dft_virial", "total_energy"])
def test_arrays_that_look_like_labels_are_warned_of(tmp_path, capsys, name):
    path = file(tmp_path / "a.h5", **{"l.forces": None, name: np.zeros((N, 3, 3)), "zz": 3.0})
    assert main(["data", "validate", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("warning") and f"'{name}' is not used" in line for line in lines)
    assert not any(line.startswith("warning") and "arrays not used" in line for line in lines)
    assert main(["data", "info", str(path)]) == 0
    assert f"not used        {name}, zz" in capsys.readouterr().out


@pytest.mark.fault
def test_parts_of_a_structure_apart_from_it_are_warned_of(tmp_path, capsys):
    path = file(tmp_path / "a.h5", cell=9 * np.eye(3))
    with h5py.File(path, "a") as handle:
        handle["half/coordinates"] = np.zeros((2, 3, 3))
        handle["labels/l.energy"] = np.zeros(2)
        handle["labels/grad"] = np.zeros(2)
    assert main(["data", "validate", str(path)]) == 0
    warnings = [x for x in capsys.readouterr().out.splitlines() if x.startswith("warning")]
    for term in ("lack 'atomic_numbers' or 'coordinates': 1 (half)", "'l.energy' is also",
                 "'grad' is not used", "no 'pbc'"):  # fmt: skip
        assert any(term in line for line in warnings)


@pytest.mark.fault
def test_arrays_of_an_archive_that_look_like_labels_are_warned_of(tmp_path, capsys):
    given = arrays()
    np.savez(tmp_path / "a.npz", R=given["coordinates"], Z=np.array([[8, 1, 1]] * N),
             E=np.arange(N) / 7, F=given["l.forces"], Q=np.zeros(N), F_rimp2=np.zeros(3),
             forces_cc=np.zeros(3))  # fmt: skip
    options = ["--spec", "physnet", "--level", "mp2/aug-cc-pvtz"]
    assert main(["data", "validate", str(tmp_path / "a.npz"), *options]) == 0
    assert "'forces_cc' is not used" in capsys.readouterr().out
    np.savez(tmp_path / "b.npz", R=given["coordinates"], Z=np.array([8, 0, 1]),
             E=np.arange(N) / 7, F=given["l.forces"], Q=np.zeros(N))  # fmt: skip
    assert main(["data", "validate", str(tmp_path / "b.npz"), *options]) == 2


@pytest.mark.fault
def test_two_definitions_of_one_level_are_shown_and_warned_of(tmp_path, capsys):
    for name, seed, text in (("a", 1, "PySCF, grid 3"), ("b", 2, "ORCA, RIJCOSX")):
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "w") as handle:
            add(handle, name, seed=seed)
            handle.attrs["definitions"] = json.dumps({"l": text})
    both = [str(tmp_path / "a.h5"), str(tmp_path / "b.h5")]
    assert main(["data", "convert", *both, "-o", str(tmp_path / "c.h5")]) == 0
    capsys.readouterr()
    for files in (both, [str(tmp_path / "c.h5")]):
        assert main(["data", "info", *files]) == 0
        shown = capsys.readouterr().out
        assert "PySCF, grid 3" in shown
        assert "ORCA, RIJCOSX" in shown
        assert main(["data", "validate", *files]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("warning") and "2 ways" in line for line in lines)
