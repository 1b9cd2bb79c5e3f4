"""The parser of all subcommands: a mistake is one line, and no number is infinite."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from typing import Any, NoReturn

from tlpot.errors import ConfigError, nearest

_LEAST = {"batch_size": 1, "limit": 1, "tries": 1}
"""Whole numbers that have a smallest value whatever the command does with them."""


class Parser(argparse.ArgumentParser):
    """An argument parser that says a mistake in one line and refuses NaN and infinity."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register("type", float, _finite)

    def error(self, message: str) -> NoReturn:
        """Exits with status 2."""
        line = " ".join(message.split())
        self.exit(2, f"{self.prog}: {line}; see {self.prog} --help\n")

    def unknown(self, rest: list[str]) -> NoReturn:
        """Exits with status 2, and a hint where an option that exists looks like the first."""
        options = [option for option in self._option_string_actions if option.startswith("--")]
        hint = nearest(rest[0].partition("=")[0], options) if rest[0].startswith("--") else ""
        self.error(f"unrecognized arguments: {' '.join(rest)}{hint.partition(' (valid')[0]}")


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


def _shown(name: str) -> str:
    positional: Iterable[str] = (
        "model", "models", "data", "files", "settings", "config", "curve", "structure", "folder",
        "fragments", "parent",
    )  # fmt: skip
    return name if name in positional else f"--{name.replace('_', '-')}"


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number")
    return number
