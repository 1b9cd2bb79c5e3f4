"""What the transfer report looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tlpot.config import check_least
from tlpot.errors import ConfigError

Part = Literal["calibration", "drift", "forgetting", "dimers", "md"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSettings:
    """Settings of the transfer report.

    Attributes:
        enabled: whether there is one.
        parts: what is looked at besides the errors.
        frames: look at so many frames at most, drawn at random, where models are compared.
        md_steps: length of the dynamics in steps of 0.5 fs; 0 for none.
        seed: of the frames that are drawn and of the velocities.
    """

    enabled: bool = True
    parts: tuple[Part, ...] = PARTS
    frames: int = 200
    md_steps: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, frames=1)
        if self.md_steps < 0:
            raise ConfigError(f"md_steps is {self.md_steps}, expected 0 (none) or more")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}, expected a whole number of at least 0")
        default = type(self).__dataclass_fields__["md_steps"].default
        if "md" not in self.parts and self.md_steps not in (0, default):
            raise ConfigError("md_steps does not apply: md is not among the parts")
