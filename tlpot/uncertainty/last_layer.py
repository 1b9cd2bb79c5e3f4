"""Making a last-layer prediction rigidity from training and validation frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tlpot.data import Dataset, evaluation_batches
from tlpot.errors import DataError
from tlpot.evaluation import evaluated
from tlpot.models import LastLayerRigidity, LevelPotential, system_features
from tlpot.numbers import Ints

_GRID = torch.logspace(-12, 0, 49, dtype=torch.float64)
"""Candidates for ς², in units of the largest eigenvalue of FᵀF."""


def fit_rigidity(
    model: LevelPotential,
    dataset: Dataset,
    train: Sequence[int] | Ints,
    validation: Sequence[int] | Ints,
    *,
    batch_size: int = 32,
    show: bool = False,
) -> LastLayerRigidity:
    """Returns the rigidity of a model's last layer, without a calibration of its scale.

    ς² is the candidate that makes the validation errors most likely under normal distributions
    with variances α² σ², where α² = ⟨e²/σ²⟩ is the most likely scale for each candidate
    (Bigi, Chong, Ceriotti, Grasselli, doi:10.1088/2632-2153/ad805f).

    Args:
        model: a potential at the level of theory of the labels.
        dataset: the frames.
        train: those that the model was trained on.
        validation: those that decide on ς².
        batch_size: frames at a time.
        show: whether to show a progress bar.

    Raises:
        ConfigError: the level has corrections, see `Potential.check_rigidity`.
        DataError: either part has no energy at that level, or the validation frames are free
            atoms, which have no features.
        UnknownElementError: a frame has an element that the model does not know.
    """
    model.potential.check_rigidity(model.level)
    rows, _ = _features_and_errors(model, dataset, train, "training", batch_size, show)
    held, errors = _features_and_errors(model, dataset, validation, "validation", batch_size, show)
    gram = rows.mT @ rows
    return LastLayerRigidity(factorise(gram, choose_regularisation(gram, held, errors)))


def choose_regularisation(gram: Tensor, features: Tensor, errors: Tensor) -> float:
    """Returns ς², see `fit_rigidity`.

    `gram` is FᵀF of the training frames, [n_features, n_features]; `features` and `errors` are of
    the validation frames, [n_frames, n_features] and [n_frames].

    Raises:
        DataError: no validation frame has features.
    """
    has_any = features.any(dim=1)  # a free atom has none, and variance 0 whatever ς² is
    if not has_any.any():
        raise DataError(
            "the validation frames are free atoms, of which the last layer knows nothing; add "
            "molecules to them"
        )
    features, errors = features[has_any], errors[has_any]
    values, vectors = torch.linalg.eigh(gram)
    squares = (features @ vectors).square()
    candidates = _GRID.to(values) * values[-1]
    variances = (squares[None] / (values.clamp(min=0.0) + candidates[:, None])[:, None]).sum(-1)
    scale = (errors.square() / variances).mean(dim=1)
    surprise = scale.log() + variances.log().mean(dim=1)
    return float(candidates[surprise.argmin()])


def factorise(gram: Tensor, regularisation: float) -> Tensor:
    """Returns the lower triangular L with L Lᵀ = FᵀF + ς²."""
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky(gram + regularisation * eye)


def _features_and_errors(
    model: LevelPotential,
    dataset: Dataset,
    indices: Sequence[int] | Ints,
    part: str,
    batch_size: int,
    show: bool,
) -> tuple[Tensor, Tensor]:
    """Returns features [n_frames, n_features] and energy errors [n_frames] of labelled frames."""
    chosen = np.asarray(indices, dtype=np.int64)
    chosen = chosen[dataset.labelled(model.level, "energy")[chosen]]
    if not len(chosen):
        raise DataError(f"{dataset.path}: none of the {part} frames has an energy at {model.level}")
    features, errors = [], []
    batches = evaluation_batches(
        model, dataset, chosen, (model.level,), device=model.potential.device,
        batch_size=batch_size, show=False if show is False else f"{part} features",
    )  # fmt: skip
    for batch, found, _ in evaluated(model, batches, forces=False):
        with torch.no_grad():
            features.append(system_features(model.features, batch.graph))
        errors.append(found.energy - batch.targets[model.level].energy)
    return torch.cat(features), torch.cat(errors)
