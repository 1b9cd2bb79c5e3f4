"""Small files written in exactly the layouts of published datasets."""

import h5py
import numpy as np

RNG_SEED = 7


def numbers_of_water():
    return np.array([8, 1, 1])


def water_frames(n, seed=RNG_SEED):
    """[n, 3, 3] Å, distinct geometries around the equilibrium of water."""
    rng = np.random.default_rng(seed)
    equilibrium = np.array([[0.0, 0.0, 0.117], [0.0, 0.757, -0.469], [0.0, -0.757, -0.469]])
    return equilibrium + 0.05 * rng.normal(size=(n, 3, 3))


def native_file(path, *, n=6, seed=RNG_SEED, **attributes):
    """Two molecules, two levels; the second level has holes and no forces."""
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as handle:
        content = {
            "levels": '{"low": "gfn2-xtb", "high": "ccsd(t)/cbs"}',
            "units": '{"coordinates": "angstrom", "energy": "hartree",'
            ' "forces": "hartree/angstrom"}',
            "isolated_atoms": '{"H": {"low.energy": -0.4}, "O": {"low.energy": -3.8}}',
            "definitions": '{"low": "GFN2-xTB"}',
            **attributes,
        }
        for name, text in content.items():
            if text is not None:
                handle.attrs[name] = text
        for name, numbers in (("water", [8, 1, 1]), ("hydrogen", [1, 1])):
            group = handle.create_group(name)
            group["atomic_numbers"] = np.array(numbers, dtype=np.uint8)
            n_atoms = len(numbers)
            places = np.arange(n_atoms)[:, None] * np.array([0.9, 0.3, 0.0])
            group["coordinates"] = places + 0.05 * rng.normal(size=(n, n_atoms, 3))
            group["low.energy"] = rng.normal(size=n)
            group["low.forces"] = rng.normal(size=(n, n_atoms, 3))
            high = rng.normal(size=n)
            high[::2] = np.nan
            group["high.energy"] = high
            group["temperature"] = np.repeat([300.0, 600.0], n // 2)
    return path
