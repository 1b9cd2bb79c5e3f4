"""Trajectories as DCD and XTC, read back by mdtraj."""

import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from needs import needs

from tlpot.errors import ConfigError, DataError, MissingExtraError, OutputError
from tlpot.structures import write_trajectory, writer


def frames(*, periodic: bool) -> list[Atoms]:
    """Twelve atoms, as XTC keeps fewer than ten in another way."""
    first = molecule("CH3CONH2") + Atoms("H3", [[5.0, 0, 0], [5.0, 1, 0], [5.0, 0, 1]])
    if periodic:
        first.set_cell([[1.0, 11.0, 0.5], [9.0, 1.0, -2.0], [0.0, 1.5, 12.0]])
        first.pbc = True
    made = []
    for k in range(3):
        frame = first.copy()
        frame.positions += 0.1 * k
        frame.set_cell(frame.cell.array * (1.0 + 0.01 * k), scale_atoms=False)
        frame.info.update(time_fs=5.0 * k, step=10 * k)
        made.append(frame)
    return made


def triple(positions):
    """Volume of the tetrahedron of four atoms, whose sign is their handedness."""
    return np.linalg.det(positions[[1, 4, 7]] - positions[0])


def distances(positions):
    return np.linalg.norm(positions[:, None] - positions, axis=-1)


@pytest.mark.external
@pytest.mark.filterwarnings("ignore")  # mdtraj's own
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("ending", "error"), [("dcd", 1e-4), ("xtc", 0.02)])
def test_mdtraj_reads_the_same(tmp_path, periodic, ending, error):
    mdtraj = needs("mdtraj")
    made = frames(periodic=periodic)
    names = write_trajectory(iter(made), tmp_path / f"run.{ending}")
    found = mdtraj.load(str(tmp_path / f"run.{ending}"), top=str(names))
    assert found.n_frames == 3
    assert [a.element.number for a in found.topology.atoms] == made[0].numbers.tolist()
    for k, frame in enumerate(made):
        np.testing.assert_allclose(
            distances(10.0 * found.xyz[k]), distances(frame.positions), atol=error
        )
        if not periodic:
            continue
        sides = [*(10.0 * found.unitcell_lengths[k]), *found.unitcell_angles[k]]
        np.testing.assert_allclose(sides, frame.cell.cellpar(), atol=1e-3)
        # atoms are where they were with respect to the cell, of which the handedness goes
        fractional = 10.0 * found.xyz[k] @ np.linalg.inv(10.0 * found.unitcell_vectors[k])
        places = frame.cell.handedness * frame.get_scaled_positions(wrap=False)
        np.testing.assert_allclose(fractional, places, atol=error)
        assert np.sign(triple(10.0 * found.xyz[k])) == np.sign(triple(frame.positions))
    if ending == "xtc":
        np.testing.assert_allclose(found.time, [0.0, 0.005, 0.01], atol=1e-6)


@pytest.mark.external
def test_frames_belong_together(tmp_path):
    needs("mdtraj")
    with pytest.raises(DataError, match="frame 1"):
        write_trajectory([molecule("H2O"), molecule("CO")], tmp_path / "run.dcd")
    with pytest.raises(ConfigError, match="no frames"):
        write_trajectory([], tmp_path / "run.dcd")
    assert not list(tmp_path.iterdir())


@pytest.mark.fault
@pytest.mark.external
@pytest.mark.filterwarnings("ignore")  # mdtraj's own
@pytest.mark.parametrize(
    ("there", "what"),
    [("run.dcd", "trajectory"), ("run.xtc", "trajectory"), ("run.pdb", "topology")],
)
def test_files_that_are_there_are_replaced_only_if_asked(tmp_path, there, what):
    """A user's own PDB file of the same name went without a word."""
    needs("mdtraj")
    old = tmp_path / there
    old.write_text("precious")
    path = old if what == "trajectory" else tmp_path / "run.dcd"

    def unread():
        raise AssertionError("frames were read before the files were looked at")
        yield

    with pytest.raises(OutputError, match=f"the {what} .*{there} exists.*overwrite=True"):
        write_trajectory(unread(), path)
    assert old.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [old]
    assert write_trajectory(frames(periodic=False), path, overwrite=True).exists()
    assert b"precious" not in old.read_bytes()


@pytest.mark.fault
@pytest.mark.external
@pytest.mark.filterwarnings("ignore")  # mdtraj's own
def test_a_failure_replaces_neither_file(tmp_path, monkeypatch):
    needs("mdtraj")
    path = tmp_path / "run.dcd"
    write_trajectory(frames(periodic=False), path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_fill", full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        write_trajectory(frames(periodic=True), path, overwrite=True)
    assert str(caught.value).count("could not write") == 1
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_endings_and_the_extra(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="dcd"):
        write_trajectory([molecule("H2O")], tmp_path / "run.trr")
    monkeypatch.setitem(sys.modules, "mdtraj.formats", None)
    with pytest.raises(MissingExtraError, match="mdtraj"):
        write_trajectory([molecule("H2O")], tmp_path / "run.dcd")
