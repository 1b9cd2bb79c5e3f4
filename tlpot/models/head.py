"""The part of a potential that is one level of theory's own."""

from __future__ import annotations

import torch
from torch import nn

from tlpot.models.architecture import Architecture
from tlpot.models.gaussian import GaussianCorrection
from tlpot.models.rigidity import LastLayerRigidity
from tlpot.nn.constant import DoubleBuffer
from tlpot.nn.readout import Readout


class Head(nn.Module):
    """What belongs to one level of theory.

    Args:
        architecture: sizes.
        references: E0 of each element, eV, in the order of ``architecture.elements``.
        scale: see `Readout`.

    Attributes:
        corrections: closed-form regressors that add to the readout's energy; mostly none.
        rigidity: what the level's uncertainty is computed from; None if it has none. It belongs
            to these very weights and has to go when they change. A head with corrections has
            none, since it would not know of them.
    """

    rigidity: LastLayerRigidity | None

    def __init__(self, architecture: Architecture, references: list[float], scale: float) -> None:
        super().__init__()
        self.rigidity = None
        self.references = DoubleBuffer(torch.tensor(references, dtype=torch.float64))
        self.readout = Readout(
            n_layers=architecture.n_layers,
            n_channels=architecture.n_channels,
            n_hidden=architecture.readout_hidden,
            scale=scale,
        )
        self.corrections = nn.ModuleList()

    @property
    def process(self) -> GaussianCorrection | None:
        """The Gaussian process that was fitted to all that the rest of the head leaves over.

        None if there is none, or if it has forgotten how sure it is.
        """
        last = self.corrections[-1] if len(self.corrections) else None
        known = isinstance(last, GaussianCorrection) and last.cholesky is not None
        return last if known else None  # type: ignore[return-value]

    def forget(self) -> None:
        """Drops all uncertainty, as a change of weights or level needs; energies stay."""
        self.rigidity = None
        for correction in self.corrections:
            if isinstance(correction, GaussianCorrection):
                correction.cholesky = None
