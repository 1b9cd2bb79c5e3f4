"""Covariate shift: labelled structures that are not like those which a model is for.

Labelled ones that are like those may count more (Shimodaira, doi:10.1016/S0378-3758(00)00115-4),
with the density ratio from a classifier that tells the two apart (Bickel, Brückner and Scheffer,
JMLR 10, 2137, 2009); or the features of the labelled ones are moved onto those of the others
(CORAL: Sun, Feng and Saenko, arXiv:1511.05547).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import ConfigError, TLPotWarning

LARGEST_WEIGHT = 20.0
"""Times the mean; a few structures that decide everything are worse than a bias."""
_FEW = 0.1
"""Share of the structures, as an effective number, below which weights are worth a warning."""
_FOLDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Adaptation:
    """Towards structures without labels, of the domain that a model is for.

    Attributes:
        files: of structures in any format, or datasets; their labels are not looked at.
        spec: layout of datasets that is not tlpot's own.
        weights: let labelled structures count by how much they are like these.
        align: give the features of labelled structures the mean and covariance of these. It
            assumes that the same features mean the same, but for a shift and a stretch.
    """

    files: tuple[Path, ...]
    spec: str | None = None
    weights: bool = True
    align: bool = False

    def __post_init__(self) -> None:
        if not self.files:
            raise ConfigError("adapt.files is empty; expected structures of the target domain")
        if not (self.weights or self.align):
            raise ConfigError("adapt has neither weights nor align; leave it out")


@dataclass(frozen=True, kw_only=True, slots=True)
class DensityRatio:
    """How much labelled structures are like those of the target domain.

    Attributes:
        weights: [n_source], mean 1.
        effective: (Σw)²/Σw², the number of structures of equal weight that would be as good.
        told_apart: area under the ROC curve of the classifier on folds left out: 0.5 if the
            domains cannot be told apart, 1 if they have nothing in common.
    """

    weights: NDArray[np.float64]
    effective: float
    told_apart: float


def density_ratio(
    source: NDArray[np.float64], target: NDArray[np.float64], *, seed: int = 0
) -> DensityRatio:
    """Estimates target density / source density at the source structures by logistic regression.

    The strength of its penalty is the best of a grid on folds left out; the probabilities are
    those of folds left out, too, so that no structure is remembered.

    Args:
        source: [n_source, n_features].
        target: [n_target, n_features].
        seed: of the folds.

    Raises:
        ConfigError: fewer structures than folds.

    Warns:
        TLPotWarning: hardly any labelled structure is like the others.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    if min(len(source), len(target)) < _FOLDS:
        raise ConfigError(
            f"adapt: {len(source)} labelled structures and {len(target)} of the target domain, "
            f"expected at least {_FOLDS} of each"
        )
    rows = _standardised(np.concatenate([source, target]), source)
    kind = np.repeat([0, 1], [len(source), len(target)])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed % 2**32)
    best, odds = np.inf, np.zeros(len(kind))
    for strength in np.logspace(-4, 1, 6):
        classifier = LogisticRegression(C=float(strength), max_iter=500)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not converged: of another strength it has
            found = cross_val_predict(classifier, rows, kind, cv=folds, method="predict_proba")
        loss = float(log_loss(kind, found[:, 1]))
        if loss < best:
            best, odds = loss, np.clip(found[:, 1], 1e-6, 1 - 1e-6)
    ratio = odds[kind == 0] / (1.0 - odds[kind == 0])
    ratio = np.minimum(ratio, LARGEST_WEIGHT * ratio.mean())
    weights = ratio / ratio.mean()
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    if effective < _FEW * len(source):
        warnings.warn(
            f"adapt: of {len(source)} labelled structures only {effective:.1f}, as an effective "
            "number, are like those of the target domain; weights cannot mend that, a few labels "
            "there can",
            TLPotWarning,
            stacklevel=2,
        )
    return DensityRatio(
        weights=weights, effective=effective, told_apart=float(roc_auc_score(kind, odds))
    )


def aligned(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns source features with the mean and covariance of the target, [n_source, n_features].

    (x − μ_s) C_s^(−1/2) C_t^(1/2) + μ_t with C + 1 of features that have the source's spread as
    their unit, as CORAL has it: with few structures no direction is stretched beyond reason.

    Args:
        source: [n_source, n_features].
        target: [n_target, n_features].
    """
    spread = _spread(source)
    x, y = (rows / spread for rows in (source, target))
    own, other = (np.cov(rows.T).reshape(rows.shape[1], -1) for rows in (x, y))
    one = np.eye(len(own))
    moved = (x - x.mean(axis=0)) @ _power(own + one, -0.5) @ _power(other + one, 0.5)
    kept: NDArray[np.float64] = np.where(
        np.isfinite(spread), (moved + y.mean(axis=0)) * np.where(np.isfinite(spread), spread, 0.0),
        source,
    )  # fmt: skip
    return kept


def _power(matrix: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T


def _spread(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns standard deviations, infinite for a feature that does not vary."""
    spread = rows.std(axis=0)
    varies = spread > 1e-9 * np.maximum(np.abs(rows).max(axis=0), 1e-300)
    return np.where(varies, spread, np.inf)


def _standardised(rows: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    return (rows - by.mean(axis=0)) / _spread(by)
