"""`tlpot build CONFIG.yaml [key.path=value ...]`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tlpot.cli import options

if TYPE_CHECKING:
    from tlpot.building import Record, StageStatus


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options.adder(parser)
    add("config", "YAML file; docs/building.md explains the keys")
    add("settings [key.path=value...]", "such as high.budget=100 or finetune.strategy.name=head")
    add("--dry-run", "check, list the stages and stop", False)
    add("--until STAGE", "stop after this stage")
    add("--workers", "processes of one thread each", 1)
    add("--dask ADDRESS|local", "sample and label on a Dask cluster")
    add("--device", options.DEVICE)


def run_build(arguments: argparse.Namespace) -> None:
    """Builds, and says what is done and why."""
    from tlpot.building import BuildResult, build_plan, run_build
    from tlpot.config import read_yaml, with_overrides
    from tlpot.execution import workers
    from tlpot.torch_mode import torch_threads
    from tlpot.training import Interrupt

    plan = build_plan(with_overrides(read_yaml(arguments.config), arguments.settings))
    print(BuildResult.of(plan, arguments.until).status(), flush=True)
    if arguments.dry_run:
        return
    with (
        torch_threads(1),
        Interrupt() as interrupt,
        workers(
            arguments.workers, arguments.dask, alone=True, stop=lambda: interrupt.requested
        ) as (executor, in_flight),
    ):
        result = run_build(
            plan,
            until=arguments.until,
            executor=executor,
            in_flight=in_flight,
            device=arguments.device,
            stop=lambda: interrupt.requested,
            on_start=_started,
            on_end=_ended,
        )
    if result.conclusion():
        print(result.conclusion())


def _started(now: StageStatus) -> None:
    verb = "goes on" if now.state == "begun" else "starts"
    why = f" [{now.why}]" if now.why else ""
    print(f"\n{now.stage.name} {verb}: {now.stage.summary}{why}", flush=True)


def _ended(now: StageStatus, record: Record) -> None:
    from tlpot.building import duration

    if now.state != "done":
        print(f"{now.stage.name} done, {duration(record.seconds)}", flush=True)
