"""The record of a training: ``metrics.jsonl``, and TensorBoard's event files if wanted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlpot.errors import MissingExtraError
from tlpot.files import write_text

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
