"""Training, fine-tuning, and the demonstration of both."""

from __future__ import annotations

import argparse
from pathlib import Path

from tlpot.cli import options


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `tlpot train CONFIG.yaml [key.path=value ...]`."""
    options.declare(parser, "config", "YAML file; docs/training.md lists the keys")
    options.add_launch_arguments(parser)


def run_train(arguments: argparse.Namespace) -> None:
    """Trains."""
    from tlpot import api
    from tlpot.config import read_yaml, with_overrides

    settings = with_overrides(read_yaml(arguments.config), arguments.settings)
    options.show_training(api.train, settings, arguments)


def add_finetune_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``tlpot finetune``."""
    add = options.adder(parser)
    add("parent", "a model file, the name of a shipped model, or an engine with features of atoms")
    add("data DATA...", "files with the labels, read as one dataset")
    add("--level", "level of theory to learn; may be in the file of --config")
    add(
        "--strategy",
        "full (default), lora, head, freeze, delta, ..., or auto, which compares some; "
        "docs/transfer.md lists them; settings: strategy.NAME=VALUE",
    )
    add("-o --output", "model file to write; may be in the file of --config")
    options.add_data_arguments(parser)
    add("--source", "level of the parent to start from, if it has several")
    add("--config", "YAML file with further settings; docs/training.md explains the keys")
    options.add_launch_arguments(parser)


def run_finetune(arguments: argparse.Namespace) -> None:
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
    for name in ("level", "output"):
        if getattr(arguments, name) is not None:
            settings[name] = getattr(arguments, name)
        elif name not in settings:
            raise ConfigError(f"--{name} is required, or {name} in the file of --config")
    keys, words = options.keys_and_settings(arguments.keys)
    files, overrides = options.files_and_settings([*arguments.data, *arguments.settings, *words])
    data = {"level": settings["level"], **section, "files": files}
    if arguments.spec is not None:
        data["spec"] = arguments.spec
    if keys:
        data["keys"] = {**(data.get("keys") or {}), **keys}
    settings |= {"parent": arguments.parent, "data": data}
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
    options.show_training(api.finetune, settings, arguments)


def add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `tlpot demo [-o DIR]`."""
    add = options.adder(parser)
    add("-o --output", "folder for what it makes", "tlpot-demo")
    add("--seeds", "repeats, for error bars", 1)


def run_demo(arguments: argparse.Namespace) -> None:
    """Runs the demo."""
    import torch

    from tlpot.jobs import DATA, HELD_OUT, LEVEL, MD_KELVIN, PARENT, SOURCE, run_demo

    torch.set_num_threads(1)
    print(
        f"parent: {PARENT} at {SOURCE}, labels: {LEVEL} from {DATA.name},\n"
        f"coupled-cluster labels held out: {', '.join(HELD_OUT)}\n"
    )
    out = Path(arguments.output)
    result = run_demo(out, n_seeds=arguments.seeds)
    print(f"\n{result.table()}\n")
    print(f"ethanol, velocities of {MD_KELVIN:.0f} K, constant energy, {result.model.name}:")
    print(f"  {result.md.summary()}".replace("\n", "\n  "))
    print(f"\n{result.seconds:.0f} s; learning curves {out / 'demo.png'}, everything in {out}/")
