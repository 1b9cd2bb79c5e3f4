"""Strategies by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tlpot.config import parse, to_mapping
from tlpot.errors import ConfigError, nearest
from tlpot.transfer.adapters import Gain, LoRA
from tlpot.transfer.anchors import EWC, L2SP
from tlpot.transfer.baselines import Scratch, Shift
from tlpot.transfer.delta import Delta
from tlpot.transfer.fine_tuning import Discriminative, Freeze, Full, Gradual, HeadOnly, Reinit
from tlpot.transfer.frozen_forest import FrozenForest
from tlpot.transfer.frozen_gp import FrozenGP
from tlpot.transfer.frozen_ridge import FrozenRidge
from tlpot.transfer.multihead import Multihead
from tlpot.transfer.replay import Replay
from tlpot.transfer.strategy import Strategy

STRATEGIES: Mapping[str, type[Strategy]] = {
    kind.name: kind
    for kind in (
        Scratch, Shift, HeadOnly, Freeze, Full, Discriminative, Gradual, Reinit, LoRA, Gain, L2SP,
        EWC, Replay, Multihead, Delta, FrozenRidge, FrozenGP, FrozenForest,
    )
}  # fmt: skip
STRATEGY_NAMES = tuple(STRATEGIES)


def strategy(name: str | Mapping[str, Any], **settings: Any) -> Strategy:
    """Returns a strategy.

    Args:
        name: of the strategy, or a mapping with its ``name`` and its settings.
        settings: of the strategy; what is left out has its default.

    Raises:
        ConfigError: no such strategy, or a setting that it does not have; the message offers
            the nearest.
    """
    if isinstance(name, Mapping):
        settings = {**name, **settings}
        name = str(settings.pop("name", "full"))
    if name not in STRATEGIES:
        raise ConfigError(f"unknown strategy {name!r}{nearest(name, STRATEGIES)}")
    try:
        return parse(STRATEGIES[name], settings, f"strategy {name}")
    except ConfigError as error:
        own = _fields(STRATEGIES[name])
        for key in (key for key in settings if key not in own):
            others = [other for other, kind in STRATEGIES.items() if key in _fields(kind)]
            if others:
                raise ConfigError(f"{error}; {key} is a setting of {', '.join(others)}") from error
        raise


def _fields(kind: type[Strategy]) -> set[str]:
    return {f.name for f in dataclasses.fields(kind) if f.init}


def strategy_settings(chosen: Strategy) -> dict[str, Any]:
    """Returns what `strategy` makes the same strategy from."""
    return {"name": chosen.name, **to_mapping(chosen)}
