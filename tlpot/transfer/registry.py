"""Strategies by name."""

from __future__ import annotations

from tlpot.errors import ConfigError, nearest
from tlpot.transfer.full import Full
from tlpot.transfer.head import Head
from tlpot.transfer.scratch import Scratch
from tlpot.transfer.strategy import Strategy

_STRATEGIES: tuple[Strategy, ...] = (Scratch(), Head(), Full())
STRATEGY_NAMES = tuple(strategy.name for strategy in _STRATEGIES)


def strategy(name: str) -> Strategy:
    """Returns the strategy called `name`.

    Raises:
        ConfigError: no such strategy; the message offers the nearest.
    """
    for candidate in _STRATEGIES:
        if candidate.name == name:
            return candidate
    raise ConfigError(f"unknown strategy {name!r}{nearest(name, STRATEGY_NAMES)}")
