"""The model file that a command is to write: possible, and not the only copy of another model."""

from __future__ import annotations

from pathlib import Path

from tlpot.errors import OutputError


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
