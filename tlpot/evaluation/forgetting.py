"""Forgetting: errors at the level that the parent was trained on, before and after a transfer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tlpot.data import Dataset
from tlpot.energy import EnergyModel
from tlpot.evaluation.offsets import centred, composition_idx
from tlpot.evaluation.predictions import Predictions, predict
from tlpot.presentation import short


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgetting:
    """Errors on labels of the source level.

    Attributes:
        level: the source level.
        n_frames: frames with a label there.
        kept: whether the new model still has this level. If not, its new level stands in, and
            the energies of both models are compared with the labels after subtraction of the
            mean error of each composition.
        parent: MAE of energy (meV) and forces (meV/Å) of the parent; what has no label is
            missing.
        new: the same of the new model.
    """

    level: str
    n_frames: int
    kept: bool
    parent: Mapping[str, float]
    new: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers."""
        return {
            "level": self.level,
            "n_frames": self.n_frames,
            "kept": self.kept,
            "parent": dict(self.parent),
            "new": dict(self.new),
        }

    def summary(self) -> str:
        """Returns one line."""
        energy = "energy" if self.kept else "relative energy"
        words = [
            f"{name} MAE {short(self.parent[key])} → {short(self.new[key])} {unit}"
            for key, name, unit in (("energy_mae", energy, "meV"), ("forces_mae", "force", "meV/Å"))
            if key in self.parent
        ]
        return f"source error (forgetting) at {self.level}: {', '.join(words)}"

    def text(self) -> str:
        """Returns a few lines."""
        how = (
            "the new model still has this level"
            if self.kept
            else "the new model has lost this level, so its new one is\n  compared, less the mean "
            "error of each composition: part of the change is what the transfer is for"
        )
        return (
            f"{self.summary()}\n  parent → new model, {self.n_frames} frames; {how};\n"
            "  the parent may have been trained on these frames"
        )


def forgetting(
    new: EnergyModel,
    parent: EnergyModel,
    dataset: Dataset,
    indices: NDArray[np.int64],
    level: str,
    *,
    kept: bool,
    device: torch.device | str = "cpu",
) -> Forgetting | None:
    """Compares two models with the labels of the parent's level.

    Args:
        new: the new model, at `level` if that is `kept`, else at its new level.
        parent: the parent at `level`; both are on `device`.
        dataset: the frames.
        indices: which of them; those without a label at `level` are passed over.
        level: the parent's, canonical.
        kept: whether the new model still has it.
        device: where the models are.

    Returns:
        None if no frame has a label that could be compared.
    """
    if level not in dataset.levels:
        return None
    has = {kind: dataset.labelled(level, kind) for kind in ("energy", "forces")}
    known = indices[(has["energy"] | has["forces"])[indices]]
    if not len(known):
        return None
    found = [predict(m, dataset, known, level, device=device) for m in (parent, new)]
    errors = [_errors(f, relative=not kept) for f in found]
    if not errors[0]:
        return None
    return Forgetting(
        level=level, n_frames=len(known), kept=kept, parent=errors[0], new=errors[1]
    )  # fmt: skip


def _errors(found: Predictions, *, relative: bool) -> dict[str, float]:
    error = 1e3 * (found.energy[:, 1] - found.energy[:, 0])
    known = np.isfinite(error)
    if relative and known.any():
        groups = composition_idx(found.sizes, found.atomic_numbers)
        error[known] = centred(error[known], groups[known])
    forces = 1e3 * (found.forces[..., 1] - found.forces[..., 0])
    rows = {"energy_mae": error, "forces_mae": forces}
    return {
        name: float(np.abs(values[np.isfinite(values)]).mean())
        for name, values in rows.items()
        if np.isfinite(values).any()
    }
