"""Shared fixtures."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Directory of the real QM data, from TLPOT_DATA; tests that need it are skipped without."""
    path = os.environ.get("TLPOT_DATA")
    if not path:
        pytest.skip("set TLPOT_DATA to the directory of the QM data")
    return Path(path)
