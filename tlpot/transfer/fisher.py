"""Which weights the predictions of a model depend on: the diagonal Fisher information."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlpot.data import Dataset
from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.models import Potential

ENERGY_NOISE = 0.01
"""eV per atom."""
FORCE_NOISE = 0.1
"""eV/Å."""


def fisher_information(
    potential: Potential,
    level: str,
    dataset: Dataset,
    indices: NDArray[np.int64],
    *,
    names: Iterable[str],
    samples: int,
    seed: int,
    forces: bool = True,
) -> dict[str, Tensor]:
    """Estimates F_k = ⟨Σ_y (∂y/∂θ_k / σ_y)²⟩ over frames, divided by its mean over all weights.

    For errors that are normally distributed the Fisher information does not depend on the
    labels, so geometries are all it needs. The sum over the outputs y (energy per atom, force
    components) is the mean square of the gradient of a random combination of them with signs
    ±1/σ_y (Hutchinson, doi:10.1080/03610919008812866).

    Args:
        potential: at the weights where F is wanted.
        level: whose predictions count.
        dataset: geometries.
        indices: which of them.
        names: the weights.
        samples: random combinations for each frame.
        seed: of the signs.
        forces: whether forces count as predictions, beside energies.

    Returns:
        F by name, in the shape of the weight.
    """
    weights = {n: w for n, w in potential.named_parameters() if n in set(names)}
    model = potential.at(level)
    generator = torch.Generator().manual_seed(seed)
    total = {name: torch.zeros_like(w) for name, w in weights.items()}

    def signs(like: Tensor) -> Tensor:
        drawn = torch.randint(0, 2, like.shape, generator=generator)
        return (2 * drawn - 1).to(like)

    for frame in dataset.read(indices):
        graph = build_graph([frame.system], potential.cutoff, layout=potential.layout)
        graph = graph.to(potential.device)
        found = evaluate(model, graph, forces=forces, create_graph=True)
        for k in range(samples):
            combined = (signs(found.energy) * found.energy / graph.n_atoms / ENERGY_NOISE).sum()
            if found.forces is not None:
                combined = combined + (signs(found.forces) * found.forces / FORCE_NOISE).sum()
            gradients = torch.autograd.grad(
                combined, list(weights.values()), retain_graph=k + 1 < samples,
                allow_unused=True, materialize_grads=True,
            )  # fmt: skip
            for name, gradient in zip(weights, gradients, strict=True):
                total[name] += gradient.square()
    mean = sum(float(t.sum()) for t in total.values()) / sum(t.numel() for t in total.values())
    return {name: t / max(mean, 1e-30) for name, t in total.items()}
