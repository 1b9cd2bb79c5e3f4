"""Strategies: which weights start where, and which of them move."""

from tlpot.transfer.registry import STRATEGY_NAMES as STRATEGY_NAMES
from tlpot.transfer.registry import strategy as strategy
from tlpot.transfer.strategy import Recipe as Recipe
from tlpot.transfer.strategy import Strategy as Strategy
