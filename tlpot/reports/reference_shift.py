"""Reference energies of a model moved to another level of theory, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.data import Dataset
from tlpot.energy import EnergyModel
from tlpot.errors import ConfigError, nearest
from tlpot.evaluation import Predictions, predict
from tlpot.fragments import OTHERS
from tlpot.reports.data_used import fragment_names
from tlpot.training import fit_references

Models = EnergyModel | Mapping[str, EnergyModel]
"""One for all kinds of fragments, or one by name of the kind with ``"*"`` for all others."""


@dataclass(frozen=True, kw_only=True)
class ReferenceShift:
    """What is added to a model's energies for each atom of an element.

    It is what fine-tuning does before its first step: least squares of what the model leaves
    over, starting from the model's own reference energies. Forces do not change, nor do energies
    relative to the mean of a composition.

    Attributes:
        n_frames: labelled fragments that it was fitted to.
        by_model: eV by atomic number, for each model, by `id` of what holds its weights.
    """

    n_frames: int
    by_model: Mapping[int, Mapping[int, float]]

    @classmethod
    def fitted(
        cls,
        models: Models,
        dataset: Dataset,
        indices: NDArray[np.int64],
        level: str,
        *,
        device: torch.device | str = "cpu",
    ) -> ReferenceShift:
        """Fits the shift of each model to the frames of its kinds.

        Args:
            models: see `Models`.
            dataset: the fragments.
            indices: frames with an energy at `level`.
            level: of the labels, canonical.
            device: where the models are.

        Raises:
            ConfigError: a kind has no model.
            DataError: there are no frames.
        """
        names = fragment_names(dataset)
        own: dict[int, list[NDArray[np.int64]]] = {}
        known: dict[int, EnergyModel] = {}
        for group in np.unique(dataset.group_idx[indices]).tolist():
            model = model_of(models, names[group])
            known[_identity(model)] = model
            own.setdefault(_identity(model), []).append(
                indices[dataset.group_idx[indices] == group]
            )
        by_model = {}
        for key, frames in own.items():
            found = predict(
                known[key], dataset, np.concatenate(frames), level, device=device, forces=False
            )
            elements, counts = _composition(found)
            fit = fit_references(elements, counts, found.energy[:, 0] - found.energy[:, 1])
            by_model[key] = dict(zip(elements, fit.shifts.tolist(), strict=True))
        return cls(n_frames=len(indices), by_model=by_model)

    def applied(self, found: Predictions, name: str, models: Models) -> NDArray[np.float64]:
        """Returns labels and shifted predictions, [n_frames, 2], eV.

        An element that the fit has not seen keeps the model's reference energy.

        Args:
            found: predictions for fragments of one kind.
            name: of the kind.
            models: those that were fitted.
        """
        shifts = self.by_model.get(_identity(model_of(models, name)), {})
        elements, counts = _composition(found)
        energy = found.energy.copy()
        energy[:, 1] += counts @ np.array([shifts.get(z, 0.0) for z in elements])
        return energy

    def as_json(self) -> dict[str, Any]:
        """Returns plain dicts, with symbols of elements."""
        shifts = [
            {chemical_symbols[z]: value for z, value in shift.items()}
            for shift in self.by_model.values()
        ]
        return {"frames": self.n_frames, "eV_by_element": shifts}


def model_of(models: Models, name: str) -> EnergyModel:
    """Returns the model of a kind of fragments.

    Raises:
        ConfigError: there is none.
    """
    if not isinstance(models, Mapping):
        return models
    found = models.get(name, models.get(OTHERS))
    if found is None:
        raise ConfigError(
            f"no model for the fragments {name}{nearest(name, models)}; add one, or {OTHERS!r} for "
            "all others"
        )
    return found


def _identity(model: EnergyModel) -> int:
    """One number for all views of one model."""
    return id(getattr(model, "potential", model))


def _composition(found: Predictions) -> tuple[list[int], NDArray[np.float64]]:
    """Atomic numbers, and how many atoms of each a frame has, [n_frames, n_elements]."""
    elements = np.unique(found.atomic_numbers)
    frame = np.repeat(np.arange(len(found.sizes)), found.sizes)
    counts = np.zeros((len(found.sizes), len(elements)))
    np.add.at(counts, (frame, np.searchsorted(elements, found.atomic_numbers)), 1.0)
    return elements.tolist(), counts
