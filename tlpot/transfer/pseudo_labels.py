"""Predictions of the parent in the place of labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tlpot.data import Dataset, Labels, evaluation_batches
from tlpot.evaluation import evaluated
from tlpot.models import Potential


def pseudo_labels(
    parent: Potential, level: str, dataset: Dataset, indices: NDArray[np.int64]
) -> list[Labels]:
    """Returns the parent's energies and forces, one `Labels` for each index.

    Args:
        parent: the pretrained potential.
        level: at which it is asked, canonical.
        dataset: the geometries.
        indices: which of them.

    Raises:
        UnknownElementError: a frame has an element that the parent does not know.
    """
    model = parent.at(level)
    some_level = next(iter(dataset.levels))  # the loader wants one; its labels are not looked at
    found: list[Labels] = []
    batches = evaluation_batches(
        model, dataset, indices, (some_level,), device=parent.device, batch_size=32, show=False
    )
    for batch, properties, _ in evaluated(model, batches):
        assert properties.forces is not None
        forces = properties.forces.double().cpu().numpy()
        ends = np.cumsum(batch.sizes.cpu().numpy().astype(int))
        for energy, part in zip(
            properties.energy.tolist(), np.split(forces, ends[:-1]), strict=True
        ):
            found.append(Labels(energy=energy, forces=part))
    return found
