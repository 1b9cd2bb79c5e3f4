"""The sign of forces, judged from pairs of frames: a toy potential, and real QM data."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from scipy.spatial.transform import Rotation

from tlpot.data import find_problems, open_dataset
from tlpot.data.force_sign import force_problems
from tlpot.data.views import DatasetView

EQUILIBRIUM = np.array(
    [[0.0, 0.0, 0.0], [1.4, 0.0, 0.0], [-0.4, 1.0, 0.0], [-0.4, -0.5, 0.9], [1.8, 0.5, -0.8]]
)
MP2 = "mp2/aug-cc-pvtz"


def toy(positions):
    """Energy and forces of atoms that are all joined by Morse springs (a toy potential)."""
    arms = positions[:, None] - positions[None]
    lengths = np.linalg.norm(arms, axis=2) + np.eye(len(positions))
    rest = np.linalg.norm(EQUILIBRIUM[:, None] - EQUILIBRIUM[None], axis=2) + np.eye(5)
    decay = np.exp(-1.5 * (lengths - rest))
    energy = ((1 - decay) ** 2).sum() / 2
    slope = 3.0 * (1 - decay) * decay
    return energy - 2000.0, -((slope / lengths)[:, :, None] * arms).sum(axis=1)


def frames(n, *, spread=0.05, sign=1.0, size=1.0, seed=0, symbols="OCHHH", cell=None):
    """Frames that are turned and shifted at random, unless they are in a cell."""
    rng = np.random.default_rng(seed)
    written = []
    for turn in Rotation.random(n, random_state=rng).as_matrix():
        positions = EQUILIBRIUM + spread * rng.normal(size=(5, 3))
        positions = positions @ turn + 5 * rng.normal(size=3) if cell is None else positions
        energy, forces = toy(positions)
        atoms = Atoms(symbols, positions, cell=cell, pbc=cell is not None)
        if cell is not None:
            atoms.positions += rng.integers(-1, 2, (5, 3)) @ atoms.cell.array
        atoms.info["energy"], atoms.arrays["forces"] = energy, sign * size * forces
        written.append(atoms)
    return written


def judged(tmp_path, written):
    """What is found about forces and energies."""
    path = tmp_path / "toy.xyz"
    write(path, written, format="extxyz")
    problems = find_problems(open_dataset(path, level="toy"))
    about = ("they look", "of the forces", "energies and forces")
    return [p for p in problems if any(text in p.what for text in about)]


def verdicts(tmp_path, written):
    return [(p.severity, p.what) for p in judged(tmp_path, written)]


def test_forces_pass_though_the_molecules_are_turned(tmp_path):
    assert verdicts(tmp_path, frames(40)) == []


@pytest.mark.parametrize("size", [1.0, 27.2])
def test_gradients_are_an_error_in_any_unit(tmp_path, size):
    ((severity, what),) = verdicts(tmp_path, frames(40, sign=-1.0, size=size))
    assert severity == "error"
    assert "look like gradients" in what
    assert "multiply them by -1" in what


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_frames_far_apart_say_nothing(tmp_path, sign):
    ((severity, what),) = verdicts(tmp_path, frames(40, spread=0.5, sign=sign))
    assert severity == "note"
    assert "could not be judged" in what


@pytest.mark.parametrize(
    ("last", "named"),
    [(1.0, "in 1 of 3 molecules (CH3N)"), (-1.0, "2 of 3 molecules (CH3N, CH3F)")],
)
def test_molecules_that_are_reversed_are_named(tmp_path, last, named):
    written = frames(20) + frames(20, sign=-1.0, symbols="NCHHH", seed=1)
    written += frames(20, sign=last, symbols="FCHHH", seed=2)
    (problem,) = judged(tmp_path, written)
    assert problem.severity == "error"
    assert named in problem.what
    end = 40 if last > 0 else 60
    assert problem.frames == tuple(f"toy.xyz[{k}]" for k in range(20, end))


def test_forces_in_another_order_do_not_belong_to_the_energies(tmp_path):
    written = frames(60)
    shuffled = np.random.default_rng(0).permutation(60)
    energies = [written[k].info["energy"] for k in shuffled]
    for atoms, energy in zip(written, energies, strict=True):
        atoms.info["energy"] = energy
    ((severity, what),) = verdicts(tmp_path, written)
    assert severity == "warning"
    assert "do not belong together" in what


def test_forces_in_another_unit(tmp_path):
    ((severity, what),) = verdicts(tmp_path, frames(40, size=1 / 51.422))
    assert severity == "warning"
    factor = float(what.split("are ")[1].split(" times")[0])
    assert factor == pytest.approx(51.4, rel=0.1)


@pytest.mark.parametrize(("sign", "found"), [(1.0, []), (-1.0, ["error"])])
def test_atoms_of_a_cell_are_compared_with_their_nearest_images(tmp_path, sign, found):
    written = frames(40, sign=sign, cell=[[9.0, 0, 0], [1.0, 9.0, 0], [0, 0, 9.0]])
    assert [severity for severity, _ in verdicts(tmp_path, written)] == found


def test_single_precision_energies_pass(tmp_path):
    written = frames(40)
    for atoms in written:
        atoms.info["energy"] = float(np.float32(8 * atoms.info["energy"])) / 8
    assert verdicts(tmp_path, written) == []


def real_frames(data_dir, which):
    if which == "acac":
        return open_dataset(data_dir / "acac" / "train_300K.xyz", level=MP2)
    if which == "3bpa":
        return open_dataset(data_dir / "3bpa" / "train_300K.xyz", level=MP2)
    (path,) = (data_dir / "vpt2-tl").glob(f"{which}_*[mM][pP]2*")
    return open_dataset(path, "physnet", level=MP2)


class Reversed(DatasetView):
    """A dataset whose forces are gradients."""

    def read(self, indices, levels=None):
        frames = self.dataset.read(indices, levels)
        labels = [frame.labels[MP2] for frame in frames]
        return [
            replace(frame, labels={MP2: replace(known, forces=-known.forces)})
            for frame, known in zip(frames, labels, strict=True)
        ]


@pytest.mark.parametrize(
    ("which", "window"), [("acac", 150), ("3bpa", 250), ("ch2o", 60), ("hono", 60)]
)
def test_windows_of_real_data(data_dir, which, window):
    """True forces are never refused, and reversed ones hardly ever pass."""
    dataset = real_frames(data_dir, which)
    reversed_ones = Reversed(dataset)
    rng = np.random.default_rng(0)
    found = []
    for start in rng.integers(0, len(dataset) - window, 5):
        frames = np.arange(start, start + window)
        assert "error" not in {p.severity for p in force_problems(dataset, MP2, frames)}
        found += [p.severity for p in force_problems(reversed_ones, MP2, frames)]
    assert len(found) == 5
    assert found.count("error") >= 4


@pytest.mark.fault
def test_energies_per_atom_are_named(tmp_path):
    """The factor between energies and forces was told, and not what it means."""
    written = frames(40)
    for atoms in written:
        atoms.info["energy"] /= len(atoms)
    ((severity, what),) = verdicts(tmp_path, written)
    assert severity == "warning"
    assert "are 0.20" in what
    assert "as if energies per atom were read as those of whole structures" in what


@pytest.mark.control
def test_another_unit_is_not_called_one_per_atom(tmp_path):
    ((_, what),) = verdicts(tmp_path, frames(40, size=1 / 51.4))
    assert "per atom" not in what
