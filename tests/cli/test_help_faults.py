"""What ``--help`` says of the options."""

import argparse

import pytest

from tlpot.cli.main import make_parser


def options(parser, name=""):
    """All options of all commands, with the command's name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for key, inner in action.choices.items():
                yield from options(inner, f"{name} {key}")
        elif action.option_strings:
            yield name, action


@pytest.mark.fault
def test_every_option_says_what_it_is_and_its_default():
    """``tlpot md --seed``, ``--log-every`` and ``-o`` and a dozen more did not say theirs."""
    untold = []
    for name, action in options(make_parser()):
        value = action.default
        has_default = isinstance(value, int | float | str) and value is not False
        has_default &= value != argparse.SUPPRESS
        if not action.help or (has_default and "default" not in action.help):
            untold.append((name, action.option_strings[-1]))
    assert not untold
