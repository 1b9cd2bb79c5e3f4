"""What is imported before a command has anything to do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tlpot.cli.main import SUBCOMMANDS
from tlpot.models import LIBRARY

pytestmark = pytest.mark.fault
LABELS = str(Path(__file__).parent.parent / "golden" / "files" / "labels.h5")

SCRIPT = """
import json, sys
from tlpot.cli import main
for arguments in json.loads(sys.argv[2]):
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    found = [name for name in sys.argv[1].split(",") if name in sys.modules]
    if found or status != 0:
        sys.exit(f"{arguments}: imported {found}, exit status {status}")
"""


def run(without: str, *commands: list[str]) -> None:
    """Runs commands one after the other in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, without, json.dumps(commands)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_without_torch():
    run(
        "torch,e3nn,matplotlib",
        ["info", "tlpot-tiny"],
        ["info", "tlpot-fragments", "--json"],
        ["data", "info", str(LIBRARY / "tlpot-qm.h5")],
        ["models", "list"],
        ["models", "search", "--elements", "H"],
    )


@pytest.mark.control
def test_help_without_torch():
    run("torch,ase,h5py", ["--help"], *([name, "--help"] for name in SUBCOMMANDS))


def test_a_model_is_evaluated_without_compilers_and_pictures():
    """torch._dynamo and sympy take longer to import than torch itself."""
    command = f"evaluate tlpot-tiny {LABELS} --level gfn2-xtb --model-level wb97x/6-31g*"
    run("torch._dynamo,sympy,e3nn,matplotlib,ase.io", [*command.split(), "--device", "cpu"])


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
