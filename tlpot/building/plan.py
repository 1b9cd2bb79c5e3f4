"""All stages of a build, from its configuration; whatever is wrong with it shows here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms

from tlpot.building import training
from tlpot.building.config import BuildConfig
from tlpot.building.error_budget import Assembly, TargetTests, check_reference
from tlpot.building.exploration import explore_stage, round_label_stage
from tlpot.building.labels import Level, high_stage, low_stage, sample_stage
from tlpot.building.learning_curve import curve_stage, learning_curve_config
from tlpot.building.outcome import report_stage
from tlpot.building.pretraining import parent_implies_charges, plan_pretraining, pretrain_stage
from tlpot.building.stage import Stage
from tlpot.building.structures import Target, all_fragments, find_targets, fragment_stage, scheme_of
from tlpot.building.validation import assemble_stage, reference_level, reference_stage
from tlpot.errors import ConfigError, nearest
from tlpot.jobs import FinetuneConfig, source_hashes
from tlpot.levels import canonical_level


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What is to be done.

    Attributes:
        config: the configuration.
        targets: the structures.
        n_kinds: kinds of fragments.
        low: name of the cheap level.
        high: name of the expensive level.
        stages: in order.
    """

    config: BuildConfig
    targets: tuple[Target, ...]
    n_kinds: int
    low: str
    high: str
    stages: tuple[Stage, ...]


def make_build_plan(
    config: BuildConfig, atoms: Mapping[str, Sequence[Atoms]] | None = None
) -> BuildPlan:
    """Checks the whole configuration and lists the stages; nothing is computed or written.

    Structures in memory, `atoms` by name, take the place of those of `config`.

    Raises:
        TLPotError: whatever is wrong: settings, engines, structures, programs that are missing.
    """
    scheme = scheme_of(config.scheme)
    low, high = Level(settings=config.low), Level(settings=config.high)
    if canonical_level(low.name) == canonical_level(high.name):
        raise ConfigError(
            f"low and high are both {low.name}; choose two levels of theory, or name one with level"
        )
    sampling = sample_stage(config.sample, low)
    targets = find_targets(config, atoms)
    frames = all_fragments(config.fragments, targets, scheme)
    charges = sorted({int(atoms.info["charge"]) for atoms in frames} - {0})
    if charges and ("parent" not in config.pretrain or parent_implies_charges(config.pretrain)):
        config = replace(config, trained_charges=True)
    tuning = training.tuning_config(
        config.finetune, low.name, high.name, trained_charges=config.trained_charges
    )
    for level in (low, high):
        level.check(frames)
    n_kinds = len({atoms.info["molecule"] for atoms in frames})
    training.check_uncertainty(config.uncertainty, tuning, n_kinds * config.high.budget)
    elements = sorted({int(z) for atoms in frames for z in atoms.numbers})
    pretraining = plan_pretraining(
        config.pretrain,
        low.name,
        elements=elements,
        charges=charges,
        trained_charges=config.trained_charges,
        uncertain=config.select.how == "uncertainty",
    )
    curve = learning_curve_config(
        config.curve, config.finetune, tuning, n_kinds * config.high.budget
    )
    held = None if pretraining.split is None else pretraining.split.validation
    if pretraining.uncertain and isinstance(held, float):
        training.check_held_out(held, n_kinds * config.low.budget, "pretrain")
    assembly = Assembly(
        scheme=config.scheme,
        high=high.name,
        low=low.name if config.assemble.two_layer else None,
        trained_charges=config.trained_charges,
    )
    own = pretraining.config
    pretrained_by = [own.strategy] if isinstance(own, FinetuneConfig) else []
    stages = [
        fragment_stage(config.fragments, config.scheme, targets, frames),
        sampling,
        low_stage(low),
        _with_sources(pretrain_stage(pretraining), pretrained_by, config.output),
        training.select_stage(
            config.select, config.high.budget, low.name, trained_charges=config.trained_charges
        ),
        high_stage(high),
        _with_sources(
            training.tune_stage(tuning, config.uncertainty), [tuning.strategy], config.output
        ),
    ]
    rounds: list[str] = []
    for number in range(1, config.active.rounds + 1):
        tuned = stages[-1].name
        stages.append(explore_stage(number, config.active, assembly, targets, tuned))
        stages.append(round_label_stage(number, low, high))
        rounds.append(stages[-1].name)
        name = f"round-{number}-finetune"
        again = training.tune_stage(tuning, config.uncertainty, name=name, rounds=tuple(rounds))
        stages.append(_with_sources(again, [tuning.strategy], config.output))
    tuned = stages[-1].name
    if curve is not None:
        measured = [compared.strategy for compared in curve.compared_strategies()]
        stage = curve_stage(curve, tuned=tuned, rounds=rounds)
        stages.append(_with_sources(stage, measured, config.output))
    reference = {"high": high, "low": low, "none": None}[config.assemble.reference]
    if reference is not None:
        check_reference(reference, config.assemble.reference)
    mover = reference_level(config.assemble, low, high)
    if mover is not None:
        stages.append(reference_stage(config.assemble, mover, targets))
    stages.append(assemble_stage(config.assemble, assembly, targets, reference, tuned))
    stages.append(
        report_stage(
            config,
            pretraining,
            tuning,
            assembly,
            TargetTests(targets=targets, reference=reference, mover=mover),
            tuned,
            rounds,
        )
    )
    return BuildPlan(
        config=config,
        targets=tuple(targets),
        n_kinds=n_kinds,
        low=low.name,
        high=high.name,
        stages=tuple(stages),
    )


def _with_sources(
    stage: Stage, strategies: Sequence[str | Mapping[str, Any]], folder: Path
) -> Stage:
    """A stage that depends on the content of the source data of its strategies, too.

    Files of the build itself are made by stages, which those that read them depend on.

    Raises:
        DataError: a file cannot be read.
    """
    hashes = [x for each in strategies for x in source_hashes(each, outside=folder)]
    if not hashes:
        return stage
    return replace(stage, settings={**stage.settings, "source_sha256": hashes})


def up_to(stages: Sequence[Stage], name: str | None) -> tuple[Stage, ...]:
    """Returns the stages up to one, that one included.

    Raises:
        ConfigError: there is no such stage.
    """
    if name is None:
        return tuple(stages)
    names = [stage.name for stage in stages]
    if name not in names:
        raise ConfigError(f"there is no stage {name!r}{nearest(name, names)}")
    return tuple(stages[: names.index(name) + 1])
