"""A random forest on frozen features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlpot.config import check_least
from tlpot.models import CorrectionInfo, ForestCorrection, Potential
from tlpot.transfer.residuals import Frozen, need_sklearn, residuals
from tlpot.transfer.strategy import TransferContext


@dataclass(frozen=True, kw_only=True)
class FrozenForest(Frozen):
    """A random forest of the energies that the parent leaves over: energies only, no forces.

    The model of Yamada et al. (doi:10.1021/acscentsci.9b00804), here for comparison: a forest
    is piecewise constant, so the result can rank structures but not move atoms.

    Attributes:
        blocks, on: see `Frozen`.
        trees: number of trees.
        min_leaf: least number of frames in a leaf.
    """

    name: ClassVar[str] = "frozen-forest"
    summary: ClassVar[str] = "random forest on frozen features of"
    energy_caution: ClassVar[str] = (
        "the result has energies only: a forest is piecewise constant in the positions and has "
        "no forces; for dynamics and relaxations use frozen-ridge or frozen-gp"
    )

    trees: int = 200
    min_leaf: int = 1

    def __post_init__(self) -> None:
        check_least(self, trees=1, min_leaf=1)

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the parent with one more level, whose readout is silent if it is replaced.

        Raises:
            MissingExtraError: scikit-learn is not installed.
            ConfigError: no such block.
        """
        need_sklearn(self.name)
        return super().start(context, references)

    def finish(self, potential: Potential, context: TransferContext) -> Potential:
        """Grows the forest and adds it to the level."""
        from sklearn.ensemble import RandomForestRegressor

        seen = residuals(potential, context, self.blocks, self.adapt)
        forest = RandomForestRegressor(
            self.trees, min_samples_leaf=self.min_leaf, max_features=1 / 3, oob_score=False,
            random_state=context.seed % 2**32, n_jobs=1,
        ).fit(seen.pooled.rows, seen.targets, seen.weights)  # fmt: skip
        grown = [
            (
                tree.feature,
                tree.threshold,
                np.stack([tree.children_left, tree.children_right], axis=1),
                tree.value[:, 0, 0],
            )
            for tree in (estimator.tree_ for estimator in forest.estimators_)
        ]
        info = CorrectionInfo(
            kind="forest",
            blocks=seen.blocks,
            sizes=(sum(len(feature) for feature, *_ in grown), len(grown)),
            fit={
                "on": self.on,
                "frames": len(seen.targets),
                "min_leaf": self.min_leaf,
                **seen.fact("mean_abs_before", 1e3 * float(np.abs(seen.targets).mean())),
                **seen.notes,
            },
        )
        n_elements, n_features = seen.pooled.squares.shape
        made = ForestCorrection.fitted(info, n_elements, n_features, grown)
        potential.head(context.level).corrections.append(made)
        return potential.to(context.parent.dtype).to(context.parent.device)
