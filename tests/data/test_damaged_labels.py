"""Labels that are neither numbers nor absent: infinite energies, forces that are NaN in part."""

import h5py
import numpy as np
import pytest
from layouts import native_file

from tlpot.cli import main
from tlpot.data import Loader, find_problems, make_split, open_dataset, summarize, write_dataset
from tlpot.errors import DataError

LEVEL = "gfn2-xtb"


def file_with(tmp_path, key, place, value):
    path = native_file(tmp_path / "a.h5")
    with h5py.File(path, "a") as handle:
        handle[key][place] = value
    return path


DAMAGE = pytest.mark.parametrize(
    ("key", "place", "value", "kind"),
    [
        ("water/low.energy", 2, np.inf, "energy"),
        ("water/low.energy", 2, -np.inf, "energy"),
        ("water/low.forces", (2, 0, 1), np.nan, "forces"),
        ("water/low.forces", (2, 1), np.nan, "forces"),
        ("water/low.forces", (2, 1, 2), np.inf, "forces"),
        ("water/low.forces", 2, np.inf, "forces"),
    ],
)


@DAMAGE
def test_they_are_reported_with_file_key_and_frame(tmp_path, key, place, value, kind):
    path = file_with(tmp_path, key, place, value)
    (problem,) = [p for p in find_problems(open_dataset(path)) if p.severity == "error"]
    assert problem.frames == ("a.h5:/water[2]",)
    assert key.removeprefix("water/") in problem.what
    assert "write NaN throughout" in problem.what


@DAMAGE
def test_nothing_trains_on_them_or_passes_them_over(tmp_path, key, place, value, kind):
    dataset = open_dataset(file_with(tmp_path, key, place, value))
    with pytest.raises(DataError, match=r"1 frame: a\.h5:/water\[2\]"):
        dataset.labelled(LEVEL, kind)
    with pytest.raises(DataError, match=r"a\.h5:/water\[2\]"):
        Loader(dataset, np.arange(12), levels=[LEVEL], cutoff=3.0, batch_size=4)
    with pytest.raises(DataError, match=r"a\.h5:/water\[2\]"):
        write_dataset(dataset, tmp_path / "copy.h5")
    assert not (tmp_path / "copy.h5").exists()


def test_a_split_by_energy_stops_at_an_infinite_one(tmp_path):
    dataset = open_dataset(file_with(tmp_path, "water/low.energy", 2, np.inf))
    with pytest.raises(DataError, match="is infinite"):
        make_split(dataset, by="random", labelled=LEVEL)


def test_other_levels_and_kinds_are_not_concerned(tmp_path):
    dataset = open_dataset(file_with(tmp_path, "water/low.forces", (2, 0, 1), np.nan))
    assert dataset.labelled(LEVEL).all()
    assert dataset.labelled("ccsd(t)/cbs").sum() == 6


def test_nan_throughout_means_absent(tmp_path):
    path = file_with(tmp_path, "water/low.forces", 2, np.nan)
    with h5py.File(path, "a") as handle:
        handle["water/low.energy"][3] = np.nan
    dataset = open_dataset(path)
    assert dataset.labelled(LEVEL, "forces").sum() == 11
    assert dataset.labelled(LEVEL).sum() == 11
    assert summarize(dataset).n_damaged == 0
    assert not [p for p in find_problems(dataset) if p.severity == "error"]


def test_nan_at_unused_places_is_no_damage(tmp_path):
    positions = np.zeros((2, 3, 3))
    positions[:, 1, 0], positions[:, 2, 1] = 1.0, 1.0
    forces = np.zeros((2, 3, 3))
    forces[1, 2] = np.nan
    np.savez(
        tmp_path / "a.npz",
        N=[3, 2],
        Z=[[8, 1, 1], [8, 1, 0]],
        R=positions,
        E=[-1.0, -2.0],
        F=forces,
        Q=[0, 0],
    )
    dataset = open_dataset(tmp_path / "a.npz", "physnet", level="mp2/aug-cc-pvtz")
    assert dataset.labelled("mp2/aug-cc-pvtz", "forces").all()
    assert [frame.damaged for frame in dataset.read([0, 1])] == [(), ()]


def test_a_sum_of_energies_is_damaged_where_a_part_is(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as handle:
        handle["atomic_numbers"], handle["coordinates"] = [1, 1], np.ones((3, 2, 3))
        handle["hf"], handle["mp2"] = [-1.0, np.inf, -1.0], [-0.1, np.nan, np.nan]
    (tmp_path / "sum.yaml").write_text(
        "container: hdf5\nunits: {coordinates: angstrom, energy: ev}\n"
        "levels: {mp2: {energy: [hf, mp2]}}\n"
    )
    frames = open_dataset(tmp_path / "a.h5", tmp_path / "sum.yaml").read([0, 1, 2])
    assert [bool(frame.damaged) for frame in frames] == [False, True, False]
    assert "'hf' + 'mp2'" in frames[1].damaged[0]


def test_validate_names_all_frames_when_asked(tmp_path, capsys):
    path = file_with(tmp_path, "water/low.forces", (slice(0, 5), 0, 1), np.nan)
    assert main(["data", "validate", str(path)]) == 2
    assert "a.h5:/water[2], ..." in capsys.readouterr().out
    assert main(["data", "validate", str(path), "--all"]) == 2
    assert "a.h5:/water[3], a.h5:/water[4]\n" in capsys.readouterr().out


def test_info_counts_them(tmp_path, capsys):
    path = file_with(tmp_path, "water/low.energy", 2, np.inf)
    assert main(["data", "info", str(path)]) == 0
    assert "damaged labels  1 frame" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["water/low.energy", "water/charge", "water/coordinates"])
def test_text_in_place_of_numbers_is_an_error_that_names_it(tmp_path, capsys, key):
    path = native_file(tmp_path / "a.h5")
    with h5py.File(path, "a") as handle:
        n_frames = len(handle["water/coordinates"])
        shape = handle[key].shape if key in handle else (n_frames,)
        if key in handle:
            del handle[key]
        handle[key] = np.full(shape, b"n/a")
    assert main(["data", "validate", str(path)]) == 2
    shown = capsys.readouterr().err
    assert f"a.h5:/water: '{key.removeprefix('water/')}' holds what is no number" in shown


@pytest.mark.parametrize(
    ("key", "values", "what"),
    [
        ("E", [-1.0 + 0j, -2.0], "'E' holds complex numbers"),
        ("Z", [[8, 1, 1.5], [8, 1, 0]], "'Z' holds 1.5, which is no atomic number"),
        ("Z", [[8, 1, 1], [8, 1, np.nan]], "'Z' holds nan, which is no atomic number"),
        ("Z", [[8, 1, 300], [8, 1, 0]], "'Z' holds 300, which is no atomic number"),
    ],
)
def test_numbers_of_another_kind_are_refused_not_rounded(tmp_path, key, values, what):
    content = {
        "N": [3, 2],
        "Z": [[8, 1, 1], [8, 1, 0]],
        "R": np.arange(18.0).reshape(2, 3, 3),
        "E": [-1.0, -2.0],
        "F": np.zeros((2, 3, 3)),
        "Q": [0, 0],
    }
    np.savez(tmp_path / "a.npz", **{**content, key: values})
    with pytest.raises(DataError) as refused:
        find_problems(open_dataset(tmp_path / "a.npz", "physnet", level="mp2/aug-cc-pvtz"))
    assert what in str(refused.value)
