"""The learning rate over the course of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tlpot.training.settings import TrainingSettings


@dataclass(kw_only=True, slots=True)
class Schedule:
    """Gives the factor on the peak rate; only ``plateau`` remembers anything.

    Attributes:
        settings: of the training.
        factor: reached by plateaus so far.
        best: lowest validation loss so far.
        waited: validations since then.
    """

    settings: TrainingSettings
    factor: float = 1.0
    best: float = math.inf
    waited: int = 0

    def rate(self, progress: float) -> float:
        """Returns the factor at `progress`, the share of the training that is done (0 to 1)."""
        s = self.settings
        rise = min(1.0, progress / s.warmup) if s.warmup > 0 else 1.0
        if s.schedule == "cosine":
            fall = s.lowest_rate + (1 - s.lowest_rate) * 0.5 * (1 + math.cos(math.pi * progress))
        else:
            fall = max(self.factor, s.lowest_rate)
        return rise * fall

    def validated(self, loss: float) -> None:
        """Takes note of a validation loss."""
        s = self.settings
        if s.schedule != "plateau":
            return
        if loss < self.best:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= (s.plateau_patience or 20):
            self.factor *= s.plateau_factor or 0.8
            self.waited = 0
