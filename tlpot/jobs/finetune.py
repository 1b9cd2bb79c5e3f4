"""Fine-tuning: a pretrained potential moves to another level of theory, forces anchored or not."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from tlpot.config import to_mapping
from tlpot.data import Dataset, DatasetWithLabels, Labels
from tlpot.energy import has_forces
from tlpot.engines import EngineSpec
from tlpot.errors import ConfigError, OutputError
from tlpot.jobs.data_sources import (
    check_charges,
    check_elements,
    kept_low,
    known_charges,
    with_energies,
)
from tlpot.jobs.engine_features import (
    ENGINE_FEATURES,
    check_engine_strategy,
    engine_hash,
    engine_potential,
    parent_engine,
)
from tlpot.jobs.engine_values import engine_values
from tlpot.jobs.finetune_config import (
    FinetuneConfig,
    checked_strategy,
    is_automatic,
    training_settings,
)
from tlpot.jobs.fitting import fit
from tlpot.jobs.other_levels import other_references, starting_references
from tlpot.jobs.preflight import label_warnings, preflight_report
from tlpot.jobs.property_jobs import Pooling, check_same_quantity, make_targets, property_references
from tlpot.jobs.references import References, find_references
from tlpot.jobs.report import examine
from tlpot.jobs.seen_frames import with_frames
from tlpot.jobs.strategy_choice import choose_strategy, config_for
from tlpot.jobs.training_job import (
    Job,
    PreparedTraining,
    TrainingOutcome,
    as_part,
    check_output,
    tell_domain,
)
from tlpot.levels import choose_level, difference_parts
from tlpot.models import (
    EngineArchitecture,
    ModelCard,
    Potential,
    TrainedModel,
    content_hash,
    library_file,
    load_potential,
    same_readout,
    to_bytes,
)
from tlpot.numbers import counted
from tlpot.targets import is_property
from tlpot.torch_mode import choose_device
from tlpot.training import LossSettings, Processes, TrainingPlan, TrainingSettings
from tlpot.transfer import (
    Frozen,
    Strategy,
    TrainingData,
    TransferContext,
    both_penalties,
    check_adaptable,
    pseudo_labels,
    training_adaptation,
)

ANCHOR = 1e-2
"""Weight of the parent's forces, beside the weight 1 of the energies."""


def anchor(
    weight: float | None,
    strategy: Strategy,
    context: TransferContext,
    training_data: TrainingData,
    settings: TrainingSettings,
) -> tuple[TrainingData, LossSettings, str]:
    """Lets the parent's forces stand in where the labels are energies alone.

    Energies of a few geometries leave most directions open in which a potential can change;
    low energy errors then hide large errors of the forces (arXiv:2509.16601). Held-out frames
    get none of these forces, so no error is measured against them. For a difference the same
    means forces of zero: the low level's stay as they are.

    Args:
        weight: of the forces in the loss; None for `ANCHOR`, 0 for none.
        strategy: those that start from nothing, or bring labels of other levels, have no anchor.
        context: where we are.
        training_data: what would be seen without the anchor.
        settings: of the training.

    Returns:
        What is seen, the loss, and a sentence for the user, empty if nothing changed.

    Raises:
        ConfigError: a weight is given and does not apply.
    """
    learned, difference = training_data.levels[0], strategy.learns_difference
    labelled = "forces" in training_data.dataset.levels[learned].kinds
    differentiable = difference or has_forces(context.parent.at(context.source))
    differentiable = differentiable and not context.targets
    trains = (strategy.inherits or difference) and strategy.defaults is not None
    applies = trains and differentiable and len(training_data.levels) == 1
    if weight is not None and (labelled or not applies):
        reason = f"strategy is {strategy.name!r}"
        if labelled:
            reason = "the labels include forces"
        elif not differentiable:
            reason = f"the parent has energies only at {context.source}"
            if context.targets:
                reason = f"{context.level} is no energy"
        raise ConfigError(f"finetune: anchor does not apply because {reason}; leave it out")
    if weight is not None and not 0 <= weight < 1e6:
        raise ConfigError(f"finetune: anchor is {weight}, expected 0 or a positive number")
    weight = ANCHOR if weight is None else weight
    if (
        labelled
        or not applies
        or not weight
        or not (settings.loss.energy or settings.loss.relative)
    ):
        return training_data, settings.loss, ""
    train = training_data.split.train
    if difference:
        forces = [Labels(forces=np.zeros((n, 3))) for n in training_data.dataset.sizes[train]]
    else:
        found = pseudo_labels(context.parent, context.source, context.dataset, train)
        forces = [Labels(forces=labels.forces) for labels in found]
    dataset = DatasetWithLabels(training_data.dataset, learned, train, forces)
    whose = "low level's" if difference else "parent's"
    return (
        replace(training_data, dataset=dataset),
        replace(settings.loss, forces=weight),
        f"the labels are energies only, so the {whose} forces on the training frames hold the "
        f"model with weight {weight:g} (anchor; 0 turns it off)",
    )


def prepare_finetune(
    config: FinetuneConfig, *, device: torch.device | str | None = None
) -> PreparedTraining:
    """Does everything up to the first update; that includes the trials of strategy ``auto``.

    Raises:
        TLPotError: something is wrong with the parent, the data or the settings.
    """
    config = config.resolved()
    check_output(config.output)
    engine = None if config.parent_model is not None else parent_engine(config.parent)
    if engine is not None:
        check_engine_strategy(engine, config.strategy)
    elif config.output.exists() and _is_parent(config):
        raise OutputError(f"the output {config.output} is the parent itself; choose another name")
    if is_automatic(config.strategy):
        choice = choose_strategy(config, partial(trial_errors, device=device))
        found = prepare_finetune(config_for(config, choice.name), device=device)
        return replace(found, choice=choice.table())
    chosen = checked_strategy(config.strategy, "finetune")
    settings = training_settings(config.training, "finetune")
    parent, parent_hash, dataset = _opened(config, chosen, engine, device)
    level = choose_level(config.level, dataset.levels, str(dataset.path))
    levels = parent.levels if config.source or chosen.reads_source else parent.levels[:1]
    source = choose_level(config.source, levels, f"the parent {config.parent}", option="source")
    check_elements(parent, dataset, config.parent)
    split = config.split.divide(dataset, level, keep_elements=config.defaults > 1)
    suspicions = label_warnings(dataset, level, split.train)
    n_lost, with_forces = 0, chosen.learns_forces and engine is None
    if chosen.defaults is None:  # what has no epochs is solved from labels of these kinds
        split, n_lost = with_energies(split, dataset, level, or_forces=with_forces)
    run = config.output.with_suffix(".run")
    context = TransferContext(
        parent=parent,
        source=source,
        level=level,
        dataset=dataset,
        split=split,
        seed=settings.seed,
        cache=run / "features",
        low=engine_values(chosen, dataset, split, level, run),
    )
    if chosen.reads_source:
        _check_kind(source, level, config.parent)
    training_data = chosen.training_data(context)
    if chosen.known is not None and len(training_data.levels) > 1:
        raise ConfigError(
            f"strategy.known does not apply to {chosen.name}, which learns other levels, too; take "
            "full, scratch or one of the frozen ones"
        )
    check_adaptable(chosen, len(training_data.levels))
    targets = make_targets(
        training_data.dataset, training_data.split.train, training_data.levels,
        config.pooling or _inherited_pooling(parent, source), told=chosen.known,
    )  # fmt: skip
    context = replace(context, targets=targets)
    target = targets.get(training_data.levels[0])
    if target is not None and chosen.inherits:
        check_same_quantity(parent.at(source), target, dataset, training_data.levels[0])
    inherits = chosen.inherits and same_readout(level, target, source, parent.target(source))
    others = other_references(parent.at(source), training_data, targets)
    context = replace(context, others={name: found.energies for name, found in others.items()})
    kinds = training_data.dataset.levels[training_data.levels[0]].kinds
    training_data, loss, anchored = anchor(config.anchor, chosen, context, training_data, settings)
    learned, saved = training_data.levels[0], chosen.saved_level(context)
    # frames without a difference are left out; frames that are added are not the user's
    given = training_data.split if chosen.learns_difference else context.split
    own = source == level and chosen.inherits and chosen.defaults is not None
    taught = replace(context, dataset=training_data.dataset, split=training_data.split)
    method = config.references or ("parent" if own else "fit")
    references = (
        find_references(
            method,
            training_data.dataset,
            given.train,
            learned,
            chosen.elements(context),
            parent=parent.at(source) if inherits else None,
            parent_energies=None
            if chosen.learns_difference
            else starting_references(parent.at(source)),
            beyond=_beyond(config, chosen, taught, learned),
        )
        if target is None
        else property_references(
            training_data.dataset,
            given.train,
            learned,
            chosen.elements(context),
            target,
            parent=parent.at(source) if inherits else None,
            keep=method == "parent",
        )
    )
    start = chosen.start(taught, references.energies)
    rates = chosen.rates(start, learned)
    adapted = training_adaptation(chosen, start, context, rates) if rates else None
    penalty = chosen.penalty(start, context)
    kept = start.levels if chosen.keeps_levels else ()
    job = Job(
        potential=start,
        levels=training_data.levels,
        dataset=training_data.dataset,
        split=training_data.split,
        settings=replace(settings, loss=loss),
        given=given,
        plan=TrainingPlan(
            rates=rates,
            release=chosen.release(start, learned),
            penalty=penalty if adapted is None else both_penalties(penalty, adapted.penalty),
            level_weights=training_data.weights,
            keeps_start=inherits or chosen.learns_difference,
        ),
        output=config.output,
        card=replace(
            _card(config, chosen, parent, {**others, saved: references}, saved, kept),
            charges=known_charges(config.data, start),
            parent=parent_hash,
            dataset=_low_definition(context, chosen),
        ),
        recipe=to_mapping(config),
        others=training_data.others,
        n_others=training_data.n_others,
        finish=lambda potential: chosen.finish(potential, context),
        kinds=kinds,
        shifts={}
        if references.fit is None or not inherits
        else {z: references.energies[z] - e for z, e in references.prior.items()},
        saved_level=saved,
        parent=parent.at(source) if inherits else None,
        weights=None if adapted is None else adapted.weights,
        labels=training_data.dataset if chosen.learns_difference else context.dataset,
        adaptation=None if adapted is None else adapted.notes,
        # a difference is no total energy: no walls, no dynamics
        examine=None
        if config.report is None
        or not config.report.enabled
        or difference_parts(saved) is not None
        or is_property(saved)
        else partial(
            examine,
            settings=config.report,
            parent=parent.at(source),
            labels=config.data.open_all_levels,
        ),
    )
    of_energies = "" if context.targets else chosen.energy_caution
    left_out = ""
    if n_lost:
        left_out = (
            f"{counted(n_lost, 'frame')} without an energy{' or forces' * with_forces} left out: "
            f"{chosen.name} learns nothing from other labels"
        )
    notes = [text for text in (chosen.caution, of_energies, anchored, left_out) if text]
    pretrained = inherits or chosen.learns_difference
    report = preflight_report(
        job, references, pretrained=pretrained, notes=notes, suspicions=suspicions
    )
    return PreparedTraining(job=job, report=report)


def finetune(
    config: FinetuneConfig,
    *,
    processes: Processes | None = None,
    device: torch.device | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show: bool = True,
) -> TrainingOutcome:
    """Prepares and runs a fine-tuning without printing anything but the progress bar.

    Raises:
        TLPotError: something is wrong with the parent, the data or the settings.
    """
    prepared = prepare_finetune(config, device=device)
    return fit(
        prepared.job, processes or Processes(), resume=resume, overwrite=overwrite, show=show
    )


def fit_closed_form(job: Job) -> TrainedModel:
    """Returns the model of a job that trains nothing by steps; no error is measured.

    Args:
        job: whose plan moves no weight.
    """
    finished = job.finish(job.potential)
    tell_domain(finished, job, job.levels)
    split = job.given or job.split
    card = replace(job.card, recipe=dict(job.recipe))
    finished.card = with_frames(card, job.dataset, split, held_out=False)
    return finished


def trial_errors(
    config: FinetuneConfig, *, device: torch.device | str | None = None
) -> Mapping[str, float]:
    """Returns the errors of a fine-tuning on its test frames, for `choose_strategy`."""
    with as_part():
        return dict(finetune(config, device=device, show=False).end.overall)


def _is_parent(config: FinetuneConfig) -> bool:
    if config.parent_model is not None:
        return False
    return config.output.samefile(library_file(config.parent))


def _opened(
    config: FinetuneConfig,
    chosen: Strategy,
    engine: EngineSpec | None,
    device: torch.device | str | None,
) -> tuple[Potential, str, Dataset]:
    """Returns the parent with its hash, and the labels, on which those of an engine depend."""
    every = chosen.needs_levels or chosen.known is not None
    if engine is None:
        parent, digest = _parent(config, device)
        check_charges(config.data, parent.architecture.charge_spin, parent=config.parent)
        return parent, digest, config.data.open(every_level=every)
    dataset = config.data.open(every_level=every)
    folder = config.features or config.output.with_suffix(".run") / ENGINE_FEATURES
    parent = engine_potential(engine, dataset, folder).to(choose_device(device))
    check_charges(config.data, parent.architecture.charge_spin, parent=config.parent)
    return parent, engine_hash(engine), dataset


def _parent(config: FinetuneConfig, device: torch.device | str | None) -> tuple[Potential, str]:
    """Returns the pretrained potential and the hash that its child knows it by."""
    if config.parent_model is None:
        parent = load_potential(config.parent, device=device)
        digest = content_hash(config.parent)
    else:
        digest = hashlib.sha256(to_bytes(config.parent_model)).hexdigest()
        parent = copy.deepcopy(config.parent_model).to(choose_device(device))
    if isinstance(parent.architecture, EngineArchitecture):
        raise ConfigError(
            f"the parent {config.parent} reads features of {parent.architecture.engine}; start "
            "from that engine itself, by its name (torch:FILE, env:PYTHON ase:MODULE:CLASS)"
        )
    # an uncertainty belongs to the very weights that are about to change
    return parent.without_uncertainty(), digest


def _inherited_pooling(parent: Potential, source: str) -> Pooling:
    target = parent.target(source)
    return "attention" if target is not None and target.pooling == "attention" else "mean"


def _beyond(
    config: FinetuneConfig, chosen: Strategy, context: TransferContext, level: str
) -> Mapping[int, float]:
    """Returns what an atom by itself has beyond its E0 at step 0, where free atoms are given.

    Raises:
        ConfigError: the free atoms are to be kept, but the strategy fits terms that move them.
    """
    parent, given = context.parent, context.dataset.levels[level].isolated_atoms
    of_engine = isinstance(parent.architecture, EngineArchitecture)
    # a fit to nothing but labels knows of no network that gives an atom anything
    fitted = chosen.inherits and config.references != "parent"
    asked = fitted or config.references == "isolated"
    if not (given and asked) or chosen.learns_difference:
        return {}
    if parent.architecture.isolated_at_reference:
        return {}
    if config.references == "isolated" and (of_engine or isinstance(chosen, Frozen)):
        raise ConfigError(
            f"references=isolated does not go with strategy {chosen.name} and the parent "
            f"{config.parent}: an atom by itself has features in this network, so that a term on "
            "them moves it away from its free energy; use references=fit, or another strategy"
        )
    if of_engine:  # which may not do free atoms, and is not asked
        return dict.fromkeys(given, math.nan)
    begun = chosen.start(context, parent.references(context.source))
    return begun.at(level).beyond_references()


def _check_kind(source: str, level: str, parent: str) -> None:
    if difference_parts(source) is not None and difference_parts(level) is None:
        raise ConfigError(
            f"the parent {parent} gives the difference {source!r}, not total energies, so it is "
            f"no start for {level!r}; learn {source!r} with more labels of both levels, or choose "
            "another parent"
        )


def _low_definition(context: TransferContext, chosen: Strategy) -> dict[str, Any]:
    """Returns what the card keeps of the engine below a difference; empty where there is none."""
    if context.low is not None:
        return {"low": dict(context.low.definition)}
    if chosen.inherits and context.source == context.level:
        return kept_low(context.parent, context.level)
    return {}


def _card(
    config: FinetuneConfig,
    chosen: Strategy,
    parent: Potential,
    references: Mapping[str, References],
    level: str,
    kept: Collection[str],
) -> ModelCard:
    """Returns the card; `references` are those that are new, `kept` the levels of the model."""
    origins = {name: told for name, told in parent.card.references.items() if name in kept}
    origins |= {name: found.origin for name, found in references.items()}
    told = "" if chosen.known is None else f", told {chosen.known}"
    if chosen.learns_difference and difference_parts(level) is None:
        origins[level] = f"the parent's, plus for the difference {origins[level]}"
    return ModelCard(
        name=config.name or config.output.stem,
        description=f"{level}, {chosen.summary} {parent.card.name}{told}",
        licence=config.licence,
        parent_licence=parent.card.lineage_licence,
        origin=parent.card.origin,
        references=origins,
        citation=parent.card.citation,
    )
