"""What a training of a scalar property needs beside that of energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from tlpot.data import Dataset, Split, frames_of, known_values
from tlpot.errors import ConfigError, DataError
from tlpot.evaluation import Baseline, line_baseline, predict, property_errors
from tlpot.jobs.references import References
from tlpot.levels import choose_level, difference_parts
from tlpot.models import (
    LevelModel,
    LevelPotential,
    PropertyTarget,
    TrainedModel,
    known_columns,
    known_term,
)
from tlpot.numbers import Bools, Floats, Ints
from tlpot.presentation import Table
from tlpot.targets import KnownValue, property_name, unit_ratio
from tlpot.training import CompositionFit, fit_composition, fit_odds

Pooling = Literal["mean", "attention"]
COMPOSITION = "composition only"
"""Name of a baseline."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PropertyValues:
    """Labels of some structures with their compositions.

    Attributes:
        composition: [n, n_elements], fractions, or numbers of atoms where it is extensive.
        values: [n].
    """

    composition: Floats
    values: Floats


def property_values(
    dataset: Dataset, indices: Ints, level: str, elements: Sequence[int]
) -> PropertyValues:
    """Reads the values of a property and the compositions, a few structures at a time."""
    quantity = dataset.levels[level].quantity
    counts, values = np.zeros((len(indices), len(elements))), np.full(len(indices), np.nan)
    column = {z: k for k, z in enumerate(elements)}
    for k, frame in enumerate(frames_of(dataset, indices, levels=[level])):
        known, times = np.unique(frame.system.atomic_numbers, return_counts=True)
        for z, n in zip(known.tolist(), times.tolist(), strict=True):
            if z in column:
                counts[k, column[z]] = n
        if level in frame.labels:
            values[k] = frame.labels[level].energy
    if quantity is not None and not quantity.extensive:
        counts /= dataset.sizes[indices][:, None]
    return PropertyValues(composition=counts, values=values)


def make_targets(
    dataset: Dataset,
    train: Ints,
    levels: Sequence[str],
    pooling: Mapping[str, Pooling] | Pooling,
    *,
    told: str | None = None,
) -> dict[str, PropertyTarget]:
    """Returns how the properties among some levels are learned; nothing for energies.

    Args:
        dataset: the labels.
        train: the training structures, whose values say how large errors are.
        levels: canonical.
        pooling: of an intensive property, or by level.
        told: another property, which the model is told of each structure; None for none.

    Raises:
        DataError: no training structure has a value, or all have the same.
        ConfigError: what is told does not apply.
        UnknownLevelError: the dataset has no such property.
    """
    found = {}
    for level in levels:
        quantity = dataset.levels[level].quantity
        if quantity is None:
            continue
        known = train[dataset.labelled(level)[train]]
        if not len(known):
            raise DataError(f"{dataset.path}: no training structure has {level}")
        line: KnownValue | None = None
        values = np.array(
            [frame.labels[level].energy for frame in frames_of(dataset, known, levels=[level])]
        )
        if quantity.kind == "yes_no":
            spread = 1.0
            if np.ptp(values) == 0:
                raise DataError(
                    f"{dataset.path}: {level} is {values[0]:g} for all {len(values)} training "
                    "structures, so there is nothing to tell apart; add some of the other kind"
                )
        else:
            latent = np.log(values) if quantity.kind == "positive" else values
            if quantity.extensive:
                latent = latent / dataset.sizes[known]
            spread = float(latent.std())
            if spread <= 1e-12 * max(float(np.abs(latent).max()), 1e-300):
                raise DataError(
                    f"{dataset.path}: {level} is {values[0]:g} {quantity.unit} for all "
                    f"{len(values)} training structures"
                    f"{' (per atom)' if quantity.extensive else ''}, so there is nothing to learn"
                )
            if told is not None:
                line, rest = _fit_line(dataset, known, level, told)
                # of a line that leaves nothing over, the spread of the labels is as good
                spread = float(rest.std()) if rest.std() > 1e-9 * spread else spread
        how = pooling if isinstance(pooling, str) else pooling.get(level, "mean")
        found[level] = PropertyTarget(
            quantity=quantity,
            pooling="sum" if quantity.extensive else how,
            spread=spread,
            known=line,
        )
    if told is not None and not any(target.known for target in found.values()):
        raise ConfigError(
            f"known is {told!r}, and {', '.join(levels)} is no scalar or positive "
            "property; leave it out"
        )
    return found


_FEW = 3
"""Structures of a kind, of which a step could be fitted."""


def _fit_line(dataset: Dataset, indices: Ints, level: str, told: str) -> tuple[KnownValue, Floats]:
    """Fits latent values by slope · x + at_zero · [x = 0] + a constant (for each atom).

    Returns:
        The line, and what it leaves over of the latent values, of those per atom where the
        property is extensive.

    Raises:
        DataError: all of the known values are alike, or one is missing.
    """
    name = choose_level(told, dataset.levels, str(dataset.path), option="known")
    quantity, other = dataset.levels[level].quantity, dataset.levels[name].quantity
    if name == level:
        raise ConfigError(f"known is {told!r}, which is what is to be learned")
    if other is None or other.kind == "yes_no":
        raise ConfigError(f"known: {name} is no scalar property; leave it out")
    assert quantity is not None
    known = KnownValue(
        level=name,
        unit=other.unit,
        slope=0.0,
        logarithm=(quantity.kind, other.kind) == ("positive", "positive"),
    )
    frames = list(frames_of(dataset, indices, levels=[level, name]))
    x = known_columns(known, torch.from_numpy(known_values(dataset, frames, known))).numpy()
    values = np.array([frame.labels[level].energy for frame in frames])
    y = np.log(values) if quantity.kind == "positive" else values
    if np.ptp(x[:, 0]) == 0:
        raise DataError(
            f"{dataset.path}: {name} is the same for all {len(x)} training structures, so it says "
            "nothing; leave known out"
        )
    size = dataset.sizes[indices] if quantity.extensive else np.ones(len(x), dtype=np.int64)
    steps = _FEW <= x[:, 1].sum() <= len(x) - _FEW and not quantity.extensive
    used = x if steps else x[:, :1]
    # per atom, so that large structures do not decide
    columns = np.column_stack([used / size[:, None], np.ones(len(x))])
    solution = np.linalg.lstsq(columns, y / size, rcond=None)[0]
    line = replace(known, slope=float(solution[0]), at_zero=float(solution[1]) if steps else 0.0)
    return line, y / size - columns @ solution


@dataclass(frozen=True, kw_only=True, slots=True)
class CompositionReferences(References):
    """What the composition alone says of a property, where a network starts from.

    Attributes:
        quantity: of the property.
        composition_fit: the fit; None where the parent's were kept.
        unseen: atomic numbers that no training structure has.
    """

    composition_fit: CompositionFit | None = None
    unseen: tuple[int, ...] = ()

    @property
    def absent(self) -> tuple[int, ...]:
        """Atomic numbers that nothing was learned of."""
        return self.unseen

    def table(self) -> str:
        """Returns a line or two; there may be ninety elements."""
        lines = [f"composition: {self.origin}"]
        fit = self.composition_fit
        if fit is not None:
            lines.append(
                f"  mean absolute residual before {fit.before:.4g}, after {fit.after:.4g} "
                f"(ridge of strength {fit.strength:.3g})"
            )
            values = np.array(list(self.energies.values()))
            rows = [("lowest", values.min()), ("mean", values.mean()), ("highest", values.max())]
            columns = "shares of the elements | latent value"
            lines += Table(columns, rows, format=".4g", widths=(24, 12), indent=2).lines()
        return "\n".join(lines)


def property_references(
    dataset: Dataset,
    indices: Ints,
    level: str,
    elements: Sequence[int],
    target: PropertyTarget,
    *,
    parent: LevelPotential | None = None,
    keep: bool = False,
) -> CompositionReferences:
    """Fits what an atom of each element adds to a property, on what the parent leaves over.

    Args:
        dataset: where labels come from.
        indices: the training structures.
        level: canonical.
        elements: of the model.
        target: the property.
        parent: whose readout the new level inherits; None for a fit to the values themselves.
        keep: leave the parent's as they are.

    Raises:
        DataError: no training structure has a value.
        ConfigError: the parent's are to be kept, and there is none.
    """
    if keep:
        if parent is None:
            raise ConfigError(
                f"references=parent does not apply to {level}, of which the parent has nothing; "
                "leave it out"
            )
        own = parent.potential.references(parent.level)
        return CompositionReferences(energies=own, origin="as in the parent", prior=own)
    known = indices[dataset.labelled(level)[indices]]
    seen = property_values(dataset, known, level, elements)
    base, start = np.zeros(len(known)), dict.fromkeys(elements, 0.0)
    if parent is not None:
        start = parent.potential.references(parent.level)
        device = parent.potential.device
        found = predict(parent, dataset, known, level, device=device)
        values = found.energy[np.argsort(found.indices), 1][np.argsort(np.argsort(known))]
        base = target.latent(torch.from_numpy(values)).numpy()
    elif target.known is not None:
        told = known_values(
            dataset, list(frames_of(dataset, known, levels=[target.known.level])), target.known
        )
        columns = known_columns(target.known, torch.from_numpy(told))
        base = known_term(target.known, columns).numpy()
    if target.quantity.kind == "yes_no":
        fit = fit_odds(seen.composition, seen.values, base)
    else:
        labels = target.latent(torch.from_numpy(seen.values)).numpy()
        fit = fit_composition(seen.composition, labels - base)
    energies = {z: start[z] + s for z, s in zip(elements, fit.shifts.tolist(), strict=True)}
    present: Bools = np.asarray(seen.composition.any(axis=0))
    unseen = tuple(z for z, there in zip(elements, present, strict=True) if not there)
    kind = {"yes_no": "log-odds by logistic", "positive": "logarithms by ridge"}
    origin = f"{kind.get(target.quantity.kind, 'ridge')} regression on "
    origin += "numbers of atoms" if target.quantity.extensive else "fractions of the elements"
    if parent is not None:
        origin += ", on what the parent leaves over"
    elif target.known is not None:
        origin += f", on what a line on {target.known.level} leaves over"
    return CompositionReferences(
        energies=energies, origin=origin, prior=start, composition_fit=fit, unseen=unseen
    )


def property_baselines(
    dataset: Dataset,
    split: Split,
    held_out: Ints,
    level: str,
    target: PropertyTarget,
) -> list[Baseline]:
    """Returns what needs no network: the mean, the composition, lines.

    Those of a difference are of its high level, whose errors are the same where the low values are
    known, less their R², which is of labels that vary otherwise; and what the composition says of
    the difference.

    Args:
        dataset: the labels.
        split: whose training structures they are fitted to.
        held_out: structures whose errors are told.
        level: canonical.
        target: the property.
    """
    parts = difference_parts(level)
    if parts is not None and parts[0] in dataset.levels:
        high = property_baselines(dataset, split, held_out, parts[0], target)
        own = _trivial(dataset, split, held_out, level, target)
        high = [replace(b, errors=_without_r2(b.errors)) for b in high]
        return high + [
            replace(each, name=f"{parts[1]} + composition")
            for each in own
            if each.name == COMPOSITION
        ]
    return _trivial(dataset, split, held_out, level, target)


def _without_r2(errors: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in errors.items() if key != "property_r2"}


def level_baselines(
    model: TrainedModel,
    level: str,
    dataset: Dataset,
    split: Split,
    held_out: Ints,
    labels: str | None = None,
) -> list[Baseline]:
    """Returns what needs no network beside a level of a model; nothing for energies.

    The arguments are those of `property_baselines`; `labels` is the level of the labels, if it
    has another name.
    """
    target = getattr(model.at(level), "target", None)
    if target is None:
        return []
    return property_baselines(dataset, split, held_out, labels or level, target)


def _trivial(
    dataset: Dataset,
    split: Split,
    held_out: Ints,
    level: str,
    target: PropertyTarget,
) -> list[Baseline]:
    quantity = target.quantity
    train = split.train[dataset.labelled(level)[split.train]]
    test = held_out[dataset.labelled(level)[held_out]]
    if not len(train) or not len(test):
        return []
    elements = dataset.elements
    fitted = property_values(dataset, train, level, elements)
    asked = property_values(dataset, test, level, elements)

    def values(latent: Floats) -> Floats:
        return latent if target.link is None else target.link(torch.from_numpy(latent)).numpy()

    if quantity.kind == "yes_no":
        mean = np.full(len(test), fitted.values.mean())
        fit = fit_odds(fitted.composition, fitted.values, np.zeros(len(train)))
    else:
        atoms = fitted.composition.sum(axis=1)
        per_atom = float(atoms @ fitted.values) / float(atoms @ atoms)
        mean = per_atom * asked.composition.sum(axis=1)
        latent = target.latent(torch.from_numpy(fitted.values)).numpy()
        fit = fit_composition(fitted.composition, latent)
    composition = values(asked.composition @ fit.shifts)
    found = [
        Baseline(
            name=name, errors=property_errors(asked.values, each, quantity), n_frames=len(test)
        )
        for name, each in (("mean", mean), (COMPOSITION, composition))
    ]
    if quantity.kind != "scalar":
        return found
    for other, info in dataset.levels.items():
        same = property_name(other) == property_name(level) and info.quantity is not None
        if other == level or not same or difference_parts(other) is not None:
            continue
        line = line_baseline(
            property_values(dataset, train, other, elements).values,
            fitted.values,
            property_values(dataset, test, other, elements).values,
            asked.values,
            quantity,
            other,
        )
        found += [] if line is None else [line]
    return found


def check_same_quantity(
    parent: LevelPotential, target: PropertyTarget, dataset: Dataset, level: str
) -> None:
    """Checks that a property which the parent knows at another level is the same quantity there.

    Else its readout would silently not be a start.

    Args:
        parent: at the level to start from.
        target: what is learned.
        dataset: the labels.
        level: of the labels.

    Raises:
        ConfigError: one of them grows with the structure, or is of another kind.
        DataError: the units differ.
    """
    known = parent.target
    if known is None or property_name(level) != property_name(parent.level):
        return
    ours, theirs = target.quantity, known.quantity
    if (ours.extensive, ours.kind) != (theirs.extensive, theirs.kind):
        raise ConfigError(
            f"{dataset.path}: {level} is {ours.words}, and the parent's {parent.level} is "
            f"{theirs.words}; say the same of both, or give one of them another name"
        )
    if unit_ratio(ours.unit, theirs.unit, f"{dataset.path}: {level}") != 1.0:
        raise DataError(
            f"{dataset.path}: {level} is in {ours.unit}, and the parent's {parent.level} in "
            f"{theirs.unit}, so its readout is no start; convert the labels"
        )


def check_quantity(model: LevelModel, dataset: Dataset, level: str, where: str) -> None:
    """Checks that labels are what a model predicts.

    Args:
        model: at its level.
        dataset: the labels.
        level: of the labels.
        where: the model, for messages.

    Raises:
        ConfigError: one is a property and the other an energy, or one grows with the structure.
        DataError: the units differ.
    """
    target: PropertyTarget | None = getattr(model, "target", None)
    labels = dataset.levels[level].quantity
    if target is None and labels is None:
        return
    if target is None or labels is None or target.quantity.extensive != labels.extensive:
        said = [
            "total energies" if each is None else f"a property ({each.words})"
            for each in (None if target is None else target.quantity, labels)
        ]
        raise ConfigError(f"{where} at {model.level} gives {said[0]}, and {level} has {said[1]}")
    if unit_ratio(labels.unit, target.quantity.unit, f"{dataset.path}: {level}") != 1.0:
        raise DataError(
            f"{dataset.path}: {level} is in {labels.unit}, and {where} gives "
            f"{target.quantity.unit}; convert the labels"
        )
