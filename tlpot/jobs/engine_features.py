"""An engine as a parent: features of atoms that regressors are fitted on, each computed once."""

from __future__ import annotations

import copy
import io
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from tlpot.calculators import check_definition
from tlpot.data import Dataset, frames_of
from tlpot.engines import Describing, Engine, EngineSpec, LabelError, make_engine, parse_engine
from tlpot.errors import ConfigError, TLPotError
from tlpot.files import make_folder
from tlpot.jobs.evaluate import ModelSource, open_model
from tlpot.jobs.finetune_config import checked_strategy, is_automatic
from tlpot.labelling import engine_key, geometry_key
from tlpot.models import (
    EngineArchitecture,
    EngineBackbone,
    ModelCard,
    Potential,
    TrainedModel,
    content_hash,
)
from tlpot.numbers import Floats
from tlpot.stored_results import read_arrays, write_arrays
from tlpot.system import System

ENGINE_FEATURES = "features"
"""The folder of what an engine says of structures."""
KEPT = 4096
"""Answers of the last so many questions are kept in memory."""
_LOOKED_AT = 64
"""Frames among which one is looked for whose rotation would show."""
_ROUNDING, _FLOOR = 1e-3, 1e-5
"""What a rotation may change of a feature, beside its own size and that of the largest: networks
in single precision are far below, components of vectors far above."""


def parent_engine(name: str) -> EngineSpec | None:
    """Returns the engine that a parent's name is of; None for the file or name of a model.

    Raises:
        ConfigError: an engine that cannot be understood.
    """
    parsed = parse_engine(name, bare_models=True)
    return None if parsed.kind == "model" else EngineSpec(name=name, level=parsed.class_name)


def check_engine_strategy(spec: EngineSpec, section: str | Mapping[str, Any]) -> None:
    """Checks that a strategy moves no weights, of which an engine has none.

    Raises:
        ConfigError: it does.
    """
    chosen = None if is_automatic(section) else checked_strategy(section, "finetune")
    if chosen is None or chosen.defaults is not None:
        raise ConfigError(
            f"strategy {'auto' if chosen is None else chosen.name} does not apply to the engine "
            f"{spec.name}, of which no weight can be moved; take frozen-ridge, frozen-gp, "
            "frozen-forest or shift, or learn a network on top of it by strategy=delta with "
            "strategy.low=ENGINE and a parent whose elements it should know"
        )


def engine_hash(spec: EngineSpec) -> str:
    """Returns a hash of what decides the numbers of an engine.

    Raises:
        TLPotError: see `tlpot.engines.make_engine`.
    """
    engine = make_engine(spec)
    return engine_key(engine.level, engine.definition)


def parent_hash(name: str) -> str:
    """Returns the hash by which a child knows its parent, a model file or an engine.

    Raises:
        ModelFileError: no such file or name.
        TLPotError: see `engine_hash`.
    """
    spec = parent_engine(name)
    return content_hash(name) if spec is None else engine_hash(spec)


class EngineFeatures:
    """What an engine says of structures: a `tlpot.models.FeatureSource` that asks it once.

    Args:
        engine: has features.
        folder: where they are kept, by engine and geometry; None to keep the last ones in memory.
    """

    def __init__(self, engine: Engine, folder: Path | None = None) -> None:
        self.engine = engine
        key = engine_key(engine.level, engine.definition)
        self._folder = None if folder is None else folder / key
        self._kept: OrderedDict[tuple[str, str], Floats] = OrderedDict()
        engine.use_threads(torch.get_num_threads())

    def __deepcopy__(self, memo: object) -> EngineFeatures:
        return self

    def energies(self, systems: Sequence[System]) -> list[float]:
        """Returns the energy of each structure, eV.

        Raises:
            LabelError: the engine fails for one.
            DataError: what is kept of one is damaged.
        """
        return [float(self._answer("energy", system, self._energy)) for system in systems]

    def features(self, systems: Sequence[System]) -> list[Floats]:
        """Returns the features of the atoms of each structure, [n_atoms, n_features].

        Raises:
            LabelError: the engine fails for one, or gives something else.
            DataError: what is kept of one is damaged.
        """
        return [self._answer("features", system, self._features) for system in systems]

    def _energy(self, system: System) -> Floats:
        return np.array(self.engine.compute(system, forces=False, log=io.StringIO()).energy)

    def _features(self, system: System) -> Floats:
        if not isinstance(self.engine, Describing):
            raise LabelError(f"{self.engine.level} has no descriptors; env:, ase: and torch: may")
        found = self.engine.descriptors(system, io.StringIO())
        if not found.shape[1]:
            raise LabelError(f"{self.engine.level} gives no features at all, shape {found.shape}")
        return found

    def _answer(self, what: str, system: System, ask: Callable[[System], Floats]) -> Floats:
        key = what, geometry_key(system)
        found = self._kept.get(key)
        if found is None:
            file = None if self._folder is None else self._folder / f"{key[1]}-{what}.npz"
            again = "delete it to have it computed again"
            stored = None if file is None else read_arrays(file, [what], again)
            found = self._asked(what, system, ask) if stored is None else stored[what]
            if file is not None and stored is None:
                make_folder(file.parent)
                write_arrays(file, {what: found})
            self._kept[key] = found
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _asked(self, what: str, system: System, ask: Callable[[System], Floats]) -> Floats:
        name = system.to_atoms().get_chemical_formula()
        try:
            elements = sorted(set(system.atomic_numbers.tolist()))
            self.engine.check(elements, periodic=bool(system.pbc.any()))
            found = ask(system)
        except TLPotError as error:
            raise LabelError(f"{name}: {error}") from error
        except Exception as error:  # programs raise whatever they like
            raise LabelError(f"{name}: {self.engine.level} fails: {error}") from error
        if not np.isfinite(found).all():
            raise LabelError(f"{name}: {self.engine.level} gives {what} with NaN or infinity")
        return found


def engine_potential(spec: EngineSpec, dataset: Dataset, folder: Path) -> Potential:
    """Returns an engine as a potential of one level, to which others can be added.

    Args:
        spec: the engine.
        dataset: the frames, whose elements the potential knows; one of them is tried.
        folder: where its answers are kept.

    Raises:
        ConfigError: the engine does not know an element, has no features, or has some that are
            not invariant.
        TLPotError: see `tlpot.engines.make_engine`.
    """
    engine = make_engine(spec)
    engine.check(dataset.elements, periodic=False)
    source = EngineFeatures(engine, folder)
    try:
        n_features = _check_features(source, _telling(dataset))
    except LabelError as error:
        raise ConfigError(
            f"the parent {spec.name} gives no features to fit on ({error}); they are what "
            "get_descriptors(atoms) of an ASE calculator returns, or the output descriptors of a "
            "TorchScript model, see docs/foreign.md; strategy=delta with strategy.low needs none"
        ) from error
    architecture = EngineArchitecture(
        elements=tuple(sorted(dataset.elements)),
        engine=engine.level,
        definition=json.loads(json.dumps(dict(engine.definition))),
        n_channels=n_features,
    )
    zeros = dict.fromkeys(architecture.elements, 0.0)
    made = Potential.create(architecture, {engine.level: zeros}, dtype=torch.float64)
    made.head(engine.level).readout.silence()
    cast(EngineBackbone, made.backbone).source = source
    known = ("engine", "program", "licence", "origin", "files", "model_sha256")
    told = architecture.definition
    made.card = ModelCard(
        name=engine.level,
        description=f"the model {engine.level} of another program",
        licence=str(told.get("licence", "not stated")),
        origin={key: told[key] for key in known if key in told},
        references={engine.level: "of the engine"},
    )
    return made


def with_engine(
    model: ModelSource, name: str, device: str | torch.device | None = None
) -> TrainedModel:
    """Returns a copy of a model that can ask the engine whose features it reads.

    Args:
        model: a file, the name of a model, or one that is opened.
        name: of the engine.
        device: of a file; see `tlpot.models.load`.

    Raises:
        ConfigError: no engine, another one than the model was fitted on, or a model that reads
            none.
        TLPotError: see `tlpot.engines.make_engine`.
    """
    spec = parent_engine(name)
    if spec is None:
        raise ConfigError(f"engine is {name!r}; expected one such as torch:FILE")
    opened = copy.deepcopy(open_model(model, device, frozen=True))
    readers = [m for m in cast(nn.Module, opened).modules() if isinstance(m, EngineBackbone)]
    if not readers:
        raise ConfigError(
            f"engine does not apply to {opened.card.name!r}, which has a network of its own and "
            "reads no features of another program; leave it out"
        )
    engine = make_engine(spec)
    source = EngineFeatures(engine)
    for reader in readers:
        fitted = reader.architecture
        if fitted.engine != engine.level:
            raise ConfigError(
                f"{opened.card.name!r} reads features of {fitted.engine}, and the engine given is "
                f"{engine.level}"
            )
        check_definition(fitted.definition, engine.definition, "the model was fitted on an engine")
        reader.source = source
    return opened


def _telling(dataset: Dataset) -> System:
    """Returns a structure in which vectors would show, if there is one near the beginning."""
    frames = range(min(len(dataset), _LOOKED_AT))
    systems = [frame.system for frame in frames_of(dataset, list(frames), levels=())]
    return next((system for system in systems if len(system) > 2), systems[0])


def _check_features(source: EngineFeatures, system: System) -> int:
    """Returns the number of features, which rotations and shifts have to leave as they are."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    turned = System(
        atomic_numbers=system.atomic_numbers,
        positions=system.positions @ rotation.T + [0.3, -0.2, 0.1],
        cell=system.cell @ rotation.T,
        pbc=system.pbc,
        charge=system.charge,
        spin=system.spin,
    )
    here, there = source.features([system, turned])
    if here.shape != there.shape:
        raise LabelError(f"it has {here.shape[1]} and, rotated, {there.shape[1]} features")
    sizes, change = np.abs(here).max(axis=0), np.abs(there - here).max(axis=0)
    worst = np.flatnonzero(change > _ROUNDING * sizes + _FLOOR * sizes.max())
    if len(worst):
        k = worst[np.argmax(change[worst])]
        raise LabelError(
            f"{len(worst)} of {here.shape[1]} features change as the structure is rotated and "
            f"moved, feature {k} by {change[k]:.2g} of {sizes[k]:.2g}: only invariant ones will do"
        )
    return here.shape[1]
