"""CHGNet (chgnet 0.4, doi:10.1038/s42256-023-00716-3) as an ASE calculator with features of atoms.

For an environment with chgnet: `potentials.py` puts this folder on its path. Energies are eV, of
the whole structure; features are the 64 of each atom after the last convolution.
"""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes

warnings.filterwarnings("ignore")
torch.set_num_threads(1)


class CHGNetFeatures(Calculator):
    """Energies and features of CHGNet 0.3.0."""

    implemented_properties = ["energy"]  # noqa: RUF012  as ASE has it

    def __init__(self) -> None:
        super().__init__()
        from chgnet.model import CHGNet

        with contextlib.redirect_stdout(io.StringIO()):
            self._model = CHGNet.load(use_device="cpu")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        """Evaluates the energy."""
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": float(self._ask(atoms)["e"]) * len(atoms)}

    def get_descriptors(self, atoms) -> np.ndarray:
        """Returns features, [n_atoms, 64]."""
        return np.asarray(self._ask(atoms)["atom_fea"], dtype=float)

    def _ask(self, atoms) -> dict:
        from pymatgen.io.ase import AseAtomsAdaptor

        structure = AseAtomsAdaptor.get_structure(atoms)
        return self._model.predict_structure(structure, task="e", return_atom_feas=True)
