"""Least squares for power laws with a floor, many data sets at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEEPEST = 6.0
"""Largest exponent considered; a fit that ends here follows no power law."""
_STARTS = (0.0, 0.3, 0.6, 0.9, 0.98)
"""Floors to start from, as a share of the smallest value."""
_ITERATIONS = 60


def solve(x: Array, y: Array, weights: Array, *, floor: bool) -> Array:
    """Minimises Σ w (y − ln(exp(a − Σ αx) + C))² with 0 ≤ α ≤ STEEPEST and C ≥ 0.

    A projected Levenberg–Marquardt method from several floors; the best end is taken, so that
    the result does not hang on one start.

    Args:
        x: logarithms of the sizes, [n_points, n_factors].
        y: logarithms of the values, [n_sets, n_points].
        weights: [n_points].
        floor: whether C may be other than 0.

    Returns:
        a, the exponents and C for each set, [n_sets, n_factors + 2].
    """
    centre = x.mean(axis=0)
    unit = float(y.mean())
    x, y = x - centre, y - unit
    best: Array | None = None
    for share in _STARTS if floor else (0.0,):
        found = _descend(x, y, weights, _linear_start(x, y, weights, share), floor)
        cost = _cost(x, y, weights, found)
        if best is None:
            best, lowest = found, cost
        better = cost < lowest - 1e-12
        best = np.where(better[:, None], found, best)
        lowest = np.where(better, cost, lowest)
    assert best is not None
    best[:, 0] += best[:, 1:-1] @ centre + unit
    best[:, -1] *= np.exp(unit)
    return best


def logarithm(x: Array, parameters: Array) -> Array:
    """Returns ln of the law at the points x [n_points, n_factors], [n_sets, n_points]."""
    power = parameters[:, :1] - parameters[:, 1:-1] @ x.T
    with np.errstate(divide="ignore"):
        return np.logaddexp(power, np.log(parameters[:, -1:]))


def _cost(x: Array, y: Array, weights: Array, parameters: Array) -> Array:
    return ((y - logarithm(x, parameters)) ** 2) @ weights


def _linear_start(x: Array, y: Array, weights: Array, share: float) -> Array:
    """Linear regression of ln(value − C) for a C below all values."""
    c = share * np.exp(y.min(axis=1, keepdims=True))
    root = np.sqrt(weights)[:, None]
    design = np.column_stack([np.ones(len(x)), -x]) * root
    target = np.log(np.exp(y) - c) * root.T
    line = (np.linalg.pinv(design) @ target.T).T
    line[:, 1:] = np.clip(line[:, 1:], 0.01, STEEPEST)
    return np.column_stack([line, c])


def _descend(x: Array, y: Array, weights: Array, start: Array, floor: bool) -> Array:
    n_sets, n = start.shape
    low = np.array([-np.inf, *[0.0] * (n - 2), 0.0])
    # a floor above every value fits nothing better than a flat power law does
    high = np.tile(np.array([np.inf, *[STEEPEST] * (n - 2), 0.0]), (n_sets, 1))
    high[:, -1] = np.exp(y.max(axis=1)) if floor else 0.0
    parameters = np.clip(start, low, high)
    cost = _cost(x, y, weights, parameters)
    damping = np.full(n_sets, 1e-2)
    identity = np.eye(n)
    for _ in range(_ITERATIONS):
        log = logarithm(x, parameters)
        power = np.exp(parameters[:, :1] - parameters[:, 1:-1] @ x.T - log)
        jacobian = np.concatenate(
            [power[..., None], -x * power[..., None], np.exp(-log)[..., None]], axis=2
        )
        weighted = jacobian * weights[:, None]
        gradient = np.einsum("spk,sp->sk", weighted, y - log)
        normal = np.einsum("spk,spl->skl", weighted, jacobian)
        # what sits at a bound and wants to leave through it stays there
        held = ((parameters <= low) & (gradient < 0)) | ((parameters >= high) & (gradient > 0))
        keep = ~held
        normal = normal * (keep[:, :, None] & keep[:, None, :])
        diagonal = np.einsum("skk->sk", normal)
        normal = normal + identity * (damping[:, None] * diagonal + 1e-12 + held)[:, None, :]
        step = np.linalg.solve(normal, (gradient * keep)[..., None])[..., 0]
        trial = np.clip(parameters + step, low, high)
        trial_cost = _cost(x, y, weights, trial)
        better = trial_cost < cost
        parameters = np.where(better[:, None], trial, parameters)
        cost = np.where(better, trial_cost, cost)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-9, 1e9)
    return parameters
