"""``tlpot --print-completion SHELL``: what a shell completes, from the parsers themselves."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from tlpot.errors import MissingExtraError

SHELLS = ("bash", "zsh", "tcsh")


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
