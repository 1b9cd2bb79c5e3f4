"""Which weights move, and how fast: all that the loop needs to know of a strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlpot.errors import ConfigError
from tlpot.training.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """Rates of the weights that move, and an optional penalty.

    Attributes:
        rates: learning-rate factor by name of weight; what is not named stays fixed.
        penalty: added to the loss of every batch; None for nothing.
    """

    rates: Mapping[str, float]
    penalty: Callable[[nn.Module], Tensor] | None = None


def make_optimizer(
    model: nn.Module, plan: TrainingPlan, settings: TrainingSettings
) -> torch.optim.AdamW:
    """Builds AdamW (with AMSGrad) over the weights of the plan and fixes all others.

    One group for each distinct rate, whose factor is kept under ``factor``.

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
    groups = [
        {
            "params": [weights[name] for name, rate in plan.rates.items() if rate == factor],
            "factor": factor,
        }
        for factor in sorted(set(plan.rates.values()))
    ]
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, amsgrad=True,
        fused=True,  # one call for all weights, where small models spend a tenth of a step
    )  # fmt: skip
