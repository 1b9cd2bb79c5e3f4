"""ANI-1ccx of TorchANI as an ASE calculator that computes molecules in batches; for `env:` engines.

Its parameters are files of isayev/ASE_ANI (MIT, doi:10.1038/s41467-019-10827-4). It runs in a
Python with torchani 2.9 (and huggingface_hub, which it imports), and imports nothing of tlpot.
"""

from pathlib import Path

import ase.units
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from torchani import neurochem


class ANI1ccx(Calculator):
    """Eight networks in double precision.

    Args:
        folder: with ``ani-1ccx_8x.info`` and what it names.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, folder):
        super().__init__()
        neurochem.neurochem_dir = lambda: Path(folder)
        info = Path(folder) / "ani-1ccx_8x.info"
        self.model = neurochem.load_model_from_info_file(str(info)).double()
        self.about = {
            "name": "ani-1ccx", "licence": "MIT", "elements": ["H", "C", "N", "O"],
            "origin": "isayev/ASE_ANI, doi:10.1038/s41467-019-10827-4", "files": [str(info)],
        }  # fmt: skip

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Computes one molecule."""
        super().calculate(atoms, properties, system_changes)
        found = self.calculate_batch([atoms], ["energy", "forces"])
        self.results = {"energy": float(found["energy"][0]), "forces": found["forces"][0]}

    def calculate_batch(self, frames, properties):
        """Returns energies [n], eV, and forces [n, n_atoms, 3], eV/Å, of molecules of one size."""
        numbers = torch.tensor(np.array([atoms.numbers for atoms in frames]))
        positions = torch.tensor(np.array([atoms.positions for atoms in frames]))
        positions.requires_grad_("forces" in properties)
        energy = self.model((numbers, positions)).energies
        found = {"energy": energy.detach().numpy() * ase.units.Hartree}
        if "forces" in properties:
            slope = torch.autograd.grad(energy.sum(), positions)[0]
            found["forces"] = -slope.numpy() * ase.units.Hartree
        return found
