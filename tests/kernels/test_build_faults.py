"""The cache of compiled kernels: damaged, read-only, or not there."""

import os
import warnings
from importlib import resources

import pytest
import torch

from tlpot.kernels import build

pytestmark = [pytest.mark.external, pytest.mark.fault]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The bytes of a library, compiled once."""
    folder = resources.files("tlpot.kernels")
    sources = {name: folder.joinpath(name).read_text() for name in build._SOURCES}
    path = tmp_path_factory.mktemp("library") / "kernels.so"
    build._compile(sources, "float", build._compiler(), path)
    return path.read_bytes()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A process that has not built anything yet, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build.library.cache_clear()
    yield tmp_path / "cache" / "tlpot"
    build.library.cache_clear()


@pytest.fixture
def calls(monkeypatch, compiled):
    """Compilations, each of which gives the library that there is."""
    made = []

    def compile_(sources, scalar, compiler, path):
        made.append(scalar)
        path.write_bytes(compiled)

    monkeypatch.setattr(build, "_compile", compile_)
    return made


@pytest.mark.parametrize("damage", ["half", "flipped", "empty"])
def test_a_damaged_library_is_made_again(cache, calls, damage):
    build.library(torch.float32)
    (path,) = cache.glob("*.so")
    content = bytearray(path.read_bytes())
    path.unlink()  # it is mapped into this process
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: {"half": len(content) // 2, "empty": 0}.get(damage, len(content))])
    build.library.cache_clear()
    assert build.library(torch.float32).tlpot_has_openmp() in (0, 1)
    assert calls == ["float", "float"]
    (path,) = cache.iterdir()
    build.library.cache_clear()
    build.library(torch.float32)
    assert len(calls) == 2  # a whole one is used again


def test_a_cache_that_cannot_be_written_is_said_once_and_leaves_nothing(
    cache, calls, monkeypatch, tmp_path
):
    (tmp_path / "cache").write_text("a file is in the way")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for dtype in (torch.float32, torch.float64):
            assert build.library(dtype).tlpot_has_openmp() in (0, 1)
    (warning,) = caught
    assert "XDG_CACHE_HOME" in str(warning.message)
    assert list(temporary.iterdir()) == []


def test_a_library_in_a_cache_that_may_only_be_read_is_used(cache, calls, monkeypatch):
    build.library(torch.float32)
    build.library.cache_clear()
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: os.open("/nowhere/x", os.O_RDONLY))
    build.library(torch.float32)
    assert calls == ["float"]
