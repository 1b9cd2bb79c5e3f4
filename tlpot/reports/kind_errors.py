"""Errors of models on fragments, kind by kind and of all together, as numbers and text.

A model of another level is first moved to the reference energies of the labels, and nothing else.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols

from tlpot.data import (
    Dataset,
    NeutralDataset,
    SpecSource,
    SplitPart,
    SplitSource,
    load_split,
    open_dataset,
    split_words,
    stored_part,
)
from tlpot.energy import EnergyModel, implies_charges
from tlpot.errors import DataError
from tlpot.evaluation import Predictions, predict
from tlpot.files import PathLike
from tlpot.fragments import TypedModel
from tlpot.numbers import Floats, Ints, mae, rmse, short
from tlpot.presentation import Column, Table
from tlpot.reports.error_budget import KCAL
from tlpot.reports.provenance import fragment_names, kind_names
from tlpot.training import fit_references

Models = EnergyModel | Mapping[str, EnergyModel]
"""One for all kinds of fragments, or one by name of the kind with ``"*"`` for all others."""
HOLISTIC = "holistic"
"""What the row over all fragments together is called."""

ENERGIES = (
    ("RMSE", "meV/atom", "energy_rmse"),
    ("MAE", "meV/atom", "energy_mae"),
    ("RMSE", "kcal/mol", "energy_rmse_kcal"),
    ("MAE", "kcal/mol", "energy_mae_kcal"),
    ("relative", "meV/atom", "relative_rmse"),
)
FORCES = (
    ("RMSE", "meV/Å", "force_rmse"),
    ("MAE", "meV/Å", "force_mae"),
    ("RMSE", "kcal/mol/Å", "force_rmse_kcal"),
    ("MAE", "kcal/mol/Å", "force_mae_kcal"),
)
_HASH = re.compile(r"\.[0-9a-f]{10}$")


@dataclass(frozen=True, kw_only=True, slots=True)
class KindErrors:
    """Errors on the fragments of one kind, or of all.

    Attributes:
        kind: name; `HOLISTIC` for all.
        n_train: labelled fragments that the model was trained on; None if that is not known.
        n_frames: fragments that the errors are of.
        n_atoms: of a fragment; the mean for all.
        energy_rmse, energy_mae: of total energies per atom, meV/atom.
        energy_rmse_kcal, energy_mae_kcal: of total energies of whole fragments, kcal/mol.
        relative_rmse, relative_mae: of energies per atom less the mean error of their kind,
            meV/atom; kinds of one frame, which is its own mean, have none.
        force_rmse, force_mae: of force components, meV/Å; NaN without forces.
        force_rmse_kcal, force_mae_kcal: the same in kcal/mol/Å.
    """

    kind: str
    n_train: int | None
    n_frames: int
    n_atoms: float
    energy_rmse: float
    energy_mae: float
    energy_rmse_kcal: float
    energy_mae_kcal: float
    relative_rmse: float
    relative_mae: float
    force_rmse: float
    force_mae: float
    force_rmse_kcal: float
    force_mae_kcal: float


@dataclass(frozen=True, kw_only=True)
class LabelledFragments:
    """Labelled fragments, those to look at, and those that were trained on.

    Attributes:
        dataset: all of them.
        indices: those to look at; None for all.
        part: what these are, in words.
        train: frames that the model learned from; None if that is not known.
        trained_charges: models that read no charge were trained on fragments charged so, whether
            or not their cards say it.
    """

    dataset: Dataset
    indices: Ints | None = None
    part: str = "all labelled frames, training frames included"
    train: Ints | None = None
    trained_charges: bool = False

    @classmethod
    def open(
        cls,
        dataset: PathLike | Dataset,
        *,
        spec: SpecSource | None = None,
        split: SplitSource | None = None,
        part: SplitPart | None = None,
    ) -> LabelledFragments:
        """Opens a file of fragments.

        Without `split` all frames are looked at; `spec` is the layout, if it is not tlpot's own.
        Where a split has no test frames, its validation frames stand in for them.

        Raises:
            ConfigError: a part of no split, or no such part.
            DataError: an unreadable file, or no frames in that part.
        """
        if isinstance(dataset, str | os.PathLike):
            dataset = open_dataset([dataset], spec)
        stored = stored_part(split, part)
        if stored is None:
            return cls(dataset=dataset)
        split, part = stored
        divided = load_split(split, dataset)
        for name in (part, "validation") if part == "test" else (part,):
            indices = getattr(divided, name)
            if len(indices):
                return cls(
                    dataset=dataset, indices=indices, part=f"{name} frames", train=divided.train
                )
        raise DataError(
            f"{split_words(split)} has no {part} frames; choose others with part (--part)"
        )

    @property
    def chosen(self) -> Ints:
        """The frames to look at."""
        return np.arange(len(self.dataset)) if self.indices is None else np.asarray(self.indices)

    def told(self, model: EnergyModel) -> Dataset:
        """Returns the frames as a model may be asked for them: with the charges that it reads."""
        knows = self.trained_charges or implies_charges(model)
        return NeutralDataset(self.dataset) if knows and not model.uses_charge else self.dataset


@dataclass(frozen=True, kw_only=True, slots=True)
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
        fragments: LabelledFragments,
        indices: Ints,
        level: str,
        *,
        device: torch.device | str = "cpu",
    ) -> ReferenceShift:
        """Fits the shift of each model to the frames of its kinds.

        `indices` are frames with an energy at `level`, canonical; the models are on `device`.

        Raises:
            ConfigError: a kind has no model.
            DataError: there are no frames.
        """
        dataset = fragments.dataset
        names = fragment_names(dataset)
        own: dict[int, list[Ints]] = {}
        known: dict[int, EnergyModel] = {}
        for group in np.unique(dataset.group_idx[indices]).tolist():
            model = model_of(models, names[group])
            known[_identity(model)] = model
            own.setdefault(_identity(model), []).append(
                indices[dataset.group_idx[indices] == group]
            )
        by_model = {}
        for key, frames in own.items():
            model = known[key]
            found = predict(
                model,
                fragments.told(model),
                np.concatenate(frames),
                level,
                device=device,
                forces=False,
            )
            elements, counts = _composition(found)
            fit = fit_references(elements, counts, found.energy[:, 0] - found.energy[:, 1])
            by_model[key] = dict(zip(elements, fit.shifts.tolist(), strict=True))
        return cls(n_frames=len(indices), by_model=by_model)

    def applied(self, found: Predictions, name: str, models: Models) -> Floats:
        """Returns labels and shifted predictions, [n_frames, 2], eV.

        An element that the fit has not seen keeps the model's reference energy.

        `found` are predictions for fragments of one kind, `name`.
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


@dataclass(frozen=True, kw_only=True)
class StageErrors:
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
        shift: of the model's reference energies to the level of the labels, if there was one.
    """

    title: str
    model: str
    model_level: str
    label_level: str
    part: str
    rows: tuple[KindErrors, ...]
    total: KindErrors
    energy: Floats
    forces: Floats
    shift: ReferenceShift | None = None

    @property
    def same_zero(self) -> bool:
        """Whether total energies can be compared: one level, or E0 shifted to the labels'."""
        return self.model_level == self.label_level or self.shift is not None

    def as_json(self) -> dict[str, Any]:
        """Returns plain dicts; without the force components, which are in the picture only."""
        return {
            "title": self.title,
            "model": self.model,
            "model_level": self.model_level,
            "label_level": self.label_level,
            "part": self.part,
            "total_energies_comparable": self.same_zero,
            "e0_shift": None if self.shift is None else self.shift.as_json(),
            "by_kind": [_plain(row) for row in self.rows],
            HOLISTIC: _plain(self.total),
            "relative_energies_per_atom": self.energy.tolist(),
        }


def measure_stage(
    models: Models,
    fragments: LabelledFragments,
    *,
    title: str,
    model: str,
    model_level: str,
    label_level: str,
    shift_on: Ints | None = None,
    device: torch.device | str = "cpu",
) -> StageErrors:
    """Evaluates a model on labelled fragments.

    Args:
        models: one for everything, or by name of the kind with ``"*"`` for all others.
        fragments: those to look at; frames without a label at `label_level` are passed over.
        title: see `StageErrors`.
        model: see `StageErrors`.
        model_level: canonical.
        label_level: canonical.
        shift_on: frames to which the reference energies of a model of another level are fitted
            first, as a transfer does before its first step; None leaves them as they are.
        device: where the models are.

    Raises:
        DataError: no frame has a label.
        ConfigError: a kind has no model.
        UnknownElementError: a model does not know an element.
    """
    dataset, train, indices = fragments.dataset, fragments.train, fragments.chosen
    known = dataset.labelled(label_level)
    labelled = indices[known[indices]]
    if not len(labelled):
        raise DataError(
            f"{dataset.path}: none of the {fragments.part} has an energy at {label_level}"
        )
    shift = None
    if shift_on is not None:
        fitted_on = shift_on[known[shift_on]]
        shift = ReferenceShift.fitted(models, fragments, fitted_on, label_level, device=device)
    rows, energies, centred, forces, sizes = [], [], [], [], []
    plain = fragment_names(dataset)
    for group, name in enumerate(kind_names(dataset)):
        chosen = labelled[dataset.group_idx[labelled] == group]
        if not len(chosen):
            continue
        own_model = model_of(models, plain[group])
        found = predict(own_model, fragments.told(own_model), chosen, label_level, device=device)
        energy = found.energy if shift is None else shift.applied(found, plain[group], models)
        components = found.forces.reshape(-1, 2)
        components = components[np.isfinite(components).all(axis=1)]
        per_atom = energy / found.sizes[:, None]
        own = per_atom - per_atom.mean(0) if len(per_atom) > 1 else per_atom[:0]
        n_train = None if train is None else int((dataset.group_idx[train] == group).sum())
        rows.append(_errors(name, n_train, energy, own, components, found.sizes))
        energies.append(energy)
        centred.append(own)
        forces.append(components)
        sizes.append(found.sizes)
    return StageErrors(
        title=title,
        model=model,
        model_level=model_level,
        label_level=label_level,
        part=fragments.part,
        rows=tuple(rows),
        total=_errors(
            HOLISTIC, None if train is None else len(train), np.concatenate(energies),
            np.concatenate(centred), np.concatenate(forces), np.concatenate(sizes),
        ),
        energy=np.concatenate(centred),
        forces=np.concatenate(forces),
        shift=shift,
    )  # fmt: skip


def _errors(
    name: str, n_train: int | None, energy: Floats, centred: Floats, forces: Floats, sizes: Ints
) -> KindErrors:
    whole, relative, force = (1e3 * (x[:, 1] - x[:, 0]) for x in (energy, centred, forces))
    total = whole / sizes
    return KindErrors(
        kind=name,
        n_train=n_train,
        n_frames=len(energy),
        n_atoms=float(sizes.mean()),
        energy_rmse=rmse(total),
        energy_mae=mae(total),
        energy_rmse_kcal=rmse(whole) / KCAL,
        energy_mae_kcal=mae(whole) / KCAL,
        relative_rmse=rmse(relative),
        relative_mae=mae(relative),
        force_rmse=rmse(force),
        force_mae=mae(force),
        force_rmse_kcal=rmse(force) / KCAL,
        force_mae_kcal=mae(force) / KCAL,
    )


def model_of(models: Models, name: str) -> EnergyModel:
    """Returns the model of a kind of fragments.

    Raises:
        ConfigError: there is none.
    """
    return TypedModel(models).of(name) if isinstance(models, Mapping) else models


def _identity(model: EnergyModel) -> int:
    """One number for all views of one model."""
    return id(getattr(model, "potential", model))


def _plain(errors: KindErrors) -> dict[str, Any]:
    """Returns a plain dict, with null for what one frame of a kind, or no label, cannot tell."""
    return {
        key: None if isinstance(value, float) and np.isnan(value) else value
        for key, value in asdict(errors).items()
    }


def _composition(found: Predictions) -> tuple[list[int], Floats]:
    """Atomic numbers, and how many atoms of each a frame has, [n_frames, n_elements]."""
    elements = np.unique(found.atomic_numbers)
    frame = np.repeat(np.arange(len(found.sizes)), found.sizes)
    counts = np.zeros((len(found.sizes), len(elements)))
    np.add.at(counts, (frame, np.searchsorted(elements, found.atomic_numbers)), 1.0)
    return elements.tolist(), counts


def error_text(stages: Sequence[Mapping[str, Any]]) -> str:
    """Returns tables as text, one model after the other, of what `StageErrors.as_json` gives."""
    quantities = [*ENERGIES, *FORCES]
    groups = [
        ("", 1), ("frames", 2), ("E, meV/atom", 2), ("E, kcal/mol", 2), ("relative", 1),
        ("F, meV/Å", 2), ("F, kcal/mol/Å", 2),
    ]  # fmt: skip
    columns = [Column(), *(Column(name, gap=1, width=7) for name in ("train", "test"))]
    columns += [Column("RMSE" if n == "relative" else n, gap=1) for n, _, _ in quantities]
    lines = []
    for stage in stages:
        rows = [*stage["by_kind"], stage[HOLISTIC]]
        names = short_names([row["kind"] for row in rows])
        cells = [
            (
                name,
                row["n_train"],
                row["n_frames"],
                *(value_of(stage, row, key) for _, _, key in quantities),
            )
            for name, row in zip(names, rows, strict=True)
        ]
        table = Table(
            columns, cells, format=short, whole=",", groups=groups, widths=(0, 9), indent=2
        )
        lines += [heading(stage), *table.lines(), ""]
    return "\n".join(lines) + (
        "E: total energies, in kcal/mol of whole fragments; relative: less the mean error of the "
        "kind, meV/atom; F: force components"
    )


def heading(stage: Mapping[str, Any]) -> str:
    """Returns what was compared, in words."""
    text = f"{stage['title']}: {stage['model']} at {stage['model_level']}"
    if stage["e0_shift"] is not None:
        text += f", E0 fitted to {stage['e0_shift']['frames']:,} labels"
    return f"{text}, against {stage['label_level']}, {stage['part']}"


def value_of(stage: Mapping[str, Any], row: Mapping[str, Any], key: str) -> float:
    """Returns a number of a row; NaN for total energies of levels with different zeros."""
    idle = key.startswith("energy_") and not stage["total_energies_comparable"]
    return math.nan if idle or row[key] is None else float(row[key])


def short_names(kinds: Sequence[str]) -> list[str]:
    """Returns names without the hash that a build gives them, where they still differ."""
    plain = [_HASH.sub("", kind) for kind in kinds]
    return [
        name if plain.count(name) == 1 else kind for name, kind in zip(plain, kinds, strict=True)
    ]
