"""Shared fixtures."""

import os
from pathlib import Path

# before torch is loaded, here and in subprocesses: several test workers share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# what the person who runs the tests has installed is none of their business
os.environ["TLPOT_MODELS"] = str(Path(__file__).parent / "no-models-are-installed-here")

import pytest
import torch
from needs import count_missing, missing

from tlpot.errors import KernelError
from tlpot.kernels.build import library

pytest_plugins = ["trained_parent"]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Directory of the real QM data, from TLPOT_DATA; tests that need it are skipped without."""
    path = os.environ.get("TLPOT_DATA")
    if not path:
        missing("TLPOT_DATA", optional=True)
    return Path(path)


@pytest.fixture(scope="session")
def compiled_kernels():
    """There is nothing to test of compiled code without a compiler."""
    try:
        library(torch.float32)
    except KernelError as error:
        missing(f"a C++ compiler: {error}")


@pytest.fixture
def one_thread():
    """Results are to the bit those of one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_configure(config: pytest.Config) -> None:
    """Lets tests evaluate the shipped models far from their training; some test the warning."""
    config.addinivalue_line("filterwarnings", "ignore:.*outside of what:UserWarning")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says last which programs were missing, and how many tests or files were skipped for it."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = [report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)]
    for line in count_missing(reasons):
        terminalreporter.write_line(line)
