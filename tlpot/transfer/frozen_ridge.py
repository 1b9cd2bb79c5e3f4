"""Ridge regression on frozen features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tlpot.config import check_least
from tlpot.errors import ConfigError, DataError
from tlpot.models import CorrectionInfo, EngineBackbone, LinearCorrection, Potential
from tlpot.numbers import Ints
from tlpot.transfer.residuals import Frozen, floored, residuals
from tlpot.transfer.ridge import Moments, assign_folds, fit_ridge, normal_equations
from tlpot.transfer.strategy import TransferContext
from tlpot.transfer.summed_features import pooled_features

FORCE_WEIGHT = 0.05
"""Å²: of the size of (error of an energy)²/(atoms · (error of a force component)²)."""

GroupBy = Literal["auto", "molecule", "random"]


@dataclass(frozen=True, kw_only=True)
class FrozenRidge(Frozen):
    """A linear map on the frozen features, solved for in closed form; nothing is iterated.

    E = E0 + E_parent + Σ_i w_{z_i}·φ_i with ridge weights w of each element z, fitted to what
    the parent leaves over in energies and forces. This is the frozen featurizer of Yamada et
    al. (doi:10.1021/acscentsci.9b00804), for an energy that can be differentiated. The parent's
    levels are kept.

    Attributes:
        blocks, on: see `Frozen`.
        forces: whether to fit forces as well; left out: where there are force labels.
        force_weight: of a squared force component against a squared energy per atom, Å²;
            left out: 0.05.
        strength: of the regularisation, as a multiple of the mean diagonal of the normal
            equations of standardised features; left out: the best of a grid on folds.
        folds: number of folds that decide on the strength.
        by: ``molecule`` keeps a molecule in one fold, ``random`` divides frames, ``auto`` is by
            molecule if there are at least as many as folds.
    """

    name: ClassVar[str] = "frozen-ridge"
    summary: ClassVar[str] = "ridge regression on frozen features of"
    caution: ClassVar[str] = (
        "the parent's weights stay as they are; a linear term is solved for in closed form and "
        "added to the new level"
    )

    forces: bool | None = None
    force_weight: float | None = None
    strength: float | None = None
    folds: int = 5
    by: GroupBy = "auto"

    def __post_init__(self) -> None:
        if self.force_weight is not None:
            if not 0 < self.force_weight < 1e6:
                raise ConfigError(
                    f"force_weight is {self.force_weight}, expected a positive number; "
                    "forces=false leaves forces out"
                )
            if self.forces is False:
                raise ConfigError("force_weight does not apply with forces=false; leave it out")
        if self.strength is not None and not 0 < self.strength < 1e12:
            raise ConfigError(f"strength is {self.strength}, expected a positive number")
        check_least(self, folds=2)

    @property
    def learns_forces(self) -> bool:
        """Whether forces are fitted where there are some."""
        return self.forces is not False

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the parent with one more level, whose readout is silent if it is replaced.

        Raises:
            ConfigError: no such block.
            DataError: forces are asked for and not labelled.
        """
        self._fits_forces(context)
        return super().start(context, references)

    def finish(self, potential: Potential, context: TransferContext) -> Potential:
        """Fits the correction and adds it to the level."""
        train = context.split.train
        model = potential.double().at(context.level)
        blocks = tuple(model.block_sizes(self.blocks))
        folds = training_folds(context, self.folds, self.by)
        forces = self._fits_forces(context)
        weight = (FORCE_WEIGHT if self.force_weight is None else self.force_weight) * forces
        notes: Mapping[str, float] = {}
        if self.adapt is None:
            pooled = pooled_features(model, context.dataset, train, blocks, cache=context.cache)
        else:
            seen = residuals(potential, context, self.blocks, self.adapt)
            pooled, notes = seen.pooled, seen.notes
        scale = floored(pooled.scale(), potential, blocks)
        # columns of elements that no frame has would be most of a matrix of a universal parent
        columns = np.flatnonzero(np.isfinite(scale))
        if self.adapt is None:
            moments = normal_equations(
                model, context.dataset, train, context.level, blocks, folds,
                columns=columns, force_weight=weight,
            )  # fmt: skip
        else:
            counts = np.ones(len(train)) if seen.weights is None else seen.weights
            target = context.targets[context.level]
            if target.quantity.extensive:  # as in `normal_equations`
                counts = counts / context.dataset.sizes[train]
            moments = [
                Moments.of(pooled.rows[k][:, columns], seen.targets[k], counts[k])
                for k in (folds == fold for fold in range(int(folds.max()) + 1))
            ]
        fit = fit_ridge(
            [m.divided(scale.reshape(-1)[columns]) for m in moments],
            self.strength,
            n_columns=scale.size,
        )
        info = CorrectionInfo(
            kind="linear",
            blocks=blocks,
            fit={
                "on": self.on, "frames": len(train), "forces": forces, "force_weight": weight,
                "strength": fit.strength, "folds": len(moments),
                "loss_left_out_over_before": None if np.isnan(fit.ratio) else fit.ratio, **notes,
            },
        )  # fmt: skip
        weights = np.zeros(scale.size)
        weights[columns] = fit.weights / scale.reshape(-1)[columns]
        head = potential.head(context.level)
        head.corrections.append(LinearCorrection.fitted(info, weights.reshape(scale.shape)))
        return potential.to(context.parent.dtype).to(context.parent.device)

    def _fits_forces(self, context: TransferContext) -> bool:
        dataset, level = context.dataset, context.level
        labelled = bool(dataset.labelled(level, "forces")[context.split.train].any())
        if isinstance(context.parent.backbone, EngineBackbone):
            if self.forces or self.force_weight is not None:
                raise ConfigError(
                    "strategy.forces and force_weight do not apply to the features of "
                    f"{context.source}, which come without derivatives; leave them out"
                )
            return False
        if self.forces and not labelled:
            raise DataError(
                f"strategy.forces is true, but none of the training frames of {dataset.path} has "
                f"forces at {level}; leave it out to fit energies"
            )
        if self.force_weight is not None and not labelled:
            raise ConfigError(
                "strategy.force_weight does not apply: no training frame has forces at "
                f"{level}; leave it out"
            )
        return labelled and self.forces is not False


def training_folds(context: TransferContext, n_folds: int, by: GroupBy) -> Ints:
    """Returns the fold of each training frame.

    Raises:
        ConfigError: folds by molecule of a single molecule.
    """
    train = context.split.train
    molecules = context.dataset.group_idx[train]
    n_molecules = len(np.unique(molecules))
    if by == "molecule" and n_molecules < 2:
        raise ConfigError("strategy.by=molecule needs training frames of two or more molecules")
    grouped = by == "molecule" or (by == "auto" and n_molecules >= n_folds)
    frames = np.arange(len(train))
    if len(np.unique(train)) < len(train):  # a frame that counts twice is in one fold
        frames = train
    return assign_folds(molecules if grouped else frames, n_folds, context.seed)
