"""The view of a dataset whose labels are the difference of two levels."""

import pickle

import numpy as np
import pytest
import torch
from layouts import native_file

from tlpot.data import (
    Dataset,
    DifferenceDataset,
    Labels,
    Loader,
    LowValues,
    energy_scale,
    frames_of,
    make_split,
    open_dataset,
)
from tlpot.errors import DataError, UnknownLevelError
from tlpot.levels import canonical_level, difference_level, difference_parts
from tlpot.models import LIBRARY

HIGH, LOW = "ccsd(t)/cbs", "gfn2-xtb"
LEVEL = f"{HIGH} - {LOW}"
DFT = "wb97x/6-31g*"


@pytest.fixture
def dataset(tmp_path):
    return open_dataset(native_file(tmp_path / "data.h5"))


@pytest.fixture(scope="module")
def shipped():
    return open_dataset(LIBRARY / "tlpot-qm.h5")


def values(dataset, **changes):
    """Low values that are numbers of the frame, not QM."""
    n = len(dataset)
    forces = [np.full((size, 3), 0.1 * k) for k, size in enumerate(dataset.sizes)]
    content = {"level": "Toy Low", "energies": 0.5 * np.arange(n), "forces": forces, **changes}
    return LowValues(**content)


def energies(dataset, level):
    """[n_frames], NaN where a frame has no label."""
    frames = frames_of(dataset, levels=[level])
    return np.array([frame.labels.get(level, Labels()).energy for frame in frames])


def test_names_of_differences():
    assert difference_level("CCSD(T)/CBS", "GFN2-xTB") == LEVEL
    assert canonical_level(f"  {LEVEL.upper()} ") == LEVEL
    assert difference_parts(LEVEL) == (HIGH, LOW)
    assert difference_parts("dsd-blyp-d3bj/def2-tzvpp") is None
    assert canonical_level("DSD-BLYP") == "dsd-blyp"


def test_labels_are_differences_where_both_levels_have_them(dataset):
    view: Dataset = DifferenceDataset(dataset, "CCSD(T)/CBS", "GFN2-xTB")
    high, low = (energies(dataset, level) for level in (HIGH, LOW))
    found = energies(view, LEVEL)
    np.testing.assert_array_equal(found, high - low)
    known = np.isfinite(high)
    assert 0 < known.sum() < len(dataset)
    np.testing.assert_array_equal(view.labelled(LEVEL), known)
    assert view.levels[LEVEL].kinds == {"energy"}
    assert not view.labelled(LEVEL, "forces").any()
    np.testing.assert_array_equal(view.labelled(LOW, "forces"), dataset.labelled(LOW, "forces"))


def test_only_the_levels_asked_for_are_returned(dataset):
    view = DifferenceDataset(dataset, HIGH, LOW)
    assert set(view.read([0], [LEVEL])[0].labels) <= {LEVEL}
    assert set(view.read([0], [LOW])[0].labels) == {LOW}
    assert [set(f.labels) for f in view.read([0, 1])] == [{LOW}, {LOW, HIGH, LEVEL}]
    assert view.read([0], ())[0].labels == {}
    assert [f.name for f in view.read([3, 1])] == [f.name for f in dataset.read([3, 1])]


def test_forces_and_free_atoms_of_two_levels(shipped):
    view = DifferenceDataset(shipped, DFT, LOW)
    (frame,) = view.read([5])
    difference = frame.labels[view.level].forces
    np.testing.assert_array_equal(difference, frame.labels[DFT].forces - frame.labels[LOW].forces)
    atoms = {x: view.levels[x].isolated_atoms for x in (DFT, LOW)}
    assert view.levels[view.level].isolated_atoms == {
        z: atoms[DFT][z] - atoms[LOW][z] for z in (1, 6, 7, 8)
    }
    assert view.levels[view.level].kinds == {"energy", "forces"}


def test_given_values(shipped):
    low = values(shipped)
    view = DifferenceDataset(shipped, DFT, low)
    assert view.level == f"{DFT} - toylow"
    for k, frame in zip((7, 2), view.read([7, 2]), strict=True):
        label, difference = frame.labels[DFT], frame.labels[view.level]
        assert difference.energy == label.energy - 0.5 * k
        np.testing.assert_array_equal(difference.forces, label.forces - 0.1 * k)
        assert difference.stress is None


def test_a_missing_low_value_is_a_missing_label(shipped):
    low = values(shipped)
    low.energies[3] = np.nan
    low.forces[4] = None
    low.forces[5][0, 0] = np.nan
    view = DifferenceDataset(shipped, DFT, low)
    a, b, c = view.read([3, 4, 5], [view.level])
    assert np.isnan(a.labels[view.level].energy)
    assert b.labels[view.level].forces is None
    assert c.labels[view.level].forces is None
    assert not view.labelled(view.level)[3]
    np.testing.assert_array_equal(view.labelled(view.level, "forces")[3:7], [1, 0, 0, 1])
    batch = next(
        Loader(view, [3, 4], levels=[view.level], cutoff=3.0, batch_size=2, shuffle=False).batches(
            0
        )
    )
    target = batch.targets[view.level]
    np.testing.assert_array_equal(torch.isfinite(target.energy), [False, True])


def test_the_hash_depends_on_levels_and_values(shipped):
    one = values(shipped)
    other = values(shipped, energies=one.energies + 1e-9)
    moved = values(shipped, forces=[f + 1e-9 for f in one.forces])
    hashes = [
        shipped.content_hash,
        *(DifferenceDataset(shipped, DFT, low).content_hash for low in (one, other, moved, LOW)),
        DifferenceDataset(shipped, LOW, DFT).content_hash,
    ]
    assert len(set(hashes)) == len(hashes)
    assert DifferenceDataset(shipped, DFT, values(shipped)).content_hash == hashes[1]


def test_an_origin_stands_for_values_that_differ_in_their_last_digits(shipped):
    a, b = (values(shipped, energies=np.full(len(shipped), x), origin="m") for x in (1.0, 1.0001))
    c = values(shipped, origin="n")
    first, second, third = (DifferenceDataset(shipped, DFT, x).content_hash for x in (a, b, c))
    assert first == second != third


def test_it_splits_and_pickles_like_any_dataset(shipped):
    view = DifferenceDataset(shipped, "ccsd(t)/cbs(dt)", LOW)
    split = make_split(view, validation=20, test=0, by="random", labelled=view.level)
    assert view.labelled(view.level)[split.train].all()
    again = pickle.loads(pickle.dumps(view))
    assert again.content_hash == view.content_hash
    assert again.read([0])[0].labels[LOW].energy == view.read([0])[0].labels[LOW].energy


def test_scale_of_energies_is_what_an_atom_adds(shipped):
    view = DifferenceDataset(shipped, DFT, LOW)
    zero = dict.fromkeys(range(1, 9), 0.0)
    frames = view.read([0, 1], [view.level])
    expected = np.sqrt(np.mean([f.labels[view.level].energy ** 2 / len(f.system) for f in frames]))
    assert energy_scale(view, [0, 1], view.level, zero) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda d: ("pbe", LOW), UnknownLevelError, r"no level 'pbe'; .*valid: ccsd\(t\)/cbs"),
        (lambda d: (HIGH, "gfn1-xtb"), UnknownLevelError, "did you mean 'gfn2-xtb'"),
        (lambda d: (HIGH, HIGH), DataError, "the same as the high one"),
        (lambda d: (HIGH, values(d, energies=np.zeros(3))), DataError, r"shape \(3,\), expected"),
        (lambda d: (HIGH, values(d, energies=np.full(len(d), np.inf))), DataError, "0 is inf"),
        (lambda d: (HIGH, values(d, forces=[None])), DataError, "1 forces for"),
        (lambda d: (HIGH, values(d, forces=[np.zeros(2)] * len(d))), DataError, "of frame 0"),
    ],
)  # fmt: skip
def test_mistakes(dataset, make, error, message):
    with pytest.raises(error, match=message):
        DifferenceDataset(dataset, *make(dataset))


def test_a_difference_that_is_there_already_is_not_hidden(shipped):
    view = DifferenceDataset(shipped, DFT, LOW)
    with pytest.raises(DataError, match="of its own"):
        DifferenceDataset(view, DFT, LOW)
    with pytest.raises(UnknownLevelError, match="no level 'pbe'"):
        view.labelled("pbe")
