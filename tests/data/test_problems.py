"""Mistakes that `tlpot data validate` finds."""

import h5py
import numpy as np
import pytest
from layouts import numbers_of_water, water_frames

from tlpot.data import find_problems, open_dataset

N = 40


def spring_file(path, sign=1.0, change=None):
    """Water with harmonic springs for bonds, so that energies and forces belong together."""
    positions = water_frames(N)
    arms = positions[:, :, None] - positions[:, None]
    lengths = np.linalg.norm(arms, axis=3, keepdims=True) + np.eye(3)[:, :, None]
    stretch = lengths - lengths.mean(axis=0)
    with h5py.File(path, "w") as handle:
        group = handle.create_group("H2O")
        group["atomic_numbers"] = numbers_of_water()
        group["coordinates"] = positions
        group["wb97x_dz.energy"] = -76 + 0.25 * (stretch**2).sum(axis=(1, 2, 3))
        group["wb97x_dz.forces"] = -sign * (stretch * arms / lengths).sum(axis=2)
        if change is not None:
            change(group)
    return open_dataset(path, "ani1x")


def found(dataset):
    return {(p.severity, p.what): p.frames for p in find_problems(dataset)}


def test_a_clean_file_has_none(tmp_path):
    done = []
    assert find_problems(spring_file(tmp_path / "a.h5"), progress=done.append) == []
    assert sum(done) == N


def assign(key, place, value):
    def change(group):
        group[key][place] = value

    return change


def coincide(group):
    group["coordinates"][3, 1] = group["coordinates"][3, 2]


def repeat(group):
    group["coordinates"][5] = group["coordinates"][2]


def unlabel(group):
    group["wb97x_dz.energy"][7] = np.nan
    group["wb97x_dz.forces"][7] = np.nan


@pytest.mark.parametrize(
    ("change", "severity", "what", "row"),
    [
        (assign("coordinates", (4, 0, 1), np.nan), "error", "NaN or infinite", 4),
        (coincide, "error", "closer than 0.1 Å", 3),
        (repeat, "warning", "the same structure", 5),
        (unlabel, "warning", "no label", 7),
        (assign("wb97x_dz.energy", 9, -70.0), "warning", "robust deviations", 9),
        (assign("wb97x_dz.forces", (6, 0, 0), 0.1), "warning", "net force above", 6),
        (assign("wb97x_dz.forces", (8, slice(None), 0), [-5, 5, 0]), "warning", "component", 8),
    ],
)
def test_each_is_found_in_its_frame(tmp_path, change, severity, what, row):
    problems = found(spring_file(tmp_path / "a.h5", change=change))
    frames = [names for (s, text), names in problems.items() if s == severity and what in text]
    assert [f"a.h5:/H2O[{row}]"] in [list(names) for names in frames]


def test_gradients_called_forces(tmp_path):
    problems = found(spring_file(tmp_path / "a.h5", sign=-1.0))
    (severity, what), *_ = problems
    assert severity == "error"
    assert "look like gradients" in what


def test_arrays_left_out_are_listed(tmp_path):
    def change(group):
        group["dipole"] = np.zeros((N, 3))

    assert ("note", "arrays not used: dipole") in found(
        spring_file(tmp_path / "a.h5", change=change)
    )


def test_a_singular_cell(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(
        '1\nLattice="3 0 0 3 0 0 0 0 3" Properties=species:S:1:pos:R:3 energy=1\nH 0 0 0\n'
    )
    assert ("error", "an unusable cell") in found(open_dataset(path, level="pbe"))
