"""The loop that runs a model over structures, and what it says beside labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlpot.data import Batch, Dataset, evaluation_batches
from tlpot.energy import EnergyModel, Properties, evaluate, has_forces, layout_of
from tlpot.graph import build_graph
from tlpot.models import LevelPotential, Spread, pooled_rows, uncertain
from tlpot.numbers import Floats, Ints
from tlpot.system import System
from tlpot.targets import Quantity

_ATOMS_AT_ONCE = 4096
_FEATURES_AT_ONCE = 32
Wish = bool | Callable[[Batch], bool]


def evaluated(
    model: EnergyModel,
    batches: Iterable[Batch],
    *,
    forces: Wish = True,
    stress: Wish = False,
    domain: bool = False,
    std: Literal["energy", "forces"] | None = None,
    calibrated: bool = True,
    create_graph: bool = False,
) -> Iterator[tuple[Batch, Properties, Spread | None]]:
    """Runs a model over structures; whatever evaluates many of them does it here.

    Args:
        model: an energy model.
        batches: of structures, where the model is.
        forces: whether to compute them, for all batches or by batch.
        stress: the same; at least one structure of such a batch must be periodic.
        domain: see `tlpot.energy.evaluate`.
        std: standard deviations of the energies, or of energies and forces, of a model that can
            tell them.
        calibrated: bring them to scale, if the model has a calibration.
        create_graph: keep energies and forces differentiable in the model's weights; without
            `std`.

    Yields:
        Each batch with what the model says about it, and how sure it is (None for a model that
        cannot tell, and without `std`).
    """
    sure = uncertain(model) if std is not None else None
    for batch in batches:
        derive, strain = (w(batch) if callable(w) else w for w in (forces, stress))
        if sure is None:
            found = evaluate(
                model, batch.graph, forces=derive, stress=strain, domain=domain,
                create_graph=create_graph,
            )  # fmt: skip
            yield batch, found, None
        else:
            found, spread = sure.predict(
                batch.graph, forces=derive, stress=strain, forces_std=derive and std == "forces",
                domain=domain, calibrated=calibrated,
            )  # fmt: skip
            yield batch, found, spread


def system_batches(
    model: EnergyModel,
    systems: Sequence[System],
    *,
    device: torch.device | str = "cpu",
    names: Sequence[str] | None = None,
    at_once: int | None = None,
    known: Floats | None = None,
) -> Iterator[Batch]:
    """Yields structures without labels, in order, in few large batches.

    The model decides cutoff and layout of the pairs; `names` are for messages; `at_once` is the
    most structures in a batch; `known`, [n_systems], is what the model has to be told, if anything.

    Raises:
        GeometryError: a structure is unusable.
    """
    for start, stop in _ranges(systems, at_once):
        some = systems[start:stop]
        graph = build_graph(
            some,
            model.cutoff,
            layout=layout_of(model),
            names=None if names is None else names[start:stop],
        )
        if known is not None:
            graph = replace(graph, known=torch.from_numpy(known[start:stop]))
        sizes = torch.tensor([len(system) for system in some], device=device)
        yield Batch(graph=graph.to(device), sizes=sizes, targets={})


def _ranges(systems: Sequence[System], at_once: int | None) -> list[tuple[int, int]]:
    """Ranges of structures of at most `_ATOMS_AT_ONCE` atoms, but of one structure at least."""
    ranges, start, n_atoms = [], 0, 0
    for k, system in enumerate(systems):
        if k > start and (n_atoms + len(system) > _ATOMS_AT_ONCE or k - start == at_once):
            ranges.append((start, k))
            start, n_atoms = k, 0
        n_atoms += len(system)
    return [*ranges, (start, len(systems))] if systems else []


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemValues:
    """What a model says.

    Attributes:
        energy: [n_systems], eV.
        forces: [n_atoms, 3], eV/Å, all structures one after the other; empty if not asked for.
        stress: [n_systems, 3, 3], eV/Å³, likewise; zero of what has no volume.
    """

    energy: Floats
    forces: Floats
    stress: Floats


def evaluate_systems(
    model: EnergyModel,
    systems: Sequence[System],
    *,
    device: torch.device | str = "cpu",
    forces: bool = True,
    stress: bool = False,
    names: Sequence[str] | None = None,
) -> SystemValues:
    """Evaluates structures; the arguments are those of `system_batches`.

    Raises:
        GeometryError: a structure is unusable.
        UnknownElementError: the model does not know an element.
    """
    energies, gradients, strains = [], [np.empty((0, 3))], [np.empty((0, 3, 3))]
    batches = system_batches(model, systems, device=device, names=names)
    for _, found, _ in evaluated(model, batches, forces=forces, stress=stress):
        energies.append(found.energy.cpu().numpy())
        if found.forces is not None:
            gradients.append(found.forces.cpu().numpy())
        if found.stress is not None:
            strains.append(found.stress.cpu().numpy())
    return SystemValues(
        energy=np.concatenate(energies),
        forces=np.concatenate(gradients),
        stress=np.concatenate(strains),
    )


def system_features(
    model: LevelPotential, systems: Sequence[System], blocks: Sequence[str]
) -> Floats:
    """Returns the pooled features of structures, [n_systems, n_features].

    Args:
        model: whose features.
        systems: in any order; what the model is told of them is not known.
        blocks: see `tlpot.models.pooled_rows`.

    Raises:
        GeometryError: a structure is unusable.
        UnknownElementError: the model does not know an element.
    """
    rows = []
    device = model.potential.device
    for batch in system_batches(model, systems, device=device, at_once=_FEATURES_AT_ONCE):
        with torch.no_grad():
            rows.append(pooled_rows(model, batch.graph, blocks).cpu().numpy())
    return np.concatenate(rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Labels and predictions, frame by frame and atom by atom; NaN where there is no label.

    What was not evaluated is NaN in both.

    Attributes:
        indices: [n_frames], which frames of the dataset.
        sizes: [n_frames], atoms in each.
        groups: [n_frames], name of the molecule.
        atomic_numbers: [n_atoms], all frames one after the other.
        energy: [n_frames, 2], label and prediction, eV.
        forces: [n_atoms, 3, 2], label and prediction, eV/Å.
        stress: [n_frames, 3, 3, 2], label and prediction, eV/Å³.
        quantity: of a property, whose labels and predictions `energy` then has, in its unit.
        std: [n_frames], standard deviations of a property, if the model can tell them.
    """

    indices: Ints
    sizes: Ints
    groups: NDArray[np.str_]
    atomic_numbers: Ints
    energy: Floats
    forces: Floats
    stress: Floats
    quantity: Quantity | None = None
    std: Floats | None = None


def predict(
    model: EnergyModel,
    dataset: Dataset,
    indices: Sequence[int] | Ints,
    level: str,
    *,
    device: torch.device | str = "cpu",
    forces: bool = True,
    batch_size: int = 32,
    show: bool = False,
) -> Predictions:
    """Evaluates energies, and forces and stresses where they are labelled.

    Args:
        model: an energy model on `device`.
        dataset: the frames.
        indices: which of them.
        level: canonical name of the labels' level of theory.
        device: where the model is.
        forces: whether to evaluate forces and stresses at all; a model that has none leaves
            them NaN.
        batch_size: frames at a time.
        show: whether to show a progress bar.

    Raises:
        DataError: there are no frames, or none has a label at `level`.
        UnknownElementError: a frame has an element that the model does not know.
    """
    forces = forces and has_forces(model)
    chosen = np.asarray(indices, dtype=np.int64)
    # frames of one size together waste nothing on padding
    chosen = chosen[np.argsort(dataset.sizes[chosen], kind="stable")]
    parts: dict[str, list[Tensor]] = {"energy": [], "forces": [], "stress": [], "numbers": []}
    deviations: list[Tensor] = []
    target = getattr(model, "target", None)
    batches = evaluation_batches(
        model, dataset, chosen, (level,), device=device, batch_size=batch_size, show=show
    )
    for batch, found, spread in evaluated(
        model,
        batches,
        std="energy" if target is not None else None,
        forces=lambda batch: forces and bool(batch.targets[level].forces.isfinite().any()),
        stress=lambda batch: forces and bool(batch.targets[level].stress.isfinite().any()),
    ):
        targets = batch.targets[level]
        parts["energy"].append(_beside(targets.energy, found.energy))
        parts["forces"].append(_beside(targets.forces, found.forces))
        parts["stress"].append(_beside(targets.stress, found.stress))
        parts["numbers"].append(batch.graph.atomic_numbers)
        deviations += [] if spread is None else [spread.energy_std]
    arrays = {key: torch.cat(tensors).cpu().numpy() for key, tensors in parts.items()}
    names = np.array(dataset.group_names)
    return Predictions(
        indices=chosen,
        sizes=dataset.sizes[chosen],
        groups=names[dataset.group_idx[chosen]],
        atomic_numbers=arrays["numbers"],
        energy=arrays["energy"],
        forces=arrays["forces"],
        stress=arrays["stress"],
        quantity=None if target is None else target.quantity,
        std=torch.cat(deviations).cpu().numpy() if deviations else None,
    )


def _beside(label: Tensor, prediction: Tensor | None) -> Tensor:
    """Returns label and prediction along a new last axis; NaN for what was not evaluated."""
    if prediction is None:
        label = prediction = torch.full_like(label, torch.nan)
    return torch.stack([label, prediction], dim=-1)
