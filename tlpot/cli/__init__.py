"""The command line: one thin file for each subcommand."""

from tlpot.cli.main import main as main
