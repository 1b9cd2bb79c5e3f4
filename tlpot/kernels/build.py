"""Compiles the kernels on first use and keeps the library for later processes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import BinaryIO

import torch

from tlpot.errors import KernelError, TLPotWarning
from tlpot.kernels.structures import declare, layout_export
from tlpot.presentation import logger

TIMEOUT = 600.0
"""Seconds for a compiler, which takes some ten, and more on a busy node."""

_SOURCES = (
    "vector.hpp",
    "dense.hpp",
    "fused.hpp",
    "geometry.hpp",
    "messages.hpp",
    "networks.hpp",
    "nonlinear.hpp",
    "memory.hpp",
    "maps.hpp",
    "convolution.cpp",
    "distances.cpp",
    "elements.cpp",
    "embedding.cpp",
    "fused.cpp",
    "product.cpp",
)
_SCALARS = {torch.float32: "float", torch.float64: "double"}
_FLAGS = ("-O3", "-std=c++17", "-fPIC", "-fno-math-errno")
# some compilers know only one name for "this processor", and Apple's has no OpenMP
_VARIANTS = (
    ("-march=native", "-fopenmp"),
    ("-mcpu=native", "-fopenmp"),
    ("-fopenmp",),
    ("-march=native",),
    ("-mcpu=native",),
    (),
)


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL:
    """Returns the kernels for a precision, compiled if need be (seconds, once for each machine).

    The library lies in ``$XDG_CACHE_HOME/tlpot`` (``~/.cache/tlpot``), or for this process alone
    in a temporary directory, with a warning, if that cannot be written or others could put code
    there. Its name depends on source, flags, processor, compiler and its own content, so that a
    truncated or damaged one is not loaded but made again. The compiler is ``$CXX``, else ``c++``.

    Raises:
        KernelError: no compiler, or it failed or took too long; or the library is not what this
            module takes it for.
    """
    scalar = _SCALARS.get(dtype)
    if scalar is None:
        raise KernelError(f"the compiled kernels know float32 and float64, not {dtype}")
    try:
        return _found_or_built(scalar)
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError(f"the kernels cannot be compiled: {error}") from error


def _found_or_built(scalar: str) -> ctypes.CDLL:
    folder = resources.files("tlpot.kernels")
    sources = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in _SOURCES}
    texts = (*sources.values(), *map(layout_export, sources), str(_VARIANTS), *_FLAGS)
    stem = f"kernels-{scalar}-{_digest(*texts, _processor())}"
    cache, fault = _cache()
    try:
        compiler = _compiler()
    except KernelError:
        # compute nodes of a cluster may lack the compiler that the login node has
        if (ready := _ready(cache, f"{stem}-*")) is not None:
            return _loaded(ready)
        raise
    stem = f"{stem}-{_digest(_version(compiler))}"
    ready = _ready(cache, f"{stem}-*")
    if ready is not None:
        return _loaded(ready)
    if cache is not None and _writable(cache):
        return _loaded(_built(sources, scalar, compiler, cache, stem))
    _warn_unusable(fault)
    with tempfile.TemporaryDirectory(prefix="tlpot-") as own:
        # what is loaded stays so when its file is gone
        return _loaded(_built(sources, scalar, compiler, Path(own), stem))


@functools.cache
def _warn_unusable(fault: str) -> None:
    """Says it once, and not for each precision."""
    warnings.warn(
        f"the cache of compiled kernels, {fault}, so every process compiles them anew, which takes "
        "some seconds; mend that, or set XDG_CACHE_HOME to a folder of your own that can be "
        "written",
        TLPotWarning,
        stacklevel=4,
    )


def _ready(cache: Path | None, pattern: str) -> Path | None:
    """Returns a library of the cache that is what its name says; others are removed."""
    try:
        found = [] if cache is None else sorted(cache.glob(f"{pattern}.so"))
    except OSError:
        return None
    for path in found:
        try:
            whole = path.stem.rpartition("-")[2] == _content_digest(path)
            if whole and _stranger(path) is None:
                return path
            path.unlink()  # loading a truncated library may kill the process
        except OSError:
            continue
    return None


def _built(
    sources: dict[str, str], scalar: str, compiler: list[str], folder: Path, stem: str
) -> Path:
    # a name of its own, also among machines with one home that compile at the same time
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as name:
        made = Path(name) / "kernels.so"
        logger.debug("compiling kernels in %s precision for this processor", scalar)
        _compile(sources, scalar, compiler, made)
        logger.debug("kernels are in %s", folder)
        with suppress(OSError):  # of a file system without modes
            made.chmod(0o700)
        return made.replace(folder / f"{stem}-{_content_digest(made)}.so")


def _compile(sources: dict[str, str], scalar: str, compiler: list[str], path: Path) -> None:
    """Compiles the sources side by side beside `path`, and links them."""
    folder = path.parent
    for source, text in sources.items():
        (folder / source).write_text(text + layout_export(source), encoding="utf-8")
    units = [folder / name for name in sources if name.endswith(".cpp")]
    messages = []
    for variant in _VARIANTS:
        start = [*compiler, *_FLAGS, f"-DTLPOT_SCALAR={scalar}", *variant]
        commands = [[*start, "-c", str(unit), "-o", f"{unit}.o"] for unit in units]
        link = [*start, "-shared", *(f"{unit}.o" for unit in units), "-o", str(path)]
        failure = _failure(commands, folder) or _failure([link], folder)
        if failure is None:
            return
        messages.append(failure)
    raise KernelError(f"{shlex.join(compiler)} cannot compile the kernels: {messages[0][-800:]}")


def _failure(commands: list[list[str]], folder: Path) -> str | None:
    """Runs compilers side by side; returns what one of them says if it fails.

    Raises:
        KernelError: they take too long.
    """
    runs: list[tuple[subprocess.Popen[bytes], BinaryIO]] = []
    try:
        for number, command in enumerate(commands):
            log = (folder / f"{number}.log").open("w+b")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            runs.append((process, log))
        end = time.monotonic() + TIMEOUT
        for process, said in runs:
            try:
                process.wait(max(end - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                raise KernelError(
                    f"{commands[0][0]} takes more than {TIMEOUT:g} s to compile the kernels and "
                    f"was stopped; it said: {_read(said)[-800:] or 'nothing'}"
                ) from None
        failed = [said for process, said in runs if process.returncode]
        return _read(failed[0]) or "without a word" if failed else None
    finally:
        for process, said in runs:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # a compiler runs others
                process.wait()
            said.close()


def _read(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _loaded(path: Path) -> ctypes.CDLL:
    try:
        kernels = ctypes.CDLL(str(path))
        declare(kernels)
    except (OSError, KernelError) as error:
        raise KernelError(
            f"{error} (library {path}; delete it, or set XDG_CACHE_HOME to a place from which "
            "programs may run)"
        ) from error
    if not kernels.tlpot_has_openmp() and torch.get_num_threads() > 1:
        warnings.warn(
            "the C++ compiler has no OpenMP, so the compiled kernels use one thread; set CXX to "
            "one that has it, such as g++",
            TLPotWarning,
            stacklevel=2,
        )
    return kernels


def _compiler() -> list[str]:
    named = shlex.split(os.environ.get("CXX", ""))
    for candidate in (named, ["c++"], ["g++"], ["clang++"]):
        if candidate and shutil.which(candidate[0]):
            return candidate
    raise KernelError("no C++ compiler found (looked for $CXX, c++, g++, clang++)")


def _version(compiler: list[str]) -> str:
    command = [*compiler, "--version"]
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT, errors="replace"
    )
    return shlex.join(compiler) + done.stdout


def _processor() -> str:
    """What the code depends on: a cache may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.platform() + platform.processor()
    kept = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return platform.machine() + "\n".join(sorted(kept))


def _cache() -> tuple[Path | None, str]:
    """The folder of libraries, None where code is not to be loaded from it; and what is wrong.

    A library is code: the folder must be the user's own and is closed to others.
    """
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(root) if root else Path.home() / ".cache") / "tlpot"
    except RuntimeError:
        return None, "a folder in your home, cannot be written (there is no home)"
    with suppress(OSError):  # of a medium that is only read, or has no modes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix" and folder.stat().st_mode & 0o077 and _stranger(folder) != "owner":
            folder.chmod(0o700)
    try:
        fault = _stranger(folder)
    except OSError:
        return None, f"{folder}, cannot be written"
    if fault == "owner":
        return None, f"{folder}, belongs to another user, who could put code there"
    if fault == "mode":
        return None, f"{folder}, can be written by other users, who could put code there"
    return folder, f"{folder}, cannot be written"


def _stranger(path: Path) -> str | None:
    """Whether another could have written a file or folder: by its ``owner`` or its ``mode``."""
    if os.name != "posix":
        return None
    status = path.stat()
    if status.st_uid != os.geteuid():
        return "owner"
    return "mode" if status.st_mode & 0o022 else None


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _content_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
