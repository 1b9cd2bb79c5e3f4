"""`tlpot finetune PARENT DATA ... --level L --strategy S -o MODEL [key=value ...]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tlpot.cli.options import (
    SPEC,
    add_launch_arguments,
    launch_options,
    options_adder,
    show_training,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add("parent", "a model file, or the name of a shipped model")
    add("data", "files with the labels, read as one dataset", nargs="+", metavar="DATA")
    add("--level", "level of theory to learn", required=True)
    add(
        "--strategy",
        "how to transfer (default full; auto compares some); settings: strategy.NAME=VALUE",
    )
    add("-o --output", "model file to write", required=True)
    add("--spec", SPEC)
    add("--source", "level of the parent to start from, if it has several")
    add("--config", "YAML file with further settings")
    add_launch_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Fine-tunes."""
    from tlpot import api
    from tlpot.config import job_settings, with_overrides
    from tlpot.errors import ConfigError, nearest
    from tlpot.jobs import AUTO
    from tlpot.transfer import STRATEGY_NAMES

    settings = job_settings(arguments.config, "finetune")
    section = settings.get("data") or {}
    if not isinstance(section, dict):
        raise ConfigError(f"{arguments.config}: data must be a section, not {section!r}")
    files, overrides = _files_and_settings([*arguments.data, *arguments.settings])
    data = {"level": arguments.level, **section, "files": files}
    if arguments.spec is not None:
        data["spec"] = arguments.spec
    settings |= {"parent": arguments.parent, "data": data, "output": arguments.output}
    settings["level"] = arguments.level
    if arguments.source is not None:
        settings["source"] = arguments.source
    if arguments.strategy is not None:
        known = (*STRATEGY_NAMES, AUTO)
        if arguments.strategy not in known:  # not what the file says
            raise ConfigError(
                f"unknown strategy {arguments.strategy!r}{nearest(arguments.strategy, known)}"
            )
        settings["strategy"] = arguments.strategy
    if not isinstance(settings.get("strategy"), dict):
        settings["strategy"] = {"name": settings.get("strategy", "full")}
    settings = with_overrides(settings, overrides)
    show_training(api.finetune(config=settings, **launch_options(arguments)), arguments)


def _files_and_settings(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tells files from ``key=value``, which argparse cannot, wherever they stand."""
    from pathlib import Path

    settings = [word for word in words if "=" in word and not Path(word).exists()]
    return [word for word in words if word not in settings], settings
