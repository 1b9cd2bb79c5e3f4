"""New weights for some blocks of a potential."""

from __future__ import annotations

from collections.abc import Collection

import torch

from tlpot.models import Potential, parameter_blocks


@torch.no_grad()
def with_fresh_blocks(potential: Potential, level: str, blocks: Collection[str], seed: int) -> None:
    """Draws the weights of some blocks anew, in place.

    Args:
        potential: the model.
        level: whose readout is meant by ``readout``.
        blocks: semantic names, see `tlpot.models.parameter_blocks`.
        seed: of the new weights.
    """
    new = Potential.create(
        potential.architecture,
        {level: potential.references(level)},
        scale=float(potential.head(level).readout.scale),
        seed=seed,
        dtype=potential.dtype,
        kernels="torch",
    )
    drawn = dict(new.named_parameters())
    names = parameter_blocks(potential, level)
    twins = parameter_blocks(new, level)
    weights = dict(potential.named_parameters())
    if "readout" in blocks:  # what was fitted on top of the old readout goes with it
        potential.head(level).corrections = torch.nn.ModuleList()
    for block in blocks:
        for name, twin in zip(names[block], twins[block], strict=True):
            weights[name].copy_(drawn[twin])
