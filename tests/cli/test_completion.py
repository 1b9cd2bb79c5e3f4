"""Completion of shells, from the parsers."""

import importlib.util

import pytest

from tlpot.cli import main
from tlpot.cli.main import SUBCOMMANDS

pytestmark = pytest.mark.fault


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--print-completion", shell])
    shown = capsys.readouterr()
    if importlib.util.find_spec("shtab") is None:
        assert stop.value.code == 2
        assert "tlpot[completion]" in shown.err
        return
    assert stop.value.code == 0
    assert all(name in shown.out for name in SUBCOMMANDS)
    assert "--temperature" in shown.out


def test_an_unknown_shell(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--print-completion", "cmd"])
    assert stop.value.code == 2
    assert "bash" in capsys.readouterr().err
