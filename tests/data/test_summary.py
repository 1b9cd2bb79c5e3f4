"""The figures of `tlpot data info`."""

import h5py
import numpy as np
import pytest
from ase.units import Hartree
from layouts import native_file

from tlpot.data import open_dataset, summarize


def test_figures(tmp_path):
    path = native_file(tmp_path / "a.h5")
    with h5py.File(path, "a") as handle:
        water = handle["water"]
        water["coordinates"][5] = water["coordinates"][1]
        water["charge"] = np.array([0, 0, 0, 0, 1, 0])
        energies = np.concatenate([handle[name]["low.energy"][:] for name in handle])
        forces = [handle[name]["low.forces"][:].reshape(-1, 3) for name in handle]
    done = []
    summary = summarize(open_dataset(path), progress=done.append)
    assert sum(done) == 12
    assert (summary.n_frames, summary.n_molecules, summary.size_range) == (12, 2, (2, 3))
    assert summary.elements == (1, 8)
    assert summary.charges == (0, 1)
    assert summary.spins == (1,)
    assert summary.n_duplicates == 1
    assert summary.n_periodic == 0
    low, high = summary.levels["gfn2-xtb"], summary.levels["ccsd(t)/cbs"]
    assert (low.n_energies, low.n_forces, low.n_stresses) == (12, 12, 0)
    assert (high.n_energies, high.n_forces) == (6, 0)
    relative = np.concatenate([(energies[:6] + 0.8) / 2, (energies[6:] + 4.6) / 3]) * Hartree
    assert low.relative
    assert low.energy_range == pytest.approx((relative.min(), relative.max()))
    deviations = relative.reshape(2, 6) - relative.reshape(2, 6).mean(axis=1, keepdims=True)
    assert low.spread == pytest.approx(deviations.std())
    components = np.concatenate(forces) * Hartree
    assert low.force_rms == pytest.approx(np.sqrt(np.mean(components**2)))
    assert low.force_max == pytest.approx(np.linalg.norm(components, axis=1).max())
    assert not high.relative
    assert np.isnan(high.force_rms)
