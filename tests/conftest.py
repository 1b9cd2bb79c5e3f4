"""Shared fixtures."""

import os
from pathlib import Path

# before torch is loaded, here and in subprocesses: several test workers share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# what the person who runs the tests has installed is none of their business
os.environ["TLPOT_MODELS"] = str(Path(__file__).parent / "no-models-are-installed-here")

import pytest

pytest_plugins = ["trained_parent"]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Directory of the real QM data, from TLPOT_DATA; tests that need it are skipped without."""
    path = os.environ.get("TLPOT_DATA")
    if not path:
        pytest.skip("set TLPOT_DATA to the directory of the QM data")
    return Path(path)


def pytest_configure(config: pytest.Config) -> None:
    """Lets tests evaluate the shipped models far from their training; some test the warning."""
    config.addinivalue_line("filterwarnings", "ignore:.*outside of what:UserWarning")
