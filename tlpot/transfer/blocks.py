"""Blocks of weights as people name them, and new weights for some."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch

from tlpot.errors import ConfigError, nearest
from tlpot.models import Potential, parameter_blocks


def chosen_blocks(names: Iterable[str], blocks: Collection[str], where: str) -> set[str]:
    """Returns the blocks that are meant.

    Args:
        names: of blocks, or of a kind such as ``interaction``, for those of every layer.
        blocks: those of the model, such as ``interaction 1``.
        where: the setting, for the message.

    Raises:
        ConfigError: a name that means no block.
    """
    chosen = set()
    for name in names:
        meant = {b for b in blocks if name in (b, b.partition(" ")[0])}
        if not meant:
            raise ConfigError(
                f"{where}: {name!r} is no block of the model{nearest(name, blocks)}; the blocks "
                f"are {', '.join(blocks)}"
            )
        chosen |= meant
    return chosen


def depth(block: str, n_layers: int) -> int:
    """Returns 0 for the readout, 1 for the last layer, …, n_layers + 1 for the embedding."""
    kind, _, layer = block.partition(" ")
    if kind == "readout":
        return 0
    return n_layers + 1 - int(layer or 0)


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
        targets={} if (target := potential.target(level)) is None else {level: target},
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
