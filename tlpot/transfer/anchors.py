"""Fine-tuning that holds weights where they started, all alike or those that matter most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tlpot.config import LATER, check_least
from tlpot.data import Dataset
from tlpot.errors import ConfigError
from tlpot.evaluation import evaluated, system_batches
from tlpot.models import Potential
from tlpot.numbers import Ints
from tlpot.transfer.pseudo_labels import bare_structures
from tlpot.transfer.strategy import (
    SMALL_RATE,
    Penalty,
    SourceLabels,
    Strategy,
    StrategyDefaults,
    TransferContext,
    check_source,
    open_source,
    source_frames,
)


class Anchor:
    """strength/2 · Σ_k F_k (θ_k − θ_k⁰)².

    Args:
        model: at the weights θ⁰.
        names: of the weights that are held.
        strength: of the penalty.
        stiffness: F by name of weight, in its shape; None means 1.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Iterable[str],
        strength: float,
        stiffness: Mapping[str, Tensor] | None = None,
    ) -> None:
        weights = dict(model.named_parameters())
        self.names = tuple(names)
        self.start = [weights[name].detach().clone() for name in self.names]
        self.strength = strength
        self.stiffness = None if stiffness is None else [stiffness[name] for name in self.names]

    def __call__(self, model: nn.Module, step: int = 0) -> Tensor:
        """Returns the penalty, a scalar."""
        weights = dict(model.named_parameters())
        moved = torch._foreach_sub([weights[name] for name in self.names], self.start)
        squares = torch._foreach_mul(moved, moved)
        if self.stiffness is not None:
            squares = torch._foreach_mul(squares, self.stiffness)
        return 0.5 * self.strength * torch.stack([s.sum() for s in squares]).sum()


ENERGY_NOISE = 0.01
"""eV per atom."""
FORCE_NOISE = 0.1
"""eV/Å."""


def fisher_information(
    potential: Potential,
    level: str,
    dataset: Dataset,
    indices: Ints,
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

    systems = [frame.system for frame in dataset.read(indices)]
    # the random combination would mix the outputs of several structures
    batches = system_batches(model, systems, device=potential.device, at_once=1)
    for batch, found, _ in evaluated(model, batches, forces=forces, create_graph=True):
        n_atoms = batch.graph.n_atoms
        for k in range(samples):
            combined = (signs(found.energy) * found.energy / n_atoms / ENERGY_NOISE).sum()
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


def _check_strength(strength: float) -> None:
    if not 0 < strength < 1e12:
        raise ConfigError(
            f"strength is {strength}, expected a positive number; without a penalty use strategy "
            "'full'"
        )


@dataclass(frozen=True, kw_only=True)
class L2SP(Strategy):
    """Adds strength/2 · Σ (θ − θ_parent)² to the loss (Li et al., arXiv:1802.01483).

    Attributes:
        strength: of the penalty.
    """

    name: ClassVar[str] = "l2sp"
    summary: ClassVar[str] = "all weights fine-tuned, held near those of"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE

    strength: float = 1e-3

    def __post_init__(self) -> None:
        _check_strength(self.strength)

    def penalty(self, potential: Potential, context: TransferContext) -> Penalty:
        """Returns the penalty; it is 0 at step 0."""
        return Anchor(potential, self.rates(potential, context.level), self.strength)


@dataclass(frozen=True, kw_only=True)
class EWC(Strategy):
    """Elastic weight consolidation (Kirkpatrick et al., doi:10.1073/pnas.1611835114).

    Adds strength/2 · Σ F (θ − θ_parent)² with the diagonal Fisher information F of the parent,
    divided by its mean so that the strength means the same as that of ``l2sp``.

    F belongs to what the parent has learned: with `files`, it is estimated at geometries of that
    data, for the kinds of labels that these have. Without, the training geometries stand in,
    and the parent's energies and forces there.

    Attributes:
        files: source data; none for the training geometries.
        spec: layout of the source data, if it is not tlpot's own.
        labels: ``parent`` for files of structures without labels of the parent's level, where
            its own energies and forces count; not without `files`.
        strength: of the penalty.
        frames: at which F is estimated, at random from the source data.
        samples: random directions for each of them.
    """

    name: ClassVar[str] = "ewc"
    summary: ClassVar[str] = "all weights fine-tuned, the important ones held near those of"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE

    files: tuple[Path, ...] = ()
    spec: str | Mapping[str, Any] | None = None
    labels: SourceLabels = field(default="file", metadata=LATER)
    strength: float = 1e-3
    frames: int = 64
    samples: int = 4

    def __post_init__(self) -> None:
        _check_strength(self.strength)
        check_source(self.files, self.labels, self.spec)
        check_least(self, frames=1, samples=1)

    def penalty(self, potential: Potential, context: TransferContext) -> Penalty:
        """Estimates the Fisher information and returns the penalty; it is 0 at step 0.

        Raises:
            DataError: the source data cannot be read, has no frame with a label of the parent's
                level, or elements that the parent does not know.
        """
        names = self.rates(potential, context.level)
        train = context.split.train
        dataset, forces = context.dataset, potential.target(context.level) is None
        chosen = train[:: max(1, len(train) // self.frames)][: self.frames]
        if self.labels == "parent":
            dataset = bare_structures(self.files, self.spec, context, self.frames)
            chosen = np.arange(len(dataset))
        elif self.files:
            dataset = open_source(self.files, self.spec, context)
            forces = forces and "forces" in dataset.levels[context.source].kinds
            chosen = source_frames(dataset, context)[: self.frames]
        # at step 0 the new readout is the source level's, so it stands for the parent
        fisher = fisher_information(
            potential, context.level, dataset, chosen,
            names=names, samples=self.samples, seed=context.seed, forces=forces,
        )  # fmt: skip
        return Anchor(potential, names, self.strength, fisher)
