"""What the pages of the documentation import is there."""

import importlib
import re
from pathlib import Path

import pytest

from tlpot.errors import MissingExtraError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
IMPORT = re.compile(r"\bfrom (tlpot[\w.]*) import (\([^)]*\)|[\w, ]+)")


def is_there(module, name):
    try:
        return hasattr(importlib.import_module(module), name)
    except MissingExtraError:
        return True  # found, and its program is not installed


# programs that a page is about may use what their own libraries are about to drop
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_imports_work(page):
    found = [
        (module, name.strip())
        for module, names in IMPORT.findall(page.read_text())
        for name in names.strip("()").split(",")
        if name.strip()
    ]
    assert not [each for each in found if not is_there(*each)]


def test_some_pages_import_something():
    assert sum(bool(IMPORT.search(page.read_text())) for page in PAGES) > 5
