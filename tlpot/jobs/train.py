"""Training from scratch: pretraining on cheap labels, usually."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from tlpot.config import parse, to_mapping
from tlpot.data import Dataset, DataSource, average_neighbors, force_scale
from tlpot.errors import ConfigError
from tlpot.jobs.data_sources import (
    ConfigSource,
    DataSettings,
    SplitSettings,
    check_charges,
    settings_with_data,
    with_epochs,
)
from tlpot.jobs.finetune_config import DEFAULTS, complete_training, training_settings
from tlpot.jobs.fitting import fit
from tlpot.jobs.preflight import label_warnings, preflight_report
from tlpot.jobs.references import find_references
from tlpot.jobs.training_job import Job, PreparedTraining, TrainingOutcome, check_output
from tlpot.levels import choose_level
from tlpot.models import Architecture, ModelCard, Potential, level_parameters, read_architecture
from tlpot.torch_mode import choose_device
from tlpot.training import Processes, TrainingPlan, TrainingSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A training from scratch.

    Attributes:
        data: the labels.
        output: the model file to write.
        level: level of theory to learn; may be left out if the data has only one.
        model: ``preset`` (tiny, small, medium) and any field of `Architecture`; elements and
            avg_neighbors come from the data unless they are given.
        references: E0: ``fit`` to the training energies, or the ``isolated`` atoms as given.
        split: which frames are for what.
        training: what is set of `TrainingSettings`.
        dtype: precision of the network.
        name: of the model; the file's stem if left out.
        description: one sentence for the card.
        licence: of the weights.
        citation: what to cite.
        defaults: version of the training's defaults, see `tlpot.jobs.finetune_config`.
    """

    data: DataSettings
    output: Path
    level: str | None = None
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
    defaults: int = DEFAULTS

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
    preset = given.pop("preset", None)
    if preset is not None:
        given["model"] = {**(given.get("model") or {}), "preset": preset}
    settings, dataset = settings_with_data(config, "train", data, **given)
    found = train_config(settings, settings.where)
    return replace(found, data=replace(found.data, dataset=dataset))


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
    dataset = config.data.open()
    level = choose_level(config.level, dataset.levels, str(dataset.path))
    split = config.split.divide(dataset, level, keep_elements=config.defaults > 1)
    suspicions = label_warnings(dataset, level, split.train)
    architecture = _architecture(config.model, dataset, split.train)
    charges = check_charges(config.data, architecture.charge_spin)
    references = find_references(
        config.references, dataset, split.train, level, architecture.elements
    )
    potential = Potential.create(
        architecture,
        {level: references.energies},
        scale=force_scale(dataset, split.train, [level]),
        seed=settings.seed,
        dtype=getattr(torch, config.dtype),
    ).to(choose_device(device))
    job = Job(
        potential=potential,
        levels=(level,),
        dataset=dataset,
        split=split,
        settings=settings,
        plan=TrainingPlan(
            rates=dict.fromkeys(level_parameters(potential, level), 1.0), keeps_start=False
        ),
        output=config.output,
        card=ModelCard(
            name=config.name or config.output.stem,
            description=config.description,
            licence=config.licence,
            references={level: references.origin},
            citation=config.citation,
            charges=charges,
        ),
        recipe=to_mapping(config),
    )
    report = preflight_report(job, references, pretrained=False, suspicions=suspicions)
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


def _architecture(model: Mapping[str, Any], dataset: Dataset, indices: Any) -> Architecture:
    architecture = read_architecture(model, dataset.elements)
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
