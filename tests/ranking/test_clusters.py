"""Clusters of structures."""

import numpy as np
import pytest

from tlpot.data import open_dataset
from tlpot.models import LIBRARY
from tlpot.ranking.clusters import kmeans, structural_clusters


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    centers = np.array([[0, 0], [10, 0], [0, 10.0]])
    return np.concatenate([c + rng.normal(size=(20, 2)) for c in centers])


def test_blobs_are_found_whatever_the_seed(blobs):
    for seed in range(4):
        owner = kmeans(blobs, 3, seed).reshape(3, 20)
        assert (owner == owner[:, :1]).all()
        assert set(owner[:, 0]) == {0, 1, 2}


def test_no_more_clusters_than_different_rows():
    rows = np.repeat(np.array([[1.0, 2.0], [3.0, 4.0]]), 5, axis=0)
    assert kmeans(rows, 4, 0).max() == 1
    assert kmeans(np.ones((3, 2)), 3, 0).max() == 0


def test_structures_that_look_alike_are_together():
    dataset = open_dataset([LIBRARY / "tlpot-qm.h5"])
    names = list(dataset.group_names)
    wanted = [names.index("methanol"), names.index("hydrogen_cyanide")]
    indices = np.flatnonzero(np.isin(dataset.group_idx, wanted))
    clusters = structural_clusters(dataset, indices, 2, seed=0)
    groups = dataset.group_idx[indices]
    assert len(set(clusters)) == 2
    assert all(len(set(clusters[groups == g])) == 1 for g in wanted)


def test_turning_and_reordering_a_structure_does_not_matter(tmp_path):
    from ase.build import molecule
    from ase.io import write

    frames = []
    for name in ("CH3OH", "CH3CONH2", "H2O"):
        atoms = molecule(name)
        other = atoms[::-1]
        other.rotate(40, (1, 2, 3))
        for a in (atoms, other):
            a.info["energy"] = -1.0
            frames.append(a)
    write(tmp_path / "a.xyz", frames)
    dataset = open_dataset([tmp_path / "a.xyz"], level="toy")
    clusters = structural_clusters(dataset, np.arange(6), 3, seed=0)
    assert (clusters[::2] == clusters[1::2]).all()
    assert len(set(clusters)) == 3
