"""Settings of a sampling: by which methods geometries are made, and how some are chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from tlpot.config import check_least, check_seed, listed, to_mapping
from tlpot.errors import ConfigError, nearest

Selection = Literal["farthest", "uncertainty"]
SELECTIONS = ("farthest", "uncertainty")
METHODS = ("scan", "modes", "md", "etkdg", "noise", "downhill", "strain")
_ROUNDING = 1e-9
DEFAULT_METHODS = ("scan", "modes", "md")


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingSettings:
    """Settings of a sampling; impossible values raise a `ConfigError`.

    Attributes:
        methods: of ``scan`` (backbone and rotamers), ``modes`` (normal modes), ``md``, ``etkdg``
            (RDKit's conformers, from which the others then start), ``noise``, ``downhill``
            (some steps of relaxation) and ``strain`` (cells of periodic structures, which have
            this, ``noise``, ``md`` and ``downhill``); the pool is shared equally, or by weights
            such as ``md=6``. Dimers have a scan of their own.
        temperatures: of ``md`` and ``modes``, K; or a range such as ``200-1000``, of which each
            trajectory draws its own.
        budget: geometries of each fragment.
        pool: times the budget; how many geometries the budget is chosen from.
        window: geometries more than this above the lowest are dropped, eV per atom.
        interval: MD steps of 1 fs between two geometries.
        select: how to choose.
        model: whose features and uncertainty to choose by; None for distances and angles.
        level: of the model's uncertainty, where it has several.
        seed: of everything that is drawn.
        conformers: of ``etkdg``, or complexes in contact; None for a share of the pool.
        noise: largest standard deviation of ``noise``, Å.
        strain: largest share by which ``strain`` changes lengths of a cell.
        downhill: engine of ``downhill``; None is the one that samples.
        downhill_steps: of L-BFGS at most, but for one in seven that goes further.
        separations: least and greatest distance, Å, of the molecules of a complex beyond contact,
            along the line of their centres, when they are scanned; other methods then start from
            contact. None scans dimers by multiples of van der Waals radii, rigid, and nothing else.
        minimise: whether complexes in contact are minimised before they are scanned.
    """

    methods: tuple[str, ...] = DEFAULT_METHODS
    temperatures: tuple[float, ...] | str = (300.0, 600.0)
    budget: int = 500
    pool: float = 3.0
    window: float = 0.2
    interval: int = 20
    select: Selection = "farthest"
    model: str | None = None
    level: str | None = None
    seed: int = 0
    conformers: int | None = None
    noise: float = 0.08
    strain: float = 0.05
    downhill: str | None = None
    downhill_steps: int = 12
    separations: tuple[float, ...] | None = None
    minimise: bool = True

    def __post_init__(self) -> None:
        parted = tuple(word for text in self.methods for word in listed(text, commas=True))
        object.__setattr__(self, "methods", parted)
        for method, weight in self.weights.items():
            if method not in METHODS:
                raise ConfigError(f"unknown method {method!r}{nearest(method, METHODS)}")
            if not 0 < weight < 1e6:
                raise ConfigError(f"the weight of method {method} is {weight:g}, expected above 0")
        if not self.methods or len(self.weights) != len(self.methods):
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
        for name in ("temperatures", "separations"):
            values = getattr(self, name)
            if not isinstance(values, str | None) and any(isinstance(v, str) for v in values):
                raise ConfigError(f"{name} are {list(values)}, expected numbers")
        given = self.kelvin
        if any(not 0 < t < 1e4 for t in given) or (self.in_range and given[0] > given[1]):
            raise ConfigError(
                f"temperatures are {self.temperatures}, expected K above 0, or a range such as "
                "200-1000"
            )
        if self.separations is not None and not _increasing(self.separations):
            raise ConfigError(
                f"separations are {list(self.separations)}, expected two increasing distances in Å"
            )
        if self.downhill is not None and "downhill" not in self.weights:
            raise ConfigError("downhill names an engine, and is none of the methods; add it")
        check_least(self, budget=1, pool=1.0, window=1e-3, interval=1)
        check_least(self, conformers=1, noise=1e-3, downhill_steps=1)
        if not 0 < self.strain <= 0.3:
            raise ConfigError(f"strain is {self.strain}, expected a share above 0, at most 0.3")
        check_seed(self.seed)

    @property
    def weights(self) -> dict[str, float]:
        """The methods with what they weigh.

        Raises:
            ConfigError: a weight that is no number.
        """
        found = {}
        for text in self.methods:
            method, equals, weight = text.partition("=")
            try:
                found[method] = float(weight) if equals else 1.0
            except ValueError:
                raise ConfigError(f"method {text!r} has no number for a weight") from None
        return found

    def shares(self, methods: Iterable[str], count: int) -> dict[str, int]:
        """How many of some geometries each of some methods is to make, rounded up.

        Args:
            methods: one that is not set weighs 1.
            count: of geometries.
        """
        weights = {method: self.weights.get(method, 1.0) for method in methods}
        total = sum(weights.values())
        return {name: math.ceil(count * w / total - _ROUNDING) for name, w in weights.items()}

    @property
    def needs_temperature(self) -> bool:
        """Whether a method has a temperature."""
        return bool({"md", "modes"} & self.weights.keys())

    @property
    def in_range(self) -> bool:
        """Whether temperatures are drawn between two."""
        return isinstance(self.temperatures, str)

    @property
    def kelvin(self) -> tuple[float, ...]:
        """The temperatures, or the two that they are drawn between.

        Raises:
            ConfigError: not two numbers.
        """
        if not isinstance(self.temperatures, str):
            return self.temperatures
        try:
            low, high = map(float, self.temperatures.split("-"))
        except ValueError:
            raise ConfigError(
                f"temperatures are {self.temperatures!r}, expected a range such as 200-1000"
            ) from None
        return low, high

    @property
    def candidates(self) -> int:
        """Geometries that the budget is chosen from."""
        return math.ceil(self.pool * self.budget)

    def as_json(self) -> dict[str, Any]:
        """All that a sampling depends on, without what is left at the default of a later version.

        Samplings of before have none of these, and go on.
        """
        usual = {each.name: each.default for each in fields(self)}
        found: dict[str, Any] = to_mapping(self)
        return {k: v for k, v in found.items() if k not in _LATER or v != usual[k]}


_LATER = (
    "conformers", "noise", "downhill", "downhill_steps", "separations", "minimise", "strain",
)  # fmt: skip


def _increasing(bounds: Sequence[float]) -> bool:
    return len(bounds) == 2 and bounds[0] < bounds[1]
