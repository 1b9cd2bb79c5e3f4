"""Fine-tuning: a pretrained potential moves to another level of theory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols

from tlpot.config import parse, to_mapping
from tlpot.data import Dataset, frames_of
from tlpot.errors import ConfigError, OutputError, UnknownElementError, nearest
from tlpot.evaluation import ReportSettings
from tlpot.jobs.data_sources import DataSettings, SplitSettings, check_charges, with_energies
from tlpot.jobs.fitting import Job, Outcome, fit
from tlpot.jobs.force_anchor import anchor
from tlpot.jobs.output import check_output
from tlpot.jobs.preflight import label_warnings, preflight_report
from tlpot.jobs.references import ReferenceMethod, References, find_references
from tlpot.jobs.training_defaults import DEFAULTS, training_defaults
from tlpot.jobs.transfer_examination import examine
from tlpot.levels import choose_level, difference_parts
from tlpot.models import ModelCard, Potential, content_hash, library_file, load_potential
from tlpot.training import Processes, TrainingPlan, TrainingSettings
from tlpot.transfer import STRATEGY_NAMES, Lessons, Situation, Strategy, strategy, strategy_settings


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """A fine-tuning.

    Attributes:
        parent: file or name of the pretrained potential.
        data: the labels.
        level: level of theory to learn.
        strategy: name of the strategy, or a section with its ``name`` and its settings.
        output: the model file to write.
        source: level of the parent to start from; needed if it has several.
        anchor: weight in the loss of the parent's forces, where the labels are energies only;
            None for a small one, 0 for none.
        references: E0 of the new level: ``fit`` to what the parent leaves over, ``isolated``
            atoms as the dataset gives them, or those of the ``parent``. None for those of the
            parent where weights are trained with more labels of the level that it knows, else a
            fit.
        split: which frames are for what.
        training: settings; the strategy's recipe applies to what is not set.
        name: of the model; the file's stem if left out.
        licence: of the new weights.
        report: what the transfer report looks at; none is made if this is left out.
        defaults: version of the training's defaults, see `tlpot.jobs.training_defaults`.
    """

    parent: str
    data: DataSettings
    level: str
    output: Path
    strategy: str | Mapping[str, Any] = "full"
    source: str | None = None
    anchor: float | None = None
    references: ReferenceMethod | None = None
    split: SplitSettings = field(default_factory=SplitSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    name: str = ""
    licence: str = "not stated"
    report: ReportSettings | None = None
    defaults: int = DEFAULTS


def finetune_config(settings: Mapping[str, Any], where: str = "finetune") -> FinetuneConfig:
    """Reads a configuration; the strategy's recipe fills in what `settings` leaves out.

    Args:
        settings: keys are fields of `FinetuneConfig`.
        where: the section, for messages.

    Raises:
        ConfigError: a typo, a value that makes no sense, or a setting that does not apply to
            the strategy.
    """
    chosen = _strategy(settings.get("strategy", "full"), where)
    training = settings.get("training", {})
    if not isinstance(training, Mapping):
        raise ConfigError(
            f"{where}: training must be a section of 'key: value' pairs, not {training!r}"
        )
    if chosen.recipe is None:
        idle = sorted(set(training) - {"seed"})
        if idle:
            raise ConfigError(
                f"{where}: strategy {chosen.name!r} trains nothing, so training.{idle[0]} does "
                "not apply; leave it out"
            )
    if chosen.recipe is not None:
        version = settings.get("defaults", DEFAULTS)
        training = {
            **to_mapping(chosen.recipe),
            **training_defaults(version, training, where),
        }
    settings = {**settings, "strategy": strategy_settings(chosen), "training": training}
    return parse(FinetuneConfig, settings, where)


def _strategy(settings: Any, where: str = "finetune") -> Strategy:
    if not isinstance(settings, str | Mapping):
        raise ConfigError(f"{where}: strategy must be a name or a section, not {settings!r}")
    name = settings if isinstance(settings, str) else settings.get("name")
    if name == "auto":
        raise ConfigError("strategy 'auto' has to choose first; see tlpot.jobs.choose_strategy")
    if name is not None and name not in STRATEGY_NAMES:
        known = (*STRATEGY_NAMES, "auto")
        raise ConfigError(f"{where}: unknown strategy {name!r}{nearest(str(name), known)}")
    try:
        return strategy(settings)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A fine-tuning that is ready to start.

    Attributes:
        job: the model at step 0 and its data.
        report: what will happen, for the user to read.
    """

    job: Job
    report: str


def prepare_finetune(
    config: FinetuneConfig, *, device: torch.device | str | None = None
) -> Prepared:
    """Does everything up to the first update.

    Raises:
        TLPotError: something is wrong with the parent, the data or the settings.
    """
    check_output(config.output)
    if config.output.exists() and config.output.samefile(library_file(config.parent)):
        raise OutputError(f"the output {config.output} is the parent itself; choose another name")
    chosen = _strategy(config.strategy)
    # an uncertainty belongs to the very weights that are about to change
    parent = load_potential(config.parent, device=device).without_uncertainty()
    check_charges(config.data, parent.architecture.charge_spin, parent=config.parent)
    dataset = config.data.open(every_level=chosen.needs_levels)
    level = choose_level(config.level, dataset.levels, str(dataset.path))
    source = choose_level(
        config.source, parent.levels, f"the parent {config.parent}", option="source"
    )
    _check_elements(parent, dataset, config.parent)
    split = config.split.divide(dataset, level, keep_elements=config.defaults > 1)
    suspicions = label_warnings(dataset, level, split.train)
    if chosen.recipe is None:  # what has no epochs is solved from the energies
        split = with_energies(split, dataset, level)
    situation = Situation(
        parent=parent,
        source=source,
        level=level,
        dataset=dataset,
        split=split,
        seed=config.training.seed,
        cache=config.output.with_suffix(".run") / "features",
    )
    _check_kind(source, level, config.parent)
    lessons = chosen.lessons(situation)
    others = {name: _energies(parent, lessons, name) for name in lessons.levels[1:]}
    situation = replace(situation, others=others)
    kinds = lessons.dataset.levels[lessons.levels[0]].kinds
    lessons, loss, anchored = anchor(config.anchor, chosen, situation, lessons, config.training)
    learned, saved = lessons.levels[0], chosen.saved_level(situation)
    # frames without a difference are left out; frames that are added are not the user's
    given = lessons.split if chosen.learns_difference else situation.split
    own = source == level and chosen.inherits and chosen.recipe is not None
    references = find_references(
        config.references or ("parent" if own else "fit"),
        lessons.dataset,
        given.train,
        learned,
        chosen.elements(situation),
        parent=parent.at(source) if chosen.inherits else None,
        parent_energies=None if chosen.learns_difference else parent.references(source),
        device=parent.device,
    )
    taught = replace(situation, dataset=lessons.dataset, split=lessons.split)
    start = chosen.start(taught, references.energies)
    job = Job(
        potential=start,
        levels=lessons.levels,
        dataset=lessons.dataset,
        split=lessons.split,
        settings=replace(config.training, loss=loss),
        given=given,
        plan=TrainingPlan(
            rates=chosen.rates(start, learned),
            release=chosen.release(start, learned),
            penalty=chosen.penalty(start, situation),
            level_weights=lessons.weights,
            keeps_start=chosen.inherits or chosen.learns_difference,
        ),
        output=config.output,
        card=_card(config, chosen, parent, references, saved, start.levels),
        recipe=to_mapping(config),
        others=lessons.others,
        n_others=lessons.n_others,
        finish=lambda potential: chosen.finish(potential, situation),
        kinds=kinds,
        shifts={}
        if references.fit is None or not chosen.inherits
        else {z: e - references.prior[z] for z, e in references.energies.items()},
        saved_level=saved,
        parent=parent.at(source) if chosen.inherits else None,
        # a difference is no total energy: no walls, no dynamics
        examine=None
        if config.report is None or not config.report.enabled or difference_parts(saved) is not None
        else partial(
            examine,
            settings=config.report,
            parent=parent.at(source),
            labels=config.data.open_all_levels,
        ),
    )
    caution = " ".join(filter(None, (chosen.caution, anchored)))
    pretrained = chosen.inherits or chosen.learns_difference
    report = preflight_report(
        job, references, pretrained=pretrained, caution=caution, suspicions=suspicions
    )
    return Prepared(job=job, report=report)


def finetune(
    config: FinetuneConfig,
    *,
    processes: Processes | None = None,
    device: torch.device | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show: bool = True,
) -> Outcome:
    """Prepares and runs a fine-tuning without printing anything but the progress bar.

    Raises:
        TLPotError: something is wrong with the parent, the data or the settings.
    """
    prepared = prepare_finetune(config, device=device)
    return fit(
        prepared.job, processes or Processes(), resume=resume, overwrite=overwrite, show=show
    )


def _energies(parent: Potential, lessons: Lessons, level: str) -> Mapping[int, float]:
    """Returns E0 of another level that is learned: the parent's, or a fit."""
    if level in parent.levels:
        return parent.references(level)
    train = np.unique(np.concatenate([lessons.split.train, lessons.others]))
    frames = train[lessons.dataset.labelled(level)[train]]
    return find_references("fit", lessons.dataset, frames, level, parent.elements).energies


def _check_elements(parent: Potential, dataset: Dataset, name: str) -> None:
    unknown = [chemical_symbols[z] for z in dataset.elements if z not in parent.elements]
    if unknown:
        known = ", ".join(chemical_symbols[z] for z in parent.elements)
        first = next(
            frame.name
            for frame in frames_of(dataset, levels=())
            if not set(frame.system.atomic_numbers.tolist()) <= set(parent.elements)
        )
        raise UnknownElementError(
            f"{first} and perhaps others have {', '.join(unknown)}, which the parent {name} does "
            f"not know; it knows {known}. Choose a parent with these elements, or leave these "
            "molecules out"
        )


def _check_kind(source: str, level: str, parent: str) -> None:
    if difference_parts(source) is not None and difference_parts(level) is None:
        raise ConfigError(
            f"the parent {parent} gives the difference {source!r}, not total energies, so it is "
            f"no start for {level!r}; choose another parent"
        )


def _card(
    config: FinetuneConfig,
    chosen: Strategy,
    parent: Potential,
    references: References,
    level: str,
    levels: Sequence[str],
) -> ModelCard:
    origins = parent.card.references if chosen.keeps_levels else {}
    kept = {name: origin for name, origin in origins.items() if name in levels}
    origin = references.origin
    if chosen.learns_difference and difference_parts(level) is None:
        origin = f"the parent's, plus for the difference {origin}"
    return ModelCard(
        name=config.name or config.output.stem,
        description=f"{level}, {chosen.summary} {parent.card.name}",
        licence=config.licence,
        parent=content_hash(config.parent),
        parent_licence=parent.card.licence,
        references={**kept, level: origin},
        citation=parent.card.citation,
        charges=check_charges(config.data, parent.architecture.charge_spin),
    )
