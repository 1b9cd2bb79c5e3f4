"""Errors of the Python API, said in the words of a subcommand."""

from __future__ import annotations

import argparse
import re

_ARGUMENTS = "level|spec|keys"
_DEFAULT = re.compile(rf"\b({_ARGUMENTS})=\.\.\.( \(--\w+(?: on the command line)?\))?")
_TEXT = re.compile(rf"\b({_ARGUMENTS})='([^']*)'")
_PAIRS = re.compile(r"\bkeys=\{'([^']*)': \.\.\.\}")


def reworded(message: str, arguments: argparse.Namespace) -> str:
    """Returns a message that names options and settings in place of Python's arguments.

    Where the API says ``level=...``, a subcommand with an option ``--level`` is told of that, one
    that takes settings of its ``data.level``.

    Args:
        message: of an error; arguments stand in it as ``level=...``, ``spec='ani1x'`` or
            ``keys={'energy': ...}``.
        arguments: of the subcommand.
    """

    def option(name: str, value: str) -> str | None:
        if hasattr(arguments, name):
            return f"--{name} {value}"
        return f"data.{name}={value}" if hasattr(arguments, "settings") else None

    def pairs(match: re.Match[str]) -> str:
        if hasattr(arguments, "keys"):
            return f"--keys {match[1]}=..."
        return f"data.keys.{match[1]}=..." if hasattr(arguments, "settings") else match[0]

    message = _PAIRS.sub(pairs, message)
    message = _TEXT.sub(lambda match: option(match[1], match[2]) or match[0], message)
    return _DEFAULT.sub(lambda match: option(match[1], "...") or match[0], message)
