"""The `tlpot` program: picks the subcommand and turns errors into exit statuses."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from tlpot._version import __version__
from tlpot.cli import options
from tlpot.cli.parser import (
    CompletionAction,
    Parser,
    check_outputs,
    check_values,
    never_fail,
    reworded,
    strictness,
)
from tlpot.errors import TLPotError
from tlpot.execution import keep_freed_memory, load_torch
from tlpot.presentation import log_to_terminal

SUBCOMMANDS = {
    "train": "pretrain or train from scratch",
    "finetune": "transfer a model to another level of theory",
    "label": "label geometries at a level of theory",
    "active": "choose what to label next, round by round, for a property",
    "curve": "learning curves: strategies against numbers of labels",
    "plan": "how many labels to buy, from learning curves",
    "evaluate": "errors of a model on a dataset, with tables and a parity plot",
    "predict": "energies and forces of structures, labelled or not",
    "ensemble": "join models into one that knows its uncertainty",
    "calibrate": "give a model an uncertainty, or bring it to scale",
    "report": "what a transfer did to a model, or how good a force field is",
    "data": "look at, check, translate and split datasets",
    "build": "a protein force field from structures and levels of theory, in one go",
    "sample": "geometries of molecules, fragments and crystals to label",
    "fragment": "fragments of a protein: list, picture, export, energies and error budget",
    "md": "molecular dynamics with a model",
    "relax": "a structure to its nearest minimum, with a model",
    "frequencies": "harmonic vibrations and thermochemistry, with a model",
    "models": "list, search, install and rank pretrained models",
    "info": "print the card of a model",
    "demo": "the main job, start to end, on data that ships with tlpot",
}
"""Each has ``add_NAME_arguments(parser)`` and ``run_NAME(arguments)`` in a module of this room."""

_MODULES = {
    "train": "training", "finetune": "training", "demo": "training",
    "sample": "labelling", "label": "labelling",
    "curve": "curves", "plan": "curves", "active": "curves",
    "evaluate": "evaluation", "predict": "evaluation",
    "ensemble": "evaluation", "calibrate": "evaluation", "info": "models",
    "md": "simulation", "relax": "simulation", "frequencies": "simulation",
}  # fmt: skip
"""Modules of subcommands that have none of their own name."""

_LIGHT = ("data", "info", "models")
"""Subcommands that need no torch, or only for some of what they do."""


def parse_arguments(given: Sequence[str]) -> argparse.Namespace:
    """Returns the arguments of a command line; ends the process where they are not understood."""
    arguments, rest = make_parser(given).parse_known_args(given)
    open_ended = [name for name in ("settings", "models") if hasattr(arguments, name)]
    if rest and open_ended and not any(r.startswith("-") for r in rest):
        # argparse takes no second run of positional arguments after an option
        setattr(arguments, open_ended[0], [*getattr(arguments, open_ended[0]), *rest])
    elif rest:
        arguments.parser.unknown(rest)
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Returns:
        0 on success, 2 for a mistake of the user's, 130 after Ctrl-C.
    """
    # Two spinning OpenMP threads on a shared core slow small models 50-fold; libgomp reads
    # this when torch is loaded, which happens below and not before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    never_fail()
    keep_freed_memory()
    arguments_given = list(sys.argv[1:] if argv is None else argv)
    arguments = parse_arguments(arguments_given)
    try:
        check_values(arguments)
        check_outputs(arguments)
        if arguments.subcommand not in _LIGHT:
            load_torch()
        level = logging.DEBUG if arguments.debug else logging.INFO
        with log_to_terminal(level), strictness(arguments):
            arguments.run(arguments)
    except BrokenPipeError:
        # the reader has gone (``| head``); keep the interpreter from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (TLPotError, OSError) as error:
        if arguments.debug or not (isinstance(error, TLPotError) or error.filename):
            raise
        return _mistake(error, arguments)
    except KeyboardInterrupt as error:
        what = f"interrupted; {error}" if str(error) else "interrupted"
        print(f"tlpot {arguments.subcommand}: {what}", file=sys.stderr)
        return 130
    return 0


def make_parser(arguments_given: Sequence[str] | None = None) -> Parser:
    """Returns the parser of all subcommands.

    Args:
        arguments_given: only the subcommands in it get their arguments, so that only their
            modules are imported; None is for all.
    """
    parser = Parser(prog="tlpot", description="Transfer-learned interatomic potentials.")
    parser.add_argument("--version", action="version", version=f"tlpot {__version__}")
    parser.add_argument(
        "--print-completion",
        action=CompletionAction,
        make_parser=make_parser,
        help="completion for bash, zsh or tcsh",
    )
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
    for name, summary in SUBCOMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        about = "show the traceback of an error, and what is done without being asked"
        options.declare(subparser, "--debug", about, False)
        if arguments_given is None or name in arguments_given:
            module = importlib.import_module(f"tlpot.cli.{_MODULES.get(name, name)}")
            getattr(module, f"add_{name}_arguments")(subparser)
            subparser.set_defaults(run=getattr(module, f"run_{name}"), parser=subparser)
    return parser


def _mistake(error: Exception, arguments: argparse.Namespace) -> int:
    """Prints an error as one line and returns the exit status of a mistake of the user's."""
    text = str(error)
    if isinstance(error, OSError) and not isinstance(error, TLPotError):
        text = f"{error.filename}: {error.strerror or error}"
    line = " ".join(part.strip() for part in reworded(text, arguments).splitlines())
    print(f"tlpot {arguments.subcommand}: {line}", file=sys.stderr)
    return 2
