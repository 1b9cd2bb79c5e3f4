"""The files of a training: its log, and the state from which it goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from tlpot.config import differences
from tlpot.errors import ConfigError, DataError, MissingExtraError, ModelFileError
from tlpot.files import atomic_file, has_checksum, with_checksum, write_text
from tlpot.training.optimizer import MovingAverage, Schedule

METRICS = "metrics.jsonl"


class MetricsLog:
    """Appends one line for each validation.

    Args:
        run_dir: where ``metrics.jsonl`` goes.
        tensorboard: also write event files to ``tensorboard/``.

    Raises:
        MissingExtraError: TensorBoard is wanted and not installed.
    """

    def __init__(self, run_dir: Path, tensorboard: bool) -> None:
        self._path = run_dir / METRICS
        self._writer = _summary_writer(run_dir / "tensorboard") if tensorboard else None

    def restart(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Makes the file hold exactly `history`: a resumed run repeats what it had not saved."""
        write_text(self._path, "".join(json.dumps(entry) + "\n" for entry in history))

    def append(self, entry: Mapping[str, Any]) -> None:
        """Adds a line."""
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(entry) + "\n")
        if self._writer is not None:
            for name, value in _flat(entry):
                self._writer.add_scalar(name, value, entry["step"])
            self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()


def _flat(entry: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    flat = []
    for key, value in entry.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{key}/")
        else:
            flat.append((prefix + key, float(value)))
    return flat


def _summary_writer(path: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "tensorboard", "training.tensorboard") from error
    return SummaryWriter(str(path))


CHECKPOINT = "checkpoint.safetensors"
_KEY = "tlpot-checkpoint"
_CHOSEN = ("recipe.strategy.name", "recipe.strategy", "recipe", "settings", "levels")


@dataclass(kw_only=True, slots=True)
class Progress:
    """Where a training stands.

    Attributes:
        epoch: the epoch in progress, from 0.
        batch: batches of it that are done.
        step: updates in all.
        seconds: time spent so far, over all launches.
        best_loss: validation loss of the weights kept so far.
        best_score: what they were chosen by; less is better.
        best_epoch: epochs done when it was reached; 0 before the first update.
        waited: validations since then.
        best: averaged weights of that moment.
        history: one entry for each validation, as in ``metrics.jsonl``.
        losses: sum of the training loss over the batches since the last validation.
        n_losses: their number.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_loss: float = math.inf
    best_score: float = math.inf
    best_epoch: int = 0
    waited: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    losses: float = 0.0
    n_losses: int = 0


_NUMBERS = (
    "epoch", "batch", "step", "seconds", "best_loss", "best_score", "best_epoch", "waited",
    "history", "losses", "n_losses",
)  # fmt: skip


def write_checkpoint(
    run_dir: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage,
    schedule: Schedule,
    progress: Progress,
    identity: Mapping[str, Any],
) -> None:
    """Writes everything that the next update depends on, atomically.

    Args:
        run_dir: the file is called ``checkpoint.safetensors``.
        model: its weights.
        optimizer: its moments.
        average: the averaged weights.
        schedule: what plateaus have done.
        progress: where the training stands.
        identity: what must be the same when the training is resumed.

    Raises:
        OutputError: the file could not be written; the previous checkpoint is untouched.
    """
    tensors: dict[str, Tensor] = {f"model/{n}": p for n, p in model.named_parameters()}
    tensors |= {f"average/{n}": t for n, t in average.averages.items()}
    tensors |= {f"best/{n}": t for n, t in progress.best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in state.items()}
    content = {
        "progress": {name: getattr(progress, name) for name in _NUMBERS},
        "schedule": [schedule.factor, schedule.best, schedule.waited],
        "n_averaged": average.n_updates,
        "identity": dict(identity),
    }
    data = safetensors.torch.save(
        {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()},
        {_KEY: json.dumps(content)},
    )
    with atomic_file(run_dir / CHECKPOINT) as temporary:
        temporary.write_bytes(with_checksum(data))


def read_checkpoint(
    run_dir: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage,
    schedule: Schedule,
    identity: Mapping[str, Any],
) -> Progress:
    """Puts everything back as it was; the arguments are those of `write_checkpoint`.

    Raises:
        ConfigError: the run had other settings, data or weights; the message names them.
        DataError: there is no checkpoint, or it is damaged.
    """
    path = run_dir / CHECKPOINT
    try:
        stored = path.read_bytes()
        tensors = safetensors.torch.load(stored)
        has_checksum(stored, str(path))
        length = int.from_bytes(stored[:8], "little")
        content = json.loads(json.loads(stored[8 : 8 + length])["__metadata__"][_KEY])
    except FileNotFoundError:
        raise DataError(
            f"nothing to resume: there is no {path}, so the run ended before its first checkpoint "
            "or is another; start it without resume (--resume)"
        ) from None
    except (SafetensorError, ModelFileError, ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(f"{path} is damaged or no checkpoint ({error}); start afresh") from error
    content["identity"]["settings"].setdefault("selection", "loss")
    _check_identity(content["identity"], json.loads(json.dumps(dict(identity))), path)
    weights = dict(model.named_parameters())
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "best": {}}
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if kind == "optimizer":
            index, _, what = name.partition("/")
            moments.setdefault(int(index), {})[what] = tensor
        else:
            parts[kind][name] = tensor.to(weights[name].device)
    with torch.no_grad():
        for name, tensor in parts["model"].items():
            weights[name].copy_(tensor)
    average.averages = {name: parts["average"][name] for name in average.averages}
    average.n_updates = content["n_averaged"]
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    schedule.factor, schedule.best, schedule.waited = content["schedule"]
    progress = content["progress"]
    # checkpoints from before there was a choice went by the loss
    progress.setdefault("best_score", progress["best_loss"])
    return Progress(**progress, best=parts["best"])


def _check_identity(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    # what the user chose comes before what follows from it, such as the weights that move
    differing = differences(found, wanted, first=_CHOSEN)
    if differing:
        listed = [text.removeprefix("recipe.") for text in differing[:4]]
        more = f"; and {len(differing) - 4} more" if len(differing) > 4 else ""
        raise ConfigError(
            f"{path} belongs to another training: {'; '.join(listed)}{more}. "
            "Resume with the same settings, or start afresh"
        )
