"""Learning curves, what labels to buy by them, and which ones."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tlpot.cli import options

if TYPE_CHECKING:
    from tlpot.config import Settings


def add_curve_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `tlpot curve CONFIG.yaml`."""
    add = options.adder(parser)
    add(
        "settings",
        "a YAML file, or one or several parents and then the file with the labels; and "
        "settings, such as split.by=random or training.learning_rate=1e-3",
        nargs="*",
        metavar="CONFIG.yaml | PARENT ... DATA | key.path=value",
    )
    add("--level", "level of theory to learn")
    add("--strategies S...", "names of strategies")
    add("--sizes N...", "training frames", int)
    add("--seeds", "repeats (default 3)", int)
    add("--updates", "length of every training, whatever its number of frames", int)
    options.add_data_arguments(parser)
    add("--source", "level of the parents to start from")
    add("-o --output", "folder to write, and to continue in")
    add("--overwrite", "a curve of just this, where -o holds another one; points are kept", False)
    add("--keep-models", "keep the models", False)
    add("--ensembles", "join the kept models of all seeds, too, and look at their spread", False)
    add("--workers", "processes of one thread each", 1)
    add("--dask ADDRESS|local", "run the points on a Dask cluster that sees the same files")
    add("--device", options.DEVICE)
    add("--dry-run", "list the points and stop", False)


def run_curve(arguments: argparse.Namespace) -> None:
    """Measures the curve and prints its tables."""
    from contextlib import nullcontext

    from tlpot import api
    from tlpot.errors import DataError
    from tlpot.execution import workers

    settings = _settings(arguments)
    dask = arguments.dask
    pool = nullcontext((None, None)) if dask is None else workers(arguments.workers, dask)
    with pool as (executor, _):
        try:
            own = options.values_of(arguments, "ensembles workers overwrite dry_run device")
            found = api.learning_curve(config=settings, executor=executor, **own)
        except KeyboardInterrupt:
            print("interrupted: the same command continues", file=sys.stderr)
            raise
    print(found)
    if found.failures:
        raise DataError(found.advice)


def _settings(arguments: argparse.Namespace) -> Settings:
    """Puts the configuration together from a file or a command line."""
    from tlpot.config import job_settings, with_overrides
    from tlpot.errors import ConfigError

    names = _names(arguments)
    keys, words = options.keys_and_settings(arguments.keys)
    overrides = [*(s for s in arguments.settings if s not in names), *words]
    file = _file(arguments)
    settings = job_settings(file, "curve")
    if file is None and len(names) >= 2:
        settings |= {"parents": names[:-1], "data": {"files": [names[-1]]}}
        if arguments.level is not None:
            settings["data"]["level"] = arguments.level
    elif file is None:
        raise ConfigError(
            f"expected CONFIG.yaml, or PARENT and DATA, and found {' '.join(names) or 'neither'}"
        )
    if keys or arguments.spec is not None:
        section = dict(settings.get("data") or {})
        if arguments.spec is not None:
            section["spec"] = arguments.spec
        settings["data"] = {**section, "keys": {**(section.get("keys") or {}), **keys}}
    for name in ("level", "strategies", "sizes", "seeds", "updates", "source", "output"):
        if getattr(arguments, name) is not None:
            settings[name] = getattr(arguments, name)
    for text in (t for t in settings.get("strategies") or () if isinstance(t, str) and "=" in t):
        raise ConfigError(f"{text!r} is no strategy; put key=value settings before the options")
    if arguments.keep_models:
        settings["keep_models"] = True
    return with_overrides(settings, overrides)


def _names(arguments: argparse.Namespace) -> list[str]:
    return [s for s in arguments.settings if "=" not in s or Path(s).exists()]


def _file(arguments: argparse.Namespace) -> str | None:
    """The configuration file, if there is one."""
    names = _names(arguments)
    return names[0] if len(names) == 1 and names[0].endswith((".yaml", ".yml")) else None


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``tlpot plan``."""
    add = options.adder(parser)
    add("curve", "folder that tlpot curve wrote")
    add("--quantity", "which error (energy_mae)", "energy_mae")
    about = "error to reach, in eV and Å, or with a unit: 0.05, 50meV, 1kcal/mol, 50meV/Å"
    add("--target ERROR", about)
    add("--budget", "to be spent, in prices of a cheap label", float)
    add("--cost-ratio", "price of an expensive label in cheap ones", float)
    add(
        "--cost-from FILE...", "datasets by tlpot label, which hold what labels cost; with --levels"
    )
    add("--levels EXPENSIVE CHEAP", "the two levels of theory whose costs are compared")
    add("--pretraining-paid --sunk", "the pretraining is paid already", False)
    add("--have", "expensive labels that are there already", 0)
    add("--pretraining DIR", "curve of the low level itself (tlpot curve with strategy scratch)")
    add("--fit-up-to N", "fit sizes up to N only, and compare forecasts with the larger ones", int)
    add("--json", "file for all numbers")


def run_plan(arguments: argparse.Namespace) -> None:
    """Plans."""
    from tlpot import api

    names = (
        "target budget cost_ratio cost_from quantity pretraining_paid have pretraining fit_up_to"
    )
    plan = api.plan(
        arguments.curve,
        levels=None if arguments.levels is None else tuple(arguments.levels),
        **options.values_of(arguments, names),
    )
    print(plan)
    if arguments.json:
        plan.save(arguments.json)


def add_active_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``tlpot active``."""
    add = options.adder(parser)
    add("parent", "a model file, or the name of a shipped model")
    add("data DATA...", "files of candidates, with labels or without")
    add("settings [key.path=value...]", "settings, such as split.test=0.1 or members=8")
    add("--level", "the property, such as gap@hse06", required=True)
    about = "learn (default), maximise, minimise, or window"
    parser.add_argument("--goal", choices=["learn", "maximise", "minimise", "window"], help=about)
    add("--window LOWEST HIGHEST", "values that are wanted, with --goal window", float)
    add("--strategy", "that fits a model in each round; default frozen-gp")
    add("--batch", "candidates of each round; default 10", int)
    add("--rounds", "of a simulation; default 5", int)
    add("--initial", "labels before the first choice; default 20", int)
    add("--seeds", "repeats of a simulation; default 3", int)
    about = "hide the labels that there are; so it is where all candidates have one"
    add("--simulate", about, action="store_true", default=None)
    add("--repeat", "times that the newest labels count in the next fit; default 1", int)
    add("--spec", options.SPEC)
    add("--keys QUANTITY=NAME...", "names of labels: 'gap@hse06=COLUMN, UNIT, intensive'")
    add("--source", "level of the parent to start from, if it has several")
    add("--config", "YAML file with further settings")
    add("-o --output", "folder of the campaign; the same command goes on", required=True)
    add("--device", options.DEVICE)


def run_active(arguments: argparse.Namespace) -> None:
    """Makes a round of a campaign, or simulates some."""
    from tlpot import api
    from tlpot.config import job_settings, with_overrides

    files, overrides = options.files_and_settings([*arguments.data, *arguments.settings])
    names = "goal window strategy batch rounds initial seeds simulate repeat source output level"
    given = options.values_of(arguments, names)
    data = {"files": files, "spec": arguments.spec}
    if arguments.keys is not None:
        data["keys"] = options.key_pairs(arguments.keys)
    settings = job_settings(arguments.config, "active", parent=arguments.parent, **given)
    settings["data"] = {**(settings.get("data") or {}), **data}
    found = api.active_learning(config=with_overrides(settings, overrides), device=arguments.device)
    print(found)
    numbers, picture = (Path(arguments.output) / f"active.{kind}" for kind in ("json", "png"))
    found.save(numbers)
    found.plot(picture)
    print(f"wrote {numbers}, {picture}")
