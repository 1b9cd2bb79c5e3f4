"""What the parent says in the place of labels."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tlpot.data import Dataset, LabelKind, Labels, LowValues, evaluation_batches
from tlpot.errors import DataError
from tlpot.evaluation import evaluated
from tlpot.models import Potential, to_bytes


def low_values(
    potential: Potential,
    level: str,
    dataset: Dataset,
    indices: NDArray[np.int64],
    high: str,
) -> LowValues:
    """Evaluates a potential where another level has labels.

    Args:
        potential: the low model.
        level: its level.
        dataset: the frames.
        indices: which of them; the others get NaN.
        high: the level of the dataset whose forces and stresses say where those are needed.

    Raises:
        DataError: a prediction is NaN or infinite; the message names the frame.
        UnknownElementError: a frame has an element that the potential does not know.
    """
    n = len(dataset)
    energies = np.full(n, np.nan)
    forces: list[NDArray[np.float64] | None] = [None] * n
    stresses: list[NDArray[np.float64] | None] = [None] * n
    kinds: tuple[LabelKind, LabelKind] = ("forces", "stress")
    has_forces, has_stress = (dataset.labelled(high, kind) for kind in kinds)
    model = potential.at(level)
    order, n_done = indices[np.argsort(dataset.sizes[indices], kind="stable")], 0
    batches = evaluation_batches(
        model, dataset, order, (high,), device=potential.device, batch_size=32,
        show=f"low level {level}",
    )  # fmt: skip
    for batch, found, _ in evaluated(
        model,
        batches,
        forces=lambda batch: bool(batch.targets[high].forces.isfinite().any()),
        stress=lambda batch: bool(batch.targets[high].stress.isfinite().any()),
    ):
        chosen = order[n_done : n_done + len(batch.sizes)]
        n_done += len(chosen)
        energies[chosen] = found.energy.cpu().numpy()
        ends = np.cumsum(dataset.sizes[chosen])
        for row, k in enumerate(chosen.tolist()):
            if found.forces is not None and has_forces[k]:
                atoms = slice(int(ends[row] - dataset.sizes[k]), int(ends[row]))
                forces[k] = found.forces[atoms].cpu().numpy()
            if found.stress is not None and has_stress[k]:
                stresses[k] = found.stress[row].cpu().numpy()
        bad = ~np.isfinite(energies[chosen])
        if bad.any():
            (frame,) = dataset.read(chosen[bad][:1], ())
            raise DataError(
                f"{frame.name}: model {potential.card.name!r} gives NaN or infinity for its "
                f"energy at {level}; look at this structure, or leave it out"
            )
    # a parent's E0 is fitted as a rule and no free atom, so the dataset has to say
    known = dataset.levels.get(level)
    return LowValues(
        level=level,
        energies=energies,
        forces=forces,
        stresses=stresses,
        isolated_atoms={} if known is None else known.isolated_atoms,
        origin=hashlib.sha256(to_bytes(potential)).hexdigest(),
    )


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
