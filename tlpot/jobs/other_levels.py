"""Reference energies of the levels that a fine-tuning learns beside the one that it is for."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tlpot.jobs.property_jobs import property_references
from tlpot.jobs.references import References, find_references
from tlpot.models import LevelPotential, PropertyTarget, same_readout
from tlpot.transfer import TrainingData


def other_references(
    source: LevelPotential,
    training_data: TrainingData,
    targets: Mapping[str, PropertyTarget],
) -> dict[str, References]:
    """Returns the reference energies, or the shares, of all levels but the first, by level.

    Those of a level that the parent has are the parent's. Others are fitted to what the level
    inherits leaves over, as those of the first level are.

    Args:
        source: the level of the parent whose readout is inherited.
        training_data: all frames to learn from.
        targets: the properties among the levels.
    """
    potential = source.potential
    train = np.unique(np.concatenate([training_data.split.train, training_data.others]))
    found = {}
    for level in training_data.levels[1:]:
        target = targets.get(level)
        if level in potential.levels and (target is None or potential.target(level) is not None):
            kept = potential.references(level)
            origin = potential.card.references.get(level, "those of the parent")
            found[level] = References(energies=kept, origin=origin, prior=kept)
        elif target is not None:
            inherited = same_readout(level, target, source.level, source.target)
            found[level] = property_references(
                training_data.dataset, train, level, potential.elements, target,
                parent=source if inherited else None,
            )  # fmt: skip
        else:
            inherited = source.target is None
            found[level] = find_references(
                "fit",
                training_data.dataset,
                train[training_data.dataset.labelled(level)[train]],
                level,
                potential.elements,
                parent=source if inherited else None,
                parent_energies=starting_references(source),
                beyond=source.beyond_references() if inherited else None,
            )
    return found


def starting_references(source: LevelPotential) -> dict[int, float]:
    """Returns what a fit of reference energies starts from, eV: those of a level of the parent.

    A property has none; an element that the labels do not have is then unknown, NaN.
    """
    found = source.potential.references(source.level)
    return found if source.target is None else dict.fromkeys(found, math.nan)
