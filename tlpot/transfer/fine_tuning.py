"""Fine-tuning of the network or of parts of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch

from tlpot.errors import ConfigError, nearest
from tlpot.models import Potential, parameter_blocks
from tlpot.transfer.strategy import (
    LARGE_RATE,
    SMALL_RATE,
    Strategy,
    StrategyDefaults,
    TransferContext,
)


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


@dataclass(frozen=True, kw_only=True)
class Full(Strategy):
    """All weights start at the parent's and move.

    The shared backbone leaves the parent's levels behind, so only the new level is kept.
    """

    name: ClassVar[str] = "full"
    summary: ClassVar[str] = "all weights fine-tuned from"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE


@dataclass(frozen=True, kw_only=True)
class HeadOnly(Strategy):
    """The readout moves and the backbone is fixed: "only regression head" of CGAT transfer.

    The parent's levels stay exactly as good as they were, and are kept.

    Attributes:
        readout: ``inherit`` the source level's, or ``fresh`` weights
            (Hoffmann et al., doi:10.1088/2632-2153/ac9e3b).
    """

    name: ClassVar[str] = "head"
    summary: ClassVar[str] = "readout fine-tuned from"
    defaults: ClassVar[StrategyDefaults | None] = LARGE_RATE
    caution: ClassVar[str] = (
        "only the readout moves, which is usually too little: what a network sees in a "
        "structure depends on the level of theory it was trained on; compare with 'full'"
    )
    keeps_levels: ClassVar[bool] = True

    readout: Literal["inherit", "fresh"] = "inherit"

    @property
    def inherits(self) -> bool:  # type: ignore[override]
        """A fresh readout makes step 0 a new model."""
        return self.readout == "inherit"

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the parent with one more level."""
        grown = super().start(context, references)
        if self.readout == "fresh":
            with_fresh_blocks(grown, context.level, ["readout"], context.seed)
        return grown

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Only the readout moves."""
        return dict.fromkeys(parameter_blocks(potential, level)["readout"], 1.0)


@dataclass(frozen=True, kw_only=True)
class Freeze(Strategy):
    """Chosen blocks stay at the parent's weights, the others move.

    Attributes:
        fixed: names of blocks; ``interaction`` means those of all layers.
    """

    name: ClassVar[str] = "freeze"
    summary: ClassVar[str] = "some blocks fixed, the others fine-tuned from"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE

    fixed: tuple[str, ...] = ("embedding", "interaction")

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """The blocks that are not fixed move at the full rate.

        Raises:
            ConfigError: no such block, or all are fixed.
        """
        blocks = parameter_blocks(potential, level)
        fixed = chosen_blocks(self.fixed, blocks, "strategy.fixed")
        if fixed == set(blocks):
            raise ConfigError("strategy.fixed holds all blocks, so nothing would move; use 'shift'")
        return {n: 1.0 for block, names in blocks.items() if block not in fixed for n in names}


@dataclass(frozen=True, kw_only=True)
class Discriminative(Strategy):
    """Rates fall from the readout to the input (Howard and Ruder, doi:10.18653/v1/P18-1031).

    Attributes:
        decay: factor of the rate from one layer to the one below; the paper has 1/2.6.
        factors: factor of the rate by name of block, in place of what `decay` gives; 0 fixes
            the block.
    """

    name: ClassVar[str] = "discriminative"
    summary: ClassVar[str] = "all weights fine-tuned, at rates that fall towards the input, from"
    defaults: ClassVar[StrategyDefaults | None] = StrategyDefaults(learning_rate=5e-3)

    decay: float = 1 / 2.6
    factors: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise ConfigError(f"decay is {self.decay}, expected 0 < decay <= 1")
        for name, factor in self.factors.items():
            if not 0 <= factor < 1e3:
                raise ConfigError(f"factors: {name} is {factor}, expected 0 or more")

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Returns the factors by name of weight.

        Raises:
            ConfigError: `factors` names a block that does not exist, or fixes everything.
        """
        blocks = parameter_blocks(potential, level)
        n_layers = potential.architecture.n_layers
        by_block = {block: self.decay ** depth(block, n_layers) for block in blocks}
        for name, factor in self.factors.items():
            for block in chosen_blocks([name], blocks, "strategy.factors"):
                by_block[block] = factor
        if not any(by_block.values()):
            raise ConfigError("strategy.factors fixes all blocks; nothing would move")
        return {n: by_block[b] for b, names in blocks.items() for n in names if by_block[b]}


@dataclass(frozen=True, kw_only=True)
class Gradual(Strategy):
    """The readout moves first, then layer after layer (Howard and Ruder, doi:10.18653/v1/P18-1031).

    Attributes:
        until: share of the training after which everything moves.
    """

    name: ClassVar[str] = "gradual"
    summary: ClassVar[str] = "weights unfrozen from the readout to the input, fine-tuned from"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE

    until: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.until < 1:
            raise ConfigError(f"until is {self.until}, expected 0 < until < 1")

    def release(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Returns equal stages, one for each layer and one for the embedding."""
        n_layers = potential.architecture.n_layers
        stage = self.until / (n_layers + 1)
        blocks = parameter_blocks(potential, level)
        return {n: stage * depth(b, n_layers) for b, names in blocks.items() for n in names}


@dataclass(frozen=True, kw_only=True)
class Reinit(Strategy):
    """The last blocks start anew, the others at the parent's, and all move.

    What the last blocks know may be too special to the old labels (Yamada et al.,
    doi:10.1021/acscentsci.9b00804).

    Attributes:
        last: number of blocks that start anew, counted from the readout.
    """

    name: ClassVar[str] = "reinit"
    summary: ClassVar[str] = "last blocks trained anew, the others fine-tuned from"
    defaults: ClassVar[StrategyDefaults | None] = StrategyDefaults(learning_rate=5e-3)
    inherits: ClassVar[bool] = False

    last: int = 1

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the parent's weights with fresh last blocks.

        Raises:
            ConfigError: there are not that many blocks, or none would be inherited.
        """
        potential = super().start(context, references)
        blocks = list(parameter_blocks(potential, context.level))
        if not 0 < self.last < len(blocks):
            raise ConfigError(
                f"strategy.last is {self.last}, expected 1 to {len(blocks) - 1}; the blocks are "
                f"{', '.join(blocks)}"
            )
        with_fresh_blocks(potential, context.level, blocks[-self.last :], context.seed)
        return potential
