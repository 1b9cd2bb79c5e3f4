"""A random forest on frozen features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tlpot.errors import ConfigError
from tlpot.models import CorrectionInfo, ForestCorrection, Potential, check_blocks
from tlpot.transfer.leftover import leftover, need_sklearn, silence
from tlpot.transfer.recipe import Recipe
from tlpot.transfer.situation import Situation
from tlpot.transfer.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class FrozenForest(Strategy):
    """A random forest of the energies that the parent leaves over: energies only, no forces.

    The model of Yamada et al. (doi:10.1021/acscentsci.9b00804), here for comparison: a forest
    is piecewise constant, so the result can rank structures but not move atoms.

    Attributes:
        blocks: whose features: ``layer 1``, …, ``readout``; left out: scalars of all layers.
        on: ``residual`` corrects the parent's energy; ``total`` replaces its readout.
        trees: number of trees.
        min_leaf: least number of frames in a leaf.
    """

    name: ClassVar[str] = "frozen-forest"
    summary: ClassVar[str] = "random forest on frozen features of"
    recipe: ClassVar[Recipe | None] = None
    caution: ClassVar[str] = (
        "the result has energies only: a forest is piecewise constant in the positions and has "
        "no forces; for dynamics and relaxations use frozen-ridge or frozen-gp"
    )
    keeps_levels: ClassVar[bool] = True

    blocks: tuple[str, ...] = ()
    on: Literal["residual", "total"] = "residual"
    trees: int = 200
    min_leaf: int = 1

    def __post_init__(self) -> None:
        for name in ("trees", "min_leaf"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 1 or more")

    @property
    def inherits(self) -> bool:  # type: ignore[override]
        """Without the parent's energy step 0 is nothing but reference energies."""
        return self.on == "residual"

    def start(self, situation: Situation, references: Mapping[int, float]) -> Potential:
        """Returns the parent with one more level, whose readout is silent if it is replaced.

        Raises:
            MissingExtraError: scikit-learn is not installed.
            ConfigError: no such block.
        """
        need_sklearn(self.name)
        check_blocks(self.blocks, situation.parent.architecture)
        grown = super().start(situation, references)
        if self.on == "total":
            silence(grown, situation.level)
        return grown

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """No weight moves."""
        return {}

    def finish(self, potential: Potential, situation: Situation) -> Potential:
        """Grows the forest and adds it to the level."""
        from sklearn.ensemble import RandomForestRegressor

        seen = leftover(potential, situation, self.blocks)
        forest = RandomForestRegressor(
            self.trees, min_samples_leaf=self.min_leaf, max_features=1 / 3, oob_score=False,
            random_state=situation.seed, n_jobs=1,
        ).fit(seen.pooled.rows, seen.targets)  # fmt: skip
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
                "on": self.on, "frames": len(seen.targets), "min_leaf": self.min_leaf,
                "mean_abs_before_mev": 1e3 * float(np.abs(seen.targets).mean()),
            },
        )  # fmt: skip
        n_elements, n_features = seen.pooled.squares.shape
        made = ForestCorrection.fitted(info, n_elements, n_features, grown)
        potential.head(situation.level).corrections.append(made)
        return potential.to(situation.parent.dtype).to(situation.parent.device)
