"""Errors of models on fragments, kind by kind and of all together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tlpot.data import Dataset
from tlpot.energy import EnergyModel
from tlpot.errors import ConfigError, DataError, nearest
from tlpot.fragments.typed import OTHERS
from tlpot.pipeline.force_field_report.data_used import kind_names
from tlpot.training import predict

ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class KindErrors:
    """Errors on the fragments of one kind, or of all; meV/atom and meV/Å.

    Attributes:
        kind: name; `ALL` for the holistic figures.
        n_frames: fragments with an energy.
        n_atoms: of a fragment; the mean for all.
        energy_rmse: of total energies per atom.
        energy_mae: likewise.
        relative_rmse: of energies per atom less the mean error of their kind.
        relative_mae: likewise.
        force_rmse: of force components; NaN without forces.
        force_mae: likewise.
    """

    kind: str
    n_frames: int
    n_atoms: float
    energy_rmse: float
    energy_mae: float
    relative_rmse: float
    relative_mae: float
    force_rmse: float
    force_mae: float


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One model against the labels of one level.

    Attributes:
        title: such as ``before transfer``.
        model: what it is called.
        model_level: level of the model.
        label_level: level of the labels.
        part: which frames.
        rows: by kind, in the order of the data.
        total: over all frames and all force components.
        energy: [n_frames, 2], label and prediction per atom, each less its mean for the kind,
            eV/atom.
        forces: [n_components, 2], label and prediction, eV/Å.
    """

    title: str
    model: str
    model_level: str
    label_level: str
    part: str
    rows: tuple[KindErrors, ...]
    total: KindErrors
    energy: NDArray[np.float64]
    forces: NDArray[np.float64]

    @property
    def same_zero(self) -> bool:
        """Whether total energies can be compared: model and labels are of one level."""
        return self.model_level == self.label_level

    def as_json(self) -> dict[str, Any]:
        """Returns plain dicts; without the force components, which are in the picture only."""
        rows = [
            {k: getattr(row, k) for k in KindErrors.__dataclass_fields__}
            for row in (*self.rows, self.total)
        ]
        return {
            "title": self.title,
            "model": self.model,
            "model_level": self.model_level,
            "label_level": self.label_level,
            "part": self.part,
            "total_energies_comparable": self.same_zero,
            "by_kind": rows[:-1],
            "all": rows[-1],
            "relative_energies_per_atom": self.energy.tolist(),
        }


def measure_stage(
    models: EnergyModel | Mapping[str, EnergyModel],
    dataset: Dataset,
    indices: NDArray[np.int64],
    *,
    title: str,
    model: str,
    model_level: str,
    label_level: str,
    part: str,
    device: torch.device | str = "cpu",
) -> Stage:
    """Evaluates a model on labelled fragments.

    Args:
        models: one for everything, or by name of the kind with ``"*"`` for all others.
        dataset: the fragments.
        indices: those to look at; frames without a label at `label_level` are passed over.
        title: see `Stage`.
        model: see `Stage`.
        model_level: canonical.
        label_level: canonical.
        part: see `Stage`.
        device: where the models are.

    Raises:
        DataError: no frame has a label.
        ConfigError: a kind has no model.
        UnknownElementError: a model does not know an element.
    """
    labelled = indices[dataset.labelled(label_level)[indices]]
    if not len(labelled):
        raise DataError(f"{dataset.path}: none of the {part} has an energy at {label_level}")
    rows, energies, centred, forces, sizes = [], [], [], [], []
    for group, name in enumerate(kind_names(dataset)):
        chosen = labelled[dataset.group_idx[labelled] == group]
        if not len(chosen):
            continue
        found = predict(_of(models, name), dataset, chosen, label_level, device=device)
        per_atom = found.energy / found.sizes[:, None]
        components = found.forces.reshape(-1, 2)
        components = components[np.isfinite(components).all(axis=1)]
        own = per_atom - per_atom.mean(0)
        rows.append(_errors(name, per_atom, own, components, float(found.sizes.mean())))
        energies.append(per_atom)
        centred.append(own)
        forces.append(components)
        sizes.append(found.sizes)
    energy, components = np.concatenate(centred), np.concatenate(forces)
    mean_size = float(np.concatenate(sizes).mean())
    return Stage(
        title=title,
        model=model,
        model_level=model_level,
        label_level=label_level,
        part=part,
        rows=tuple(rows),
        total=_errors(ALL, np.concatenate(energies), energy, components, mean_size),
        energy=energy,
        forces=components,
    )


def _of(models: EnergyModel | Mapping[str, EnergyModel], name: str) -> EnergyModel:
    if not isinstance(models, Mapping):
        return models
    found = models.get(name, models.get(OTHERS))
    if found is None:
        raise ConfigError(
            f"no model for the fragments {name}{nearest(name, models)}; add one, or {OTHERS!r} for "
            "all others"
        )
    return found


def _errors(
    name: str,
    energy: NDArray[np.float64],
    centred: NDArray[np.float64],
    forces: NDArray[np.float64],
    n_atoms: float,
) -> KindErrors:
    total, relative, force = (1e3 * (x[:, 1] - x[:, 0]) for x in (energy, centred, forces))
    return KindErrors(
        kind=name,
        n_frames=len(energy),
        n_atoms=n_atoms,
        energy_rmse=_rms(total),
        energy_mae=float(np.abs(total).mean()),
        relative_rmse=_rms(relative),
        relative_mae=float(np.abs(relative).mean()),
        force_rmse=_rms(force),
        force_mae=float(np.abs(force).mean()) if force.size else float("nan"),
    )


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(values).mean())) if values.size else float("nan")
