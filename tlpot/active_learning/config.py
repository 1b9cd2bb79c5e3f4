"""What a campaign is made of, and its candidates."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.formula import Formula

from tlpot.active_learning.acquisition import DesignTarget, Goal
from tlpot.config import IN_MEMORY, check_least, parse
from tlpot.data import (
    Dataset,
    DatasetWithLabels,
    DataSource,
    Labels,
    frames_of,
    kept_kinds,
    open_unlabelled,
    readable_structures,
)
from tlpot.errors import ConfigError, DataError, UnknownLevelError
from tlpot.files import PathLike
from tlpot.jobs import (
    ConfigSource,
    DataSettings,
    SplitSettings,
    check_elements,
    choose_only_level,
    settings_with_data,
)
from tlpot.levels import canonical_level, choose_level
from tlpot.models import Potential, content_hash, load_potential, to_bytes
from tlpot.numbers import Floats, Ints
from tlpot.structures import read_all
from tlpot.targets import Quantity, is_property, property_name
from tlpot.transfer import strategy


@dataclass(frozen=True, kw_only=True, slots=True)
class ActiveConfig:
    """Rounds of "choose candidates, label them, fit anew".

    Attributes:
        parent: file or name of the pretrained model.
        data: the candidates, with labels or without.
        level: the property to learn.
        output: folder of the campaign, which goes on where it ended.
        goal: ``learn`` chooses what the model is least sure of; ``maximise`` and ``minimise`` by
            expected improvement; ``window`` by the probability of being in it.
        window: lowest and highest value that are wanted.
        strategy: that fits a model to the labels in each round: a name, or a section.
        batch: candidates of each round.
        rounds: of a simulation.
        initial: labels before the first choice, drawn at random where the file has fewer.
        seeds: repeats of a simulation, with other labels to begin with.
        simulate: hide the labels that there are, and buy them one by one; None does so where all
            candidates have one.
        members: models on subsets of the labels whose spread is the uncertainty, of strategies
            that do not know their own.
        repeat: times that the labels of the newest round count in the next fit (Kim et al.,
            doi:10.1038/s41524-021-00609-2, replicate theirs 50 times).
        source: level of the parent to start from, if it has several.
        quantity: unit, extensive and kind of the property, where neither a label nor the parent
            says so.
        split: held out of a simulation to measure errors on; by default a fifth.
        training: settings of strategies that train.
        seed: of everything that is drawn.
        parent_model: the pretrained model itself; `parent` is then only what it is called.
    """

    parent: str
    data: DataSettings
    level: str
    output: Path
    goal: Goal = "learn"
    window: tuple[float, ...] | None = None
    strategy: str | Mapping[str, Any] = "frozen-gp"
    batch: int = 10
    rounds: int = 5
    initial: int = 20
    seeds: int = 3
    simulate: bool | None = None
    members: int = 4
    repeat: int = 1
    source: str | None = None
    quantity: Quantity | None = None
    split: SplitSettings = field(default_factory=lambda: SplitSettings(test=0.2, validation=0))
    training: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    parent_model: Potential | None = field(
        default=None, compare=False, repr=False, metadata=IN_MEMORY
    )

    def __post_init__(self) -> None:
        check_least(self, batch=1, rounds=1, initial=2, seeds=1, members=2, repeat=1)
        _ = self.target
        chosen = strategy(self.strategy)
        if chosen.learns_difference:
            raise ConfigError(
                f"strategy {chosen.name} learns a difference, whose low values make a model of two "
                "parts; to tell a model the cheap value take strategy.name=frozen-gp "
                "strategy.known=PROPERTY"
            )
        if self.repeat > 1 and chosen.name == "frozen-gp":
            raise ConfigError(
                "repeat does not apply to frozen-gp, which would take equal labels for a sign that "
                "there is no noise; leave it out, or take frozen-ridge, frozen-forest or full"
            )

    @property
    def target(self) -> DesignTarget:
        """What is asked of the property."""
        return DesignTarget(goal=self.goal, window=self.window)


def active_job(
    config: ConfigSource,
    parent: PathLike | Potential | None,
    data: DataSource | None,
    **given: Any,
) -> ActiveConfig:
    """Returns the configuration of a campaign; see `tlpot.active_learning`.

    Raises:
        TLPotError: a typo, or a value that makes no sense; see `settings_with_data`.
    """
    model = parent if isinstance(parent, Potential) else None
    given["parent"] = os.fspath(parent) if isinstance(parent, str | os.PathLike) else None
    if model is not None:
        given["parent"] = model.card.name
    settings, objects = settings_with_data(config, "active", data, **given)
    if objects.dataset is not None:
        choose_only_level(settings, objects.dataset)
    section = settings.get("split") or {}
    if section.get("file") is None:
        section = {"test": 0.2, "validation": 0, **section}
    settings["split"] = section
    found = parse(ActiveConfig, settings, settings.where)
    return replace(
        found,
        data=replace(found.data, dataset=objects.dataset),
        split=objects.dividing(found.split),
        parent_model=model,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """What there is to choose from, and the parent.

    Attributes:
        dataset: the structures, with the labels that are known.
        level: the property.
        quantity: what its numbers are.
        parent: the pretrained model.
        parent_hash: of its content.
        names: [n], as the file calls them.
        groups: [n], which reduced formula, or molecule, each is of.
    """

    dataset: Dataset
    level: str
    quantity: Quantity
    parent: Potential
    parent_hash: str
    names: tuple[str, ...]
    groups: Ints

    @property
    def values(self) -> Floats:
        """The labels, [n]; NaN where there is none."""
        return labels_of(self.dataset, self.level)

    def formula(self, index: int) -> str:
        """Returns the formula of a candidate, such as ``NaCl``."""
        (frame,) = self.dataset.read([index], ())
        atoms = frame.system.to_atoms()
        return str(Formula(atoms.get_chemical_formula(empirical=True)).format("reduce"))

    def with_labels(self, indices: Sequence[int], values: Sequence[float]) -> Candidates:
        """Returns the same, with further labels."""
        labelled = DatasetWithLabels(
            self.dataset, self.level, indices, [Labels(energy=value) for value in values],
            quantity=self.quantity,
        )  # fmt: skip
        return replace(self, dataset=labelled)


def labels_of(dataset: Dataset, level: str) -> Floats:
    """Returns the labels at a level, [n_frames]; NaN where there is none."""
    found = np.full(len(dataset), np.nan)
    if level not in dataset.levels:
        return found
    known = np.flatnonzero(dataset.labelled(level))
    for index, frame in zip(known, frames_of(dataset, known, levels=[level]), strict=True):
        found[index] = frame.labels[level].energy
    return found


def open_candidates(
    config: ActiveConfig, *, device: torch.device | str | None = None
) -> Candidates:
    """Opens candidates and parent, and checks that they fit together.

    Raises:
        TLPotError: something is wrong with them.
    """
    if config.parent_model is None:
        parent, parent_hash = (
            load_potential(config.parent, device=device),
            content_hash(config.parent),
        )
    else:
        parent = config.parent_model
        parent_hash = hashlib.sha256(to_bytes(parent)).hexdigest()
    dataset, names = _opened(config)
    level = canonical_level(config.level)
    if not is_property(level):
        raise ConfigError(
            f"{level} is a level of energies; active learning chooses among values of a property, "
            "such as gap@hse06. Geometries for a potential are chosen by 'tlpot data select' and "
            "'tlpot build'"
        )
    if level not in dataset.levels and config.quantity is None and dataset.levels:
        others = [name for name in dataset.levels if is_property(name)]
        if others and property_name(level) not in {property_name(name) for name in others}:
            choose_level(level, dataset.levels, str(dataset.path))
    check_elements(parent, dataset, config.parent)
    quantity = _quantity(config, dataset, parent, level)
    if quantity.kind == "yes_no":
        raise ConfigError(
            f"{level} is yes or no; active learning is of numbers. Take the number that it is "
            "made of, such as the gap of metal or not"
        )
    groups = kept_kinds(dataset, "formula")
    assert groups is not None
    return Candidates(
        dataset=dataset,
        level=level,
        quantity=quantity,
        parent=parent.without_uncertainty(),
        parent_hash=parent_hash,
        names=names,
        groups=groups,
    )


def _opened(config: ActiveConfig) -> tuple[Dataset, tuple[str, ...]]:
    """Opens the candidates; of files without any label, the structures."""
    data = config.data
    bare = data.dataset is None and data.spec is None and not data.keys
    try:
        dataset = data.open(every_level=True)
    except (DataError, ConfigError, UnknownLevelError):
        if not bare:
            raise
        structures: list[Atoms] = []
        ids: list[str] = []
        for path in data.files:
            if not path.is_dir():
                structures += read_all(path)
                continue
            found, unread = readable_structures(path)
            for name, why in unread.items():
                raise DataError(
                    f"{path}: {len(unread)} structures cannot be read, such as {name}: {why}; "
                    "mend or remove them, as candidates are known by their place"
                ) from None
            structures += list(found.values())
            ids += list(found)
        dataset = open_unlabelled(structures, data.files[0])
        if len(ids) == len(dataset):
            return dataset, tuple(ids)
    return dataset, tuple(frame.name for frame in frames_of(dataset, levels=()))


def _quantity(config: ActiveConfig, dataset: Dataset, parent: Potential, level: str) -> Quantity:
    info = dataset.levels.get(level)
    if info is not None and info.quantity is not None:
        if config.quantity not in (None, info.quantity):
            raise ConfigError(
                f"quantity does not apply: {dataset.path} says what {level} is "
                f"({info.quantity.words}); leave it out"
            )
        return info.quantity
    if config.quantity is not None:
        return config.quantity
    for name in parent.levels:
        known = parent.target(name)
        if known is not None and property_name(name) == property_name(level):
            return known.quantity
    raise ConfigError(
        f"neither {dataset.path} nor the parent {config.parent} says what {level} is; give "
        "quantity={unit: eV, extensive: false} (quantity.unit=eV quantity.extensive=false)"
    )
