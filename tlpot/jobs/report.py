"""The transfer report of any saved model, with or without its parent."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlpot.calculators import TLPotCalculator
from tlpot.config import IN_MEMORY, job_settings, parse
from tlpot.data import (
    Dataset,
    DataSource,
    Frame,
    Split,
    SplitPart,
    as_split,
    load_split,
    stored_part,
)
from tlpot.energy import has_forces
from tlpot.errors import ConfigError, DataError, TLPotWarning
from tlpot.evaluation import (
    LARGEST,
    PARTS,
    Baseline,
    EvaluatedModel,
    Part,
    Predictions,
    PropertyReport,
    ReportSettings,
    TransferReport,
    choose_frame,
    error_report,
    force_drift,
    forgetting,
    largest_errors,
    predict,
    probe_stability,
    scan_dimers,
    systematic_errors,
)
from tlpot.jobs.data_sources import DataSettings, as_trained
from tlpot.jobs.engine_features import with_engine
from tlpot.jobs.evaluate import frames_of_part, label_level, level_of, told_properties
from tlpot.jobs.given_settings import ConfigSource, settings_with_data
from tlpot.jobs.property_jobs import check_quantity, property_baselines
from tlpot.jobs.seen_frames import training_words
from tlpot.levels import choose_level, difference_parts
from tlpot.models import (
    DeltaPotential,
    LevelModel,
    LevelPotential,
    Potential,
    PropertyTarget,
    TrainedModel,
    load,
    load_potential,
)
from tlpot.numbers import Ints
from tlpot.presentation import progress_bar
from tlpot.uncertainty import DomainWarning

_NO_PARENT = "there is no parent to compare with"
_NO_PARENT_FORCES = "the parent has no forces to compare with"


def examine(
    evaluated: EvaluatedModel,
    settings: ReportSettings,
    *,
    parent: LevelPotential | None = None,
    labels: Callable[[], Dataset] | None = None,
    show: bool = False,
) -> TransferReport:
    """Looks at all parts that `settings` asks for.

    Args:
        evaluated: the model and the frames.
        settings: which parts, and how much.
        parent: the model before the transfer, at the level that the transfer started from.
        labels: opens the same frames with labels of more levels, if the dataset of `evaluated`
            was opened with some levels only.
        show: whether to show a progress bar.

    Raises:
        TLPotError: a model does not know an element, or a structure is unusable.
    """
    examiner = _Examiner(evaluated, settings, parent, labels)
    work: dict[Part, tuple[str, Callable[[], Any]]] = {
        "calibration": ("calibration", examiner.calibration),
        "drift": ("drift", examiner.drift),
        "forgetting": ("forgetting", examiner.forgetting),
        "dimers": ("dimers", examiner.dimers),
        "md": ("stability", examiner.stability),
    }
    found: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for name in progress_bar(PARTS, disable=not show, desc="report", dynamic_ncols=True):
        field, look = work[name]
        result: object = "switched off by report.parts"
        if name in settings.parts:
            result = look() if examiner.can(name) else "the model has energies only"
        if isinstance(result, str):
            skipped[name] = result
        else:
            found[field] = result
    return TransferReport(
        level=evaluated.level,
        source="" if parent is None else parent.level,
        part=evaluated.part,
        end=evaluated.end,
        start=evaluated.start,
        skipped=skipped,
        **found,
    )


class _Examiner:
    """Each method returns a part of the report, or the reason why there is none."""

    def __init__(
        self,
        evaluated: EvaluatedModel,
        settings: ReportSettings,
        parent: LevelPotential | None,
        labels: Callable[[], Dataset] | None,
    ) -> None:
        self._evaluated_model, self._settings, self._labels = evaluated, settings, labels
        # a property and a forest have none
        self._parent = parent if parent is not None and has_forces(parent) else None
        self._no_parent = _NO_PARENT if parent is None else _NO_PARENT_FORCES
        self._new = evaluated.potential.at(evaluated.level)
        self._device = evaluated.potential.device
        self._indices = _some(evaluated.indices, settings)

    def can(self, part: Part) -> bool:
        """Whether a part needs nothing that the model lacks."""
        return part == "calibration" or has_forces(self._new)

    def calibration(self) -> object:
        references = self._evaluated_model.potential.references(self._evaluated_model.level)
        return systematic_errors(self._evaluated_model.end, references)

    def drift(self) -> object:
        if self._parent is None:
            return self._no_parent
        return force_drift(self._new, self._parent, self._frames(), device=self._device)

    def forgetting(self) -> object:
        if self._parent is None:
            return self._no_parent
        potential, level = self._evaluated_model.potential, self._parent.level
        dataset = self._evaluated_model.dataset if self._labels is None else self._labels()
        if not _same_frames(dataset, self._evaluated_model.dataset, self._indices):
            return f"{dataset.path} has not the frames of the training in the same order"
        kept = level in potential.levels
        found = forgetting(
            potential.at(level) if kept else self._new,
            self._parent,
            dataset,
            self._indices,
            level,
            kept=kept,
            device=self._device,
        )
        return f"none of these frames has labels at {level} to compare" if found is None else found

    def dimers(self) -> object:
        known = set(self._new.elements)
        if self._parent is not None:
            known &= set(self._parent.elements)
        elements = [z for z in self._evaluated_model.dataset.elements if z in known]
        return scan_dimers(self._new, elements, parent=self._parent, device=self._device)

    def stability(self) -> object:
        steps, seed = self._settings.md_steps, self._settings.seed
        if not steps:
            return "switched off by report.md_steps=0"
        frame = choose_frame(self._frames(), self._new, seed=seed, device=self._device)
        if frame is None:
            return f"no frame has between 2 and {LARGEST} atoms"
        with warnings.catch_warnings():  # the dynamics are a test, wherever they lead
            warnings.simplefilter("ignore", DomainWarning)
            return probe_stability(frame, TLPotCalculator(self._new), steps=steps, seed=seed)

    def _frames(self) -> list[Frame]:
        return self._evaluated_model.dataset.read(self._indices, [])


def _same_frames(a: Dataset, b: Dataset, indices: Ints) -> bool:
    if a is b:
        return True
    if indices.max() >= min(len(a), len(b)) or (a.sizes[indices] != b.sizes[indices]).any():
        return False
    names = (np.array(d.group_names)[d.group_idx[indices]] for d in (a, b))
    return bool(np.equal(*names).all())


def _some(indices: Ints, settings: ReportSettings) -> Ints:
    """At most `settings.frames` of the frames, drawn at random, in their order."""
    indices = np.sort(np.asarray(indices, dtype=np.int64))
    if len(indices) <= settings.frames:
        return indices
    rng = np.random.default_rng(settings.seed)
    return np.sort(rng.choice(indices, settings.frames, replace=False))


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """A report on a saved model.

    Attributes:
        model: file or name of the model.
        data: the labels.
        level: level of theory of the labels; may be left out if there is only one.
        model_level: level of the model; that of the labels if left out.
        parent: file or name of the model that it was made from, to compare with.
        source: level of the parent; needed if it has several.
        split: a stored split; all frames with a label if left out.
        divided: the split itself, in place of a stored one.
        part: which part of the split; left out: the test frames, or the validation frames where
            it has no test frames.
        report: what to look at.
        engine: whose features the model reads, if it does.
        loaded: the model itself; `model` is then only what it is called.
        parent_model: the parent itself; `parent` is then only what it is called.
    """

    model: str
    data: DataSettings
    level: str | None = None
    model_level: str | None = None
    parent: str | None = None
    source: str | None = None
    split: Path | None = None
    divided: Split | None = field(default=None, compare=False, repr=False, metadata=IN_MEMORY)
    part: SplitPart | None = None
    report: ReportSettings = field(default_factory=ReportSettings)
    engine: str | None = None
    loaded: TrainedModel | None = field(default=None, compare=False, repr=False, metadata=IN_MEMORY)
    parent_model: Potential | None = field(
        default=None, compare=False, repr=False, metadata=IN_MEMORY
    )

    def __post_init__(self) -> None:
        if not self.report.enabled:
            raise ConfigError("report.enabled=false does not apply to a report; leave it out")
        if self.source is not None and self.parent is None:
            raise ConfigError("source is a level of the parent, but no parent is given")


def report_job(
    config: ConfigSource,
    model: str | os.PathLike[str] | TrainedModel | None,
    data: DataSource | None,
    *,
    parent: str | os.PathLike[str] | Potential | None = None,
    **given: Any,
) -> ReportConfig:
    """Returns the configuration of a report; see `tlpot.report`.

    Args:
        config: a YAML file, what is in one, or nothing.
        model: what to report on.
        data: the labels.
        parent: of the model.
        given: other settings, which win.

    Raises:
        TLPotError: a typo, or a value that makes no sense; see `settings_with_data`.
    """
    loaded = {
        key: source if isinstance(source, TrainedModel) else None
        for key, source in (("model", model), ("parent", parent))
    }
    names = {
        key: source.card.name if isinstance(source, TrainedModel) else source
        for key, source in (("model", model), ("parent", parent))
    }
    split = given.pop("split", None)  # a file, and no section as for a training
    divided = as_split(split)
    settings, objects = settings_with_data(config, "report", data, **names, **given)
    stored = split if divided is None else None
    found = parse(ReportConfig, job_settings(settings, "report", split=stored), settings.where)
    return replace(
        found,
        data=replace(found.data, dataset=objects.dataset),
        divided=divided,
        loaded=loaded["model"],
        parent_model=_single(loaded["parent"]),
    )


def _single(parent: TrainedModel | None) -> Potential | None:
    if parent is not None and not isinstance(parent, Potential):
        raise ConfigError(
            f"the parent {parent.card.name!r} is a {type(parent).__name__}; expected a single "
            "potential, such as the low part of a sum"
        )
    return parent


def make_report(
    config: ReportConfig, *, device: torch.device | str | None = None, show: bool = False
) -> TransferReport | PropertyReport:
    """Evaluates a saved model and looks at it from all sides.

    Args:
        config: what to report on.
        device: None is CUDA if there is one, else the CPU.
        show: whether to show progress bars.

    Raises:
        TLPotError: something is wrong with the models, the data or the settings.
    """
    opened: TrainedModel = config.loaded or load(config.model, device=device)
    if config.engine is not None:
        opened = with_engine(opened, config.engine, device)
    told = bool(told_properties(opened))
    dataset = as_trained(config.data.open(every_level=told), opened)
    level = label_level(config.level, dataset, opened)
    model = level_of(opened, config.model, level, config.model_level)
    if difference_parts(model.level) is not None:
        raise ConfigError(
            f"there is no report of {opened.card.name!r}, whose level {model.level!r} is a "
            "difference: no walls, no dynamics; take tlpot evaluate at that level"
        )
    check_quantity(model, dataset, level, f"the model {opened.card.name!r}")
    potential = opened
    target: PropertyTarget | None = getattr(model, "target", None)
    if target is None and not isinstance(potential, Potential | DeltaPotential):
        raise ConfigError(
            f"there is no transfer report of model {opened.card.name!r} ({type(opened).__name__}); "
            "report on its members, or take tlpot evaluate"
        )
    parent = None
    if config.parent is not None:
        made_from = config.parent_model or load_potential(config.parent, device=device)
        source = choose_level(
            config.source, made_from.levels, f"the parent {config.parent}", option="source"
        )
        parent = made_from.at(source)
    split = config.divided or config.split
    indices, part = frames_of_part(dataset, level, stored_part(split, config.part))
    if not len(indices):
        raise DataError(f"{dataset.path}: there are no {part} frames to look at for {level}")
    if words := training_words(opened, dataset, indices, split=split, part=part):
        warnings.warn(words, TLPotWarning, stacklevel=3)
    end = predict(model, dataset, indices, level, device=opened.device, show=show)
    if target is not None:
        return _property_report(config, opened, model, dataset, end, level, part, parent)
    assert isinstance(potential, Potential | DeltaPotential)
    evaluated = EvaluatedModel(
        potential=potential, level=model.level, dataset=dataset, indices=indices, part=part, end=end
    )
    return examine(
        evaluated,
        config.report,
        parent=parent,
        labels=lambda: as_trained(config.data.open_all_levels(), potential),
        show=show,
    )


def _property_report(
    config: ReportConfig, opened: TrainedModel, model: LevelModel, dataset: Dataset,
    end: Predictions, level: str, part: str, parent: LevelPotential | None,
) -> PropertyReport:  # fmt: skip
    """Compares a model of a property with labels, with what needs no network, and its parent."""
    if config.report != ReportSettings():
        raise ConfigError(
            f"{level} is a property, whose report has one form; leave report.parts and the other "
            "settings of report out"
        )
    target: PropertyTarget = getattr(model, "target")  # noqa: B009  not all levels have one
    baselines: list[Baseline] = []
    given = config.divided or config.split
    if given is not None:
        split = load_split(given, dataset)
        baselines = property_baselines(dataset, split, end.indices, level, target)
    if parent is not None:
        check_quantity(parent, dataset, level, f"the parent {config.parent}")
        found = predict(parent, dataset, end.indices, level, device=parent.potential.device)
        errors = dict(error_report(found).overall)
        name = f"the parent's {parent.level}"
        baselines.append(Baseline(name=name, errors=errors, n_frames=int(errors["n_frames"])))
    frames = dataset.read(end.indices, ())
    names = [f"{frame.name} ({frame.group})" for frame in frames]
    return PropertyReport(
        model=opened.card.name,
        level=level,
        part=part,
        quantity=target.quantity,
        predictions=end,
        errors=error_report(end, getattr(model, "calibration", None)),
        baselines=tuple(baselines),
        worst=largest_errors(end, dict(zip(end.indices.tolist(), names, strict=True))),
    )
