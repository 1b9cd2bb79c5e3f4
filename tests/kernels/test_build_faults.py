"""The cache of compiled kernels: damaged, read-only, or not there."""

import os
import subprocess
import sys
import warnings

import pytest
import torch

from tlpot.kernels import Kernels, build, choice

pytestmark = pytest.mark.fault
CPU = torch.device("cpu")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A process that has not built anything yet, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build.library.cache_clear()
    choice._failure.cache_clear()
    yield tmp_path / "cache" / "tlpot"
    build.library.cache_clear()
    choice._failure.cache_clear()


USE = """
import torch
from tlpot.kernels import Kernels
print(Kernels().compiled(torch.device("cpu"), torch.float32, 2))
"""


@pytest.mark.parametrize("damage", ["half", "flipped", "empty"])
def test_a_damaged_library_is_made_again(cache, damage):
    """In a process of its own, which loading half a library would kill."""
    build.library(torch.float32)
    (path,) = cache.glob("*.so")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    path.unlink()  # it is mapped into this process
    path.write_bytes(content[: {"half": len(content) // 2, "empty": 0}.get(damage, len(content))])
    made = path.stat().st_mtime_ns
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", USE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    (path,) = cache.glob("*.so")
    assert path.stat().st_mtime_ns > made


def test_a_cache_that_cannot_be_written_is_said_once_and_leaves_nothing(
    cache, monkeypatch, tmp_path
):
    (tmp_path / "cache").write_text("a file is in the way")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for dtype in (torch.float32, torch.float64):
            assert Kernels().compiled(CPU, dtype, 2)
    (warning,) = caught
    assert "XDG_CACHE_HOME" in str(warning.message)
    assert list(temporary.iterdir()) == []


def test_a_library_in_a_cache_that_may_only_be_read_is_used(cache, monkeypatch):
    build.library(torch.float32)
    build.library.cache_clear()
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: os.open("/nowhere/x", os.O_RDONLY))
    monkeypatch.setattr(build, "_compile", None)  # to build again would fail
    assert Kernels().compiled(CPU, torch.float32, 2)
