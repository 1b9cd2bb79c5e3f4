"""Standard deviations of predictions, last layers and ensembles, brought to scale.

An energy is linear in the last weights, E = f·w + …, with f the features that enter them, summed
over the atoms. Then σ²(x) = f(x)ᵀ (FᵀF + ς²)⁻¹ f(x), where the rows of F are the features of the
training frames, is the variance of a Bayesian linear regression up to a factor, α², that the
calibration finds (Bigi, Chong, Ceriotti, Grasselli, doi:10.1088/2632-2153/ad805f).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tlpot.energy import EnergyModel, Properties
from tlpot.errors import ConfigError, ModelFileError
from tlpot.graph import AtomGraph, segment_sum
from tlpot.nn import DoubleBuffer
from tlpot.torch_mode import plain_torch

ONE_SIGMA = 0.683
"""Coverage of one standard deviation of a normal distribution."""


class Calibration(nn.Module):
    """Split-conformal scaling: |error| ≤ factor · σ for a stated share of new frames.

    With scores |error| / σ of n held-out frames, the factor for a coverage c is their
    ⌈(n + 1) c⌉-th smallest (Vovk, Gammerman, Shafer, doi:10.1007/b106715; for scores scaled by
    an uncertainty: Angelopoulos and Bates, doi:10.1561/2200000101, section 2.3). A further
    frame that is exchangeable with them is then covered with a probability of at least c.

    Forces have a factor of their own where their scores are known. The components of one frame
    are not exchangeable with those of another, but one that is drawn at random from each frame
    is: a random component of a further frame is then covered with a probability of at least c
    (the subsampling of Dunn, Wasserman, Ramdas, doi:10.1080/01621459.2022.2060112).

    Args:
        scores: [n_frames], in any order.
        coverage: which coverage the standard deviations that are reported stand for.
        force_scores: [n_frames with forces], one for each such frame, in any order; None lets
            forces share the factor of the energies.

    Raises:
        ConfigError: a score is negative or not finite, or the coverage is outside (0, 1) or
            needs more frames.
    """

    def __init__(
        self, scores: Tensor, coverage: float = ONE_SIGMA, force_scores: Tensor | None = None
    ) -> None:
        super().__init__()
        self.scores = DoubleBuffer(_sorted(scores))
        self.coverage = DoubleBuffer(torch.tensor(coverage, dtype=torch.float64))
        self.force_scores = None if force_scores is None else DoubleBuffer(_sorted(force_scores))
        self.interval(coverage)
        self.force_interval(coverage)

    @property
    def n_frames(self) -> int:
        """Number of frames that it was made from."""
        return len(self.scores.value)

    @property
    def factor(self) -> float:
        """What one raw standard deviation is multiplied by."""
        return self.interval(float(self.coverage.value))

    @property
    def n_force_frames(self) -> int:
        """Number of frames that the factor of the forces was made from; 0 if they have none."""
        return 0 if self.force_scores is None else len(self.force_scores.value)

    @property
    def force_factor(self) -> float:
        """What one raw standard deviation of a force component is multiplied by."""
        return self.force_interval(float(self.coverage.value))

    def interval(self, coverage: float) -> float:
        """Returns the factor k for which E ± k σ, σ as the model gives it raw, has a coverage.

        Raises:
            ConfigError: the coverage is outside (0, 1), or beyond what so few frames can tell.
        """
        return _conformal(self.scores.value, coverage)

    def force_interval(self, coverage: float) -> float:
        """Returns the same for the components of forces.

        Raises:
            ConfigError: the coverage is outside (0, 1), or beyond what so few frames can tell.
        """
        scores = self.scores if self.force_scores is None else self.force_scores
        return _conformal(scores.value, coverage)


def _sorted(scores: Tensor) -> Tensor:
    if scores.dim() != 1 or not bool(((scores >= 0) & scores.isfinite()).all()):
        raise ConfigError("the scores of a calibration must be finite and not negative")
    return scores.double().sort().values


def _conformal(scores: Tensor, coverage: float) -> float:
    """Returns the ⌈(n + 1) c⌉-th smallest of sorted scores [n]."""
    n = len(scores)
    if not 0.0 < coverage < 1.0:
        raise ConfigError(f"coverage is {coverage}, expected a fraction between 0 and 1")
    # a product such as 19 · 0.95 + 0.95 that should be whole may come out a little above
    rank = math.ceil((n + 1) * coverage - 1e-9)
    if rank > n:
        needed = math.ceil(coverage / (1.0 - coverage) - 1e-9)
        raise ConfigError(
            f"a coverage of {coverage:g} needs at least {needed} calibration frames; there "
            f"are {n}. Calibrate on more frames, or ask for less coverage"
        )
    return float(scores[max(rank, 1) - 1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Standard deviations of what a model predicts for a batch.

    Attributes:
        energy_std: [n_systems], eV.
        forces_std: [n_atoms, 3], eV/Å, or None when not computed.
    """

    energy_std: Tensor
    forces_std: Tensor | None = None

    def scaled(self, calibration: Calibration | None) -> Spread:
        """Returns the spread times a calibration's factors; None leaves it as it is.

        Without labelled forces, energies and forces share the factor: scaling the deviations of
        a distribution of potentials from its mean scales those of their derivatives alike
        (Imbalzano et al., doi:10.1063/5.0036522).
        """
        if calibration is None:
            return self
        forces = self.forces_std
        return Spread(
            energy_std=self.energy_std * calibration.factor,
            forces_std=None if forces is None else forces * calibration.force_factor,
        )


@runtime_checkable
class UncertainModel(EnergyModel, Protocol):
    """An energy model that can say how sure it is."""

    @property
    def has_uncertainty(self) -> bool:
        """Whether `predict` is possible; a potential may lack what it takes."""
        ...

    @property
    def calibration(self) -> Calibration | None:
        """How the standard deviations are scaled."""
        ...

    def predict(
        self,
        graph: AtomGraph,
        *,
        forces: bool = True,
        stress: bool = False,
        forces_std: bool = False,
        domain: bool = False,
        calibrated: bool = True,
    ) -> tuple[Properties, Spread]:
        """Evaluates energies, derivatives and their standard deviations.

        Args:
            graph: the batch, built with at least the model's cutoff.
            forces: compute −∂E/∂r.
            stress: compute ∂E/∂ε / V.
            forces_std: whether standard deviations of forces are wanted; a model to which they
                are free may give them anyway.
            domain: see `tlpot.energy.evaluate`.
            calibrated: apply the calibration, if there is one.
        """
        ...


def uncertain(model: EnergyModel) -> UncertainModel | None:
    """Returns the model if it can tell its uncertainty, else None."""
    return model if isinstance(model, UncertainModel) and model.has_uncertainty else None


def read_calibration(tensors: Mapping[str, Tensor], prefix: str, name: str) -> Calibration | None:
    """Returns the calibration whose tensors' names have a prefix; None if there is none.

    Raises:
        ModelFileError: it is damaged.
    """
    scores = tensors.get(f"{prefix}scores.value")
    coverage = tensors.get(f"{prefix}coverage.value")
    if scores is None or coverage is None:
        return None
    try:
        forces = tensors.get(f"{prefix}force_scores.value")
        return Calibration(scores, float(coverage), forces)
    except (ConfigError, RuntimeError) as error:
        raise ModelFileError(f"{name}: the calibration is damaged: {error}") from error


Features = Callable[[AtomGraph], Tensor]
"""Gives the last-layer features of every atom, [n_atoms, n_features], float64."""


class LastLayerRigidity(nn.Module):
    """The training frames, as far as uncertainty needs them.

    Args:
        cholesky: [n_features, n_features], lower triangular L with L Lᵀ = FᵀF + ς², float64.
        calibration: of the standard deviations; None leaves α = 1.
    """

    def __init__(self, cholesky: Tensor, calibration: Calibration | None = None) -> None:
        super().__init__()
        # LAPACK gives columns first; a file has rows first, and the order decides on roundings
        self.cholesky = DoubleBuffer(cholesky.contiguous())
        self.calibration = calibration

    def whiten(self, features: Tensor) -> Tensor:
        """Returns L⁻¹ f for each row f of [n, n_features]; its squared norm is σ²."""
        return torch.linalg.solve_triangular(self.cholesky.value, features.mT, upper=False).mT


def system_features(features: Features, graph: AtomGraph) -> Tensor:
    """Returns the features of each structure, [n_systems, n_features]: sums over its atoms."""
    return segment_sum(features(graph), graph.system_idx, graph.n_systems)


def rigid_std(rigidity: LastLayerRigidity, features: Features, graph: AtomGraph) -> Spread:
    """Returns the standard deviations of the energies, not calibrated."""
    with plain_torch(), torch.no_grad():
        white = rigidity.whiten(system_features(features, graph))
    return Spread(energy_std=white.norm(dim=1))


def rigid_forces_std(rigidity: LastLayerRigidity, features: Features, graph: AtomGraph) -> Spread:
    """Returns the standard deviations of energies and forces, not calibrated.

    A force component is −f'·w with f' = ∂f/∂r, so its variance is f'ᵀ (FᵀF + ς²)⁻¹ f'. One
    backward pass for each of the n_features.
    """
    with plain_torch(), torch.enable_grad():
        graph = graph.usable()
        positions = graph.positions.detach().requires_grad_(True)
        moved = replace(graph, positions=positions, first_order=False)
        white = rigidity.whiten(system_features(features, moved))
        variance = torch.zeros_like(graph.positions)
        if white.requires_grad:  # else nothing depends on the positions
            for column in white.sum(dim=0):
                (slope,) = torch.autograd.grad(
                    column, positions, retain_graph=True, materialize_grads=True
                )
                variance += slope.square()
    return Spread(energy_std=white.detach().norm(dim=1), forces_std=variance.sqrt())
