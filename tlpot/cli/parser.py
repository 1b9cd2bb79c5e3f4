"""The parser of all subcommands, its messages, what a terminal cannot show, and `--strict`."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from tlpot.errors import (
    ConfigError,
    MissingExtraError,
    OutputError,
    StrictError,
    TLPotWarning,
    UnreadLabelWarning,
    refuse_warnings,
)
from tlpot.files import check_spared

_ARGUMENTS = "level|spec|keys"
_DEFAULT = re.compile(rf"\b({_ARGUMENTS})=\.\.\.( \(--\w+(?: on the command line)?\))?")
_TEXT = re.compile(rf"\b({_ARGUMENTS})='([^']*)'")
_SPLIT = re.compile(r"(?<![.\w-])(validation|test|by)=('[^']*'|[^\s,;)]+)")
_PAIRS = re.compile(r"\bkeys=\{'([^']*)': \.\.\.\}")
_COLUMN = re.compile(r"--keys '([^'=]*@[^'=]*)=([^']*)'")

_REQUIRED = "the following arguments are required: "

_LEAST = {"batch_size": 1, "limit": 1, "tries": 1, "workers": 1, "threads": 1}
"""Whole numbers that have a smallest value whatever the command does with them."""

_OUTPUTS: dict[str, tuple[str, ...]] = {
    "output": (), "json": (".json",), "plot": (), "picture": (), "export": (),
    "forces": (".xyz", ".extxyz"), "prepare": (), "trajectory": (), "modes": (), "molden": (),
}  # fmt: skip
"""Options that name files to write, and the endings of files that they may replace, if not any."""

_TO_ADD_TO = ("label",)
"""Subcommands whose output may be what they read: they add to it."""

SHELLS = ("bash", "zsh", "tcsh")

_REPORTING = ("data", "finetune", "label", "train")
"""Subcommands that list the problems of a dataset, and would say the same thing twice."""


def reworded(message: str, arguments: argparse.Namespace) -> str:
    """Returns a message that names options and settings in place of Python's arguments.

    Where the API says ``level=...``, a subcommand with an option ``--level`` is told of that, one
    that takes settings of its ``data.level``; ``test=...`` is ``--test`` there, or ``split.test``.

    Args:
        message: of an error; arguments stand in it as ``level=...``, ``spec='ani1x'`` or
            ``keys={'energy': ...}``.
        arguments: of the subcommand.
    """

    def option(name: str, value: str) -> str | None:
        if hasattr(arguments, name):
            return f"--{name} {value}"
        return f"data.{name}={value}" if hasattr(arguments, "settings") else None

    def split(match: re.Match[str]) -> str:
        name, value = match[1], match[2].strip("'")
        if hasattr(arguments, name):
            return f"--{name} {value}"
        return f"split.{name}={value}" if hasattr(arguments, "settings") else match[0]

    def pairs(match: re.Match[str]) -> str:
        if hasattr(arguments, "keys"):
            return f"--keys {match[1]}=..."
        return f"data.keys.{match[1]}=..." if hasattr(arguments, "settings") else match[0]

    def column(match: re.Match[str]) -> str:
        if hasattr(arguments, "keys") or not hasattr(arguments, "settings"):
            return match[0]
        return f"""'data.keys={{{match[1]}: "{match[2]}"}}'"""

    message = _PAIRS.sub(pairs, message)
    message = _COLUMN.sub(column, message)
    message = _SPLIT.sub(split, message)
    message = _TEXT.sub(lambda match: option(match[1], match[2]) or match[0], message)
    return _DEFAULT.sub(lambda match: option(match[1], "...") or match[0], message)


class Parser(argparse.ArgumentParser):
    """An argument parser that says a mistake in one line and refuses NaN and infinity."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register("type", float, _finite)
        self._words: tuple[str, ...] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Remembers the words, for messages."""
        self._words = tuple(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Exits with status 2."""
        line = " ".join(message.split())
        start, colon, names = line.partition(_REQUIRED)
        if colon and not start:
            missing = [name for name in names.split(", ") if "key.path=" not in name]
            several = [
                action.option_strings[-1]
                for action in self._actions
                if action.nargs in ("+", "*") and {*action.option_strings} & {*self._words}
            ]
            line = f"{_REQUIRED}{', '.join(missing)}"
            if several and not any(name.startswith("-") for name in missing):
                line += f"; put them before {' and '.join(several)}, which took what follows"
        self.exit(2, f"{self.prog}: {line}; see {self.prog} --help\n")

    def unknown(self, rest: list[str]) -> NoReturn:
        """Exits with status 2, and a hint where an option that exists looks like the first."""
        hint, named = "", rest[0].partition("=")[0]
        if named.startswith("--"):
            options = [name[2:] for name in self._option_string_actions if name.startswith("--")]
            match = get_close_matches(named[2:], options, n=1)
            if match:
                hint = f"; did you mean '--{match[0]}'?"
            elif self._takes_settings():
                hint = "; settings are KEY=VALUE without dashes, such as training.epochs=100"
        self.error(f"unrecognized arguments: {' '.join(rest)}{hint}")

    def _takes_settings(self) -> bool:
        positional = [action for action in self._actions if not action.option_strings]
        return any("key.path=" in str(action.metavar) for action in positional)


def check_values(arguments: argparse.Namespace) -> None:
    """Refuses what no command has a use for.

    Raises:
        ConfigError: an empty text, as from a shell's variable that is not set; a seed that is
            none; a number of things that is less than one.
    """
    from tlpot.config import LARGEST_SEED

    for name, value in vars(arguments).items():
        texts = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(text, str) and not text.strip() for text in texts):
            raise ConfigError(f"{_shown(name)} is empty; give it a value, or leave it out")
    seed = getattr(arguments, "seed", None)
    if seed is not None and not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"--seed is {seed}, expected 0 to {LARGEST_SEED}")
    for name, least in _LEAST.items():
        value = getattr(arguments, name, None)
        if value is not None and value < least:
            raise ConfigError(f"{_shown(name)} is {value}, expected {least} or more")


def check_outputs(arguments: argparse.Namespace) -> None:
    """Refuses to write over what is read, over another kind of file, and two things into one file.

    Raises:
        OutputError: a file to write is one that another argument names, or its ending is not that
            of the numbers or frames that would replace it.
    """
    given = vars(arguments)
    outputs = {
        name: given[name] for name in _OUTPUTS if isinstance(given.get(name), str) and given[name]
    }
    if given["subcommand"] in _TO_ADD_TO:
        del outputs["output"]
    read = {name: value for name, value in given.items() if name not in outputs}
    taken: dict[Path, str] = {}
    for name, output in outputs.items():
        target = check_spared(output, read, option=_shown(name))
        endings = _OUTPUTS[name]
        if endings and target.is_file() and target.suffix not in endings:
            raise OutputError(
                f"{_shown(name)} would replace {output}, whose ending is not {endings[0]}; choose "
                "another name"
            )
        if not target.is_dir() and taken.setdefault(target.resolve(), name) != name:
            other = _shown(taken[target.resolve()])
            raise OutputError(f"{other} and {_shown(name)} are both {output}; give two names")


def _shown(name: str) -> str:
    positional = "model models data files settings config curve structure folder fragments parent"
    return name if name in positional.split() else f"--{name.replace('_', '-')}"


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number")
    return number


class CompletionAction(argparse.Action):
    """Prints a shell's completion of all subcommands, and exits.

    Args:
        option_strings: see `argparse.Action`.
        dest: see `argparse.Action`.
        make_parser: makes the parser of all subcommands.
        help: see `argparse.Action`.
    """

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        make_parser: Callable[[], argparse.ArgumentParser],
        help: str,
    ) -> None:
        self.make_parser = make_parser
        super().__init__(option_strings, dest, choices=SHELLS, metavar="SHELL", help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Prints, and exits with status 0, or 2 where shtab is not installed."""
        try:
            import shtab
        except ImportError:
            missing = MissingExtraError("shtab", "completion", "--print-completion")
            parser.error(str(missing))
        print(shtab.complete(self.make_parser(), shell=str(values)))
        parser.exit(0)


def never_fail() -> None:
    """Lets standard output and error replace what their encoding lacks.

    That is so for ``LANG=C``, ``PYTHONIOENCODING=ascii``, the code pages of Windows, and file
    names that are no UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        change = getattr(stream, "reconfigure", None)  # a replaced stream need not have it
        if change is not None:
            change(errors="replace")


def print_json(content: Any) -> None:
    """Prints JSON in whose texts no character is lost, whatever the terminal can show."""
    encoding = str(getattr(sys.stdout, "encoding", None) or "ascii")
    print(json.dumps(content, indent=2, ensure_ascii=not encoding.lower().startswith("utf")))


@contextmanager
def strictness(arguments: argparse.Namespace) -> Iterator[None]:
    """Shows every `TLPotWarning` as one line, or makes an error of it, where the user wants that.

    Raises:
        StrictError: there was one.
    """
    with warnings.catch_warnings():
        strict = getattr(arguments, "strict", False)
        warnings.simplefilter("error" if strict else "always", TLPotWarning)
        if getattr(arguments, "subcommand", None) in _REPORTING:
            warnings.simplefilter("ignore", UnreadLabelWarning)
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, TLPotWarning):
                print(f"warning: {message}", file=sys.stderr)
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        try:
            yield
        except TLPotWarning as warning:
            raise StrictError(f"{warning} (a warning, and --strict was given)") from warning


def check_warnings(found: Iterable[str], arguments: argparse.Namespace) -> None:
    """Refuses to go on after warnings of a report, where the user wants that.

    Raises:
        StrictError: there are some.
    """
    if getattr(arguments, "strict", False):
        refuse_warnings(found)
