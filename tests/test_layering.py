"""The architecture as a test: imports go down, no circles, one class for a name, small files."""

import ast
import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tlpot"

LAYERS = [
    {"errors", "_version", "lazy_exports"},
    {"bond_thresholds", "execution", "files", "levels", "numbers", "units"},
    {"config", "stored_results"},
    {"targets"},
    {"torch_mode", "total_charge"},
    {"system", "presentation"},
    {"neighbors"},
    {"graph"},
    {"energy", "verlet_list"},
    {"kernels"},
    {"nn"},
    {"data"},
    {"models"},
    {"topology"},
    {"structures"},
    {"fragments"},
    {"dynamics"},
    {"evaluation"},
    {"training"},
    {"uncertainty"},
    {"transfer"},
    {"engines"},
    {"calculators"},
    {"labelling"},
    {"sampling"},
    {"jobs"},
    {"active_learning", "ranking", "learning_curves", "simulation"},
    {"reports"},
    {"building"},
    {"api"},
    {"cli"},
    {"_ase_plugin", "_openmmml_plugin", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FORBIDDEN = {"utils", "common", "helpers", "tools", "misc", "base"}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def part(path: Path) -> str:
    """The layer member that a file belongs to: its sub-package or, at the top, its own name."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """The parts of tlpot that a file imports, lazily or not."""
    found = set()
    for node in imports(path):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
            if node.module == "tlpot":
                names = [f"tlpot.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("tlpot.")}
        assert "tlpot" not in names, f"{path} imports the root package"
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    own = part(path)
    for other in imported(path) - {own}:
        assert RANK[other] < RANK[own], f"{own} may not import {other}"


@cache
def listed(module: str) -> set[str]:
    """The names of a room's files, and those that its ``__init__`` lists; empty for a file.

    No type checker compares the latter with imports.
    """
    room = ROOT / module.replace(".", "/")
    if not room.is_dir():
        return set()
    nodes = [n for n in imports(room / "__init__.py") if isinstance(n, ast.ImportFrom)]
    names = {alias.asname or alias.name for node in nodes for alias in node.names}
    return names | {path.stem for path in room.iterdir()}


@cache
def imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """The import statements of a file, lazy ones included."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("folder", ["tlpot", "tests", "benchmarks", "examples"])
def test_rooms_list_what_is_imported_from_them(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in imports(path):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if module.startswith("tlpot.") and listed(module):
                missing = {alias.name for alias in node.names} - listed(module)
                assert not missing, f"{path}: {module} does not list {missing}"


@cache
def package():
    """The package as the script that measures it sees it."""
    script = importlib.util.spec_from_file_location("house", ROOT / "benchmarks" / "house.py")
    house = importlib.util.module_from_spec(script)
    script.loader.exec_module(house)
    return house.Package(PACKAGE)


def test_no_modules_import_each_other():
    """Imports inside functions count, those for type checkers do not."""
    assert package().circles() == []


def test_names_of_public_classes_are_unique():
    assert package().repeated_classes() == {}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_small_and_named_for_a_noun(path):
    if path != PACKAGE / "api.py":  # a list of all jobs with their arguments; it has no work in it
        assert len(path.read_text().splitlines()) <= 500
    assert not FORBIDDEN & set(path.relative_to(PACKAGE).with_suffix("").parts)


SNAPSHOT = """
import os, warnings
import ase.md, e3nn.o3, h5py, matplotlib.figure, torch, vesin  # their own filters are theirs

def state():
    return (
        dict(os.environ), list(warnings.filters), torch.get_default_dtype(),
        torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32,
    )

before = state()
import tlpot
for name in tlpot.__all__:
    getattr(tlpot, name)
assert state() == before
"""


def test_importing_tlpot_changes_nothing():
    subprocess.run([sys.executable, "-c", SNAPSHOT], check=True)


def test_importing_tlpot_is_cheap():
    """The command line sets OMP_WAIT_POLICY before torch is loaded, so the root may not load it."""
    code = "import sys, tlpot, tlpot.cli; assert not {'torch', 'e3nn', 'ase'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.fault
def test_rooms_are_reached_through_the_package():
    """tlpot.models.LIBRARY of docs/python.md was an AttributeError after ``import tlpot``."""
    code = """
import sys, tlpot
assert tlpot.models.LIBRARY.is_dir() and tlpot.data.Split and tlpot.models.mace
assert callable(tlpot.label) and not hasattr(tlpot, "modls") and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
