"""What a terminal cannot show is replaced, and `--strict` makes errors of warnings."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tlpot.errors import StrictError, TLPotWarning, UnreadLabelWarning, refuse_warnings


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


_REPORTING = ("data", "finetune", "label", "train")
"""Subcommands that list the problems of a dataset, and would say the same thing twice."""


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

    Args:
        found: the warnings.
        arguments: of the command; one without ``--strict`` never does.

    Raises:
        StrictError: there are some.
    """
    if getattr(arguments, "strict", False):
        refuse_warnings(found)
