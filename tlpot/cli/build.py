"""`tlpot build CONFIG.yaml [key.path=value ...]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlpot.building import Record, Standing


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
    import torch

    from tlpot.building import (
        all_standings,
        build_config,
        make_blueprint,
        run_stages,
        stage_table,
        up_to,
    )
    from tlpot.config import read_yaml, with_overrides
    from tlpot.training import Interrupt

    torch.set_num_threads(1)
    settings = with_overrides(read_yaml(arguments.config), arguments.settings)
    config = build_config(settings, arguments.config)
    blueprint = make_blueprint(config)
    stages = up_to(blueprint.stages, arguments.until)
    names = ", ".join(f"{target.name} ({len(target.frames)} conformations)"
                      for target in blueprint.targets)  # fmt: skip
    print(f"{names}: {blueprint.n_kinds} kinds of fragments, {blueprint.low} -> {blueprint.high}")
    print(stage_table(all_standings(stages, config.output)), flush=True)
    if arguments.dry_run:
        return
    with (
        Interrupt() as interrupt,
        _executor(arguments, lambda: interrupt.requested) as (executor, in_flight),
    ):
        try:
            records = run_stages(
                stages,
                config.output,
                executor=executor,
                in_flight=in_flight,
                stop=lambda: interrupt.requested,
                device=arguments.device,
                on_start=_started,
                on_end=_ended,
            )
        except KeyboardInterrupt:
            print("interrupted: the same command continues", file=sys.stderr)
            raise
    _conclude(records)


def _started(now: Standing) -> None:
    verb = "goes on" if now.state == "begun" else "starts"
    print(f"\n{now.stage.name} {verb}: {now.stage.summary}" + (f" [{now.why}]" if now.why else ""),
          flush=True)  # fmt: skip


def _ended(now: Standing, record: Record) -> None:
    from tlpot.building import duration

    if now.state != "done":
        print(f"{now.stage.name} done, {duration(record.seconds)}", flush=True)


def _conclude(records: dict[str, Record]) -> None:
    from tlpot.reports import error_text

    if "report" in records:
        print("\n" + error_text(records["report"].facts["errors"]))
    if "assemble" in records:
        print(
            "\nthe force field of a structure `atoms`:\n\n" + records["assemble"].facts["snippet"]
        )


@contextmanager
def _executor(
    arguments: argparse.Namespace, stop: Callable[[], bool]
) -> Iterator[tuple[Executor | None, int | None]]:
    from tlpot.cli.workers import label_workers, workers
    from tlpot.errors import ConfigError

    if arguments.dask is not None:
        with workers(arguments.workers, arguments.dask) as executor:
            yield executor, None
        return
    if arguments.workers < 1:
        raise ConfigError(f"--workers is {arguments.workers}, expected 1 or more")
    if arguments.workers == 1:
        yield None, None
        return
    with label_workers(arguments.workers, stop) as (pool, in_flight):
        yield pool, in_flight
