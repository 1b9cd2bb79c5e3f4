"""The model file that a command is to write: possible, and not the only copy of another model."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from tlpot.errors import OutputError
from tlpot.files import make_folder, sole_folder, sole_use
from tlpot.training import Processes

_P = ParamSpec("_P")
_R = TypeVar("_R")


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


def check_replaced(output: Path, *, overwrite: bool) -> None:
    """Refuses to replace a model that nobody said may be replaced.

    Raises:
        OutputError: the file exists, and `overwrite` is not set.
    """
    if output.exists() and not overwrite:
        raise OutputError(
            f"the model file {output} exists; replace it with --overwrite (overwrite=True), or "
            "choose another name with -o"
        )
