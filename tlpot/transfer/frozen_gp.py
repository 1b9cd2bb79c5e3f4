"""A Gaussian process on frozen features."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tlpot.config import check_least
from tlpot.data import frames_of
from tlpot.errors import ConfigError, DataError
from tlpot.models import KNOWN, N_KNOWN, CorrectionInfo, GaussianCorrection, Potential, same_readout
from tlpot.numbers import Floats
from tlpot.training import fit_composition
from tlpot.transfer.residuals import Frozen, floored, need_sklearn, residuals
from tlpot.transfer.strategy import TransferContext

_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class FrozenGP(Frozen):
    """A Gaussian process of the energies that the parent leaves over; it knows how sure it is.

    The kernel compares the features of whole structures, summed over the atoms of each
    element. Forces follow by differentiation, but force labels are not used. The standard
    deviations are those that `tlpot.models.LevelPotential.predict` gives.

    Attributes:
        blocks, on: see `Frozen`.
        restarts: further starting points in the search for the kernel's parameters.
        max_frames: refuse more training frames than this; time grows with their cube and the
            model file with their square.
    """

    name: ClassVar[str] = "frozen-gp"
    summary: ClassVar[str] = "Gaussian process on frozen features of"
    energy_caution: ClassVar[str] = (
        "energies of whole structures are fitted: force labels are not used, and energies of "
        "molecules far apart do not add up; frozen-ridge on a network of tlpot does both"
    )

    restarts: int = 2
    max_frames: int = 2000

    def __post_init__(self) -> None:
        check_least(self, restarts=0, max_frames=2)
        if self.adapt is not None and self.adapt.weights:
            raise ConfigError(
                "adapt.weights does not apply to frozen-gp, whose structures all have the same "
                "noise; take adapt.weights=false, or frozen-ridge"
            )

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the parent with one more level, whose readout is silent if it is replaced.

        Raises:
            MissingExtraError: scikit-learn is not installed.
            ConfigError: no such block.
            DataError: too many training frames.
        """
        need_sklearn(self.name)
        n_frames = len(context.split.train)
        if n_frames > self.max_frames:
            raise DataError(
                f"there are {n_frames} training frames and strategy.max_frames is "
                f"{self.max_frames}; use fewer (split.train={self.max_frames}), raise it, or "
                "take frozen-ridge, whose effort grows in proportion"
            )
        return super().start(context, references)

    def finish(self, potential: Potential, context: TransferContext) -> Potential:
        """Fits the process and adds it to the level."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        seen = residuals(potential, context, self.blocks, self.adapt)
        spread = seen.pooled.rows.std(axis=0)
        largest = np.abs(seen.pooled.rows).max(axis=0)
        varies = spread > 1e-9 * np.maximum(largest, 1e-300)
        varies &= spread > 1e-12 * spread.max()
        scale = floored(np.where(varies, spread, np.inf), potential, seen.blocks)
        if KNOWN in seen.blocks:  # which counts as much as all the other features together
            scale[-N_KNOWN:] /= np.sqrt(max(len(scale) - N_KNOWN, 1))
        rows = seen.pooled.rows / scale
        unit = float(np.sqrt(np.mean(seen.targets**2))) or 1.0
        length = float(np.sqrt(max(np.isfinite(scale).sum(), 1)))
        kernel = ConstantKernel(1.0, (1e-6, 1e6)) * RBF(
            length, (1e-3 * length, 1e4 * length)
        ) + WhiteKernel(1e-2, (1e-10, 1e2))
        process = GaussianProcessRegressor(
            kernel,
            alpha=1e-10,
            n_restarts_optimizer=self.restarts,
            random_state=context.seed % 2**32,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            process.fit(rows, seen.targets / unit)
        product, noise = process.kernel_.k1, process.kernel_.k2.noise_level + process.alpha
        weights = process.alpha_.reshape(-1)
        # leave-one-out residuals in closed form: Rasmussen and Williams, eq. 5.12
        inverse = np.linalg.inv(process.L_)
        left_out = unit * weights / (inverse**2).sum(axis=0)
        covariance = unit**2 * (product(rows) + noise * np.eye(len(rows)))
        square = self._widening(potential, context, seen.targets, covariance)
        fit: dict[str, Any] = {
            "on": self.on,
            "frames": len(rows),
            "length": float(product.k2.length_scale),
            **seen.fact("noise", float(1e3 * unit * noise**0.5)),
            **({} if square == 1.0 else {"widened": float(square**0.5)}),
            **seen.fact("leave_one_out_mae", 1e3 * float(np.abs(left_out).mean())),
            **seen.fact("mean_abs_before", 1e3 * float(np.abs(seen.targets).mean())),
            **seen.notes,
            "warnings": sorted({str(w.message).splitlines()[0] for w in caught}),
        }
        info = CorrectionInfo(
            kind="gaussian process", blocks=seen.blocks, sizes=(len(rows),), fit=fit
        )
        made = GaussianCorrection.fitted(
            info,
            scale.reshape(seen.pooled.squares.shape),
            rows,
            weights / unit / square,
            unit * square**0.5 * process.L_,
            (
                unit**2 * square * product.k1.constant_value,
                product.k2.length_scale,
                unit**2 * square * noise,
            ),
        )
        potential.head(context.level).corrections.append(made)
        return potential.to(context.parent.dtype).to(context.parent.device)

    def _widening(
        self, potential: Potential, context: TransferContext, targets: Floats, covariance: Floats
    ) -> float:
        """Returns what the variances of a property are multiplied by, 1 or more.

        The process sees what the composition leaves over of the very labels that it was fitted to,
        which is far less than of others where there are about as many elements as labels. So
        composition and process are fitted to four fifths of them, and the errors on the rest say
        how wide the deviations are; predictions stay as they are.
        """
        target = context.targets.get(context.level)
        n = len(targets)
        if target is None or target.quantity.kind == "yes_no" or n < 2 * _FOLDS:
            return 1.0
        train, elements = context.split.train, list(potential.elements)
        counts = np.array(
            [
                np.bincount(frame.system.atomic_numbers, minlength=max(elements) + 1)[elements]
                for frame in frames_of(context.dataset, train, levels=())
            ],
            dtype=float,
        )
        if not target.quantity.extensive:
            counts /= counts.sum(axis=1, keepdims=True)
        own, before = potential.references(context.level), dict.fromkeys(elements, 0.0)
        of_source = context.parent.target(context.source)
        if self.inherits and same_readout(context.level, target, context.source, of_source):
            before = context.parent.references(context.source)
        shifts = np.array([own[z] - before[z] for z in elements])
        if not shifts.any():  # nothing was fitted
            return 1.0
        values = targets + counts @ shifts
        squares = np.zeros(n)
        fold = np.random.default_rng([context.seed, 9]).permutation(n) % _FOLDS
        for k in range(_FOLDS):
            out, rest = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
            left = values - counts @ fit_composition(counts[rest], values[rest]).shifts
            gain = np.linalg.solve(covariance[np.ix_(rest, rest)], covariance[np.ix_(rest, out)])
            variance = np.diag(covariance)[out] - (covariance[np.ix_(rest, out)] * gain).sum(axis=0)
            squares[out] = (left[out] - gain.T @ left[rest]) ** 2 / variance
        return max(1.0, float(squares.mean()))
