"""Structures are known again by a sketch of their hashes."""

import numpy as np
import pytest
from ase import Atoms

from tlpot.data import FrameSketch, frame_hashes, open_dataset, read_sketch, sketch_frames
from tlpot.data import frame_sketch as module
from tlpot.errors import ModelFileError


def structures(n, seed=0, *, cell=None):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        atoms = Atoms("OHH", rng.normal(size=(3, 3)), cell=cell, pbc=cell is not None)
        atoms.info["energy"] = float(rng.normal())
        found.append(atoms)
    return found


def opened(atoms):
    return open_dataset(atoms, level="pbe", keys={"energy": "energy"})


def test_a_structure_is_what_it_is_whatever_its_labels_and_its_place(tmp_path):
    some = structures(6)
    hashes = frame_hashes(opened(some))
    again = [atoms.copy() for atoms in reversed(some)]
    for atoms in again:
        atoms.info["energy"] += 1.0
        atoms.positions += [0.0, 3.0, -7.0]
    assert frame_hashes(opened(again)).tolist() == hashes[::-1].tolist()
    assert len(set(hashes.tolist())) == 6
    moved = [atoms.copy() for atoms in some]
    for atoms in moved:
        atoms.positions[1, 2] += 1e-2
    assert not np.isin(frame_hashes(opened(moved)), hashes).any()
    boxed = structures(6, cell=[9.0, 9.0, 9.0])
    assert not np.isin(frame_hashes(opened(boxed)), hashes).any()


@pytest.mark.parametrize(("decimals", "share"), [(5, 0.7), (6, 0.95), (8, 1.0)])
def test_text_of_so_many_decimals_is_known_again(decimals, share):
    rng = np.random.default_rng(3)
    some = [Atoms("C24", rng.normal(size=(24, 3)) * 3) for _ in range(200)]
    for atoms in some:
        atoms.info["energy"] = 1.0
    written = [atoms.copy() for atoms in some]
    for atoms in written:
        atoms.positions = np.round(atoms.positions, decimals)
    shared, _ = sketch_frames(opened(some)).shared(frame_hashes(opened(written)))
    assert shared >= share * 200 - 2


def test_free_atoms_do_not_count():
    atom = Atoms("O")
    atom.info["energy"] = 1.0
    assert sketch_frames(opened([*structures(3), atom])).n_frames == 3


def test_hashes_stay_what_they_are():
    """Cards that were written keep them: with other hashes their sketches would match nothing."""
    water = Atoms("OHH", [[0.1, 0.2, 0.3], [0.9, 0.2, 0.3], [0.1, 1.1, 0.3]])
    water.info["energy"] = 1.0
    assert frame_hashes(opened([water])).tolist() == [228088219743786]


def test_few_structures_are_all_told():
    sketch = sketch_frames(opened(structures(30)), range(20))
    assert (sketch.n_frames, sketch.is_complete) == (20, True)
    assert sketch.shared(frame_hashes(opened(structures(30)))) == (20, 30)


def test_of_many_a_fair_sample_is_told(monkeypatch):
    monkeypatch.setattr(module, "KEPT", 100)
    sketch = sketch_frames(opened(structures(1000)), range(500))
    assert not sketch.is_complete
    shared, told = sketch.shared(frame_hashes(opened(structures(1000))))
    assert shared == 100
    assert told == pytest.approx(200, abs=50)
    assert sketch.shared(frame_hashes(opened(structures(300, seed=1))))[0] == 0


def test_the_same_structure_twice_counts_once():
    some = structures(5)
    sketch = sketch_frames(opened([*some, some[0].copy()]))
    assert sketch.n_frames == 5


@pytest.mark.parametrize("n", [0, 1, 7, 3000])
def test_it_is_read_as_it_was_written(n):
    hashes = np.unique(np.random.default_rng(n).integers(0, 2**48, n, dtype=np.uint64))
    sketch = FrameSketch(n_frames=len(hashes), hashes=hashes[: module.KEPT])
    found = read_sketch(str(sketch))
    assert found.n_frames == sketch.n_frames
    assert found.hashes.tolist() == sketch.hashes.tolist()


@pytest.mark.parametrize("text", ["", "5", "x:AAAA", "2:AAAAAAAA", "1:?", "1:AAAAAAAAAAAA"])
def test_a_damaged_one_is_refused(text):
    with pytest.raises(ModelFileError, match="sketch"):
        read_sketch(text)
