"""Training on cheap labels, usually: from scratch, or on from a model of the same levels."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from ase.data import chemical_symbols

from tlpot.config import LATER, Settings, parse, to_mapping
from tlpot.data import Dataset, DataSource, Split, average_neighbors, force_scale, with_any_label
from tlpot.errors import ConfigError, OutputError, UnknownElementError
from tlpot.jobs.data_sources import (
    DataSettings,
    SplitSettings,
    check_charges,
    check_elements,
    kept_low,
    known_charges,
)
from tlpot.jobs.finetune_config import DEFAULTS, complete_training, training_settings
from tlpot.jobs.fitting import fit
from tlpot.jobs.given_settings import ConfigSource, settings_with_data, with_epochs
from tlpot.jobs.preflight import label_warnings, preflight_report
from tlpot.jobs.property_jobs import Pooling, make_targets, property_references
from tlpot.jobs.references import References, elements_at, find_references
from tlpot.jobs.training_job import Job, PreparedTraining, TrainingOutcome, check_output
from tlpot.levels import choose_level, choose_levels
from tlpot.models import (
    Architecture,
    EngineArchitecture,
    ModelCard,
    Potential,
    content_hash,
    level_parameters,
    library_file,
    load_potential,
    read_architecture,
)
from tlpot.torch_mode import choose_device
from tlpot.training import Processes, TrainingPlan, TrainingSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A training from scratch, or on from a model.

    Attributes:
        data: the labels.
        output: the model file to write.
        start: a model file, or the name of a shipped one, whose weights and E0 the training goes
            on from instead of random ones; of its levels the model has those that are trained.
        level: level of theory to learn; may be left out if the data has only one. Of a list, each
            becomes a level of the model: an epoch has each frame at one of its levels, which take
            turns, and all levels decide which weights are kept.
        weights: factor of the loss of a level; 1 for those that are not named.
        model: ``preset`` (tiny, crystal, small, medium) and any field of `Architecture`; elements
            and avg_neighbors come from the data unless they are given.
        references: E0: ``fit`` to the training energies, or the ``isolated`` atoms as given.
        split: which frames are for what.
        training: what is set of `TrainingSettings`.
        dtype: precision of the network.
        name: of the model; the file's stem if left out.
        description: one sentence for the card.
        licence: of the weights.
        citation: what to cite.
        pooling: how the values of atoms make an intensive property: their ``mean``, or one with
            weights that are learned (``attention``).
        known: another property of the data that the model is told of each structure, such as a
            gap at a cheaper level: step 0 is a line on it and the composition.
        defaults: version of the training's defaults, see `tlpot.jobs.finetune_config`.
    """

    data: DataSettings
    output: Path
    start: str | None = field(default=None, metadata=LATER)
    level: str | tuple[str, ...] | None = None
    weights: Mapping[str, float] = field(default_factory=dict, metadata=LATER)
    model: Mapping[str, Any] = field(
        default_factory=lambda: {"preset": "tiny"}, metadata={"section": Architecture}
    )
    references: Literal["fit", "isolated"] = "fit"
    split: SplitSettings = field(default_factory=SplitSettings)
    training: Mapping[str, Any] = field(
        default_factory=dict, metadata={"section": TrainingSettings}
    )
    dtype: Literal["float32", "float64"] = "float32"
    name: str = ""
    description: str = ""
    licence: str = "not stated"
    citation: str = ""
    pooling: Pooling = field(default="mean", metadata=LATER)
    known: str | None = field(default=None, metadata=LATER)
    defaults: int = DEFAULTS

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.data.assuming(self.level))

    def resolved(self, where: str = "train") -> TrainConfig:
        """Returns the same with every setting of the training.

        Raises:
            ConfigError: a typo, or a value that makes no sense.
        """
        return replace(self, training=complete_training(self.training, self.defaults, where))


def train_job(config: ConfigSource, data: DataSource | None, **given: Any) -> TrainConfig:
    """Returns the configuration of a training; see `tlpot.train`.

    Args:
        config: a YAML file, what is in one, or nothing.
        data: the labels.
        given: other settings, which win; and ``epochs``, of the training, and ``preset``, of the
            model.

    Raises:
        TLPotError: see `train_config` and `settings_with_data`.
    """
    given["training"] = with_epochs(given)
    preset, start = given.pop("preset", None), given.pop("start", None)
    if start is not None:
        given["start"] = os.fspath(start)
    if preset is not None:
        given["model"] = {**(given.get("model") or {}), "preset": preset}
    settings, objects = settings_with_data(config, "train", data, **given)
    settings = _with_preset(settings)
    found = train_config(settings, settings.where)
    return replace(
        found,
        data=replace(found.data, dataset=objects.dataset),
        split=objects.dividing(found.split, found.output),
    )


def _with_preset(settings: Settings) -> Settings:
    """Returns settings whose ``preset``, as the argument of that name, stands in ``model``."""
    if "preset" not in settings:
        return settings
    rest = {key: value for key, value in settings.items() if key != "preset"}
    section = rest.get("model") or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"{settings.where}: model is {section!r}, expected a section")
    found = Settings({**rest, "model": {"preset": settings["preset"], **section}})
    found.where = settings.where
    return found


def train_config(settings: Mapping[str, Any], where: str = "train") -> TrainConfig:
    """Reads a configuration; it is complete, see `TrainConfig.resolved`.

    Raises:
        ConfigError: a typo, or a value that makes no sense.
    """
    return parse(TrainConfig, settings, where).resolved(where)


def prepare_train(
    config: TrainConfig, *, device: torch.device | str | None = None
) -> PreparedTraining:
    """Does everything up to the first update.

    Raises:
        TLPotError: something is wrong with the data or the settings.
    """
    config = config.resolved()
    settings = training_settings(config.training, "train")
    check_output(config.output)
    dataset = config.data.open(every_level=config.known is not None)
    levels = choose_levels(config.level, dataset.levels, str(dataset.path))
    if config.known is not None and len(levels) > 1:
        raise ConfigError(
            f"known does not apply to a training of several levels ({', '.join(levels)}); train "
            "one, or leave it out"
        )
    split = config.split.divide(
        dataset, levels[0] if len(levels) == 1 else levels, keep_elements=config.defaults > 1
    )
    suspicions = []
    for level in levels:
        at = f"{level}: " if len(levels) > 1 else ""
        own = split.train if not at else split.train[with_any_label(dataset, level)[split.train]]
        suspicions += [f"{at}{text}" for text in label_warnings(dataset, level, own)]
    begun = None
    if config.start is not None:
        begun = _begun(config.start, config, levels, dataset)
        begun = begun.to(choose_device(device), getattr(torch, config.dtype))
        potential, references = copy.deepcopy(begun), _kept_references(begun, config.start)
    else:
        potential, references = _new(config, dataset, split, levels, settings.seed, device)
    check_charges(config.data, potential.architecture.charge_spin, parent=config.start)
    if config.known is not None:  # step 0 is the line
        potential.head(levels[0]).readout.silence()
    job = Job(
        potential=potential,
        levels=levels,
        joint=len(levels) > 1,
        dataset=dataset,
        split=split,
        settings=settings,
        plan=TrainingPlan(
            rates={name: 1.0 for level in levels for name in level_parameters(potential, level)},
            level_weights=_level_weights(config.weights, levels),
            keeps_start=begun is not None,
        ),
        output=config.output,
        card=ModelCard(
            name=config.name or config.output.stem,
            description=config.description,
            licence=config.licence,
            references={level: found.origin for level, found in references.items()},
            citation=config.citation,
            charges=known_charges(config.data, potential),
            dataset={} if begun is None else kept_low(begun, levels[0]),
            parent="" if config.start is None else content_hash(config.start),
            parent_licence="" if begun is None else begun.card.lineage_licence,
            origin={} if begun is None else begun.card.origin,
        ),
        recipe=to_mapping(config),
        parent=None if begun is None else begun.at(levels[0]),
    )
    report = preflight_report(
        job,
        references,
        pretrained=begun is not None,
        notes=[] if begun is None else [f"the training goes on from {config.start}"],
        suspicions=suspicions,
    )
    return PreparedTraining(job=job, report=report)


def train_from_scratch(
    config: TrainConfig,
    *,
    processes: Processes | None = None,
    device: torch.device | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show: bool = True,
) -> TrainingOutcome:
    """Prepares and runs a training without printing anything but the progress bar.

    Raises:
        TLPotError: something is wrong with the data or the settings.
    """
    job = prepare_train(config, device=device).job
    return fit(job, processes or Processes(), resume=resume, overwrite=overwrite, show=show)


def _new(
    config: TrainConfig,
    dataset: Dataset,
    split: Split,
    levels: Sequence[str],
    seed: int,
    device: torch.device | str | None,
) -> tuple[Potential, dict[str, References]]:
    """Returns a potential with random weights, and how its E0 were found, by level."""
    architecture = _architecture(config.model, dataset, split.train)
    references: dict[str, References] = {}
    targets = make_targets(dataset, split.train, levels, config.pooling, told=config.known)
    for level in levels:
        if level in targets:
            references[level] = property_references(
                dataset, split.train, level, architecture.elements, targets[level]
            )
            continue
        known = architecture.elements
        if len(levels) > 1:
            present = elements_at(dataset, level)
            known = tuple(z for z in known if z in present)
        found = find_references(config.references, dataset, split.train, level, known)
        energies = {z: found.energies.get(z, math.nan) for z in architecture.elements}
        references[level] = replace(found, energies=energies)
    potential = Potential.create(
        architecture,
        {level: found.energies for level, found in references.items()},
        scale=force_scale(dataset, split.train, levels),
        seed=seed,
        dtype=getattr(torch, config.dtype),
        targets=targets,
    )
    return potential.to(choose_device(device)), references


def _kept_references(begun: Potential, start: str) -> dict[str, References]:
    found = {level: begun.references(level) for level in begun.levels}
    return {
        level: References(energies=kept, origin=f"those of {start}", prior=kept)
        for level, kept in found.items()
    }


def _begun(start: str, config: TrainConfig, levels: Sequence[str], dataset: Dataset) -> Potential:
    """Returns the model that a training goes on from, with the levels that are trained.

    Raises:
        ConfigError: a setting does not apply to it, or a level is none that it can be trained at.
        UnknownElementError: it, or one of its levels, does not know an element of the data.
    """
    if config.output.exists() and config.output.samefile(library_file(start)):
        raise OutputError(f"the output {config.output} is the start itself; choose another name")
    begun = load_potential(start)
    plain = TrainConfig(data=config.data, output=config.output)
    for name in ("model", "references", "pooling", "known"):
        if getattr(config, name) != getattr(plain, name):
            raise ConfigError(
                f"{name} does not apply to a training that goes on from {start}, which brings its "
                "own; leave it out"
            )
    missing = [level for level in levels if level not in begun.levels]
    if missing:
        raise ConfigError(
            f"{start} has no level {', '.join(missing)}, but {', '.join(begun.levels)}; a training "
            "goes on at levels of the model, tlpot finetune takes it to another one"
        )
    if isinstance(begun.architecture, EngineArchitecture):
        raise ConfigError(f"{start} reads features of an engine, which are not trained")
    check_elements(begun, dataset, start)
    for level in levels:
        kinds = [correction.info.kind for correction in begun.corrections(level)]
        if kinds:
            raise ConfigError(
                f"{start} has at {level} what was solved for in closed form on features that a "
                f"training would move ({', '.join(kinds)}); go on from the model that it was made "
                "from, or take tlpot finetune with the level as its source"
            )
        if begun.target(level) is not None:
            raise ConfigError(
                f"{start} gives a property at {level}; more labels of a property are learned by "
                "tlpot finetune with the level as its source"
            )
        known = {z for z, energy in begun.references(level).items() if not math.isnan(energy)}
        unknown = [chemical_symbols[z] for z in elements_at(dataset, level) - known]
        if unknown:
            raise UnknownElementError(
                f"{dataset.path} has {', '.join(sorted(unknown))} at level {level}, which {start} "
                "does not know there; leave these molecules, or this level, out"
            )
    return begun.without_uncertainty().keeping(levels)


def _level_weights(weights: Mapping[str, float], levels: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, weight in weights.items():
        level = choose_level(name, levels, "this training", option="weights")
        if not 0 < weight < math.inf:
            raise ConfigError(f"weights.{name} is {weight}, expected a positive number")
        found[level] = weight
    return found


def _architecture(model: Mapping[str, Any], dataset: Dataset, indices: Any) -> Architecture:
    architecture = read_architecture(model, dataset.elements)
    if architecture.charge_spin:
        raise ConfigError(
            "model.charge_spin=true is not trained any more: every atom would be told the total "
            "charge, so that the energies of an ion and of a molecule far away from it would not "
            "add up. Leave it out; with data.charges=ignore a model learns each kind of molecule "
            "with the charge that follows from its atoms"
        )
    if not set(dataset.elements) <= set(architecture.elements):
        raise ConfigError(
            f"model.elements is {list(architecture.elements)}, but {dataset.path} has "
            f"{list(dataset.elements)}"
        )
    if "avg_neighbors" in model:
        return architecture
    return replace(
        architecture, avg_neighbors=average_neighbors(dataset, indices, architecture.cutoff)
    )
