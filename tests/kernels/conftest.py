"""These tests are about compiled code; without a compiler there is nothing to test."""

import pytest
import torch
from needs import missing

from tlpot.errors import KernelError
from tlpot.kernels.build import library


@pytest.fixture(scope="session", autouse=True)
def _compiler():
    try:
        library(torch.float32)
    except KernelError as error:
        missing(f"a C++ compiler: {error}")
