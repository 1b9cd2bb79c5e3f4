"""The real QM data, against what other programs read from the same files."""

import h5py
import numpy as np
import pytest
from ase.units import Hartree

from tlpot.data import Loader, find_problems, make_split, open_dataset, summarize, write_dataset

MP2, CC, F12 = "mp2/aug-cc-pvtz", "ccsd(t)/aug-cc-pvtz", "ccsd(t)-f12/aug-cc-pvtz-f12"


def errors(dataset):
    return [p.what for p in find_problems(dataset) if p.severity == "error"]


def test_tlpot_qm_is_in_the_native_layout(data_dir, tmp_path):
    path = data_dir / "tlpot-qm" / "tlpot-qm.h5"
    dataset = open_dataset(path)
    assert (len(dataset), len(dataset.group_names)) == (1103, 27)
    cbs = "ccsd(t)/cbs(dt)"
    assert dataset.labelled(cbs).sum() == 770
    assert dataset.labelled("wb97x/6-31g*", "forces").all()
    assert dataset.levels[cbs].isolated_atoms[8] == pytest.approx(-74.99283384134696 * Hartree)
    assert not errors(dataset)
    with h5py.File(path) as handle:
        water = handle["water"]
        frame = dataset.read([dataset.group_idx.tolist().index(dataset.group_names.index("water"))])
        expected = water["wb97x_dz.forces"][0] * Hartree
        np.testing.assert_allclose(frame[0].labels["wb97x/6-31g*"].forces, expected)
    # atomisation energies of water lie around 232 kcal/mol
    low, high = summarize(dataset).levels[cbs].energy_range
    assert -6 < low < high < -2
    write_dataset(dataset, tmp_path / "copy.h5")
    copy = summarize(open_dataset(tmp_path / "copy.h5"))
    assert copy.levels[cbs].energy_range == pytest.approx((low, high), rel=1e-12)


def test_s66x8_has_gradients(data_dir):
    path = data_dir / "s66x8" / "s66x8_wb97x6-31gd.h5"
    dataset = open_dataset(path, "comp6")
    assert (len(dataset), len(dataset.group_names)) == (528, 66)
    with h5py.File(path) as handle:
        gradient = handle["s66x8/mol00/forces"][3]
    labels = dataset.read([3])[0].labels["wb97x/6-31g*"]
    np.testing.assert_allclose(labels.forces, -gradient * Hartree, rtol=1e-6)
    assert not errors(dataset)


@pytest.mark.parametrize(
    ("pattern", "level", "n_frames"),
    [("ch2o_mp2*", MP2, 3601), ("ch2o_cc_*", CC, 3601), ("hono_ccf12*", F12, 6406)],
)
def test_vpt2_tl_energies_are_made_total(data_dir, pattern, level, n_frames):
    (path,) = (data_dir / "vpt2-tl").glob(pattern)
    dataset = open_dataset(path, "physnet", level=level)
    assert len(dataset) == n_frames
    with np.load(path) as arrays:
        atoms = dataset.levels[level].isolated_atoms
        frame = dataset.read([17])[0]
        used = arrays["Z"][17] > 0
        free = sum(atoms[z] for z in arrays["Z"][17][used])
        assert frame.labels[level].energy == pytest.approx(arrays["E"][17] + free, abs=1e-9)
        np.testing.assert_array_equal(frame.labels[level].forces, arrays["F"][17][used])
    assert not errors(dataset)


def test_seven_molecules_of_vpt2_tl_are_one_dataset(data_dir):
    files = sorted((data_dir / "vpt2-tl").glob("*[mM][pP]2*.npz"))
    dataset = open_dataset(files, "physnet", level=MP2)
    assert (len(dataset), len(dataset.group_names)) == (52593, 7)
    split = make_split(dataset, validation=["HNO2"], test=["CH2O2"])
    assert (len(split.validation), len(split.test)) == (6406, 5401)
    loader = Loader(dataset, split.test, levels=[MP2], cutoff=5.0, batch_size=256)
    batch = next(loader.batches(0))
    assert batch.graph.n_atoms == 256 * 5
    assert batch.targets[MP2].forces.isfinite().all()


def test_half_of_hono_repeats_the_other_half(data_dir):
    (path,) = (data_dir / "vpt2-tl").glob("hono_mp2*")
    dataset = open_dataset(path, "physnet", level=MP2)
    assert summarize(dataset).n_duplicates == 3110
    split = make_split(dataset, by="random")
    seen = {frame.system.positions.round(5).tobytes() for frame in dataset.read(split.train)}
    test = {frame.system.positions.round(5).tobytes() for frame in dataset.read(split.test)}
    assert not seen & test


def test_extended_xyz(data_dir):
    acac = data_dir / "acac"
    files = [acac / "train_300K.xyz", acac / "isolated_atoms.xyz"]
    dataset = open_dataset(files, level="pbe-d3/def2-svp")
    assert len(dataset) == 500
    level = dataset.levels["pbe-d3/def2-svp"]
    assert level.isolated_atoms[1] == pytest.approx(-13.568422178253735)
    frame = dataset.read([0])[0]
    assert frame.labels[level.name].energy == pytest.approx(-9391.45554428476)
    assert frame.labels[level.name].forces[0].tolist() == [1.47339228, 1.13796366, 0.06391102]
    assert not errors(dataset)

    dataset = open_dataset(data_dir / "3bpa" / "train_300K.xyz", level="wb97x/6-31g(d)")
    assert (len(dataset), dataset.sizes[0], dataset.group_names) == (500, 27, ("C12H12N2O",))
    assert not errors(dataset)


def test_compressed_xyz_with_keys_of_its_own(data_dir):
    dataset = open_dataset(
        data_dir / "solvent-xtb" / "solvent_xtb_train_200.xyz.xz",
        level="gfn2-xtb",
        keys={"energy": "energy_xtb", "forces": "forces_xtb", "group": "Comp"},
    )
    assert len(dataset) == 200
    assert dataset.group_names[0] == "VC(3)"
    assert sorted(dataset.levels["gfn2-xtb"].isolated_atoms) == [1, 6, 8]
    assert dataset.labelled("gfn2-xtb", "forces").all()
    low, high = summarize(dataset).levels["gfn2-xtb"].energy_range
    assert -8 < low < high < -5
