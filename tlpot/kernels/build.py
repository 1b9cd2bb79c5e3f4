"""Compiles the kernels on first use and keeps the library for later processes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import torch

from tlpot.errors import KernelError, TLPotWarning

MAX_DEGREE = 3
"""Highest degree that the kernels are compiled for."""

_SOURCES = ("vector.hpp", "convolution.cpp", "elements.cpp", "embedding.cpp", "product.cpp")
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
    in a temporary directory, with a warning, if that cannot be written. Its name depends on
    source, flags, processor, compiler and its own content, so that a truncated or damaged one is
    not loaded but made again. The compiler is ``$CXX``, else ``c++``.

    Raises:
        KernelError: no compiler, or it failed.
    """
    scalar = _SCALARS.get(dtype)
    if scalar is None:
        raise KernelError(f"the compiled kernels know float32 and float64, not {dtype}")
    try:
        return _found_or_built(scalar)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError(f"the kernels cannot be compiled: {error}") from error


def _found_or_built(scalar: str) -> ctypes.CDLL:
    folder = resources.files("tlpot.kernels")
    sources = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in _SOURCES}
    stem = f"kernels-{scalar}-{_digest(*sources.values(), str(_VARIANTS), *_FLAGS, _processor())}"
    cache = _cache()
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
    _warn_unwritable(cache)
    with tempfile.TemporaryDirectory(prefix="tlpot-") as own:
        # what is loaded stays so when its file is gone
        return _loaded(_built(sources, scalar, compiler, Path(own), stem))


@functools.cache
def _warn_unwritable(cache: Path | None) -> None:
    """Says it once, and not for each precision."""
    warnings.warn(
        f"the cache of compiled kernels, {cache or 'a folder in your home'}, cannot be written, so "
        "every process compiles them anew, which takes some seconds; set XDG_CACHE_HOME to a "
        "folder that can",
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
            if path.stem.rpartition("-")[2] == _content_digest(path):
                return path
            path.unlink()  # loading a truncated library may kill the process
        except OSError:
            continue
    return None


def _built(
    sources: dict[str, str], scalar: str, compiler: list[str], folder: Path, stem: str
) -> Path:
    made = folder / f".{stem}.{os.getpid()}.so"
    try:
        _compile(sources, scalar, compiler, made)
        return made.replace(folder / f"{stem}-{_content_digest(made)}.so")
    finally:
        made.unlink(missing_ok=True)


def _compile(sources: dict[str, str], scalar: str, compiler: list[str], path: Path) -> None:
    """Compiles the sources side by side, and links them."""
    units = [name for name in sources if name.endswith(".cpp")]
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        folder = Path(name)
        for source, text in sources.items():
            (folder / source).write_text(text, encoding="utf-8")
        objects = [str(folder / f"{unit}.o") for unit in units]
        made = folder / "kernels.so"
        messages = []
        for variant in _VARIANTS:
            options = [*_FLAGS, f"-DTLPOT_SCALAR={scalar}", *variant]
            commands = [
                [*compiler, *options, "-c", str(folder / unit), "-o", target]
                for unit, target in zip(units, objects, strict=True)
            ]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                failures = list(filter(None, pool.map(_failure, commands)))
            link = [*compiler, *options, "-shared", *objects, "-o", str(made)]
            failure = failures[0] if failures else _failure(link)
            if failure is None:
                made.replace(path)
                return
            messages.append(failure)
    raise KernelError(f"{shlex.join(compiler)} cannot compile the kernels: {messages[0][-800:]}")


def _failure(command: list[str]) -> str | None:
    """Runs a compiler; returns what it says if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    return None if done.returncode == 0 else done.stderr or "without a word"


def _loaded(path: Path) -> ctypes.CDLL:
    try:
        kernels = ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelError(
            f"{error}; delete it, or set XDG_CACHE_HOME to a place from which programs may run"
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
    done = subprocess.run(
        [*compiler, "--version"], capture_output=True, text=True, errors="replace"
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


def _cache() -> Path | None:
    """The directory for libraries, whether it can be written or not; None without a home."""
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "tlpot"
    except RuntimeError:
        return None


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _content_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
