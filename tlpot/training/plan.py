"""Which weights move, and how fast: all that the loop needs to know of a strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tlpot.errors import ConfigError
from tlpot.training.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """Rates of the weights that move, and an optional penalty.

    Attributes:
        rates: learning-rate factor by name of weight; what is not named stays fixed.
        release: share of the training after which a weight begins to move; 0 if not named.
        penalty: added to the loss of every batch; None for nothing.
        level_weights: factor of the loss by level of theory; 1 if not named.
        keeps_start: whether the model before the first update may be the result; not where its
            weights are random.
    """

    rates: Mapping[str, float]
    release: Mapping[str, float] = field(default_factory=dict)
    penalty: Callable[[nn.Module], Tensor] | None = None
    level_weights: Mapping[str, float] = field(default_factory=dict)
    keeps_start: bool = True


def make_optimizer(
    model: nn.Module, plan: TrainingPlan, settings: TrainingSettings
) -> torch.optim.AdamW:
    """Builds AdamW (with AMSGrad) over the weights of the plan and fixes all others.

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
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, amsgrad=True,
        fused=True,  # one call for all weights, where small models spend a tenth of a step
    )  # fmt: skip
