"""The model of the cheap level: trained, fine-tuned from another one, or adopted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from tlpot import jobs
from tlpot.building.labels import LABELS
from tlpot.building.stage import Stage, StageContext, StageResult
from tlpot.building.training import (
    MODEL,
    RUN_SPLIT,
    UNCERTAIN,
    build_split,
    model_facts,
    refuse_keys,
    trained,
    write_calibrated,
)
from tlpot.config import parse, to_mapping
from tlpot.data import Dataset, Split
from tlpot.errors import (
    ConfigError,
    ModelFileError,
    UnknownElementError,
    UnknownLevelError,
    nearest,
)
from tlpot.files import copy_file, make_folder
from tlpot.levels import canonical_level
from tlpot.models import Potential, content_hash, library_file, load_potential, read_architecture
from tlpot.transfer import strategy


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildParent:
    """A model to start from.

    Attributes:
        source: file or name.
        sha256: of the file.
    """

    source: str
    sha256: str

    @property
    def name(self) -> str:
        """What to call it: a name, or the name of the file."""
        return Path(self.source).name

    def check(self) -> None:
        """Checks that the file is the one that the stage was planned with.

        Raises:
            ConfigError: it is another one.
        """
        if content_hash(self.source) != self.sha256:
            raise ConfigError(
                f"pretrain.parent {self.source} has changed since this build was started; the "
                "same command starts from the new file"
            )


def open_parent(source: Any, level: str, elements: Sequence[int]) -> tuple[BuildParent, Potential]:
    """Opens the model that a build starts from, which must have the level and the elements.

    Raises:
        ConfigError: no text.
        ModelFileError: there is no such model, or it is no single potential.
        UnknownLevelError: it lacks the level; the message lists those that it has.
        UnknownElementError: it lacks an element.
    """
    if not isinstance(source, str):
        raise ConfigError(f"pretrain.parent must be a file or the name of a model, not {source!r}")
    try:
        potential = load_potential(source, device="cpu")
    except ModelFileError as error:
        raise ModelFileError(f"pretrain.parent: {error}") from error
    if canonical_level(level) not in potential.levels:
        raise UnknownLevelError(
            f"pretrain.parent {source} has no level {level}, which is the low one of this build; "
            f"it has {', '.join(potential.levels)}. Choose low.engine (or low.level) of these, "
            "another parent, or leave the parent out to train from scratch"
        )
    unknown = [chemical_symbols[z] for z in elements if z not in potential.elements]
    if unknown:
        known = ", ".join(chemical_symbols[z] for z in potential.elements)
        raise UnknownElementError(
            f"pretrain.parent {source} does not know {', '.join(unknown)} of the fragments; it "
            f"knows {known}. Choose another parent, or leave it out to train from scratch"
        )
    return BuildParent(source=source, sha256=content_hash(source)), potential


def parent_implies_charges(given: Mapping[str, Any]) -> bool:
    """Whether the parent of a section says that it knows charges without reading them."""
    try:
        return load_potential(given["parent"], device="cpu").card.implies_charges
    except (KeyError, TypeError, ModelFileError):  # none, or one that `open_parent` refuses
        return False


def check_charges(reads: bool, charges: Sequence[int], trained_charges: bool, model: str) -> None:
    """Checks that charged fragments and what a model reads go together.

    They do where the model reads charges, or is to know the fragments with just these.

    Raises:
        ConfigError: they do not.
    """
    if trained_charges and reads:
        raise ConfigError(
            "trained_charges does not apply: the model reads charges (model.charge_spin); leave it "
            "out"
        )
    if charges and not reads and not trained_charges:
        raise ConfigError(
            f"fragments have charges {list(charges)}, which {model} does not read. Take one that "
            "does, or, if it is to know these fragments with just these charges, say "
            "trained_charges: true"
        )


_OF_SCRATCH = ("model", "dtype", "description", "citation")
"""Keys of `tlpot train` that a parent leaves nothing to say about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretraining:
    """How the model of the cheap level is made.

    Attributes:
        level: the cheap one.
        config: of the training; None adopts the parent as it is.
        parent: to start from; None for a training from scratch.
        data: how the labels are read; the file is filled in later.
        split: of the cheap labels; None if all of them test the parent.
        uncertain: whether the selection needs to know how sure the model is.
    """

    level: str
    config: jobs.TrainConfig | jobs.FinetuneConfig | None
    parent: BuildParent | None
    data: jobs.DataSettings
    split: jobs.SplitSettings | None
    uncertain: bool

    @property
    def summary(self) -> str:
        """What is done, in words."""
        if self.config is None:
            assert self.parent is not None
            return f"{self.parent.name} as it is, at {self.level}"
        epochs = f"{self.config.training['epochs']} epochs at {self.level}"
        if not isinstance(self.config, jobs.FinetuneConfig):
            return epochs
        assert self.parent is not None
        chosen = strategy(self.config.strategy)
        how = f"{chosen.name} from {self.parent.name}"
        return f"{how}, {epochs}" if chosen.defaults is not None else f"{how}, at {self.level}"

    def as_json(self) -> dict[str, Any]:
        """What the model depends on, but for the labels."""
        settings: dict[str, Any] = {} if self.config is None else to_mapping(self.config)
        for name in ("data", "output", "parent"):
            settings.pop(name, None)
        found = {"pretrain": settings, "uncertain": self.uncertain}
        if self.parent is not None:
            found["parent_sha256"] = self.parent.sha256
        if self.config is None and self.split is not None:
            found["split"] = to_mapping(self.split)
        if self.data.charges != "read":
            found["charges"] = self.data.charges
        return found


def plan_pretraining(
    given: Mapping[str, Any],
    level: str,
    *,
    elements: Sequence[int],
    charges: Sequence[int],
    trained_charges: bool,
    uncertain: bool,
) -> Pretraining:
    """Reads the section of the configuration; files are filled in later.

    With `uncertain` the selection needs to know how sure the model is.

    Raises:
        ConfigError: a typo, a value that makes no sense, a key that does not apply, or charges
            that the model does not read.
        ModelFileError: there is no such parent, or it is no single potential.
        UnknownLevelError: the parent lacks the cheap level.
        UnknownElementError: the parent lacks an element.
    """
    refuse_keys(given, "pretrain", ("data", "level", "source", "output"))
    if trained_charges and not charges:
        raise ConfigError("trained_charges does not apply: no fragment has a charge; leave it out")
    read = jobs.DataSettings(files=(Path(LABELS),), charges="ignore" if trained_charges else "read")
    data = to_mapping(read)
    if "parent" not in given:
        model = given.get("model", {"preset": "tiny"})
        settings = {
            **given, "model": model, "split": build_split(given, "pretrain"), "level": level,
            "data": data, "output": MODEL,
        }  # fmt: skip
        scratch = jobs.train_config(settings, "pretrain")
        read_architecture(scratch.model, tuple(elements))
        return Pretraining(
            level=level, config=scratch, parent=None, data=read, split=scratch.split,
            uncertain=uncertain,
        )  # fmt: skip
    parent, potential = open_parent(given["parent"], level, elements)
    reads = potential.architecture.charge_spin
    check_charges(reads, charges, trained_charges, f"pretrain.parent {parent.source}")
    config = None
    if _adopts(given):
        _check_adopted(given, uncertain)
        if uncertain:
            potential.check_rigidity(canonical_level(level))
        split = (
            parse(jobs.SplitSettings, build_split(given, "pretrain"), "pretrain.split")
            if uncertain
            else None
        )
    else:
        config = _tuning(given, parent.source, level, data)
        split = config.split
        chosen = strategy(config.strategy)
        if uncertain and chosen.name.startswith("frozen-"):
            raise ConfigError(
                f"select.how='uncertainty' does not apply to pretrain.strategy {chosen.name!r}, of "
                "which a last layer knows nothing; take one that fine-tunes weights, or farthest"
            )
    return Pretraining(
        level=level, config=config, parent=parent, data=read, split=split, uncertain=uncertain
    )


def pretrain_stage(plan: Pretraining) -> Stage:
    """Makes the model of the cheap level."""

    def run(work: StageContext) -> StageResult:
        output = work.folder / MODEL
        data = replace(plan.data, files=(work.of("low", LABELS),))
        if plan.parent is not None:
            plan.parent.check()
        if plan.config is None:
            _adopt(plan, data.open(), output)
        else:
            trained(work, output, lambda: _job(plan, data, output, work.device))
        outputs = [MODEL, RUN_SPLIT]
        if plan.uncertain:
            write_calibrated(work, output, data.open(), plan.level)
            outputs.append(UNCERTAIN)
        return StageResult(outputs=tuple(outputs), facts=model_facts(output))

    return Stage(
        name="pretrain", summary=plan.summary, settings=plan.as_json(), needs=("low",), run=run
    )


def _job(plan: Pretraining, data: jobs.DataSettings, output: Path, device: str | None) -> jobs.Job:
    config = plan.config
    assert config is not None
    own = replace(config, data=data, output=output, name=config.name or "pretrained")
    if isinstance(own, jobs.FinetuneConfig):
        return jobs.prepare_finetune(own, device=device).job
    return jobs.prepare_train(own, device=device).job


def _adopt(plan: Pretraining, dataset: Dataset, output: Path) -> None:
    """Copies the parent, and writes down which cheap labels test it."""
    assert plan.parent is not None
    copy_file(library_file(plan.parent.source), output)
    none = np.zeros(0, dtype=np.int64)
    if plan.split is None:
        known = np.flatnonzero(dataset.labelled(plan.level))
        split = Split(train=none, validation=none, test=known, by="all test the parent", seed=0,
                      content_hash=dataset.content_hash)  # fmt: skip
    else:
        split = plan.split.divide(dataset, plan.level)
    make_folder(output.parent / Path(RUN_SPLIT).parent)
    split.save(output.parent / RUN_SPLIT)


def _adopts(given: Mapping[str, Any]) -> bool:
    """Whether nothing says how long to fine-tune, or that there is nothing to iterate."""
    training, chosen = given.get("training", {}), given.get("strategy", "full")
    if not isinstance(training, Mapping):
        raise ConfigError(
            f"pretrain: training must be a section of 'key: value' pairs, not {training!r}"
        )
    if not isinstance(chosen, str | Mapping):
        raise ConfigError(f"pretrain: strategy must be a name or a section, not {chosen!r}")
    return not training.get("epochs") and strategy(chosen).defaults is not None


def _check_adopted(given: Mapping[str, Any], uncertain: bool) -> None:
    """Refuses what says how to fine-tune, as the parent is taken as it is."""
    names = {field.name for field in fields(jobs.FinetuneConfig)}
    idle = [f"training.{name}" for name in given.get("training", {}) if name != "epochs"]
    for name in (key for key in given if key not in ("parent", "training")):
        if name in _OF_SCRATCH:
            raise _of_scratch(name)
        if name not in names:
            raise ConfigError(f"pretrain: unknown key {name!r}{nearest(str(name), names)}")
        if name != "split":
            idle.append(name)
        elif not uncertain:
            raise ConfigError(
                "pretrain.split does not apply: the parent is taken as it is, and all low labels "
                "test it; leave it out"
            )
    if idle:
        raise ConfigError(
            f"pretrain.{idle[0]} does not apply: the parent is taken as it is. Say "
            f"pretrain.training.epochs to fine-tune it on the low labels, or leave {idle[0]} out"
        )


def _tuning(
    given: Mapping[str, Any], source: str, level: str, data: Mapping[str, Any]
) -> jobs.FinetuneConfig:
    for name in _OF_SCRATCH:
        if name in given:
            raise _of_scratch(name)
    chosen = strategy(given.get("strategy", "full"))
    if chosen.needs_levels:
        raise ConfigError(
            f"pretrain.strategy {chosen.name!r} is for labels of two levels, and pretraining has "
            "those of the low one; take one such as full, freeze or l2sp"
        )
    settings = {
        **given, "split": build_split(given, "pretrain"), "parent": source, "source": level,
        "level": level, "data": data, "output": MODEL,
    }  # fmt: skip
    return jobs.finetune_config(settings, "pretrain")


def _of_scratch(name: str) -> ConfigError:
    return ConfigError(
        f"pretrain.{name} does not apply with pretrain.parent, which decides it; leave it out"
    )
