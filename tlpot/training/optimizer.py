"""Which weights move, how fast and when, and the average of them over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tlpot.errors import ConfigError
from tlpot.training.settings import TrainingSettings
from tlpot.training.soap import Soap


class MovingAverage:
    """θ̄ ← d θ̄ + (1 − d) θ over the weights that move, with d rising to `decay`.

    Early on d = (1 + n) / (10 + n), so that the first, bad weights are soon forgotten.

    Args:
        model: whose weights to average; those that are fixed are left out.
        decay: final d; 0 for no averaging.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.decay = decay
        self.n_updates = 0
        self.averages = {n: p.detach().clone() for n, p in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the present weights."""
        self.n_updates += 1
        decay = min(self.decay, self.n_updates / (9 + self.n_updates))
        torch._foreach_lerp_(
            list(self.averages.values()), list(self._weights.values()), 1.0 - decay
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the averages in place of the weights for a while."""
        kept = {n: p.detach().clone() for n, p in self._weights.items()}
        self._set(self.averages)
        try:
            yield
        finally:
            self._set(kept)

    def apply(self) -> None:
        """Puts the averages in place of the weights for good."""
        self._set(self.averages)

    @torch.no_grad()
    def _set(self, values: dict[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])


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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """Rates of the weights that move, and an optional penalty.

    Attributes:
        rates: learning-rate factor by name of weight; what is not named stays fixed.
        release: share of the training after which a weight begins to move; 0 if not named.
        penalty: added to the loss of every batch, from the model and the number of updates made;
            None for nothing.
        level_weights: factor of the loss by level of theory; 1 if not named.
        keeps_start: whether the model before the first update may be the result; not where its
            weights are random.
    """

    rates: Mapping[str, float]
    release: Mapping[str, float] = field(default_factory=dict)
    penalty: Callable[[nn.Module, int], Tensor] | None = None
    level_weights: Mapping[str, float] = field(default_factory=dict)
    keeps_start: bool = True


def make_optimizer(
    model: nn.Module, plan: TrainingPlan, settings: TrainingSettings
) -> torch.optim.Optimizer:
    """Builds AdamW (with AMSGrad), or `Soap`, over the weights of the plan and fixes all others.

    One group for each distinct rate and release, kept under ``factor`` and ``release``.

    Raises:
        ConfigError: the plan names a weight that the model does not have, or none at all.
    """
    weights = dict(model.named_parameters())
    unknown = sorted(set(plan.rates) - set(weights))
    if unknown:
        raise ConfigError(f"the plan moves weights that do not exist: {unknown[:3]}")
    if not plan.rates:
        raise ConfigError("the plan moves no weights; nothing would be learned")
    for name, weight in weights.items():
        weight.requires_grad_(name in plan.rates)
    kinds = {name: (rate, plan.release.get(name, 0.0)) for name, rate in plan.rates.items()}
    groups = [
        {
            "params": [weights[name] for name, kind in kinds.items() if kind == (factor, release)],
            "factor": factor,
            "release": release,
        }
        for factor, release in sorted(set(kinds.values()))
    ]
    if settings.optimizer == "soap":
        return Soap(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, amsgrad=True,
        fused=True,  # one call for all weights, where small models spend a tenth of a step
    )  # fmt: skip
