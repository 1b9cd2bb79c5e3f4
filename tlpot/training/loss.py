"""The loss of a batch, as sums and counts so that processes can share one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from tlpot.data import Batch, Targets
from tlpot.energy import EnergyModel, Properties, evaluate
from tlpot.evaluation import Metrics, relative_errors
from tlpot.graph import AtomGraph
from tlpot.models import LevelPotential, Potential, PropertyTarget
from tlpot.targets import Quantity
from tlpot.training.settings import LossSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLoss:
    """What a process contributes to the loss of a batch.

    Attributes:
        sums: [n_levels, n_kinds]; Σ ρ(error) of energy per atom, forces, stress, and, where it has
            a weight, of the relative energy per atom; in place of the energy that of the latent
            value of a property in units of its spread, or its cross entropy; differentiable.
        counts: [n_levels, n_kinds]; number of labels in each sum.
        metrics: errors by level, for the validation table; empty while training.
    """

    sums: Tensor
    counts: Tensor
    metrics: Mapping[str, Metrics]


def weighted(
    sums: Tensor,
    counts: Tensor,
    settings: LossSettings,
    factors: Sequence[float] = (1.0,),
    *,
    pooled: bool = False,
) -> Tensor:
    """Returns Σ_levels Σ_kinds factor · weight · sum / count.

    Args:
        sums: [n_levels, 3], see `BatchLoss`.
        counts: [n_levels, 3], over all processes.
        settings: the weights.
        factors: one for each level, or one for all.
        pooled: divide by the count over all levels, so that each label counts alike, and not
            each level.
    """
    if pooled:
        counts = counts.sum(0, keepdim=True)
    weights = sums.new_tensor(settings.weights)
    return (sums / counts.clamp(min=1) * weights * sums.new_tensor(factors)[:, None]).sum()


def batch_loss(
    potential: Potential,
    batch: Batch | None,
    levels: tuple[str, ...],
    settings: LossSettings,
    *,
    training: bool,
) -> BatchLoss:
    """Evaluates a batch at each level where it has labels and sums up the errors.

    Args:
        potential: the model.
        batch: this process's part of the batch; None if it has none.
        levels: canonical names.
        settings: weights and shape of the loss.
        training: keep the result differentiable in the weights.
    """
    if batch is not None and batch.level_idx is not None:
        return _in_turns(potential, batch, batch.level_idx, levels, settings)
    device = potential.device
    sums, counts, metrics = [], [], {}
    for level in levels:
        metrics[level] = Metrics(quantity=quantity_of(potential, level))
        has_energy, has_forces, has_stress = _labelled(batch, level)
        if batch is None or not (has_energy or has_forces or has_stress):
            nothing = torch.zeros(len(settings.weights), dtype=torch.float64, device=device)
            sums.append(nothing)
            counts.append(nothing)
            continue
        targets = batch.targets[level]
        properties = evaluate(
            _at(potential, level, batch),
            batch.graph,
            forces=has_forces and (settings.forces > 0 or not training),
            stress=has_stress and (settings.stress > 0 or not training),
            create_graph=training,
        )
        target = potential.target(level)
        if not training:
            molecules = batch.molecule_idx if settings.relative else None
            seen = properties
            if target is not None and target.link is not None:
                seen = replace(properties, energy=target.link(properties.energy))
            metrics[level].add(seen, targets, batch.sizes, molecules, batch.weights)
        level_sums, level_counts = _sums(properties, targets, batch, settings, target)
        sums.append(level_sums)
        counts.append(level_counts)
    return BatchLoss(sums=torch.stack(sums), counts=torch.stack(counts), metrics=metrics)


class _EachAtItsLevel:
    """The energy model of structures of which each is asked for at one level; for one batch.

    The network is evaluated, and differentiated, once for all of them.

    Args:
        models: one for each level.
        level_idx: [n_systems], which of them a structure is for.
    """

    def __init__(self, models: Sequence[LevelPotential], level_idx: Tensor) -> None:
        self.models, self.level_idx = models, level_idx
        whole = models[0].potential
        self.cutoff, self.elements = whole.cutoff, whole.elements
        self.uses_charge = whole.uses_charge

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns the energy of each atom, [n_atoms], eV, float64."""
        invariants = self.models[0].invariants_of_all_levels(graph)
        mine = self.level_idx.index_select(0, graph.system_idx)
        total = torch.zeros(len(mine), dtype=torch.float64, device=mine.device)
        for k, model in enumerate(self.models):
            total = torch.where(mine == k, model.energies_of(graph, *invariants), total)
        return total


def _at(potential: Potential, level: str, batch: Batch) -> EnergyModel:
    """Returns the model of a level, also for structures without labels that it does not know."""
    model = potential.at(level)
    # without the link of a property: a loss is of latent values
    if len(model.elements) == len(potential.elements) and model.link is None:
        return model
    return _EachAtItsLevel([model], torch.zeros_like(batch.sizes))


def _in_turns(
    potential: Potential,
    batch: Batch,
    level_idx: Tensor,
    levels: tuple[str, ...],
    settings: LossSettings,
) -> BatchLoss:
    labelled = torch.tensor([_labelled(batch, level) for level in levels]).any(dim=0).tolist()
    properties = evaluate(
        _EachAtItsLevel([potential.at(level) for level in levels], level_idx),
        batch.graph,
        forces=labelled[1] and settings.forces > 0,
        stress=labelled[2] and settings.stress > 0,
        create_graph=True,
    )
    found = [
        _sums(properties, batch.targets[k], batch, settings, potential.target(k)) for k in levels
    ]
    sums, counts = zip(*found, strict=True)
    return BatchLoss(sums=torch.stack(sums), counts=torch.stack(counts), metrics={})


def _labelled(batch: Batch | None, level: str) -> list[bool]:
    """Whether there is any energy, any force and any stress."""
    if batch is None:
        return [False] * 3
    targets = batch.targets[level]
    kinds = (targets.energy, targets.forces, targets.stress)
    # one transfer from the device instead of three
    return torch.stack([target.isfinite().any() for target in kinds]).tolist()


def quantity_of(potential: Potential, level: str) -> Quantity | None:
    """Returns what the property of a level is; None for energies."""
    target = potential.target(level)
    return None if target is None else target.quantity


def _property_sums(
    latent: Tensor, labels: Tensor, batch: Batch, settings: LossSettings, target: PropertyTarget
) -> tuple[Tensor, Tensor]:
    known = labels.isfinite()
    errors = target.error(latent[known], labels[known], batch.sizes[known])
    weights = None if batch.weights is None else batch.weights[known]
    # a cross entropy is a loss as it is
    if target.quantity.kind == "yes_no":
        total = (errors if weights is None else weights * errors).sum()
    else:
        total = _rho(errors, 1.0, settings.kind, weights)
    zeros = [latent.new_zeros(())] * (len(settings.weights) - 1)
    counts = [float(known.sum()), *[0.0] * len(zeros)]
    return torch.stack([total, *zeros]), latent.new_tensor(counts)


def _sums(
    properties: Properties,
    targets: Targets,
    batch: Batch,
    settings: LossSettings,
    learned: PropertyTarget | None = None,
) -> tuple[Tensor, Tensor]:
    if learned is not None:
        return _property_sums(properties.energy, targets.energy, batch, settings, learned)
    per_kind: list[tuple[Tensor | None, Tensor]] = [
        ((properties.energy - targets.energy) / batch.sizes, targets.energy),
        (_difference(properties.forces, targets.forces), targets.forces),
        (_difference(properties.stress, targets.stress), targets.stress),
    ]
    sums, counts = [], []
    for (error, target), delta in zip(per_kind, settings.deltas, strict=True):
        if error is None:
            sums.append(properties.energy.new_zeros(()))
            counts.append(0.0)
            continue
        # by the label, not by the error: a NaN prediction must show
        known = error[target.isfinite()]
        sums.append(_rho(known, delta, settings.kind))
        counts.append(float(known.numel()))
    if settings.relative:
        errors = properties.energy - targets.energy
        known = targets.energy.isfinite()
        assert batch.molecule_idx is not None  # a loader knows them
        centred, whose = relative_errors(errors, known, batch.molecule_idx)
        sums.append(_rho(centred / batch.sizes[whose], settings.deltas[0], settings.kind))
        counts.append(float(centred.numel()))
    return torch.stack(sums), properties.energy.new_tensor(counts)


def _difference(prediction: Tensor | None, target: Tensor) -> Tensor | None:
    return None if prediction is None else prediction - target


def _rho(error: Tensor, delta: float, kind: str, weights: Tensor | None = None) -> Tensor:
    zero = torch.zeros_like(error)
    each = (
        error.square() if kind == "mse" else huber_loss(error, zero, reduction="none", delta=delta)
    )
    total = (each if weights is None else weights * each).sum()
    return total if kind == "mse" else total / delta
