"""These tests are about compiled code."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _compiled(compiled_kernels):
    """See `compiled_kernels`."""
