"""Labels in memory stand in for missing ones, and never for those of the file."""

import numpy as np
import pytest

from tlpot.data import DatasetWithLabels, Labels, open_dataset
from tlpot.errors import DataError, UnknownLevelError
from tlpot.models import LIBRARY

CC, DFT = "ccsd(t)/cbs(dt)", "wb97x/6-31g*"


@pytest.fixture
def dataset():
    return open_dataset([LIBRARY / "tlpot-qm.h5"])


def test_a_new_level(dataset):
    with_labels = DatasetWithLabels(
        dataset, "New/Level", [4, 2], [Labels(energy=1.5), Labels(energy=2.5)]
    )
    assert np.flatnonzero(with_labels.labelled("new/level")).tolist() == [2, 4]
    assert not with_labels.labelled("new/level", "forces").any()
    assert with_labels.levels["new/level"].kinds == {"energy"}
    frames = with_labels.read([4, 3, 2], ["new/level", DFT])
    assert [f.labels.get("new/level", Labels()).energy for f in frames][::2] == [1.5, 2.5]
    assert "new/level" not in frames[1].labels
    assert frames[0].labels[DFT].energy == dataset.read([4])[0].labels[DFT].energy
    assert "new/level" not in with_labels.read([4], [DFT])[0].labels
    assert set(with_labels.read([4])[0].labels) == {*dataset.read([4])[0].labels, "new/level"}


def test_the_files_labels_win_and_gaps_are_filled(dataset):
    index = int(np.flatnonzero(dataset.labelled(CC))[0])
    own = dataset.read([index])[0]
    forces = np.ones((len(own.system.atomic_numbers), 3))
    with_labels = DatasetWithLabels(dataset, CC, [index], [Labels(energy=0.0, forces=forces)])
    found = with_labels.read([index], [CC])[0].labels[CC]
    assert found.energy == own.labels[CC].energy != 0.0
    assert np.array_equal(found.forces, forces)
    assert with_labels.levels[CC].kinds == {"energy", "forces"}
    assert np.flatnonzero(with_labels.labelled(CC, "forces")).tolist() == [index]
    assert np.array_equal(with_labels.labelled(CC), dataset.labelled(CC))
    first = DatasetWithLabels(dataset, CC, [index], [Labels(energy=0.0)], replace=True)
    assert first.read([index], [CC])[0].labels[CC].energy == 0.0
    assert with_labels.content_hash == dataset.content_hash
    assert len(with_labels) == len(dataset)


def test_wrong_use(dataset):
    with pytest.raises(DataError, match="1 labels for 2 frames"):
        DatasetWithLabels(dataset, "x", [0, 1], [Labels()])
    with pytest.raises(DataError, match="index is outside"):
        DatasetWithLabels(dataset, "x", [len(dataset)], [Labels()])
    with_labels = DatasetWithLabels(dataset, "x", [0], [Labels(energy=1.0)])
    with pytest.raises(UnknownLevelError, match="no level 'y'"):
        with_labels.labelled("y")
