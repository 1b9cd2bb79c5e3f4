"""What an examination of a force field does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tlpot.config import check_least
from tlpot.interfaces import MDSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Assembly:
    """How structures are put together from fragments; see `FragmentCalculator`.

    Attributes:
        scheme: name of the scheme, or a `Scheme`.
        options: further arguments of `FragmentCalculator`: ``low``, ``low_level``, ``charges``,
            ``dispersion``, ``trained_charges``.
        words: how to describe it; empty takes the name.
    """

    scheme: Any = "mfcc_mbe2"
    options: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""

    def text(self) -> str:
        """Returns a description."""
        return self.words or (self.scheme if isinstance(self.scheme, str) else self.scheme.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExaminationSettings:
    """Lengths of the runs, and what is left out.

    Attributes:
        nve_steps: of the run at constant energy; 0 for none.
        langevin_steps: of the run at constant temperature; 0 for none, and no φ and ψ.
        reference_steps: of the same run with the reference; 0 for none.
        timestep: fs.
        temperature: K.
        friction: of the Langevin runs, 1/ps.
        log_every: steps between two samples.
        seed: of velocities and noise; the reference's is the next one.
        budget: whether to measure the assembly error where there is a reference.
    """

    nve_steps: int = 1000
    langevin_steps: int = 4000
    reference_steps: int = 4000
    timestep: float = 0.5
    temperature: float = 300.0
    friction: float = 10.0
    log_every: int = 10
    seed: int = 0
    budget: bool = True

    def __post_init__(self) -> None:
        check_least(self, nve_steps=0, langevin_steps=0, reference_steps=0)
        self.run("nve", 1)  # checks the others

    def run(self, ensemble: Any, steps: int) -> MDSettings:
        """Returns the settings of a run."""
        return MDSettings(
            ensemble=ensemble,
            temperature=self.temperature,
            timestep=self.timestep,
            steps=steps,
            friction=self.friction,
            seed=self.seed,
            log_every=self.log_every,
        )
