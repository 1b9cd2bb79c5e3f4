"""What training commands have in common: launching, reporting, resuming."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tlpot.cli.terminal import add_strict_argument, check_warnings, warnings_of

if TYPE_CHECKING:
    from tlpot.jobs import Job


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


def launch(arguments: argparse.Namespace, prepare: Callable[[str | None], tuple[Job, str]]) -> None:
    """Prepares a job, prints its report, runs it and prints the result.

    Args:
        arguments: those of `add_launch_arguments`.
        prepare: gives the job and the pre-flight report for a device.
    """
    import torch
    import yaml

    from tlpot.errors import ConfigError
    from tlpot.jobs import fit
    from tlpot.training import joined_processes

    if arguments.threads < 1:
        raise ConfigError(f"--threads is {arguments.threads}, expected 1 or more")
    torch.set_num_threads(arguments.threads)
    with ExitStack() as stack:
        processes = stack.enter_context(joined_processes())
        device = arguments.device
        if device is None and torch.cuda.is_available():
            device = f"cuda:{processes.local_rank}"
        job, report = prepare(device)
        if processes.is_first:
            print(yaml.safe_dump(dict(job.recipe), sort_keys=False, allow_unicode=True))
            print(report, flush=True)
        check_warnings(warnings_of(report), arguments)
        if arguments.dry_run:
            return
        outcome = fit(
            job,
            processes,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
            show=processes.is_first,
        )
        if not processes.is_first:
            return
        result = outcome.training
        print(f"\n{outcome.part} frames, before training")
        print(_overall(outcome.start.overall))
        print(f"{outcome.part} frames, after (weights of epoch {result.best_epoch})")
        print(outcome.end.text())
        for correction in outcome.potential.corrections(job.saved_level or job.levels[0]):
            facts = ", ".join(f"{key} {value}" for key, value in correction.info.fit.items())
            print(f"{correction.info.kind} on {' + '.join(correction.info.blocks)}: {facts}")
        if outcome.report is not None:  # which repeats the warnings
            print(f"\n{outcome.report.summary()}")
        else:
            for warning in outcome.warnings:
                print(f"warning: {warning}")
        print(f"\n{result.seconds:.0f} s; model {job.output}; details in {job.run_dir}")
        if result.interrupted:
            print(
                "interrupted: the best model so far is saved; the same command with --resume "
                "continues",
                file=sys.stderr,
            )
            raise KeyboardInterrupt
        check_warnings(outcome.warnings, arguments)


def _overall(overall: object) -> str:
    from tlpot.evaluation import ErrorReport

    return ErrorReport(overall=overall).text()  # type: ignore[arg-type]
