"""SevenNet-0 (sevenn 0.13, doi:10.1021/acs.jctc.4c00190) as an ASE calculator with features.

For an environment with sevenn, whose wheel holds the weights: `potentials.py` puts this folder on
its path. Energies are eV, of the whole structure; features are the 128 invariants of each atom
after the last convolution.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes

warnings.filterwarnings("ignore")
torch.set_num_threads(1)


class SevenNetFeatures(Calculator):
    """Energies and features of SevenNet-0 (11 July 2024)."""

    implemented_properties = ["energy"]  # noqa: RUF012  as ASE has it

    def __init__(self) -> None:
        super().__init__()
        from sevenn.calculator import SevenNetCalculator

        self._inner = SevenNetCalculator("7net-0", device="cpu")
        readout = self._inner.model._modules["reduce_input_to_hidden"]
        readout.register_forward_pre_hook(self._keep)
        self._features: np.ndarray | None = None

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        """Evaluates the energy."""
        super().calculate(atoms, properties, system_changes)
        self._inner.calculate(atoms, ["energy"])
        self.results = {"energy": float(self._inner.results["energy"])}

    def get_descriptors(self, atoms) -> np.ndarray:
        """Returns features, [n_atoms, 128]."""
        self._inner.calculate(atoms, ["energy"])
        return self._features

    def _keep(self, module: torch.nn.Module, inputs: tuple) -> None:
        self._features = inputs[0]["x"].detach().double().numpy()
