"""Toy crystals whose properties follow from composition and bond length by a formula."""

import numpy as np
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write

SPEC = {
    "container": "extxyz",
    "units": {"coordinates": "angstrom"},
    "levels": {
        "gap@cheap": {"value": "cheap", "unit": "eV", "extensive": False},
        "gap@dear": {"value": "dear", "unit": "eV", "extensive": False},
        "hardness@cheap": {"value": "hard", "unit": "GPa", "extensive": False, "kind": "positive"},
        "metal@cheap": {"value": "metal", "extensive": False, "kind": "yes_no"},
        "volume@cheap": {"value": "volume", "unit": "A^3", "extensive": True},
    },
}
ANIONS, CATIONS = ("F", "Cl", "Br"), ("Li", "Na", "K", "Mg")


def crystals(n: int, seed: int = 0) -> list[Atoms]:
    """Binary crystals, stretched at random, one or two cells each."""
    rng, frames = np.random.default_rng(seed), []
    for k in range(n):
        a, b = rng.integers(len(CATIONS)), rng.integers(len(ANIONS))
        stretch = rng.uniform(-0.3, 0.3)
        atoms = bulk(CATIONS[a] + ANIONS[b], "rocksalt", a=5.0 + 0.3 * a + 0.2 * b + stretch)
        atoms = atoms.repeat((1 + k % 2, 1, 1))
        gap = 3.0 + 0.8 * a - 0.5 * b - 4.0 * stretch
        atoms.info |= {
            "cheap": gap, "dear": 1.2 * gap + 0.5, "hard": float(np.exp(0.3 * gap)),
            "metal": int(gap < 3.5), "volume": atoms.get_volume(),
        }  # fmt: skip
        frames.append(atoms)
    return frames


def write_toy(folder, n: int = 60, seed: int = 0, **changes) -> dict[str, str]:
    """Writes the crystals and their description; returns a ``data`` section."""
    frames = crystals(n, seed)
    for atoms in frames:
        atoms.info |= changes
    write(folder / "toy.xyz", frames, format="extxyz")
    (folder / "toy.yaml").write_text(yaml.safe_dump(SPEC))
    return {"files": [str(folder / "toy.xyz")], "spec": str(folder / "toy.yaml")}


MODEL = {
    "cutoff": 4.0, "hidden_irreps": "8x0e+8x1o", "l_max": 2, "correlation": 2, "n_species": 4,
    "readout_hidden": 4,
}  # fmt: skip
SPLIT = {"by": "random", "train": 36, "validation": 12, "test": 12}
