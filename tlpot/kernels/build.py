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
from importlib import resources
from pathlib import Path

import torch

from tlpot.errors import KernelError, TLPotWarning

MAX_DEGREE = 3
"""Highest degree that the kernels are compiled for."""

_SOURCES = ("vector.hpp", "convolution.cpp", "elements.cpp", "embedding.cpp", "product.cpp")
_SCALARS = {torch.float32: "float", torch.float64: "double"}
_FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-fno-math-errno")
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
    """Returns the kernels for a precision, compiled if need be (6 s, once for each machine).

    The library lies in ``$XDG_CACHE_HOME/tlpot`` (``~/.cache/tlpot``), or for this process alone
    in a temporary directory if that cannot be written. Its name depends on source, flags,
    processor and compiler. The compiler is ``$CXX``, else ``c++``.

    Raises:
        KernelError: no compiler, or it failed.
    """
    scalar = _SCALARS.get(dtype)
    if scalar is None:
        raise KernelError(f"the compiled kernels know float32 and float64, not {dtype}")
    try:
        return _loaded(_built(scalar))
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError(f"the kernels cannot be compiled: {error}") from error


def _built(scalar: str) -> Path:
    folder = resources.files("tlpot.kernels")
    sources = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in _SOURCES}
    stem = f"kernels-{scalar}-{_digest(*sources.values(), str(_VARIANTS), *_FLAGS, _processor())}"
    cache = _cache()
    try:
        compiler = _compiler()
    except KernelError:
        # compute nodes of a cluster may lack the compiler that the login node has
        if cache is not None and (ready := sorted(cache.glob(f"{stem}-*.so"))):
            return ready[0]
        raise
    if cache is None:
        cache = Path(tempfile.mkdtemp(prefix="tlpot-"))
    path = cache / f"{stem}-{_digest(_version(compiler))}.so"
    if not path.exists():
        _compile(sources, scalar, compiler, path)
    return path


def _compile(sources: dict[str, str], scalar: str, compiler: list[str], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for name, text in sources.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        units = [str(Path(folder, name)) for name in sources if name.endswith(".cpp")]
        made = Path(folder, "kernels.so")
        command = [*compiler, *_FLAGS, f"-DTLPOT_SCALAR={scalar}", *units, "-o", str(made)]
        messages = []
        for variant in _VARIANTS:
            done = subprocess.run(
                [*command, *variant], capture_output=True, text=True, errors="replace"
            )
            if done.returncode == 0:
                made.replace(path)
                return
            messages.append(done.stderr)
    raise KernelError(f"{shlex.join(compiler)} cannot compile the kernels: {messages[0][-800:]}")


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
    """The directory for libraries, or None where none can be written."""
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(root) if root else Path.home() / ".cache") / "tlpot"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: there is no home directory
        return None


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
