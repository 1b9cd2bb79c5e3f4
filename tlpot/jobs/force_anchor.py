"""Forces for a fine-tuning on energies alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tlpot.data import DatasetWithLabels, Labels
from tlpot.energy import has_forces
from tlpot.errors import ConfigError
from tlpot.training import LossSettings, TrainingSettings
from tlpot.transfer import Strategy, TrainingData, TransferContext, pseudo_labels

ANCHOR = 1e-2
"""Weight of the parent's forces, beside the weight 1 of the energies."""


def anchor(
    weight: float | None,
    strategy: Strategy,
    context: TransferContext,
    training_data: TrainingData,
    settings: TrainingSettings,
) -> tuple[TrainingData, LossSettings, str]:
    """Lets the parent's forces stand in where the labels are energies alone.

    Energies of a few geometries leave most directions open in which a potential can change;
    low energy errors then hide large errors of the forces (arXiv:2509.16601). Held-out frames
    get none of these forces, so no error is measured against them. For a difference the same
    means forces of zero: the low level's stay as they are.

    Args:
        weight: of the forces in the loss; None for `ANCHOR`, 0 for none.
        strategy: those that start from nothing, or bring labels of other levels, have no anchor.
        context: where we are.
        training_data: what would be seen without the anchor.
        settings: of the training.

    Returns:
        What is seen, the loss, and a sentence for the user, empty if nothing changed.

    Raises:
        ConfigError: a weight is given and does not apply.
    """
    learned, difference = training_data.levels[0], strategy.learns_difference
    labelled = "forces" in training_data.dataset.levels[learned].kinds
    differentiable = difference or has_forces(context.parent.at(context.source))
    trains = (strategy.inherits or difference) and strategy.defaults is not None
    applies = trains and differentiable and len(training_data.levels) == 1
    if weight is not None and (labelled or not applies):
        reason = f"strategy is {strategy.name!r}"
        if labelled:
            reason = "the labels include forces"
        elif not differentiable:
            reason = f"the parent has energies only at {context.source}"
        raise ConfigError(f"finetune: anchor does not apply because {reason}; leave it out")
    if weight is not None and not 0 <= weight < 1e6:
        raise ConfigError(f"finetune: anchor is {weight}, expected 0 or a positive number")
    weight = ANCHOR if weight is None else weight
    if labelled or not applies or not weight or not settings.loss.energy:
        return training_data, settings.loss, ""
    train = training_data.split.train
    if difference:
        forces = [Labels(forces=np.zeros((n, 3))) for n in training_data.dataset.sizes[train]]
    else:
        found = pseudo_labels(context.parent, context.source, context.dataset, train)
        forces = [Labels(forces=labels.forces) for labels in found]
    dataset = DatasetWithLabels(training_data.dataset, learned, train, forces)
    whose = "low level's" if difference else "parent's"
    return (
        replace(training_data, dataset=dataset),
        replace(settings.loss, forces=weight),
        f"the labels are energies only, so the {whose} forces on the training frames hold the "
        f"model with weight {weight:g} (anchor; 0 turns it off)",
    )
