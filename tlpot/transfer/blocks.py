"""Blocks of weights as people name them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tlpot.errors import ConfigError, nearest


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
