"""The training loop: explicit, resumable, and ignorant of transfer."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tlpot.config import to_mapping
from tlpot.data import Batch, Loader
from tlpot.errors import DataError
from tlpot.evaluation import Metrics
from tlpot.models import Potential
from tlpot.presentation import logger, progress_bar
from tlpot.training.loss import batch_loss, weighted
from tlpot.training.optimizer import MovingAverage, Schedule, TrainingPlan, make_optimizer
from tlpot.training.processes import Interrupt, Processes
from tlpot.training.run_files import (
    CHECKPOINT,
    MetricsLog,
    Progress,
    read_checkpoint,
    write_checkpoint,
)
from tlpot.training.selection import Selection, short_errors, validate
from tlpot.training.settings import TrainingSettings

DECIDING = "deciding"
"""In an entry of the history: errors that the choice of the weights goes by, where these are not
those of the validation frames alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult:
    """How a training went.

    Attributes:
        best_epoch: epochs done when the kept weights were reached; 0 if nothing was better
            than the start.
        best_loss: their validation loss.
        best_score: what they were chosen by, see `TrainingSettings.selection`.
        history: one entry for each validation; the first is the model before any update.
        seconds: time spent, over all launches.
        interrupted: whether it was stopped before its end.
        raised: what stopped it, if that was an exception of who is told of the progress.
    """

    best_epoch: int
    best_loss: float
    best_score: float
    history: list[dict[str, Any]]
    seconds: float
    interrupted: bool
    raised: BaseException | None = None


def train(
    potential: Potential,
    *,
    levels: tuple[str, ...],
    train_loader: Loader,
    validation_loader: Loader,
    settings: TrainingSettings,
    plan: TrainingPlan,
    run_dir: Path,
    identity: Mapping[str, Any] | None = None,
    resume: bool = False,
    processes: Processes | None = None,
    show: bool = True,
    selection: Selection | None = None,
    support_loader: Loader | None = None,
) -> TrainingResult:
    """Trains in place; afterwards the potential has the best averaged weights.

    The model as it comes is validated first, so the result is never worse than the start.

    Args:
        potential: the model; which weights move is up to `plan`.
        levels: levels of theory to learn, canonical.
        train_loader: shuffled batches.
        validation_loader: batches that decide which weights are kept.
        settings: how.
        plan: what moves.
        run_dir: gets ``checkpoint.safetensors`` and ``metrics.jsonl``.
        identity: what a checkpoint must have been made with for `resume` to accept it, beside
            the settings, the plan's rates and the shapes of the weights.
        resume: continue from the checkpoint in `run_dir`.
        processes: those that share the training; None for one.
        show: whether to show a progress bar.
        selection: what decides which weights are kept; None for all kinds of labels that have a
            weight in the loss, on the validation frames.
        support_loader: the frames of `selection.support`; None if there are none.

    Raises:
        ConfigError: a checkpoint of another training.
        DataError: the loss is NaN or infinite (the message names the update and its frames),
            or there is nothing to resume.
        OutputError: a file could not be written.
    """
    run = _Run(
        potential=potential,
        levels=levels,
        settings=settings,
        plan=plan,
        run_dir=run_dir,
        identity={
            **(identity or {}),
            "settings": to_mapping(settings),
            "levels": list(levels),
            "rates": dict(plan.rates),
            "release": dict(plan.release),
            "level_weights": dict(plan.level_weights),
            "weights": {name: list(p.shape) for name, p in potential.named_parameters()},
        },
        processes=processes or Processes(),
        selection=selection or Selection(kinds=settings.loss.kinds),
        pooled=train_loader.level_turns,
        support=support_loader,
    )
    run.start(resume, validation_loader)
    with Interrupt() as interrupt, run.bar(train_loader, show) as bar:
        while run.progress.epoch < settings.epochs and not run.stopping and not run.is_stale():
            if run.epoch(train_loader, interrupt, bar):
                last = run.progress.epoch == settings.epochs
                if last or run.progress.epoch % settings.validate_every == 0:
                    run.validate(validation_loader)
                    bar.set_postfix_str(run.summary())
            run.checkpoint()
        run.heed(interrupt)  # of a request that came after the last update
    run.finish()
    return TrainingResult(
        best_epoch=run.progress.best_epoch,
        best_loss=run.progress.best_loss,
        best_score=run.progress.best_score,
        history=run.progress.history,
        seconds=run.progress.seconds,
        interrupted=run.stopping,
        raised=run.raised,
    )


class _Run:
    """A training in progress.

    `stopping` is a request of any process to end, as known to all of them: they must leave the
    loop after the same update, or those that go on would wait for the others for ever.
    """

    def __init__(
        self,
        *,
        potential: Potential,
        levels: tuple[str, ...],
        settings: TrainingSettings,
        plan: TrainingPlan,
        run_dir: Path,
        identity: Mapping[str, Any],
        processes: Processes,
        selection: Selection,
        pooled: bool,
        support: Loader | None,
    ) -> None:
        self.pooled = pooled
        self.selection, self.support = selection, support
        self.potential, self.levels, self.plan = potential, levels, plan
        self.settings, self.processes = settings, processes
        self.run_dir, self.identity = run_dir, identity
        self.optimizer = make_optimizer(potential, plan, settings)
        self.weights = [p for p in potential.parameters() if p.requires_grad]
        self.factors = [plan.level_weights.get(level, 1.0) for level in levels]
        self.average = MovingAverage(potential, settings.ema)
        self.schedule = Schedule(settings=settings)
        self.progress = Progress()
        self.stopping = False
        self.raised: BaseException | None = None
        self.log = MetricsLog(run_dir, settings.tensorboard) if self.processes.is_first else None

    def bar(self, loader: Loader, show: bool) -> tqdm[Any]:
        """Returns a progress bar over all updates, at the present one."""
        bar = progress_bar(
            total=self.settings.epochs * loader.n_batches(self.progress.epoch),
            initial=self.progress.step,
            disable=not show or not self.processes.is_first,
            file=sys.stderr,
            dynamic_ncols=True,
        )
        bar.set_postfix_str(self.summary())
        return bar

    def summary(self) -> str:
        """Returns the latest validation errors in a few words."""
        progress = self.progress
        errors = short_errors(progress.history[-1], self.levels)
        return f"epoch {progress.epoch}/{self.settings.epochs}, MAE {errors}"

    def start(self, resume: bool, loader: Loader) -> None:
        if resume:
            self.progress = read_checkpoint(self.run_dir, **self._state())
            logger.debug("%s: resumed at update %d", self.run_dir, self.progress.step)
            if self.log is not None:
                self.log.restart(self.progress.history)
            return
        if self.processes.is_first:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            (self.run_dir / CHECKPOINT).unlink(missing_ok=True)
        if self.log is not None:
            self.log.restart([])
        self.validate(loader)

    def epoch(self, loader: Loader, interrupt: Interrupt, bar: tqdm[Any]) -> bool:
        """Trains to the end of the epoch; False if interrupted on the way."""
        progress = self.progress
        n_batches = loader.n_batches(progress.epoch)
        for batch in loader.batches(progress.epoch, start=progress.batch):
            started = time.perf_counter()
            share = self.gradient(batch)
            wish = share.new_tensor(float(interrupt.requested))
            loss, wishes = self.processes.add(torch.stack([share, wish])).tolist()
            if not math.isfinite(loss):
                raise DataError(self.diagnosis(loader, loss))
            self.update(progress.epoch + (progress.batch + 1) / n_batches)
            self.stopping = wishes > 0
            progress.batch += 1
            progress.step += 1
            progress.losses += loss
            progress.n_losses += 1
            progress.seconds += time.perf_counter() - started
            self.tell(bar, interrupt)
            if progress.batch == n_batches:
                break
            if self.stopping:
                return False
            if progress.batch % self.settings.checkpoint_every == 0:
                self.checkpoint()
        progress.epoch, progress.batch = progress.epoch + 1, 0
        return True

    def tell(self, bar: tqdm[Any], interrupt: Interrupt) -> None:
        """Moves the bar; if who is told of it raises, the training ends as by Ctrl-C."""
        try:
            bar.update()
        except BaseException as error:
            if interrupt.requested:  # the second Ctrl-C
                self.checkpoint()
                raise
            self.raised, interrupt.requested = error, True
            self.stopping = self.processes.world_size == 1

    def heed(self, interrupt: Interrupt) -> None:
        """Stops if any process is asked to."""
        wish = torch.tensor(float(interrupt.requested), device=self.potential.device)
        self.stopping = bool(self.processes.add(wish) > 0) or self.stopping

    def gradient(self, batch: Batch | None) -> Tensor:
        """Leaves the gradient of the loss in the weights; returns this process's share of the loss.

        The share is NaN if the gradient is not finite.
        """
        settings = self.settings
        self.optimizer.zero_grad(set_to_none=True)
        if batch is not None:
            batch = batch.to(self.potential.device)
        parts = batch_loss(self.potential, batch, self.levels, settings.loss, training=True)
        counts = self.processes.add(parts.counts.clone())
        weights = settings.loss.at(self.progress.epoch / settings.epochs)
        loss = weighted(parts.sums, counts, weights, self.factors, pooled=self.pooled)
        if self.plan.penalty is not None and self.processes.is_first:
            loss = loss + self.plan.penalty(self.potential, self.progress.step)
        if loss.requires_grad:
            loss.backward()
        self.processes.add_gradients(self.weights)
        self.hold()
        norm = nn.utils.clip_grad_norm_(self.weights, settings.clip)
        return loss.detach() + 0.0 * norm

    def hold(self) -> None:
        """Drops the gradients of weights whose time to move has not come."""
        done = self.progress.epoch / self.settings.epochs
        for group in self.optimizer.param_groups:
            if done < group["release"]:
                for weight in group["params"]:
                    weight.grad = None

    def update(self, epochs_done: float) -> None:
        """Moves the weights along the gradient."""
        settings = self.settings
        rate = settings.learning_rate * self.schedule.rate(epochs_done / settings.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.step()
        self.average.update()

    def diagnosis(self, loader: Loader, loss: float) -> str:
        """Returns what to say about a loss that is not finite."""
        frames = loader.dataset.read(loader.plan(self.progress.epoch)[self.progress.batch])
        names = [frame.name for frame in frames]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return (
            f"the loss or its gradient is {loss} at update {self.progress.step + 1}, whose batch "
            f"is {', '.join(names[:8])}{more}; lower training.learning_rate, or look for broken "
            "labels with 'tlpot data validate'"
        )

    def validate(self, loader: Loader) -> None:
        """Measures the averaged weights and keeps them if they are the best so far."""
        progress = self.progress
        started = time.perf_counter()
        with self.average.applied():
            loss, metrics = self.validated(loader)
            tables = {level: metrics[level].table() for level in self.levels}
            support = {} if self.support is None else self.validated(self.support)[1]
            deciding = self.selection.errors(self.levels[0], metrics, support)
            if not math.isfinite(loss):
                raise DataError(
                    f"the validation loss is {loss} after update {progress.step}; look for broken "
                    "labels with 'tlpot data validate'"
                    + (", or lower training.learning_rate" if progress.step else "")
                )
            score = self.score(loss, deciding)
            if score < progress.best_score or not progress.best:
                first = not progress.best and not self.plan.keeps_start
                progress.best_loss, progress.best_score = loss, math.inf if first else score
                progress.best_epoch = progress.epoch
                progress.waited = 0
                progress.best = {n: t.clone() for n, t in self.average.averages.items()}
            else:
                progress.waited += 1
        self.schedule.validated(score)
        progress.seconds += time.perf_counter() - started
        entry = {
            "epoch": progress.epoch,
            "step": progress.step,
            "seconds": round(progress.seconds, 3),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "loss": loss,
            "score": score,
            **tables,
        }
        if deciding != tables[self.levels[0]]:
            entry[DECIDING] = deciding
        if progress.n_losses:
            entry["training_loss"] = progress.losses / progress.n_losses
            progress.losses, progress.n_losses = 0.0, 0
        progress.history.append(entry)
        if self.log is not None:
            self.log.append(entry)

    def validated(self, loader: Loader) -> tuple[float, dict[str, Metrics]]:
        """Returns the loss with its final weights and the errors over all frames of a loader."""
        weights = self.settings.loss.at(1.0)
        return validate(
            self.potential,
            loader,
            self.levels,
            weights,
            self.processes,
            n_deciding=max(len(self.selection.levels), 1),
        )

    def score(self, loss: float, errors: Mapping[str, float]) -> float:
        """Returns what the choice of the weights goes by; less is better."""
        if self.settings.selection == "loss":
            return loss
        start = errors
        if self.progress.history:
            first = self.progress.history[0]
            start = first.get(DECIDING, first[self.levels[0]])
        relative = self.selection.score(errors, start, bounded=self.plan.keeps_start)
        return loss if math.isnan(relative) else relative

    def is_stale(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.progress.waited >= patience

    def checkpoint(self) -> None:
        if self.processes.is_first:
            write_checkpoint(self.run_dir, progress=self.progress, **self._state())

    def finish(self) -> None:
        """Leaves the best weights in the potential, free to move again."""
        self.average.averages = self.progress.best
        self.average.apply()
        for weight in self.potential.parameters():
            weight.requires_grad_(True)
            weight.grad = None
        if self.log is not None:
            self.log.close()

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.potential,
            "optimizer": self.optimizer,
            "average": self.average,
            "schedule": self.schedule,
            "identity": self.identity,
        }
