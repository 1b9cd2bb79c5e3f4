"""Whose code is loaded, and how long its compiler may take."""

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

from tlpot.errors import KernelError
from tlpot.kernels import Kernels, build, choice

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of POSIX")


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A library for float32, as a file."""
    path = tmp_path_factory.mktemp("library") / "ready.so"
    made = Path(build.library(torch.float32)._name)
    path.write_bytes(made.read_bytes())
    return path


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A process that has not built anything yet, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    caches = build.library, build._warn_unusable, choice._failure
    for cached in caches:
        cached.cache_clear()
    yield tmp_path / "cache" / "tlpot"
    for cached in caches:
        cached.cache_clear()


def script(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def compiler(monkeypatch, tmp_path, ready):
    """A compiler whose every output is that library; returns the file that counts its runs."""
    log = tmp_path / "runs"
    copy = f'[ "$1" = -o ] && cp {ready} "$2" && echo "$2" >> {log}'
    out = f"while [ $# -gt 1 ]; do {copy}; shift; done"
    monkeypatch.setenv("CXX", script(tmp_path / "compiler", out))
    return log


def links(log):
    """How many libraries were made."""
    return log.read_text().count("kernels.so") if log.exists() else 0


def load():
    build.library.cache_clear()
    return build.library(torch.float32)


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_the_cache_is_closed_to_others_whatever_the_umask(cache, compiler, umask):
    before = os.umask(umask)
    try:
        load()
        load()
    finally:
        os.umask(before)
    (library,) = cache.iterdir()
    assert (mode(cache), mode(library)) == (0o700, 0o700)
    assert links(compiler) == 1


def test_a_cache_that_an_older_version_left_open_is_closed(cache, compiler):
    load()
    cache.chmod(0o755)
    load()
    assert mode(cache) == 0o700
    assert links(compiler) == 1


def test_a_library_that_others_could_have_written_is_made_again(cache, compiler):
    load()
    (library,) = cache.iterdir()
    library.chmod(0o777)
    load()
    (library,) = cache.iterdir()
    assert mode(library) == 0o700
    assert links(compiler) == 2


def strangers(monkeypatch, kind):
    """Makes the cache another user's, or one that others may write and that stays so."""
    if kind == "owner":
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)
    else:
        monkeypatch.setattr(Path, "chmod", refuse)


def refuse(*_):
    raise PermissionError("no modes on this file system")


@pytest.mark.parametrize(("kind", "message"), [("owner", "another user"), ("mode", "other users")])
def test_a_cache_of_others_is_not_loaded_from_nor_written_to(
    cache, compiler, monkeypatch, kind, message
):
    load()
    (library,) = cache.iterdir()
    if kind == "mode":
        cache.chmod(0o777)
    before = library.stat().st_mtime_ns
    strangers(monkeypatch, kind)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            load()
    said = [str(w.message) for w in caught]
    assert len(said) == 1
    assert message in said[0]
    assert "XDG_CACHE_HOME" in said[0]
    assert [p.stat().st_mtime_ns for p in cache.iterdir()] == [before]


def test_without_a_compiler_a_cache_of_others_is_left_to_torch(cache, compiler, monkeypatch):
    load()
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX")
    strangers(monkeypatch, "owner")
    build.library.cache_clear()
    with pytest.warns(UserWarning, match="compiler"):
        assert not Kernels().compiled(torch.device("cpu"), torch.float32, 2)


def test_a_library_for_another_processor_is_neither_loaded_nor_removed(
    cache, compiler, monkeypatch
):
    """As in a home that machines of several kinds share."""
    load()
    (first,) = cache.iterdir()
    monkeypatch.setattr(build, "_processor", lambda: "another")
    assert load()._name != str(first)
    assert links(compiler) == 2
    assert first.exists()
    assert len(list(cache.iterdir())) == 2
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(build, "_processor", lambda: "a third")
    with pytest.raises(KernelError, match="no C"):
        load()


LOAD = "import torch; from tlpot.kernels.build import library; library(torch.float32)"


@pytest.mark.external
def test_processes_that_compile_at_once_leave_a_whole_library(cache, compiler):
    runs = [
        subprocess.Popen([sys.executable, "-c", LOAD], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for run in runs:
        _, said = run.communicate()
        assert run.returncode == 0, said
    made = links(compiler)
    (library,) = cache.iterdir()
    load()
    assert links(compiler) == made
    assert library.exists()


def test_a_compiler_that_hangs_is_stopped_with_all_that_it_started(cache, monkeypatch, tmp_path):
    pids = tmp_path / "pids"
    hang = f'[ "$1" = --version ] && exit 0\necho thinking; sleep 600 & echo $! >> {pids}; wait'
    monkeypatch.setenv("CXX", script(tmp_path / "slow", hang))
    monkeypatch.setattr(build, "TIMEOUT", 1.5)
    with pytest.raises(KernelError, match=r"takes more than 1.5 s.*thinking"):
        load()
    for pid in map(int, pids.read_text().split()):
        for _ in range(200):  # a signal takes its time to arrive
            if not running(pid):
                break
            time.sleep(0.05)
        assert not running(pid)
    assert list(cache.iterdir()) == []
    with pytest.warns(UserWarning, match="takes more than"):
        assert not Kernels().compiled(torch.device("cpu"), torch.float32, 2)


def running(pid):
    """Whether a process is there, and not just its entry in the table."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_compiler_that_hangs_when_asked_for_its_version(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", script(tmp_path / "slow", "exec sleep 600"))
    monkeypatch.setattr(build, "TIMEOUT", 0.2)
    with pytest.raises(KernelError, match="timed out"):
        load()


def test_what_a_compiler_says_on_either_stream_is_kept(cache, monkeypatch, tmp_path):
    both = "echo licence expired; echo ask the administrator >&2; exit 1"
    monkeypatch.setenv("CXX", script(tmp_path / "failing", both))
    with pytest.raises(KernelError, match="licence expired\nask the administrator"):
        load()
    assert list(cache.iterdir()) == []
