"""A training before it starts, the file that it is to write, what it comes to, and its domain."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
import torch

from tlpot.data import Dataset, LabelKind, Split, with_any_label
from tlpot.errors import ConfigError, OutputError
from tlpot.evaluation import (
    Baseline,
    ErrorReport,
    Predictions,
    TransferReport,
    baseline_table,
    parity_figure,
)
from tlpot.files import make_folder, sole_folder, sole_use
from tlpot.models import (
    FEW_FRAMES,
    DeltaPotential,
    LevelPotential,
    ModelCard,
    Potential,
    TrainingDomain,
)
from tlpot.numbers import Floats, Ints
from tlpot.presentation import ListenerError, Result, drawn
from tlpot.training import Processes, TrainingPlan, TrainingResult, TrainingSettings, short_errors
from tlpot.uncertainty import fit_domain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tell_domain(model: Potential | DeltaPotential, job: Job, levels: Collection[str]) -> str | None:
    """Gives each level of a model its training domain, or takes it away.

    Levels that were learned, or rehearsed, have that of all training frames; where the network
    below the readout is still the parent's, frames like the parent's are inside as well. Another
    level keeps its own if the network is what it was, and else has none.

    Args:
        model: just trained; of a sum the difference was.
        job: its training. If all levels counted alike, the domain of each is that of the frames
            with a label there, not of all.
        levels: those that the training had labels of.

    Returns:
        What the domain of the learned levels speaks of, for the card; None if there is none.
    """
    trained = model.delta if isinstance(model, DeltaPotential) else model
    dataset, split, parent = job.dataset, job.split, job.parent
    moved = any(name.startswith("backbone.") for name in job.plan.rates)
    learned = [level for level in trained.levels if level in levels]
    frames = np.concatenate([split.train, job.others])
    found: dict[bytes, TrainingDomain] = {}
    for level in trained.levels:
        head = trained.head(level)
        if level not in learned:
            head.domain = None if moved else head.domain
            continue
        known = np.ones(len(dataset), dtype=bool)
        if job.joint:
            known = with_any_label(dataset, level)
        own, held = frames[known[frames]], split.validation[known[split.validation]]
        which = own.tobytes()
        if which not in found:
            found[which] = fit_domain(trained.at(level), dataset, own, held, seed=job.settings.seed)
            if parent is not None and _same_network(trained, parent.potential):
                found[which].inherited = copy.deepcopy(parent.training_domain)
        head.domain = copy.deepcopy(found[which]).to(device=trained.device, dtype=trained.dtype)
    return "; ".join(_words(domain, parent) for domain in found.values()) or None


def _same_network(one: Potential, other: Potential) -> bool:
    """Whether the same structure has the same features in both, bit for bit."""
    if one.elements != other.elements:
        return False
    weights, others = one.backbone.state_dict(), other.backbone.state_dict()
    return weights.keys() == others.keys() and all(
        tensor.dtype == others[name].dtype and torch.equal(tensor, others[name].to(tensor.device))
        for name, tensor in weights.items()
    )


def _words(found: TrainingDomain, parent: LevelPotential | None) -> str:
    words = f"the {found.n_frames} training frames"
    if found.inherited is not None:
        words += f" and the {sum(p.n_frames for p in found.inherited.parts)} of the parent"
    elif parent is not None and parent.training_domain is not None:
        words += " of this training only; the network has moved away from what the parent knew"
    elif parent is not None:
        words += " of this training only; the parent does not say what it was trained on"
    if found.n_frames < FEW_FRAMES:
        words += f"; fewer than {FEW_FRAMES} calibrate no warning, but for elements and charges"
    return words


_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A model at step 0, its data, and where the result goes.

    Attributes:
        potential: the model before the first update.
        levels: levels of theory to learn; the first is the one reported on.
        joint: all levels count alike: all decide which weights are kept, and an epoch has each
            frame at one of its levels, in turns.
        dataset: where labels come from.
        split: which frames are for what.
        settings: of the training.
        plan: which weights move; if none does, nothing is trained.
        output: the model file.
        card: what is known about the model before training.
        recipe: the resolved configuration, kept in the card.
        others: further training frames, which take turns; see `tlpot.data.Loader`.
        n_others: how many of them an epoch has.
        finish: brings the trained model into the form that is saved.
        given: the division of the user's frames, where `split` has others as well.
        examine: makes the transfer report of a `Subject`, if there is to be one; takes ``show``.
        kinds: of labels that decide which weights are kept; None for all that are learned.
        shifts: what a fit has added to the reference energies of the parent, eV by atomic number;
            empty if there was none.
        saved_level: the level of that model which answers to the first of `levels`, if it has
            another name; its errors are taken against the labels of that name.
        parent: the level that the first of `levels` goes on from; None if it begins anew.
        weights: [n_frames of the dataset], what the error of each counts in the training and in
            the choice of the epoch; None for all alike.
        labels: the user's, where `dataset` has others beside or in place of them; None where it
            has not.
        adaptation: tells of a trained model how it was adapted to other structures; None if it
            was not.
    """

    potential: Potential
    levels: tuple[str, ...]
    dataset: Dataset
    split: Split
    settings: TrainingSettings
    plan: TrainingPlan
    output: Path
    card: ModelCard
    recipe: Mapping[str, Any]
    others: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    n_others: int = 0
    finish: Callable[[Potential], Potential | DeltaPotential] = lambda potential: potential
    given: Split | None = None
    examine: Callable[..., TransferReport] | None = None
    kinds: Collection[LabelKind] | None = None
    shifts: Mapping[int, float] = field(default_factory=dict)
    saved_level: str | None = None
    parent: LevelPotential | None = None
    joint: bool = False
    weights: Floats | None = None
    labels: Dataset | None = None
    adaptation: Callable[[Potential | DeltaPotential], Mapping[str, float]] | None = None

    @property
    def run_dir(self) -> Path:
        """Where checkpoint, metrics and pictures go."""
        return self.output.with_suffix(".run")

    @property
    def outcome_level(self) -> str:
        """The level at which the saved model is examined."""
        return self.saved_level or self.levels[0]

    @property
    def selected_levels(self) -> tuple[str, ...]:
        """Those by whose errors the epoch is chosen."""
        return self.levels if self.joint else self.levels[:1]


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedTraining:
    """A training that is ready to start.

    Attributes:
        job: the model at step 0 and its data.
        report: what will happen, for the user to read.
        choice: how the strategy was chosen, where that was ``auto``; else empty.
    """

    job: Job
    report: str
    choice: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TrainingOutcome(Result):
    """A finished (or interrupted) job.

    Attributes:
        potential: the best model, as saved.
        level: of `potential` that was learned.
        training: how it went.
        start: errors of the model at step 0 on the test frames, or the validation frames
            where there are no test frames.
        end: errors of the saved model on the same frames.
        part: which frames those are.
        warnings: in which respects the model ends worse than it began; empty if in none.
        report: the transfer report, if there was to be one and the job was not interrupted.
        predictions: of the saved model on the frames of `end`.
        others: errors before and after of further levels that counted alike, by level.
        baselines: what needs no network, for a property.
        further_baselines: the same of the properties among `others`, by level.
        adaptation: how alike the domains were and are, where the model was adapted to another.
        output: the model file.
        preflight: what was known before the first update.
        started: False for a job that was to stop after the pre-flight report; `potential` is then
            the model at step 0, which is not saved, and there are no errors.
    """

    potential: Potential | DeltaPotential
    level: str
    training: TrainingResult
    start: ErrorReport
    end: ErrorReport
    part: str
    warnings: tuple[str, ...] = ()
    report: TransferReport | None = None
    predictions: Predictions | None = None
    others: Mapping[str, tuple[ErrorReport, ErrorReport]] = field(default_factory=dict)
    baselines: tuple[Baseline, ...] = ()
    further_baselines: Mapping[str, Sequence[Baseline]] = field(default_factory=dict)
    adaptation: Mapping[str, float] = field(default_factory=dict)
    output: Path = Path()
    preflight: str = ""
    started: bool = True

    @property
    def run_dir(self) -> Path:
        """Where checkpoint, metrics and pictures are."""
        return self.output.with_suffix(".run")

    def headline(self) -> str:
        """Returns the model and its errors."""
        if not self.started:
            return f"{self.output.name}: {self.level}, not started"
        errors = {self.level: self.end} | {level: end for level, (_, end) in self.others.items()}
        tables = {level: end.overall for level, end in errors.items()}
        mae = short_errors(tables, tuple(tables))
        return f"{self.output.name}: {self.level}, MAE of the {self.part} frames {mae}"

    def text(self) -> str:
        """Returns the errors before and after, and what to look at."""
        if not self.started:
            return self.preflight
        result = self.training
        lines = []
        for level, (start, end) in {self.level: (self.start, self.end), **self.others}.items():
            at = f" at {level}" if self.others else ""
            lines += [
                f"{self.part} frames{at}, before training",
                ErrorReport(overall=start.overall, quantity=start.quantity).text(),
                f"{self.part} frames{at}, after (weights of epoch {result.best_epoch})",
                end.text(),
            ]
        ends = {level: end for level, (_, end) in self.others.items()}
        tables = {self.level: (self.baselines, self.end)} | {
            level: (found, ends[level]) for level, found in self.further_baselines.items()
        }
        for level, (baselines, end) in tables.items():
            if baselines and end.quantity is not None:
                title = [level] if self.others else []
                table = baseline_table(baselines, end.overall, end.quantity, self.part)
                lines += ["", *title, *table.lines(), ""]
        if self.adaptation:
            facts = ", ".join(f"{key} {value:.4g}" for key, value in self.adaptation.items())
            lines.append(f"adaptation: {facts.replace('_', ' ')}")
        for correction in self.potential.corrections(self.level):
            facts = ", ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                for key, value in correction.info.fit.items()
                if value != []
            )
            lines.append(f"{correction.info.kind} on {' + '.join(correction.info.blocks)}: {facts}")
        if self.report is not None:  # which repeats the warnings
            lines += ["", self.report.summary()]
        else:
            lines += [f"warning: {warning}" for warning in self.warnings]
        if result.interrupted:
            lines += ["", "INTERRUPTED: the best model so far, not that of the whole training"]
        lines += ["", f"{result.seconds:.0f} s; model {self.output}; details in {self.run_dir}"]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Returns errors in meV, meV/atom, meV/Å and meV/Å³, and how the training went."""
        result = self.training
        return {
            "model": str(self.output),
            "level": self.level,
            "part": self.part,
            "before training": dict(self.start.overall),
            **self.end.as_json(),
            **({"levels": self._levels()} if self.others else {}),
            **(
                {"baselines": {b.name: dict(b.errors) for b in self.baselines}}
                if self.baselines
                else {}
            ),
            **(
                {
                    "further_baselines": {
                        level: {b.name: dict(b.errors) for b in found}
                        for level, found in self.further_baselines.items()
                        if found
                    }
                }
                if any(self.further_baselines.values())
                else {}
            ),
            **({"adaptation": dict(self.adaptation)} if self.adaptation else {}),
            "best_epoch": result.best_epoch,
            "seconds": result.seconds,
            "interrupted": result.interrupted,
            "history": result.history,
            "warnings": list(self.warnings),
            "transfer": None if self.report is None else self.report.as_json(),
            "preflight": self.preflight,
        }

    def _levels(self) -> dict[str, Any]:
        return {
            level: {"before training": dict(start.overall), **end.as_json()}
            for level, (start, end) in {self.level: (self.start, self.end), **self.others}.items()
        }

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Returns the parity plot of the saved model, and writes it to `path`.

        Raises:
            ConfigError: nothing was trained.
            OutputError: the file could not be written.
        """
        if self.predictions is None:
            raise ConfigError("nothing was trained (dry_run), so there is nothing to draw")
        title = f"{self.output.stem}, {self.part} frames, {self.level}"
        return drawn(parity_figure(self.predictions, title), path)


class TrainingInterrupted(KeyboardInterrupt):
    """A training was interrupted; the best model so far and the checkpoint are on disk.

    Args:
        message: where they are.
        outcome: what it has come to; None in another process than that of the training.
    """

    def __init__(self, message: str, outcome: TrainingOutcome | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome

    def __reduce__(self) -> tuple[type[TrainingInterrupted], tuple[str]]:
        return type(self), (str(self),)


def ended(outcome: TrainingOutcome) -> TrainingOutcome:
    """Returns what a training has come to, if it has come to its end.

    Raises:
        TrainingInterrupted: it was interrupted.
        BaseException: who is told of the progress has raised that.
    """
    if not outcome.training.interrupted:
        return outcome
    where = (
        f"the best model so far is {outcome.output}, the checkpoint is in {outcome.run_dir}; the "
        "same call with resume=True continues"
    )
    raised = outcome.training.raised
    if raised is None:
        raise TrainingInterrupted(where, outcome)
    seen = raised.error if isinstance(raised, ListenerError) else raised
    seen.add_note(where)
    raise raised


@contextmanager
def as_part() -> Iterator[None]:
    """Trains as part of a job that goes on by itself when it is called again.

    Raises:
        KeyboardInterrupt: the training was interrupted; it gives no advice of its own.
    """
    try:
        yield
    except TrainingInterrupted:
        raise KeyboardInterrupt from None


class _HasOutput(Protocol):
    @property
    def output(self) -> Path: ...


_Job = TypeVar("_Job", bound=_HasOutput)


def alone_with_model(
    fit: Callable[Concatenate[_Job, Processes, _P], _R],
) -> Callable[Concatenate[_Job, Processes, _P], _R]:
    """Keeps other runs away from the model file, and the folder beside it, of a training.

    Of several processes that share a training the first holds the lock.
    """

    @wraps(fit)
    def locked(job: _Job, processes: Processes, /, *args: _P.args, **options: _P.kwargs) -> _R:
        if not processes.is_first:
            return fit(job, processes, *args, **options)
        make_folder(job.output.parent)
        with sole_use(job.output, "a training"):
            return fit(job, processes, *args, **options)

    return locked


def alone_in_folder(
    run: Callable[Concatenate[_Job, _P], _R],
) -> Callable[Concatenate[_Job, _P], _R]:
    """Keeps other runs away from the folder that a learning curve is measured in."""

    @wraps(run)
    def locked(config: _Job, /, *args: _P.args, **options: _P.kwargs) -> _R:
        with sole_folder(config.output, "tlpot curve"):
            return run(config, *args, **options)

    return locked


def check_output(output: Path) -> None:
    """Refuses an impossible output before any time is spent.

    Raises:
        OutputError: the folder does not exist, or the name has another ending.
    """
    if output.suffix != ".safetensors":
        raise OutputError(f"the model file {output} must end in .safetensors")
    if not output.parent.is_dir():
        raise OutputError(f"the folder {output.parent} does not exist; create it first")
