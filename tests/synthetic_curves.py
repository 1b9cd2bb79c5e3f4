"""Curves made of numbers from known laws; no model was trained for them."""

import numpy as np

from tlpot.learning_curves import Curve
from tlpot.learning_curves.record import CurvePoint, Series

SIZES = (10, 20, 50, 100, 200, 500)


def synthetic_series(
    name, law, *, pretraining=5000, sizes=SIZES, seeds=3, spread=0.03, label=None, seed=0,
    late_fall=0.01,
):  # fmt: skip
    """A series whose energy MAE follows `law` (a function of the labels) with log-normal noise.

    Its validation errors fell by `late_fall` in the last fifth of the updates; None is a record
    that does not say.
    """
    rng = np.random.default_rng(seed)
    points = []
    for size in sizes:
        for k in range(seeds):
            error = float(law(size) * np.exp(spread * rng.standard_normal()))
            points.append(
                CurvePoint(
                    key=f"{name}{size}-{k}",
                    size=size,
                    seed=k,
                    start={"energy_mae": float(law(1)), "energy_rmse": 1.3 * float(law(1))},
                    end={"energy_mae": error, "energy_rmse": 1.3 * error},
                    seconds=1.0,
                    updates=None if late_fall is None else 1000,
                    late_fall={}
                    if late_fall is None
                    else {"energy_mae": late_fall, "energy_rmse": late_fall},
                )
            )
    return Series(
        label=label or name,
        name=name,
        strategy={"name": name},
        parent="synthetic parent",
        pretraining=pretraining,
        points=tuple(points),
    )


def synthetic_curve(*series, level="ccsd(t)/synthetic", n_validation=10):
    return Curve(
        level=level, n_validation=n_validation, n_test=100, series=tuple(series), config={}
    )  # fmt: skip


def scratch(n):
    return 4000 * n**-0.6 + 2


def full(n):
    return 500 * n**-0.5 + 2


def joint(n_high, n_low):
    return 20000 * n_high**-0.5 * n_low**-0.4 + 2
