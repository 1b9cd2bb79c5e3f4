"""Errors on held-out frames during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tlpot.data import Loader
from tlpot.evaluation import Metrics
from tlpot.models import Potential
from tlpot.training.loss import batch_loss, weighted
from tlpot.training.processes import Processes
from tlpot.training.settings import LossSettings


def validate(
    potential: Potential,
    loader: Loader,
    levels: tuple[str, ...],
    settings: LossSettings,
    processes: Processes,
) -> tuple[float, dict[str, Metrics]]:
    """Returns the loss of the first level over all batches, and the errors of every level.

    Args:
        potential: the model.
        loader: its batches of epoch 0.
        levels: canonical names.
        settings: weights and shape of the loss.
        processes: those that share the batches; each gets the same result.
    """
    device = potential.device
    sums = torch.zeros(len(levels), 3, dtype=torch.float64, device=device)
    counts = torch.zeros_like(sums)
    metrics = {level: Metrics() for level in levels}
    for batch in loader.batches(0):
        moved = None if batch is None else batch.to(device)
        parts = batch_loss(potential, moved, levels, settings, training=False)
        sums += parts.sums
        counts += parts.counts
        for level in levels:
            metrics[level].merge(parts.metrics[level])
    processes.add(sums)
    processes.add(counts)
    for level in levels:
        metrics[level].sums = processes.add(metrics[level].sums.to(device)).cpu()
    return float(weighted(sums[:1], counts[:1], settings)), metrics


def short_errors(tables: Mapping[str, Any], levels: tuple[str, ...]) -> str:
    """Returns mean absolute errors in a few words: ``E 1.2 meV, F 20 meV/Å``."""
    kinds = (("E", "energy", "meV"), ("F", "forces", "meV/Å"), ("S", "stress", "meV/Å³"))
    words = [
        ", ".join(
            f"{name} {tables[level][f'{kind}_mae']:.3g} {unit}"
            for name, kind, unit in kinds
            if f"{kind}_mae" in tables[level]
        )
        for level in levels
    ]
    if len(levels) > 1:
        words = [f"{level} {text}" for level, text in zip(levels, words, strict=True)]
    return "; ".join(words)
