"""Proteins in fragment files: labels of fragments add up to what the force field gives."""

import h5py
import numpy as np
import pytest
from fragment_files import Springs, labelled, rattled

from tlpot.calculators import FragmentCalculator
from tlpot.data import assembled
from tlpot.errors import ConfigError, DataError
from tlpot.fragments import ProteinFrames, export_fragments

TIGHT = 1e-9


@pytest.mark.parametrize("scheme", ["mfcc", "mfcc2", "mfcc_mbe2", "sphere"])
def test_labels_add_up_to_energy_and_forces_of_the_force_field(tmp_path, scheme):
    frames = rattled("AGASAG", 2, amplitude=0.05, conformation="helix")
    order = np.random.default_rng(1).permutation(len(frames[0]))
    frames[1] = frames[1][order]
    path = tmp_path / "f.h5"
    proteins = [ProteinFrames(name=f"p{k}", frames=[atoms]) for k, atoms in enumerate(frames)]
    report = export_fragments(proteins, scheme, path, whole=True)
    assert report.n_written == report.n_fragments
    labelled(path)
    for k, atoms in enumerate(frames):
        energy, forces = assembled(path, f"p{k}")
        atoms.calc = FragmentCalculator(atoms, Springs(), scheme)
        assert energy == pytest.approx(atoms.get_potential_energy(), abs=TIGHT)
        # forces are stored in single precision
        np.testing.assert_allclose(forces, atoms.get_forces(), atol=2e-6)


def test_there_are_pairs_whose_weight_changes(tmp_path):
    """Else the test above would not see the gradient of the weights."""
    path = tmp_path / "f.h5"
    frames = rattled("AGASAG", 1, amplitude=0.05, conformation="helix")
    export_fragments([ProteinFrames(name="p", frames=frames)], "mfcc_mbe2", path, whole=True)
    with h5py.File(path) as handle:
        own = handle["proteins/p/assembly/mfcc_mbe2.0"]
        assert np.abs(own["dc"][()]).max() > 1e-3
        c = own["coeff"][()]
        assert ((c != np.rint(c)) & (np.abs(c) > 1e-3)).any()


def test_structures_and_schemes_are_kept_apart(tmp_path):
    path, frames = tmp_path / "f.h5", rattled("AGA", 2)
    protein = ProteinFrames(name="p", frames=frames, trajectory="hot")
    export_fragments([protein], "mfcc", path, whole=True)
    export_fragments([protein], "mfcc2", path, whole=True)
    labelled(path, every=2)  # not row 1
    with pytest.raises(DataError, match=r"'p/hot', has no label"):
        assembled(path, "p/hot", row=1, scheme="mfcc")
    labelled(path, every=1, replace=True)
    with pytest.raises(DataError, match="by the schemes mfcc, mfcc2; say scheme="):
        assembled(path, "p/hot")
    with pytest.raises(DataError, match="no scheme 'mfcc3'; did you mean"):
        assembled(path, "p/hot", scheme="mfcc3")
    with pytest.raises(DataError, match="no assembly of structure 2"):
        assembled(path, "p/hot", row=2)
    with pytest.raises(DataError, match="no protein 'q'"):
        assembled(path, "q")
    frames[1].calc = FragmentCalculator(frames[1], Springs(), "mfcc2")
    energy, _ = assembled(path, "p/hot", row=1, scheme="mfcc2")
    assert energy == pytest.approx(frames[1].get_potential_energy(), abs=TIGHT)


def test_whole_proteins_need_all_fragments_and_one_order(tmp_path):
    path, frames = tmp_path / "f.h5", rattled("AGA", 1)
    protein = ProteinFrames(name="p", frames=frames)
    with pytest.raises(ConfigError, match="leave kinds and per_kind out"):
        export_fragments([protein], "mfcc", path, whole=True, per_kind=3)
    export_fragments([protein], "mfcc", path, whole=True)
    content = path.read_bytes()
    other = ProteinFrames(name="p", frames=[frames[0][::-1]])
    with pytest.raises(DataError, match=r"another molecule"):
        export_fragments([other], "mfcc", path, whole=True)
    assert path.read_bytes() == content
