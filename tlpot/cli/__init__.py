"""The command line: one thin file for each subcommand."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.cli.main import main

__getattr__ = lazy_exports(__name__)
