"""The part of a potential that is one level of theory's own."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from ase.data import chemical_symbols
from torch import nn

from tlpot.errors import ConfigError
from tlpot.models.architecture import Architecture
from tlpot.models.domain import TrainingDomain
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
        domain: what the level was trained on; None if it was never told. It belongs to these very
            weights of the backbone and has to go when they change.
    """

    rigidity: LastLayerRigidity | None
    domain: TrainingDomain | None

    def __init__(self, architecture: Architecture, references: list[float], scale: float) -> None:
        super().__init__()
        self.rigidity = None
        self.domain = None
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


def reference_list(
    architecture: Architecture, level: str, references: Mapping[int, float]
) -> list[float]:
    """Returns E0 in the order of the elements, eV.

    Args:
        architecture: says which elements there are.
        level: for messages.
        references: E0 by atomic number, eV.

    Raises:
        ConfigError: one is missing, or not finite.
    """
    missing = [chemical_symbols[z] for z in architecture.elements if z not in references]
    if missing:
        raise ConfigError(
            f"level {level!r}: no reference energy E0 for {', '.join(missing)}; every element "
            "of the model needs one"
        )
    values = [float(references[z]) for z in architecture.elements]
    if not all(map(math.isfinite, values)):
        raise ConfigError(f"level {level!r}: the reference energies hold NaN or infinity: {values}")
    return values
