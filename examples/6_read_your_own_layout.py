"""Read an HDF5 file with a layout of your own, and convert it to tlpot's."""

import tempfile
from pathlib import Path

import h5py
import numpy as np

from tlpot.data import open_dataset, write_dataset

SPEC = """
container: hdf5
groups: "*"
numbers: Z
coordinates: geometry
units: {coordinates: bohr, energy: hartree, forces: hartree/bohr}
sign: gradient
levels:
  pbe/def2-svp: {energy: pbe_energy, forces: pbe_gradient}
"""

with tempfile.TemporaryDirectory() as folder:
    mine, spec = Path(folder) / "mine.h5", Path(folder) / "mine.yaml"
    spec.write_text(SPEC)
    with h5py.File(mine, "w") as file:  # numbers made up to show the layout, not QM
        group = file.create_group("hydrogen")
        group["Z"] = np.array([1, 1])
        group["geometry"] = np.array([[[0, 0, 0], [0, 0, 1.4]], [[0, 0, 0], [0, 0, 1.5]]])
        group["pbe_energy"] = np.array([-1.16, -1.158])
        group["pbe_gradient"] = np.zeros((2, 2, 3))

    dataset = open_dataset(mine, spec=spec)
    frame = dataset[0]
    print(f"{len(dataset)} frames, levels {list(dataset.levels)}")
    print(f"bond {np.ptp(frame.system.positions[:, 2]):.4f} Å")
    print(f"energy {frame.labels['pbe/def2-svp'].energy:.4f} eV")
    write_dataset(dataset, Path(folder) / "native.h5")
    print(f"converted: {list(open_dataset(Path(folder) / 'native.h5').levels)}")
