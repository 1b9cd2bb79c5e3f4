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
from importlib import resources
from pathlib import Path

import torch

from tlpot.errors import KernelError

MAX_DEGREE = 3
"""Highest degree that the kernels are compiled for."""

_FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-shared", "-fno-math-errno")
_SOURCES = ("vector.hpp", "convolution.cpp", "embedding.cpp", "product.cpp")
_SCALARS = {torch.float32: "float", torch.float64: "double"}


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL:
    """Returns the kernels for a precision, compiled if need be (6 s, once for each machine).

    The library lies in ``$XDG_CACHE_HOME/tlpot`` (``~/.cache/tlpot``), under a name that depends
    on source, compiler, flags and processor. The compiler is ``$CXX``, else ``c++``.

    Raises:
        KernelError: no compiler, or it failed.
    """
    scalar = _SCALARS.get(dtype)
    if scalar is None:
        raise KernelError(f"the compiled kernels know float32 and float64, not {dtype}")
    folder = resources.files("tlpot.kernels")
    sources = {name: folder.joinpath(name).read_text() for name in _SOURCES}
    compiler = _compiler()
    identity = (*sources.values(), _version(compiler), *_FLAGS, scalar, _processor())
    digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]
    path = _cache() / f"kernels-{scalar}-{digest}.so"
    if not path.exists():
        _compile(sources, scalar, compiler, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelError(f"{path}: {error}; delete it and try again") from error


def _compile(sources: dict[str, str], scalar: str, compiler: list[str], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            for name, text in sources.items():
                Path(folder, name).write_text(text)
            units = [str(Path(folder, name)) for name in sources if name.endswith(".cpp")]
            made = Path(folder, "kernels.so")
            command = [*compiler, *_FLAGS, f"-DTLPOT_SCALAR={scalar}", *units, "-o", str(made)]
            # a compiler without OpenMP, such as Apple's, makes kernels for one thread
            for extra in (["-fopenmp"], []):
                done = subprocess.run([*command, *extra], capture_output=True, text=True)
                if done.returncode == 0:
                    made.replace(path)
                    return
    except OSError as error:
        raise KernelError(f"cannot compile the kernels into {path.parent}: {error}") from error
    raise KernelError(f"{shlex.join(compiler)} could not compile the kernels: {done.stderr[-800:]}")


def _compiler() -> list[str]:
    named = shlex.split(os.environ.get("CXX", ""))
    for candidate in (named, ["c++"], ["g++"], ["clang++"]):
        if candidate and shutil.which(candidate[0]):
            return candidate
    raise KernelError("no C++ compiler found (looked for $CXX, c++, g++, clang++)")


def _version(compiler: list[str]) -> str:
    done = subprocess.run([*compiler, "--version"], capture_output=True, text=True)
    return shlex.join(compiler) + done.stdout


def _processor() -> str:
    """What -march=native depends on: a cache may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.platform() + platform.processor()
    kept = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return platform.machine() + "\n".join(sorted(kept))


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "tlpot"
