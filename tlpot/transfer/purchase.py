"""The cheapest labels for an error, and the best ones for a budget, by the law of both sizes.

For err = D h^-α l^-β + C with h expensive and l cheap labels, spending on both has paid off when
l/h = r β/α, where r is the price of an expensive label in cheap ones: there another unit of money
buys the same with either. Hoffmann et al., doi:10.1039/d3dd00030c, Fig. 5, draw the same balance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def best_split(
    parameters: Array, budget: float, ratio: float, *, have_high: float = 0.0, have_low: float = 0.0
) -> tuple[Array, Array]:
    """Returns the expensive and the cheap labels that minimise the error for a budget.

    Args:
        parameters: ln D, α, β, C of each law, [n_laws, 4].
        budget: to be spent, in prices of a cheap label.
        ratio: price of an expensive label.
        have_high: expensive labels that are there already, for nothing.
        have_low: cheap labels that are there already.
    """
    alpha, beta = parameters[:, 1], parameters[:, 2]
    total = budget + ratio * have_high + have_low
    with np.errstate(invalid="ignore"):
        share = np.where(alpha + beta > 0, alpha / (alpha + beta), 0.5)
    high = share * total / ratio
    # the objective is concave in the logarithms, so the nearest allowed point is the best
    high = np.clip(high, have_high, (total - have_low) / ratio)
    return high, total - ratio * high


def cheapest_labels(
    parameters: Array, target: float, ratio: float, *, have_high: float = 0.0, have_low: float = 0.0
) -> tuple[Array, Array]:
    """Returns the expensive and the cheap labels, at least 1, that reach an error at least cost.

    Args:
        parameters: ln D, α, β, C of each law, [n_laws, 4].
        target: error, in the unit of the law.
        ratio: price of an expensive label in cheap ones.
        have_high: expensive labels that are there already, for nothing.
        have_low: cheap labels that are there already.

    Returns:
        Infinite numbers where a law never reaches the target.
    """
    log_d, alpha, beta, floor = parameters.T
    least_high, least_low = max(have_high, 1.0), max(have_low, 1.0)
    gap = target - floor
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        need = log_d - np.log(gap)  # = α ln h + β ln l
        log_high = (need - beta * np.log(ratio * beta / alpha)) / (alpha + beta)
        log_high = np.where(beta > 0, log_high, need / alpha)
        log_high = np.where(alpha > 0, log_high, -np.inf)
        high = np.maximum(np.exp(log_high), least_high)
        low = np.exp((need - alpha * np.log(high)) / beta)
        # too few of the one: its bound decides, and the other follows
        few = ~(low >= least_low) | (beta == 0)
        low = np.where(few, least_low, low)
        alone = np.exp((need - beta * np.log(least_low)) / alpha)
        high = np.where(few, np.maximum(np.where(alpha > 0, alone, np.inf), least_high), high)
    done = gap > 0
    reached = need - alpha * np.log(least_high) - beta * np.log(least_low) <= 0
    high = np.where(reached, least_high, high)
    low = np.where(reached, least_low, low)
    return np.where(done, high, np.inf), np.where(done, low, np.inf)
