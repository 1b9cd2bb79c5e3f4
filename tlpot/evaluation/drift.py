"""What a transfer has changed of its parent: forces, and errors at the parent's own level.

The drift of the forces needs no label, so it is the guard of a fine-tuning on energies only, whose
forces nothing else watches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols

from tlpot.data import Dataset, Frame
from tlpot.energy import EnergyModel
from tlpot.evaluation.offsets import centred, composition_idx
from tlpot.evaluation.predictions import Predictions, evaluate_systems, predict
from tlpot.numbers import Floats, Ints, counted, mae, rmse, short


@dataclass(frozen=True, kw_only=True, slots=True)
class ForceDrift:
    """Forces and relative energies of the new model less the parent's.

    Attributes:
        n_frames: frames that were looked at.
        components: [n_atoms, 3], force differences, meV/Å.
        atomic_numbers: [n_atoms].
        parent_rms: RMS force component of the parent, meV/Å.
        energies: energy differences less their mean for the composition, meV; only of
            compositions with two frames or more.
    """

    n_frames: int
    components: Floats
    atomic_numbers: Ints
    parent_rms: float
    energies: Floats

    @property
    def rms(self) -> float:
        """RMS difference of a force component, meV/Å."""
        return rmse(self.components)

    @property
    def relative(self) -> float:
        """The same as a share of the parent's RMS force; NaN if that is zero."""
        return self.rms / self.parent_rms if self.parent_rms else float("nan")

    @property
    def by_element(self) -> dict[str, float]:
        """RMS difference on the atoms of an element, meV/Å."""
        return {
            chemical_symbols[z]: rmse(self.components[self.atomic_numbers == z])
            for z in sorted(set(self.atomic_numbers.tolist()))
        }

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers; what is not defined is left out."""
        found: dict[str, Any] = {
            "n_frames": self.n_frames,
            "forces_rms": self.rms,
            "forces_largest": float(np.abs(self.components).max()),
            "forces_rms_of_parent": self.parent_rms,
            "forces_rms_by_element": self.by_element,
        }
        if len(self.energies):
            found["relative_energy_rms"] = rmse(self.energies)
        return found

    def summary(self) -> str:
        """Returns one line."""
        share = f", {short(100 * self.relative)} % of its forces" if self.parent_rms else ""
        return f"force drift from the parent: RMS {short(self.rms)} meV/Å{share}"

    def text(self) -> str:
        """Returns a few lines."""
        elements = ", ".join(f"{name} {short(value)}" for name, value in self.by_element.items())
        lines = [
            f"{self.summary()} ({counted(self.n_frames, 'frame')}, no labels needed)",
            f"  largest component {short(np.abs(self.components).max())} meV/Å; RMS by element: "
            f"{elements}",
        ]
        if len(self.energies):
            lines.append(
                f"  energies relative to the mean of their composition moved by RMS "
                f"{short(rmse(self.energies))} meV ({counted(len(self.energies), 'frame')})"
            )
        return "\n".join(lines)


def force_drift(
    new: EnergyModel,
    parent: EnergyModel,
    frames: Sequence[Frame],
    *,
    device: torch.device | str = "cpu",
) -> ForceDrift:
    """Compares two models on the geometries of `frames`; labels are not looked at.

    Both models are on `device`; there is one frame at least.

    Raises:
        UnknownElementError: a model does not know an element.
    """
    systems, names = [f.system for f in frames], [f.name for f in frames]
    after, before = (
        evaluate_systems(m, systems, device=device, names=names) for m in (new, parent)
    )
    numbers = np.concatenate([s.atomic_numbers for s in systems])
    groups = composition_idx(np.array([len(s) for s in systems]), numbers)
    energies = centred(1e3 * (after.energy - before.energy), groups)
    return ForceDrift(
        n_frames=len(frames),
        components=1e3 * (after.forces - before.forces),
        atomic_numbers=numbers,
        parent_rms=rmse(1e3 * before.forces),
        energies=energies[np.isfinite(energies)],
    )


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
    indices: Ints,
    level: str,
    *,
    kept: bool,
    device: torch.device | str = "cpu",
) -> Forgetting | None:
    """Compares two models with the labels of the parent's level.

    The new model is at `level`, the parent's, if that is `kept`, else at its new level; the parent
    is at `level`, and both are on `device`. Frames without a label at `level` are passed over.

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
    return Forgetting(level=level, n_frames=len(known), kept=kept, parent=errors[0], new=errors[1])


def _errors(found: Predictions, *, relative: bool) -> dict[str, float]:
    error = 1e3 * (found.energy[:, 1] - found.energy[:, 0])
    known = np.isfinite(error)
    if relative and known.any():
        groups = composition_idx(found.sizes, found.atomic_numbers)
        error[known] = centred(error[known], groups[known])
    forces = 1e3 * (found.forces[..., 1] - found.forces[..., 0])
    rows = {"energy_mae": error, "forces_mae": forces}
    return {
        name: mae(values[np.isfinite(values)])
        for name, values in rows.items()
        if np.isfinite(values).any()
    }
