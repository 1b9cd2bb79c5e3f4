"""What a test needs beyond Python and tlpot's own dependencies: where it is missing, and who minds.

A test without its program is skipped, and the last lines of pytest's output count what was
missing. With ``TLPOT_EXTERNAL=1``, as where the ``test`` extra is installed, it fails instead.
"""

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

import pytest

NOT_IN_THE_TEST_EXTRA = {"ase._4", "torch_scatter"}
"""Part of a later version of a dependency; built from source for one version of torch."""


def needs(*modules: str) -> ModuleType:
    """Imports modules that may be missing and returns the last, in a test or in its file."""
    for name in modules:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the programs' own are not the test's subject
                module = import_module(name)
        except ImportError:
            program = next((p for p in NOT_IN_THE_TEST_EXTRA if name.startswith(p)), None)
            missing(program or name.partition(".")[0], optional=program is not None)
    return module


def missing(program: str, *, optional: bool = False) -> None:
    """Skips the test, or fails it where everything but the optional is installed."""
    if os.environ.get("TLPOT_EXTERNAL") == "1" and not optional:
        pytest.fail(f"needs {program}, and TLPOT_EXTERNAL=1", pytrace=False)
    pytest.skip(f"needs {program}", allow_module_level=True)


def count_missing(reasons: Iterable[str]) -> list[str]:
    """Returns a line for each thing that tests were skipped for want of, most wanted first."""
    found = (reason.removeprefix("Skipped: ") for reason in reasons)
    wanted = Counter(r.removeprefix("needs ") for r in found if r.startswith("needs "))
    return [f"skipped for want of {program}: {n}" for program, n in wanted.most_common()]
