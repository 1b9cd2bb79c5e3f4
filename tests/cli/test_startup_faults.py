"""What is imported before a command has anything to do."""

import subprocess
import sys

import pytest

from tlpot.cli.main import SUBCOMMANDS
from tlpot.models import LIBRARY

pytestmark = pytest.mark.fault

SCRIPT = """
import sys
from tlpot.cli import main
try:
    status = main(sys.argv[2:])
except SystemExit as stop:
    status = stop.code
found = [name for name in sys.argv[1].split(",") if name in sys.modules]
sys.exit(f"imported {found}" if found else 0 if status == 0 else f"exit status {status}")
"""


def run(without: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, without, *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "tlpot-tiny"],
        ["info", "tlpot-fragments", "--json"],
        ["data", "info", str(LIBRARY / "tlpot-qm.h5")],
        ["models", "list"],
        ["models", "search", "--elements", "H"],
        pytest.param(["--help"], marks=pytest.mark.control),
    ],
    ids=" ".join,
)
def test_without_torch(arguments):
    run("torch,e3nn,matplotlib", *arguments)


@pytest.mark.control
@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_without_torch(name):
    run("torch,ase,h5py", name, "--help")


def test_a_model_is_evaluated_without_compilers_and_pictures():
    """torch._dynamo and sympy take longer to import than torch itself."""
    run(
        "torch._dynamo,sympy,e3nn,matplotlib,ase.io",
        "evaluate", "tlpot-tiny", str(LIBRARY / "tlpot-qm.h5"), "--level", "wb97x/6-31g*",
        "--device", "cpu",
    )  # fmt: skip


def test_the_calculator_imports_no_compilers():
    code = (
        "import sys, tlpot; from ase import Atoms; "
        "a = Atoms('H2', [(0, 0, 0), (0, 0, 0.74)]); "
        "a.calc = tlpot.TLPotCalculator('tlpot-tiny', device='cpu'); a.get_forces(); "
        "assert not {'torch._dynamo', 'sympy', 'e3nn', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_is_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "tlpot", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("tlpot "), done.stderr
