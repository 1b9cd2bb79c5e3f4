"""What a sampling is asked to do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tlpot.config import check_least, check_seed
from tlpot.errors import ConfigError, nearest

Selection = Literal["farthest", "uncertainty"]
SELECTIONS = ("farthest", "uncertainty")
METHODS = ("scan", "modes", "md")


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingSettings:
    """Settings of a sampling; impossible values raise a `ConfigError`.

    Attributes:
        methods: of ``scan`` (backbone and rotamers), ``modes`` (normal modes) and ``md``; the
            pool is shared equally. Dimers have a scan of their own.
        temperatures: of ``md`` and ``modes``, K.
        budget: geometries of each fragment.
        pool: times the budget; how many geometries the budget is chosen from.
        window: geometries more than this above the lowest are dropped, eV per atom.
        interval: MD steps of 1 fs between two geometries.
        select: how to choose.
        model: whose features and uncertainty to choose by; None for distances and angles.
        level: of the model's uncertainty, where it has several.
        seed: of everything that is drawn.
    """

    methods: tuple[str, ...] = METHODS
    temperatures: tuple[float, ...] = (300.0, 600.0)
    budget: int = 500
    pool: float = 3.0
    window: float = 0.2
    interval: int = 20
    select: Selection = "farthest"
    model: str | None = None
    level: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise ConfigError(f"unknown method {method!r}{nearest(method, METHODS)}")
        if not self.methods or len(set(self.methods)) != len(self.methods):
            raise ConfigError(f"methods are {list(self.methods)}, expected one or more, each once")
        if self.select not in SELECTIONS:
            raise ConfigError(
                f"unknown selection {self.select!r}{nearest(self.select, SELECTIONS)}"
            )
        if self.select == "uncertainty" and self.model is None:
            raise ConfigError("selection by uncertainty needs a model: model='...' (--model)")
        if self.level is not None and self.select != "uncertainty":
            raise ConfigError("level applies to selection by uncertainty; leave it out")
        if self.needs_temperature and not self.temperatures:
            raise ConfigError("md and modes need a temperature")
        if any(not 0 < t < 1e4 for t in self.temperatures):
            raise ConfigError(f"temperatures are {list(self.temperatures)}, expected K above 0")
        check_least(self, budget=1, pool=1.0, window=1e-3, interval=1)
        check_seed(self.seed)

    @property
    def needs_temperature(self) -> bool:
        """Whether a method has a temperature."""
        return bool({"md", "modes"} & set(self.methods))

    @property
    def candidates(self) -> int:
        """Geometries that the budget is chosen from."""
        return math.ceil(self.pool * self.budget)
