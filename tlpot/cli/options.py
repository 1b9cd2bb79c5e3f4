"""Options: how a command declares them, and those that several commands have in common."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlpot.cli.parser import check_warnings

if TYPE_CHECKING:
    from tlpot.jobs import TrainingOutcome

DEVICE = "cpu, cuda, ...; default CUDA if there is one"
ENGINE = "engine whose features the model reads, if it does, such as torch:FILE"
PART = "of --split; default test, or validation where there are no test frames"
SPEC = "layout of the data, if it is not tlpot's own"
KEYS = "names of labels: energy=E_dft, or 'gap@hse06=COLUMN, UNIT, intensive'; charge=-1 for all"

FRAGMENT_OPTIONS = ("set", "low", "low_level", "charges", "dispersion", "trained_charges")
"""Those that mean nothing without a scheme."""


def declare(
    parser: argparse._ActionsContainer, names: str, about: str, value: Any = str, **settings: Any
) -> None:
    """Declares an option or a positional argument.

    Args:
        parser: a parser, or a group of its arguments.
        names: such as ``-o --output``, and what stands for the value in the help: ``--level L``,
            ``--sizes N...`` (one or more), ``settings [KEY=VALUE...]`` (any number) or
            ``--levels HIGH LOW``.
        about: the help.
        value: False makes a flag; a type stands for itself, without a default; anything else is
            the default, which the help tells, and its type that of the values.
        settings: see `argparse.ArgumentParser.add_argument`.
    """
    flags = [word for word in names.split() if word.startswith("-")] or names.split()[:1]
    shown = names.split()[len(flags) :]
    if shown and shown[-1].endswith(("...", "...]")):
        settings["nargs"] = "+" if shown[-1].endswith("...") else "*"
        shown[-1] = shown[-1].strip("[.]")
        if names.startswith("-") and not settings.get("default"):
            settings.setdefault("action", "extend")  # given twice, the second adds to the first
    elif len(shown) > 1:
        settings["nargs"] = len(shown)
    if shown:
        settings["metavar"] = tuple(shown) if len(shown) > 1 else shown[0]
    if settings.get("action") == "append":
        about += "; may be given several times"
    if value is False:
        settings["action"] = "store_true"
    elif isinstance(value, type):
        settings |= {} if value is str else {"type": value}
    else:
        settings |= {"default": value} | ({} if isinstance(value, str) else {"type": type(value)})
        if "default" not in about:
            about += f"; default {value}"
    parser.add_argument(*flags, help=about, **settings)


def adder(parser: argparse._ActionsContainer) -> Callable[..., None]:
    """Returns `declare` for one parser, or one group of its arguments."""
    return partial(declare, parser)


def values_of(arguments: argparse.Namespace, names: str) -> dict[str, Any]:
    """Returns the values of some options, whose names a text lists, as keyword arguments."""
    return {name: getattr(arguments, name) for name in names.split()}


def key_pair(text: str) -> tuple[str, str]:
    """Returns quantity and name of ``--keys``.

    Raises:
        ConfigError: not of the form ``QUANTITY=NAME``.
    """
    from tlpot.errors import ConfigError

    quantity, equals, name = text.partition("=")
    if not equals:
        raise ConfigError(f"--keys: {text!r} is not of the form QUANTITY=NAME")
    return quantity, name


def key_pairs(texts: Iterable[str]) -> dict[str, str]:
    """Returns names by quantity, of all ``--keys``.

    Raises:
        ConfigError: one is not of the form ``QUANTITY=NAME``, or a quantity has two names.
    """
    from tlpot.errors import ConfigError

    found: dict[str, str] = {}
    for quantity, name in map(key_pair, texts):
        if found.setdefault(quantity, name) != name:
            raise ConfigError(f"--keys: {quantity} is {found[quantity]!r} and {name!r}; name one")
    return found


def add_data_arguments(parser: argparse._ActionsContainer) -> None:
    """Declares --spec and --keys of a command that reads labels."""
    add = adder(parser)
    add("--spec", SPEC)
    add("--keys QUANTITY=NAME...", KEYS)


def reading_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the options of `add_data_arguments` as the jobs take them.

    Raises:
        ConfigError: ``--keys`` are not of the form ``QUANTITY=NAME``.
    """
    keys = None if arguments.keys is None else key_pairs(arguments.keys)
    return {"spec": arguments.spec, "keys": keys}


def keys_and_settings(words: Sequence[str] | None) -> tuple[dict[str, str], list[str]]:
    """Tells ``--keys`` from settings that follow them on a command line, ``section.key=value``.

    Raises:
        ConfigError: ``--keys`` are not of the form ``QUANTITY=NAME``.
    """
    pairs = [(text, key_pair(text)) for text in words or ()]
    settings = [text for text, (name, _) in pairs if "." in name and "@" not in name]
    return key_pairs(text for text, _ in pairs if text not in settings), settings


def files_and_settings(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tells files from ``key=value``, which argparse cannot, wherever they stand."""
    settings = [word for word in words if "=" in word and not Path(word).exists()]
    return [word for word in words if word not in settings], settings


def add_strict_argument(parser: argparse.ArgumentParser) -> None:
    """Declares the argument of every command that can be strict."""
    declare(parser, "--strict", "take every warning for an error (exit status 2)", False)


def add_assembly_arguments(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """Declares --scheme and what goes with it."""
    add = adder(parser.add_argument_group("fragments"))
    about = "direct, mfcc, mfcc2, ..., mfcc_mbe2 (recommended), gmfcc, sphere or ai2bmd"
    add("--scheme", about + (f"; default {default}" if default else ""), default=default)
    add("--set KEY=VALUE...", "settings of the scheme, such as inner=3.5 outer=4.5")
    add("--low", "two layers: model of the whole structure that fragments correct, or gfn2-xtb")
    add(
        "--low-level",
        "level of theory of --low, if it has several; of a model of differences also the level "
        "that the only one of --low stands for, where they are called otherwise",
    )
    add("--charges", "Coulomb terms between atoms that share no fragment", choices=["amber"])
    add("--dispersion KIND:FUNCTIONAL", "such as d3bj:b3lyp, of the whole; labels must be without")
    add(
        "--trained-charges",
        "the model reads no charges, but was trained on fragments charged as these are; not "
        "needed where it was trained with data.charges=ignore, as its card says",
        action="store_true",
        default=None,
    )


def refuse_without_scheme(arguments: argparse.Namespace) -> None:
    """Refuses options that only mean something with a scheme.

    Raises:
        ConfigError: one was given without --scheme.
    """
    from tlpot.errors import ConfigError

    given = [name for name in FRAGMENT_OPTIONS if getattr(arguments, name) is not None]
    if arguments.scheme is None and given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{options} without --scheme; name a fragment scheme, or leave out")


def fragment_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the options as keyword arguments of a job; without --scheme, that is None.

    Raises:
        ConfigError: --set without --scheme, or no ``KEY=VALUE``.
    """
    from tlpot.config import with_overrides
    from tlpot.errors import ConfigError

    scheme: Any = arguments.scheme
    if arguments.set:
        if scheme is None:
            raise ConfigError("--set without --scheme; name a fragment scheme, or leave out")
        scheme = {**with_overrides({}, arguments.set), "name": scheme}
    options = values_of(arguments, "low low_level charges dispersion")
    return {"scheme": scheme, **options, "trained_charges": bool(arguments.trained_charges)}


def add_calculator_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares structure, model, and what goes with them."""
    add = adder(parser)
    add(
        "structure",
        "a file that ASE reads (its last frame), a molecule of ASE such as CH3CH2OH, or a SMILES",
    )
    add(
        "model",
        "a model file, the name of a model, gfn2-xtb, pyscf:METHOD/BASIS, "
        "ase:MODULE:CLASS, 'env:PYTHON ase:MODULE:CLASS' or torch:FILE; with "
        "--low and no --scheme a model of differences",
    )
    add("--level", "level of theory, if the model has several")
    add("--charge", "total charge, in place of the structure's", int)
    add("--spin", "multiplicity 2S + 1, likewise", int)
    add("--json FILE", "file for all numbers")
    add("--plot FILE", "picture to write, .png or .pdf")
    add("--overwrite", "replace files that are there", False)
    add("--device", DEVICE)
    add("--threads", "for torch; default 1, best for small molecules", 1)
    add_strict_argument(parser)
    add_assembly_arguments(parser, default=None)


def calculator_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the options as keyword arguments of a job.

    Raises:
        ConfigError: settings of a scheme without a scheme.
    """
    own = values_of(arguments, "level charge spin overwrite device threads")
    return {**fragment_options(arguments), **own}


def check_picture(arguments: argparse.Namespace) -> None:
    """Refuses an impossible picture before any time is spent.

    Raises:
        OutputError: no such folder, or an ending that is no format of pictures.
    """
    from tlpot.presentation import picture_path

    if arguments.plot:
        picture_path(arguments.plot)


def check_files(arguments: argparse.Namespace) -> None:
    """Refuses files that are there, before anything is computed.

    Raises:
        OutputError: one exists, is the structure itself, or is named twice.
        ConfigError: a picture of no known kind.
    """
    from tlpot.jobs import check_result_files

    check_picture(arguments)
    names = ("out", "trajectory", "modes", "molden", "json", "plot")
    files = {f"--{name}": getattr(arguments, name, None) for name in names}
    check_result_files(files, arguments.structure, overwrite=arguments.overwrite)


def show_result(result: Any, arguments: argparse.Namespace) -> None:
    """Prints a result, and writes what was asked for."""
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    write_result(result, arguments)
    print(result)
    written = [path for path in (arguments.json, arguments.plot) if path]
    if written:
        print(f"wrote {', '.join(written)}")


def write_result(result: Any, arguments: argparse.Namespace) -> None:
    """Writes numbers and picture, where they were asked for.

    Raises:
        OutputError: a file could not be written.
    """
    if arguments.json:
        result.save(arguments.json)
    if arguments.plot:
        result.plot(arguments.plot)


def add_launch_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of every command that trains."""
    add = adder(parser)
    add("settings [key.path=value...]", "settings, such as training.epochs=100 or split.seed=1")
    add("--dry-run", "stop after the pre-flight report", False)
    there = parser.add_mutually_exclusive_group()
    declare(there, "--resume", "continue an interrupted run of the same command", False)
    about = "replace the model that is there, and discard the checkpoint of an interrupted run"
    declare(there, "--overwrite", about, False)
    add_strict_argument(parser)
    add("--device", DEVICE)
    add("--threads", "CPU threads (default 1: more do not pay below about 500 atoms a batch)", 1)


def launch_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the options of `add_launch_arguments` as the jobs take them."""
    return values_of(arguments, "resume overwrite dry_run strict device threads")


def show_training(
    train: Callable[..., TrainingOutcome],
    settings: Mapping[str, Any],
    arguments: argparse.Namespace,
) -> None:
    """Trains and prints the result, once where several processes share a training.

    Raises:
        KeyboardInterrupt: the training was interrupted.
        StrictError: there are warnings, and the user wants none.
    """
    from tlpot.jobs import TrainingInterrupted

    silent = int(os.environ.get("RANK", "0")) > 0
    try:
        result = train(config=settings, **launch_options(arguments))
    except TrainingInterrupted as stop:
        if silent:
            return
        print(f"\n{stop.outcome}")
        print(
            "interrupted: the best model so far is saved; the same command with --resume continues",
            file=sys.stderr,
        )
        raise KeyboardInterrupt from None
    if not result.started or silent:
        return
    print(f"\n{result}")
    check_warnings(result.warnings, arguments)
