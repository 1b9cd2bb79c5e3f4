"""What a molecular-dynamics run is asked to do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from tlpot.config import check_least, check_seed
from tlpot.errors import ConfigError, nearest

Ensemble = Literal["nve", "langevin", "nvt", "npt"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MDSettings:
    """Settings of a run; impossible values raise a `ConfigError`.

    Attributes:
        ensemble: ``nve`` (velocity Verlet), ``langevin`` (constant temperature, also called
            ``nvt``) or ``npt`` (constant temperature and isotropic pressure,
            Martyna-Tobias-Klein).
        temperature: of the thermostat and of the velocities drawn at the start, K.
        timestep: fs.
        steps: length of the run, what a resumed run has behind it included.
        friction: of ``langevin``, 1/ps.
        pressure: of ``npt``, bar.
        thermostat_time: period of the Nosé-Hoover chains of ``npt``, fs.
        barostat_time: period of the barostat of ``npt``, fs.
        seed: of the velocities and of the thermostat's noise.
        log_every: steps between two frames of the trajectory and rows of the log.
    """

    ensemble: Ensemble = "langevin"
    temperature: float = 300.0
    timestep: float = 0.5
    steps: int = 2000
    friction: float = 10.0
    pressure: float = 1.0
    thermostat_time: float = 100.0
    barostat_time: float = 1000.0
    seed: int = 0
    log_every: int = 10

    def __post_init__(self) -> None:
        ensembles = get_args(Ensemble)
        if self.ensemble not in ensembles:
            raise ConfigError(
                f"unknown ensemble {self.ensemble!r}{nearest(self.ensemble, ensembles)}"
            )
        if self.ensemble == "nvt":
            object.__setattr__(self, "ensemble", "langevin")
        check_least(self, temperature=0, timestep=1e-6, steps=1, friction=0, log_every=1)
        check_least(self, thermostat_time=self.timestep, barostat_time=self.timestep)
        if not math.isfinite(self.pressure):
            raise ConfigError(f"pressure is {self.pressure}, expected a number in bar")
        check_seed(self.seed)
