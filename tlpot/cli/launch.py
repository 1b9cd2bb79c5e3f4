"""What training commands have in common: options and the result."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from tlpot.cli.terminal import add_strict_argument, check_warnings

if TYPE_CHECKING:
    from tlpot.jobs import TrainingOutcome


def add_launch_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of every command that trains."""
    parser.add_argument(
        "settings", nargs="*", metavar="key.path=value",
        help="settings, such as training.epochs=100 or split.seed=1",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="stop after the pre-flight report")
    there = parser.add_mutually_exclusive_group()
    there.add_argument(
        "--resume", action="store_true", help="continue an interrupted run of the same command"
    )
    there.add_argument(
        "--overwrite", action="store_true",
        help="replace the model that is there, and discard the checkpoint of an interrupted run",
    )  # fmt: skip
    add_strict_argument(parser)
    parser.add_argument("--device", help="cpu, cuda, ...; default CUDA if there is one")
    parser.add_argument(
        "--threads", type=int, default=1,
        help="CPU threads (default 1: more do not pay below about 500 atoms a batch)",
    )  # fmt: skip


def launch_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the options of `add_launch_arguments` as the jobs take them."""
    names = ("resume", "overwrite", "dry_run", "strict", "device", "threads")
    return {name: getattr(arguments, name) for name in names}


def show(result: TrainingOutcome, arguments: argparse.Namespace) -> None:
    """Prints a result, once where several processes share a training.

    Raises:
        KeyboardInterrupt: the training was interrupted.
        StrictError: there are warnings, and the user wants none.
    """
    if not result.started or int(os.environ.get("RANK", "0")):
        return
    print(f"\n{result}")
    if result.training.interrupted:
        print(
            "interrupted: the best model so far is saved; the same command with --resume continues",
            file=sys.stderr,
        )
        raise KeyboardInterrupt
    check_warnings(result.warnings, arguments)
