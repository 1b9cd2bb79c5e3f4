"""Fragments of proteins into files and back."""

import h5py
import numpy as np
import pytest
from ase import Atoms
from fragment_files import fragment_file, rattled

from tlpot.data import is_fragment_file, open_dataset
from tlpot.errors import ConfigError, DataError, GeometryError
from tlpot.fragments import (
    FragmentedStructure,
    ProteinFrames,
    choose_scheme,
    export_fragments,
    fragments_from,
)
from tlpot.fragments.export import choose, inverse_distances
from tlpot.structures import build_peptide
from tlpot.topology import perceive_topology


def test_every_fragment_is_there_with_its_source(tmp_path):
    frames = rattled("AGA", 2)
    report = export_fragments(
        [ProteinFrames(name="p", frames=frames, trajectory="hot")], "mfcc_mbe2", tmp_path / "f.h5"
    )
    dataset = open_dataset(tmp_path / "f.h5")
    assert is_fragment_file(tmp_path / "f.h5")
    expected = []
    for atoms in frames:
        prepared = FragmentedStructure(perceive_topology(atoms), choose_scheme("mfcc_mbe2"))
        partition = prepared.partition(atoms.positions)
        expected += [prepared.cutter.cut(s).positions(atoms.positions)
                     for s in partition.expansion.sets]  # fmt: skip
    assert report.n_frames == 2
    assert report.n_fragments == report.n_written == len(dataset) == len(expected)
    written = dataset.read(range(len(dataset)))
    found = {frozenset(map(tuple, frame.system.positions)) for frame in written}
    assert found == {frozenset(map(tuple, positions)) for positions in expected}
    assert set(dataset.column("source")) == {"p"}
    assert set(dataset.column("trajectory")) == {"p/hot"}
    assert sorted(set(dataset.column("frame").tolist())) == [0, 1]
    assert set(dataset.column("scheme")) == {"mfcc_mbe2"}
    assert any("GLY" in text for text in dataset.column("residues"))
    assert dataset.unused_keys == ()


def test_weights_are_the_coefficients(tmp_path):
    atoms = build_peptide("AFA")
    export_fragments([ProteinFrames(name="p", frames=[atoms])], "mfcc", tmp_path / "f.h5")
    dataset = open_dataset(tmp_path / "f.h5")
    # three residues and two overlaps
    assert sorted(dataset.column("weight").tolist()) == [-1, -1, 1, 1, 1]
    expansion = choose_scheme("mfcc").expand(
        FragmentedStructure(perceive_topology(atoms), choose_scheme("mfcc")).cutter, atoms.positions
    )
    assert sorted(expansion.base) == [-1, -1, 1, 1, 1]


def test_charges_reach_the_frames(tmp_path):
    path = tmp_path / "f.h5"
    export_fragments([ProteinFrames(name="p", frames=[build_peptide("DGK")])], "mfcc", path)
    charges = {f.group.split(".")[0]: f.system.charge for f in open_dataset(path).read(range(5))}
    assert charges["ACE-ASP-NME"] == -1
    assert charges["ACE-LYS-NME"] == 1
    assert charges["ACE-GLY-NME"] == 0


def test_the_same_geometry_is_written_once(tmp_path):
    path = fragment_file(tmp_path / "f.h5")
    n = len(open_dataset(path))
    frames = rattled("AGA", 3, seed=0)
    again = export_fragments([ProteinFrames(name="one", frames=frames)], "mfcc", path)
    assert again.n_written == 0
    assert len(open_dataset(path)) == n
    more = export_fragments(
        [ProteinFrames(name="one", frames=[*rattled("AGA", 1, seed=7), frames[0]])], "mfcc", path
    )
    assert more.n_written == 5
    assert len(open_dataset(path)) == n + 5


def _counts(path):
    with h5py.File(path) as handle:
        return {key: len(group["coordinates"]) for key, group in handle["fragments"].items()}


def test_a_shuffled_protein_adds_to_the_same_kinds(tmp_path):
    path = fragment_file(tmp_path / "f.h5", {"one": ("AGA", 0)})
    before = _counts(path)
    atoms = rattled("AGA", 1, seed=9)[0]
    shuffled = atoms[np.random.default_rng(2).permutation(len(atoms))]
    report = export_fragments([ProteinFrames(name="two", frames=[shuffled])], "mfcc", path)
    assert report.n_written == 5
    assert {key: n + 1 for key, n in before.items()} == _counts(path)


def test_kinds_and_numbers_are_limited(tmp_path):
    path, frames = tmp_path / "f.h5", rattled("AGA", 12)
    protein = ProteinFrames(name="p", frames=frames)
    report = export_fragments([protein], "mfcc", path, kinds=["ACE-GLY-NME"], per_kind=4, seed=3)
    assert list(report.counts.values()) == [4]
    assert report.n_distinct == 12
    old = fragments_from(path)
    export_fragments([protein], "mfcc", path, kinds=["ACE-GLY-NME"], per_kind=6, seed=3)
    new = fragments_from(path)
    assert len(new) == 6
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(old, new, strict=False))
    assert set(open_dataset(path).column("seed").tolist()) == {3}
    with pytest.raises(ConfigError, match="'ACE-GLI-NME'; did you mean 'ACE-GLY-NME'"):
        export_fragments([protein], "mfcc", tmp_path / "g.h5", kinds=["ACE-GLI-NME"])
    with pytest.raises(ConfigError, match="'farest'; did you mean 'farthest'"):
        export_fragments([protein], "mfcc", tmp_path / "g.h5", per_kind=2, select="farest")
    assert not (tmp_path / "g.h5").exists()


def test_farthest_points_are_farther_apart_than_the_first_ones():
    rng = np.random.default_rng(0)
    cloud = np.concatenate([rng.normal(scale=0.01, size=(50, 2)), [[5.0, 0.0], [0.0, 5.0]]])
    assert {50, 51} <= set(choose(cloud, 3).tolist())
    assert choose(cloud, 52).tolist() == list(range(52))
    assert len(choose(cloud, 10, how="random", seed=1)) == 10
    assert choose(cloud, 10, how="random", seed=1).tolist() == choose(
        cloud, 10, how="random", seed=1
    ).tolist()  # fmt: skip
    assert set(choose(cloud, 51, n_old=50).tolist()) <= {50, 51}
    assert len(choose(cloud, 20, n_old=50)) == 0


def test_features_do_not_see_the_order_of_equal_atoms():
    positions = np.random.default_rng(1).normal(size=(1, 5, 3))
    exchanged = positions[:, [0, 1, 3, 2, 4]]
    colours = [0, 1, 2, 2, 3]
    assert np.allclose(inverse_distances(positions, colours), inverse_distances(exchanged, colours))
    other = inverse_distances(positions[:, [1, 0, 2, 3, 4]], colours)
    assert not np.allclose(inverse_distances(positions, colours), other)


def test_fragments_come_back_as_molecules(tmp_path):
    path = fragment_file(tmp_path / "f.h5")
    molecules = fragments_from(path)
    frames = open_dataset(path).read(range(len(molecules)))
    for atoms, frame in zip(molecules, frames, strict=True):
        assert isinstance(atoms, Atoms)
        assert np.array_equal(atoms.positions, frame.system.positions)
        assert np.array_equal(atoms.numbers, frame.system.atomic_numbers)
        assert atoms.info["kind"] == frame.group
    assert {atoms.info["name"] for atoms in fragments_from(path, kinds=["ACE-GLY-NME"])} == {
        "ACE-GLY-NME"
    }
    with pytest.raises(ConfigError, match="'ACE-GLX-NME'; did you mean"):
        fragments_from(path, kinds=["ACE-GLX-NME"])
    with pytest.raises(DataError, match="no such file"):
        fragments_from(tmp_path / "no.h5")


def test_bad_structures_are_named_and_leave_no_file(tmp_path):
    broken = build_peptide("AGA")
    del broken[3]
    path = tmp_path / "f.h5"
    frames = [build_peptide("AGA"), broken]
    with pytest.raises(GeometryError, match=r"frame 1 of p: .*\n.*atom"):
        export_fragments([ProteinFrames(name="p", frames=frames)], "mfcc", path)
    periodic = build_peptide("AGA")
    periodic.set_cell([50, 50, 50])
    periodic.pbc = True
    with pytest.raises(GeometryError, match="frame 0 of p is periodic"):
        export_fragments([ProteinFrames(name="p", frames=[periodic])], "mfcc", path)
    with pytest.raises(ConfigError, match="no structures"):
        export_fragments([], "mfcc", path)
    assert list(tmp_path.iterdir()) == []
