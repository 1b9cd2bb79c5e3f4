"""What pretraining and fine-tuning share: from a launch at step 0 to a saved, tested model."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from re import sub
from typing import Any

import numpy as np
import torch
import yaml

from tlpot.data import LabelKind, Loader, beneath_views, structures_hash, with_any_label
from tlpot.energy import known_value
from tlpot.errors import ConfigError, DataError, refuse_warnings
from tlpot.evaluation import (
    LEARNED,
    ErrorReport,
    EvaluatedModel,
    Predictions,
    baseline_words,
    error_report,
    offset_words,
    parity_figure,
    predict,
    refit_words,
    worse_words,
)
from tlpot.files import check_replaced, make_folder, write_text
from tlpot.jobs.data_sources import source_hashes
from tlpot.jobs.property_jobs import level_baselines
from tlpot.jobs.seen_frames import with_frames
from tlpot.jobs.training_job import (
    Job,
    PreparedTraining,
    TrainingOutcome,
    alone_with_model,
    ended,
    tell_domain,
)
from tlpot.models import TrainedModel, save
from tlpot.numbers import Ints, counted
from tlpot.presentation import Progress, log_report, save_picture, telling, warnings_of
from tlpot.targets import is_property
from tlpot.torch_mode import objects_set_aside, torch_threads
from tlpot.training import (
    CHECKPOINT,
    LossSettings,
    Processes,
    Selection,
    TrainingResult,
    joined_processes,
    make_selection,
    train,
)

REPORT = "report.json"
"""Written when a training has come to its end, not when it was interrupted."""


_TOGETHER = 4
"""Frames of a molecule that come in one batch where energies relative to each other count."""

_MOLECULES, _FRAMES = 200, 5
"""Of the training set, that are looked at for constant errors."""


@alone_with_model
def fit(
    job: Job,
    processes: Processes,
    *,
    resume: bool = False,
    overwrite: bool = False,
    show: bool = True,
    preflight: str = "",
) -> TrainingOutcome:
    """Trains, tests and saves.

    Args:
        job: what to do.
        processes: those that share the training.
        resume: continue from the checkpoint of an interrupted run.
        overwrite: start afresh even if that replaces a model, or discards the checkpoint of an
            interrupted run.
        show: whether to show a progress bar.
        preflight: the report, for the result.

    Raises:
        ConfigError: `resume` with other settings, data or weights than the run had, or
            neither `resume` nor `overwrite` where an interrupted run would be lost; or no
            label has a weight in the loss.
        DataError: no validation frames, or the training diverged.
        OutputError: a file could not be written, or the model is there already and neither
            `overwrite` nor the checkpoint of a run to `resume` says that it may be replaced.
        TrainingInterrupted: by Ctrl-C or SIGTERM; the best model so far and a checkpoint are saved.
    """
    potential, split = job.potential, job.split
    settings = replace(job.settings, loss=job.settings.loss.for_labels(_kinds(job)))
    given = job.given or split
    if not len(split.validation):
        raise DataError("the split has no validation frames, which decide what weights are kept")
    if job.plan.rates:
        _check_labels(job)
    if settings.loss.relative and processes.world_size > 1:
        raise ConfigError(
            f"training.loss.relative compares frames within a batch, which {processes.world_size} "
            "processes would divide; use one process"
        )
    report = job.run_dir / REPORT
    if not resume and not overwrite and (job.run_dir / CHECKPOINT).exists() and not report.exists():
        raise ConfigError(
            f"{job.run_dir} holds the checkpoint of an interrupted run; --resume continues it, "
            "--overwrite starts afresh"
        )
    # what trains nothing has no checkpoint to go on with; for the rest `train` says so
    goes_on = resume and (bool(job.plan.rates) or (job.run_dir / CHECKPOINT).exists())
    if processes.is_first:  # one of the others may be late, and find what this one has written
        check_replaced(job.output, what="model file", overwrite=overwrite or goes_on)
    part = "test" if len(split.test) else "validation"
    indices = getattr(split, part)
    further = job.levels[1:] if job.joint else ()

    def predictions(potential: TrainedModel, level: str, name: str | None = None) -> Predictions:
        frames = indices
        if further:
            frames = frames[with_any_label(job.dataset, level)[frames]]
        found = predict(potential.at(level), job.dataset, frames, level, device=potential.device)
        if name is not None and processes.is_first:
            title = f"{job.output.stem}, {part} frames, {level}"
            save_picture(parity_figure(found, title), job.run_dir / name)
        return found

    before = predictions(potential, job.levels[0])
    start = error_report(before)
    if before.quantity is not None and job.saved_level not in (None, job.levels[0]):
        # R² of a sum is of other labels than that of the difference
        start = error_report(predictions(job.finish(copy.deepcopy(potential)), job.saved_level))
    further_before = {level: predictions(potential, level) for level in further}
    if processes.is_first and not resume:
        make_folder(job.run_dir)
        for suffix in (".json", ".txt", ".png"):
            report.with_suffix(suffix).unlink(missing_ok=True)
        write_text(job.run_dir / "config.yaml", yaml.safe_dump(dict(job.recipe), sort_keys=False))
    loader = partial(
        Loader,
        job.dataset,
        levels=job.levels,
        cutoff=potential.cutoff,
        layout=potential.layout,
        max_atoms=settings.max_atoms,
        seed=settings.seed,
        rank=processes.rank,
        world_size=processes.world_size,
        known=known_value(potential.at(job.levels[0])),
        weights=job.weights,
    )
    if job.plan.rates:
        selection = _selection(job)
        held_out = partial(loader, batch_size=max(32, settings.batch_size), shuffle=False)
        result = train(
            potential,
            levels=job.levels,
            train_loader=loader(
                split.train,
                batch_size=settings.batch_size,
                others=job.others,
                n_others=job.n_others,
                level_turns=job.joint,
                together=_TOGETHER if settings.loss.relative else 1,
            ),
            validation_loader=held_out(split.validation),
            settings=settings,
            plan=job.plan,
            run_dir=job.run_dir,
            identity=_identity(job, processes),
            resume=resume,
            processes=processes,
            show=show,
            selection=selection,
            support_loader=held_out(selection.support) if len(selection.support) else None,
        )
    else:
        result = TrainingResult(
            best_epoch=0, best_loss=math.nan, best_score=math.nan, history=[], seconds=0.0,
            interrupted=False,
        )  # fmt: skip
    started = time.perf_counter()  # a closed form is all the work of its job
    finished = job.finish(potential)
    result = replace(result, seconds=result.seconds + time.perf_counter() - started)
    level = job.outcome_level
    domain = None
    if processes.is_first:
        domain = tell_domain(finished, job, (*job.levels, level))
    after = predictions(finished, level, "parity.png")
    end = error_report(after)
    kinds = _lowered(settings.loss) if after.quantity is None else ("property",)
    labelled = level if level in job.dataset.levels else job.levels[0]
    labels = job.dataset if job.labels is None else job.labels
    baselines = level_baselines(finished, level, labels, given, indices, labelled)
    others, worse = {}, worse_words(start.overall, end.overall, part, kinds)
    for name, found in further_before.items():
        name_after = predictions(finished, name, f"parity_{sub(r'[^a-z0-9.+-]+', '_', name)}.png")
        others[name] = error_report(found), error_report(name_after)
        worse += [
            f"{name}: {text}"
            for text in worse_words(others[name][0].overall, others[name][1].overall, part, kinds)
        ]
    warnings = [
        *_nothing_kept(job, result),
        *worse,
        *refit_words(before, job.shifts, part),
        *(_training_offsets(job, finished, level) if "energy" in kinds else ()),
        *(offset_words(after, part) if job.examine is None and "energy" in kinds else ()),
        *baseline_words(baselines, end.overall, after.quantity, part),
    ]
    further_baselines = {
        name: level_baselines(finished, name, labels, given, indices) for name in others
    }
    for name, (_, errors) in others.items():
        beaten = baseline_words(further_baselines[name], errors.overall, errors.quantity, part)
        warnings += [f"{name}: {text}" for text in beaten]
    ends = {level: end, **{name: found for name, (_, found) in others.items()}}
    found_baselines = {each.name: dict(each.errors) for each in baselines}
    metrics: dict[str, Any] = {
        part: {name: dict(found.overall) for name, found in ends.items()},
        "before training": dict(start.overall),
    }
    if found_baselines:
        metrics["without a network"] = found_baselines
    for name, trivial in further_baselines.items():
        if trivial:
            of_others = metrics.setdefault("without a network, other levels", {})
            of_others[name] = {each.name: dict(each.errors) for each in trivial}
    if warnings:
        metrics["warnings"] = warnings
    if domain is not None:
        metrics["domain"] = domain
    adaptation = {} if job.adaptation is None else job.adaptation(finished)
    if adaptation:
        metrics["adaptation"] = dict(adaptation)
    frames = beneath_views(labels)
    own = processes.is_first and frames.content_hash == given.content_hash
    structures = structures_hash(frames) if own else ""
    card = replace(
        job.card,
        recipe=dict(job.recipe),
        metrics={**metrics, "best_epoch": result.best_epoch, "interrupted": result.interrupted},
    )
    finished.card = card
    if processes.is_first:
        finished.card = with_frames(card, job.dataset, given, structures)
    examination = None
    if processes.is_first:
        save(finished, job.output)
        given.save(job.run_dir / "split.json", structures)
        if job.examine is not None and not result.interrupted:
            evaluated = EvaluatedModel(potential=finished, level=level, dataset=job.dataset,
                              indices=indices, part=part, end=after, start=before)  # fmt: skip
            examination = replace(
                job.examine(evaluated, show=show),
                worse=tuple(warnings),
                offsets_matter="energy" in kinds,
            )
            examination.save(report)
        elif not result.interrupted:
            levels = {name: found.as_json() for name, (_, found) in others.items()}
            content = {**end.as_json(), **({"levels": levels} if levels else {})}
            write_text(report, json.dumps({**content, "warnings": warnings}, indent=2))
    outcome = TrainingOutcome(
        potential=finished,
        level=level,
        predictions=after,
        others=others,
        output=job.output,
        preflight=preflight,
        training=result,
        start=start,
        end=end,
        part=part,
        warnings=tuple(warnings),
        report=examination,
        baselines=tuple(baselines),
        further_baselines=further_baselines,
        adaptation=adaptation,
    )
    return ended(outcome)


def _lowered(loss: LossSettings) -> tuple[str, ...]:
    """Kinds of errors that must not rise: absolute energies unless relative ones stand for them."""
    if not loss.relative:
        return LEARNED
    return tuple(kind for kind in ("relative", *LEARNED) if kind != "energy" or loss.energy)


def _nothing_kept(job: Job, result: TrainingResult) -> list[str]:
    """What to say if all updates were in vain."""
    kept = result.best_epoch > 0 or not job.plan.rates or not job.plan.keeps_start
    if kept or len(result.history) < 2 or result.interrupted:
        return []
    n = len(job.split.validation)
    molecules = len(np.unique(job.dataset.group_idx[job.split.validation]))
    return [
        f"NO UPDATE WAS KEPT: at every validation ({counted(n, 'frame')} of "
        f"{counted(molecules, 'molecule')}) some kind "
        "of error was above step 0, so the model is that of before the training; hold out other or "
        "more frames for the choice (split.by=random, split.validation), or train longer"
    ]


def _training_offsets(job: Job, potential: TrainedModel, level: str) -> list[str]:
    """What to say of molecules that are off by a constant although they were learned."""
    train = job.split.train[job.dataset.labelled(job.levels[0])[job.split.train]]
    if not job.plan.rates or not len(train):
        return []
    order = np.random.default_rng(0).permutation(len(train))
    names, chosen = job.dataset.group_idx[train[order]], []
    for group in np.unique(names)[:_MOLECULES]:
        chosen += train[order][names == group][:_FRAMES].tolist()
    found = predict(
        potential.at(level), job.dataset, sorted(chosen), job.outcome_level,
        device=potential.device, forces=False,
    )  # fmt: skip
    return offset_words(found, "training")


def _kinds(job: Job) -> Collection[LabelKind]:
    """Kinds of labels that the user gave, without those that hold a model in place."""
    if job.kinds is not None:
        return job.kinds
    return frozenset().union(*(job.dataset.levels[level].kinds for level in job.selected_levels))


def _selection(job: Job) -> Selection:
    known = set(_kinds(job))
    kinds = [
        kind
        for kind in job.settings.loss.kinds
        if ("energy" if kind in ("relative", "property") else kind) in known
        and (kind != "property" or any(is_property(level) for level in job.levels))
    ]
    return make_selection(job.dataset, job.split, job.selected_levels, kinds)


def _identity(job: Job, processes: Processes) -> dict[str, Any]:
    """What has to be the same for a resumed run to end where the first would have."""
    split = job.split
    return {
        "recipe": _by_content(job.recipe),
        "dataset": job.dataset.content_hash,
        "frames": _hash(split.train, job.others, split.validation, split.test)[:16],
        "parent": job.card.parent,
        "processes": processes.world_size,
    }


def _hash(*parts: Ints) -> str:
    frames = b"".join(part.astype("<i8").tobytes() + b"|" for part in parts)
    return hashlib.sha256(frames).hexdigest()


def _by_content(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without names of files, so that a run goes on after its folder was moved.

    The contents of data, split and parent are in the identity beside it.
    """
    idle = ("output", "training", "report", "name", "parent", "start", "features")
    found = {key: value for key, value in recipe.items() if key not in idle}
    for section, name in (("data", "files"), ("split", "file")):
        found[section] = {k: v for k, v in found.get(section, {}).items() if k != name}
    if isinstance(chosen := found.get("strategy"), Mapping):
        found["strategy"] = {k: v for k, v in chosen.items() if k != "low_labels"}
        if chosen.get("files"):
            found["strategy"]["files"] = source_hashes({"files": chosen["files"]})
        if adapt := chosen.get("adapt"):
            hashes = source_hashes({"adapt": adapt})
            found["strategy"]["adapt"] = {**adapt, "files": hashes}
    return found


def _check_labels(job: Job) -> None:
    """Refuses a loss whose weights miss all labels: the weights would never move."""
    loss = job.settings.loss
    weights = {"energy": loss.energy + loss.relative, "forces": loss.forces, "stress": loss.stress}
    kinds = {kind for level in job.levels for kind in job.dataset.levels[level].kinds}
    if not any(weights[kind] > 0 for kind in kinds):
        raise ConfigError(
            f"the labels are {', '.join(sorted(kinds))}, but training.loss gives weight only to "
            f"{', '.join(k for k, w in weights.items() if w > 0)}; nothing would be learned"
        )
    rises = loss.energy_end not in (None, loss.energy)
    if rises and (kinds == {"energy"} or "energy" not in kinds):
        raise ConfigError(
            f"training.loss.energy_end moves weight from forces to energies, but the labels are "
            f"{', '.join(sorted(kinds))} only; leave it out"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """How a training is started, whatever it trains.

    Attributes:
        resume: continue an interrupted run of the same settings.
        overwrite: replace the model that is there, and discard the checkpoint of a run.
        dry_run: stop after the pre-flight report.
        strict: take a warning of the pre-flight report for an error.
        device: None is CUDA if there is one, else the CPU.
        threads: of the CPU.
        progress: who is told of it.
    """

    resume: bool = False
    overwrite: bool = False
    dry_run: bool = False
    strict: bool = False
    device: str | torch.device | None = None
    threads: int = 1
    progress: Progress = None

    def run(
        self,
        prepare: Callable[[str | torch.device | None], PreparedTraining],
        *,
        output: Path | None = None,
    ) -> TrainingOutcome:
        """Prepares a job and does it; settings and pre-flight report go to the log ``tlpot``.

        Args:
            prepare: gives the job for a device.
            output: the model file, where the preparation takes long enough to look at once
                whether it may be replaced.

        Raises:
            StrictError: `strict`, and the report has a warning.
            TLPotError: see `prepare` and `tlpot.jobs.fit`.
        """
        with ExitStack() as stack:
            stack.enter_context(torch_threads(self.threads))
            stack.enter_context(objects_set_aside())
            stack.enter_context(telling(self.progress))
            if output is not None and not self.dry_run:
                check_replaced(output, what="model file", overwrite=self.overwrite or self.resume)
            processes = stack.enter_context(joined_processes())
            device = self.device
            if device is None and torch.cuda.is_available():
                device = f"cuda:{processes.local_rank}"
            prepared = prepare(device)
            job = prepared.job
            recipe = yaml.safe_dump(dict(job.recipe), sort_keys=False, allow_unicode=True)
            choice = [f"{prepared.choice}\n"] if prepared.choice else []
            preflight = "\n".join([*choice, recipe, prepared.report])
            found = warnings_of(prepared.report)
            if processes.is_first:
                log_report(preflight, [] if self.strict or self.dry_run else found)
            if self.strict:
                refuse_warnings(found)
            if self.dry_run:
                return _not_started(prepared, preflight)
            return fit(
                job,
                processes,
                resume=self.resume,
                overwrite=self.overwrite,
                show=processes.is_first,
                preflight=preflight,
            )


def _not_started(prepared: PreparedTraining, preflight: str) -> TrainingOutcome:
    job, nothing = prepared.job, ErrorReport(overall={})
    return TrainingOutcome(
        potential=job.potential,
        level=job.outcome_level,
        training=TrainingResult(
            best_epoch=0, best_loss=math.nan, best_score=math.nan, history=[], seconds=0.0,
            interrupted=False,
        ),
        start=nothing,
        end=nothing,
        part="test" if len(job.split.test) else "validation",
        output=job.output,
        preflight=preflight,
        started=False,
    )  # fmt: skip
