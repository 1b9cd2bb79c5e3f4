"""What a molecular-dynamics run is asked to do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from tlpot.config import check_least
from tlpot.errors import ConfigError, nearest

Ensemble = Literal["nve", "langevin", "npt"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MDSettings:
    """Settings of a run; impossible values raise a `ConfigError`.

    Attributes:
        ensemble: ``nve`` (velocity Verlet), ``langevin`` (constant temperature) or ``npt``
            (constant temperature and isotropic pressure, Martyna-Tobias-Klein).
        temperature: of the thermostat and of the velocities drawn at the start, K.
        timestep: fs.
        steps: length of the run, what a resumed run has behind it included.
        friction: of ``langevin``, 1/ps.
        pressure: of ``npt``, bar.
        seed: of the velocities and of the thermostat's noise.
        log_every: steps between two frames of the trajectory and rows of the log.
    """

    ensemble: Ensemble = "langevin"
    temperature: float = 300.0
    timestep: float = 0.5
    steps: int = 2000
    friction: float = 10.0
    pressure: float = 1.0
    seed: int = 0
    log_every: int = 10

    def __post_init__(self) -> None:
        ensembles = get_args(Ensemble)
        if self.ensemble not in ensembles:
            raise ConfigError(
                f"unknown ensemble {self.ensemble!r}{nearest(self.ensemble, ensembles)}"
            )
        check_least(self, temperature=0, timestep=1e-6, steps=1, friction=0, log_every=1)
        if not math.isfinite(self.pressure):
            raise ConfigError(f"pressure is {self.pressure}, expected a number in bar")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}, expected a whole number of at least 0")
