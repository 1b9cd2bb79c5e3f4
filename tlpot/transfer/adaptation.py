"""Covariate shift: labelled structures that are not like those which a model is for.

Labelled ones that are like those may count more (Shimodaira, doi:10.1016/S0378-3758(00)00115-4),
with the density ratio from a classifier that tells the two apart (Bickel, Brückner and Scheffer,
JMLR 10, 2137, 2009); or the features of the labelled ones are moved onto those of the others
(CORAL: Sun, Feng and Saenko, arXiv:1511.05547; or by the maximum mean discrepancy, MMD: Gretton et
al., JMLR 13, 723, 2012).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tlpot.errors import ConfigError, TLPotWarning
from tlpot.numbers import Floats, counted

LARGEST_WEIGHT = 20.0
"""Times the mean; a few structures that decide everything are worse than a bias."""
_FEW = 0.1
"""Share of the structures, as an effective number, below which weights are worth a warning."""
_FOLDS = 5
_ROWS = 400
"""Structures of each domain that a discrepancy is measured on, at most."""
_WIDTHS = (0.5, 1.0, 2.0)
"""Of the kernels of a discrepancy, in medians of the distances."""
_STEPS = 200
_HELD = 1e-3
"""Penalty on squared shifts and logarithms of stretches, beside a discrepancy of at most 2."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adaptation:
    """Towards structures without labels, of the domain that a model is for.

    Attributes:
        files: of structures in any format, or datasets; their labels are not looked at.
        spec: layout of datasets that is not tlpot's own.
        weights: let labelled structures count by how much they are like these.
        align: give the features of labelled structures the mean and covariance of these
            (``coral``, or true), or shift and stretch each of them until the distributions agree
            by kernels (``mmd``). Both assume that the same features mean the same, but for that.
            Where a network is trained, it learns features whose distributions agree so.
        strength: of an alignment in a training, beside a loss of order 1.
    """

    files: tuple[Path, ...]
    spec: str | Mapping[str, Any] | None = None
    weights: bool = True
    align: bool | Literal["coral", "mmd"] = False
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not self.files:
            raise ConfigError("adapt.files is empty; expected structures of the target domain")
        if not (self.weights or self.align):
            raise ConfigError("adapt has neither weights nor align; leave it out")
        if not 0 < self.strength < 1e6:
            raise ConfigError(f"adapt.strength is {self.strength}, expected a positive number")
        if not self.align and self.strength != 1.0:
            raise ConfigError(
                "adapt.strength does not apply without align (coral or mmd); leave it out"
            )


def check_enough(adapt: Adaptation, n_target: int, n_labelled: int, labelled: Path) -> None:
    """Checks, before anything is learned, that domains can be told apart.

    Args:
        adapt: names the files of the target domain.
        n_target: structures in them.
        n_labelled: structures that are learned from.
        labelled: the file of these.

    Raises:
        ConfigError: fewer structures than folds.
    """
    if min(n_target, n_labelled) < _FOLDS:
        files = ", ".join(map(str, adapt.files))
        raise ConfigError(
            f"adapt.files ({files}): {counted(n_target, 'structure')} of the target domain beside "
            f"{counted(n_labelled, 'training frame')} of {labelled}, expected at least {_FOLDS} "
            "of each; name more files, or leave adapt out"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DensityRatio:
    """How much labelled structures are like those of the target domain.

    Attributes:
        weights: [n_source], mean 1.
        effective: (Σw)²/Σw², the number of structures of equal weight that would be as good.
        told_apart: area under the ROC curve of the classifier on folds left out: 0.5 if the
            domains cannot be told apart, 1 if they have nothing in common.
    """

    weights: Floats
    effective: float
    told_apart: float


def density_ratio(
    source: Floats, target: Floats, *, seed: int = 0, quiet: bool = False
) -> DensityRatio:
    """Estimates target density / source density at the source structures by logistic regression.

    The strength of its penalty is the best of a grid on folds left out; the probabilities are
    those of folds left out, too, so that no structure is remembered.

    Args:
        source: [n_source, n_features].
        target: [n_target, n_features].
        seed: of the folds.
        quiet: say nothing where few are alike: the weights are not used.

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
    if effective < _FEW * len(source) and not quiet:
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


def aligned(source: Floats, target: Floats) -> Floats:
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
    kept: Floats = np.where(
        np.isfinite(spread),
        (moved + y.mean(axis=0)) * np.where(np.isfinite(spread), spread, 0.0),
        source,
    )
    return kept


def matched(source: Floats, target: Floats, *, seed: int = 0) -> Floats:
    """Returns source features, each shifted and stretched, with the least MMD from the target.

    Unlike `aligned` it looks at whole distributions and not at two moments, so that a few
    structures far away do not decide, and turns no feature into another.

    Args:
        source: [n_source, n_features].
        target: [n_target, n_features].
        seed: of the structures that are taken where there are many.
    """
    spread = _spread(source)
    varies = np.isfinite(spread)
    middle = source.mean(axis=0)
    x, y = (
        torch.from_numpy(_some(((rows - middle) / spread)[:, varies], seed))
        for rows in (source, target)
    )
    shift, stretch = (torch.zeros(x.shape[1], dtype=x.dtype) for _ in range(2))
    width = _median_width(torch.cat([x, y]))
    with torch.enable_grad():
        for free in (shift, stretch):
            free.requires_grad_(True)
        optimizer = torch.optim.Adam([shift, stretch], lr=0.05)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            held = _HELD * (shift.square().sum() + stretch.square().sum())
            loss = _discrepancy(x * stretch.exp() + shift, y, width) + held
            loss.backward()
            optimizer.step()
    moved = source.copy()
    free = (source - middle)[:, varies] * stretch.detach().exp().numpy()
    moved[:, varies] = free + middle[varies] + shift.detach().numpy() * spread[varies]
    return moved


def discrepancy(source: Floats, target: Floats, *, seed: int = 0) -> float:
    """Returns the squared MMD of two sets of rows, in units of their joint spread; 0 if alike.

    The mean over Gaussian kernels of some widths about the median distance.

    Args:
        source: [n_source, n_features].
        target: [n_target, n_features].
        seed: of the structures that are taken where there are many.
    """
    spread = _spread(np.concatenate([source, target]))
    varies = np.isfinite(spread)
    if not varies.any():
        return 0.0
    x, y = (torch.from_numpy(_some((r / spread)[:, varies], seed)) for r in (source, target))
    with torch.no_grad():
        return float(_discrepancy(x, y, _median_width(torch.cat([x, y]))))


def coral(x: Tensor, y: Tensor) -> Tensor:
    """Returns |Δmean|²/d + |Δcovariance|²/(4 d²) of two sets of rows, [n, d] and [m, d]."""
    d = x.shape[1]
    means = (x.mean(dim=0) - y.mean(dim=0)).square().sum() / d
    own, other = (torch.cov(rows.T).reshape(d, d) for rows in (x, y))
    return means + (own - other).square().sum() / (4 * d**2)


def kernel_distance(x: Tensor, y: Tensor) -> Tensor:
    """Returns the squared MMD of two sets of rows, see `discrepancy`, which can be differentiated.

    The width of the kernels is that of the rows, and no way to a smaller distance.
    """
    with torch.no_grad():
        width = _median_width(torch.cat([x, y]))
    return _discrepancy(x, y, width)


def _discrepancy(x: Tensor, y: Tensor, width: float) -> Tensor:
    def similar(a: Tensor, b: Tensor) -> Tensor:
        # not cdist, whose derivative is singular where two rows are the same
        squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2.0 * (a @ b.T)
        return torch.stack(
            [torch.exp(-0.5 * squares.clamp(min=0.0) / (w * width) ** 2) for w in _WIDTHS]
        ).mean(dim=0)

    return similar(x, x).mean() + similar(y, y).mean() - 2.0 * similar(x, y).mean()


def _median_width(rows: Tensor) -> float:
    return max(float(torch.pdist(rows).median()), 1e-12)


def _some(rows: Floats, seed: int) -> Floats:
    order = np.random.default_rng([seed, 13]).permutation(len(rows))
    return np.ascontiguousarray(rows[order[:_ROWS]])


def _power(matrix: Floats, power: float) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T


def _spread(rows: Floats) -> Floats:
    """Returns standard deviations, infinite for a feature that does not vary."""
    spread = rows.std(axis=0)
    varies = spread > 1e-9 * np.maximum(np.abs(rows).max(axis=0), 1e-300)
    return np.where(varies, spread, np.inf)


def _standardised(rows: Floats, by: Floats) -> Floats:
    return (rows - by.mean(axis=0)) / _spread(by)
