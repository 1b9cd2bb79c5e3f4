"""`tlpot build CONFIG.yaml [key.path=value ...]`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlpot.building import Record, StageStatus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument("config", help="YAML file; docs/building.md explains the keys")
    parser.add_argument(
        "settings", nargs="*", metavar="key.path=value",
        help="settings, such as high.budget=100 or finetune.strategy.name=head",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="check, list the stages and stop")
    parser.add_argument("--until", metavar="STAGE", help="stop after this stage")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument(
        "--dask", metavar="ADDRESS|local", help="sample and label on a Dask cluster",
    )  # fmt: skip
    parser.add_argument("--device", help="cpu, cuda, ...; default CUDA if there is one")


def run(arguments: argparse.Namespace) -> None:
    """Builds, and says what is done and why."""
    from tlpot.building import BuildResult, build_plan, run_build
    from tlpot.config import read_yaml, with_overrides
    from tlpot.jobs import label_workers
    from tlpot.torch_mode import torch_threads
    from tlpot.training import Interrupt

    plan = build_plan(with_overrides(read_yaml(arguments.config), arguments.settings))
    print(BuildResult.of(plan, arguments.until).status(), flush=True)
    if arguments.dry_run:
        return
    with (
        torch_threads(1),
        Interrupt() as interrupt,
        label_workers(
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
    print(f"\n{now.stage.name} {verb}: {now.stage.summary}" + (f" [{now.why}]" if now.why else ""),
          flush=True)  # fmt: skip


def _ended(now: StageStatus, record: Record) -> None:
    from tlpot.building import duration

    if now.state != "done":
        print(f"{now.stage.name} done, {duration(record.seconds)}", flush=True)
