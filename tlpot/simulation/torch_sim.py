"""Any energy model of tlpot as a model of torch-sim."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlpot.errors import MissingExtraError
from tlpot.jobs import EnergyMethod
from tlpot.simulation.batch import BatchEvaluator
from tlpot.system import System

try:
    from torch_sim.models.interface import ModelInterface
except ImportError as error:
    raise MissingExtraError("torch-sim-atomistic", "torchsim", "TorchSimModel") from error


class TorchSimModel(ModelInterface):
    """Energies, forces and stress for ``torch_sim.integrate``, ``optimize`` and ``static``.

    States are in double precision, as positions are throughout tlpot; the network keeps its own.
    Results also have ``domain`` where the model knows what it was trained on.

    Args:
        model: a model file, a name, an engine, a potential, an ensemble or another energy model,
            or an ASE calculator.
        charge: total charge of each structure, e, where the state does not say (0.3.0 cannot).
        spin: multiplicity 2S + 1 of each structure, likewise.
        settings: what else `tlpot.jobs.EnergyMethod` takes: ``level``, ``scheme``, ``low``,
            ``low_level``, ``dispersion``, ``trained_charges``, ``device``, ``dtype``.

    Raises:
        ConfigError: arguments that make no sense together, or a model of a difference.
        ModelFileError, UnknownLevelError: see `TLPotCalculator`.
    """

    def __init__(self, model: Any, *, charge: int = 0, spin: int = 1, **settings: Any) -> None:
        super().__init__()
        self.batch = BatchEvaluator(EnergyMethod(model=model, **settings))
        self.charge, self.spin = charge, spin
        self._device, self._dtype = self.batch.device, torch.float64
        self._compute_forces = self._compute_stress = True
        # a molecule has no density to scale with
        self._memory_scales_with = "n_atoms"

    @property
    def compute_forces(self) -> bool:
        """Whether forces are among the results."""
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, value: bool) -> None:
        self._compute_forces = value

    @property
    def compute_stress(self) -> bool:
        """Whether stress is among the results."""
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, value: bool) -> None:
        self._compute_stress = value

    def forward(self, state: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Returns ``energy`` [n_systems], ``forces`` [n_atoms, 3], ``stress`` [n_systems, 3, 3].

        Units are eV, Å and eV/Å³; a structure without a volume has stress 0.

        Raises:
            UnknownElementError: the model does not know an element.
            GeometryError: an unusable structure, or a charge that the model does not read.
        """
        if isinstance(state, dict):
            state = SimpleNamespace(**state)
        positions = state.positions
        found = self.batch(
            self._systems(state), forces=self._compute_forces, stress=self._compute_stress
        )
        n_systems = len(found.energy)
        results = {"energy": found.energy}
        if found.forces is not None:
            results["forces"] = found.forces
        if self._compute_stress:
            none = torch.zeros(n_systems, 3, 3, device=positions.device)
            results["stress"] = none if found.stress is None else found.stress
        if found.domain is not None:
            results["domain"] = found.domain
        return {key: value.detach().to(positions) for key, value in results.items()}

    def _systems(self, state: Any) -> list[System]:
        positions, numbers, idx, cell = (
            tensor.detach().cpu().numpy()
            for tensor in (state.positions, state.atomic_numbers, state.system_idx, state.cell)
        )
        # 0.3.0 has a bool, later versions a tensor; vectors are columns
        pbc = np.broadcast_to(np.asarray(torch.as_tensor(state.pbc).cpu(), dtype=bool), 3).copy()
        vectors = np.where(pbc[:, None], cell.swapaxes(1, 2), 0.0).astype(np.float64)
        stated = [
            np.broadcast_to(np.asarray(torch.as_tensor(getattr(state, name, own)).cpu()), len(cell))
            for name, own in (("charge", self.charge), ("spin", self.spin))
        ]
        ends = np.cumsum(np.bincount(idx, minlength=len(cell)))[:-1]
        return [
            System(
                atomic_numbers=z.astype(np.int64),
                positions=x.astype(np.float64),
                cell=vectors[k],
                pbc=pbc,
                charge=int(stated[0][k]),
                spin=int(stated[1][k]),
            )
            for k, (z, x) in enumerate(
                zip(np.split(numbers, ends), np.split(positions, ends), strict=True)
            )
        ]
