"""Strategies: which weights start where, which of them move, and on what data."""

from tlpot.transfer.law import Law as Law
from tlpot.transfer.law import Measured as Measured
from tlpot.transfer.law import fit_law as fit_law
from tlpot.transfer.recipe import Recipe as Recipe
from tlpot.transfer.registry import STRATEGY_NAMES as STRATEGY_NAMES
from tlpot.transfer.registry import strategy as strategy
from tlpot.transfer.registry import strategy_settings as strategy_settings
from tlpot.transfer.situation import Lessons as Lessons
from tlpot.transfer.situation import Situation as Situation
from tlpot.transfer.strategy import Strategy as Strategy
