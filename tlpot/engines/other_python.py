"""An ASE calculator that lives in another Python, as an engine asks it."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tlpot.engines.engine import LabelError
from tlpot.engines.registry import EngineName
from tlpot.engines.setting_files import file_states
from tlpot.errors import ConfigError, TLPotWarning

TIMEOUT = 3600.0
"""s for one answer, the start included."""

_SCRIPT = Path(__file__).with_name("ase_worker.py")
_SHOWN = 1500
"""Characters of the end of what a worker has printed that an error shows."""
_PRINTED = 1 << 22
"""Bytes of it that are kept on disk."""
_LARGEST = 1 << 24
"""Bytes of the text of an answer; what is not a worker sends anything."""


class WorkerError(LabelError):
    """A worker that died."""


class NoAnswerError(WorkerError):
    """A worker that does not answer in time, and was ended."""


class OtherPython:
    """A calculator of another Python: arrays go over pipes to a script that runs there.

    Each process that asks has a worker of its own, so that engines may cross a fork. A worker
    that dies is started again, with a warning, and asked once more.

    Args:
        name: of the engine; the environment of its Python has numpy, ase and the calculator,
            which a class or a function makes.
        settings: keyword arguments with which to make the first one.
        timeout: s for one answer.

    Attributes:
        about: what the calculator says of itself.
        files: SHA-256 of the files that it names.
        program: its package and version, or a hash of the module.
        takes_batches: whether it has a method ``calculate_batch``.

    Raises:
        ConfigError: no such Python, module or class there, or the calculator cannot be made.
    """

    def __init__(self, name: EngineName, settings: Mapping[str, Any], timeout: float) -> None:
        assert name.python is not None
        self._name, self._timeout = name, timeout
        self._workers: dict[int, _Worker] = {}
        self._threads: int | None = None
        self._places, self._files = dict(settings), file_states(settings)
        try:
            told, _ = self._ask({"settings": dict(settings)}, {})
        except WorkerError as error:
            raise ConfigError(str(error)) from error
        if "error" in told:
            why = told["error"]
            if told["kind"] == "ModuleNotFoundError":
                why += f"; install it with {name.python} -m pip, or start where the module lies"
            raise ConfigError(f"engine {name.text}: {why}")
        self.about: Mapping[str, Any] = told["about"]
        self.files: Mapping[str, str] = told["files"]
        self.program: str = told["program"]
        self.takes_batches: bool = told["batches"]
        self._properties: tuple[str, ...] = tuple(told["properties"])

    def properties(self, settings: Mapping[str, Any]) -> Collection[str]:
        """Returns what the calculator can compute, whatever its settings."""
        return self._properties

    def use_threads(self, n: int | None) -> int:
        """Has torch use so many there; other programs keep what the environment says."""
        if n is not None:
            self._threads = n
        return self._threads or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)

    def evaluate(
        self, settings: Mapping[str, Any], atoms: Atoms, wanted: Sequence[str], log: TextIO
    ) -> dict[str, NDArray[np.float64]]:
        """Returns properties of a structure by name.

        Args:
            settings: keyword arguments of the calculator.
            atoms: the structure; charge and multiplicity are in its ``info``.
            wanted: of energy, forces, stress ([3, 3] or 6 values) and descriptors.
            log: takes what the worker prints.

        Raises:
            LabelError: the calculator fails.
            WorkerError: the worker died twice, or did not answer in time.
        """
        arrays = {
            "numbers": atoms.numbers.astype(float),
            "positions": atoms.positions,
            "cell": atoms.cell.array,
        }
        request = {"wanted": list(wanted), "pbc": atoms.pbc.tolist(), "info": atoms.info}
        return self._evaluate({**request, "settings": dict(settings)}, arrays, log)

    def evaluate_batch(
        self,
        settings: Mapping[str, Any],
        frames: Sequence[Atoms],
        wanted: Sequence[str],
        log: TextIO,
    ) -> dict[str, NDArray[np.float64]]:
        """Returns properties of molecules of one number of atoms by name, a row for each.

        Args:
            settings: see `evaluate`, as the rest.
            frames: the molecules.
            wanted: of energy and forces.
            log: takes what the worker prints.

        Raises:
            LabelError: the calculator fails.
            WorkerError: the worker died twice, or did not answer in time.
        """
        arrays = {
            "numbers": np.array([atoms.numbers for atoms in frames], dtype=float),
            "positions": np.array([atoms.positions for atoms in frames]),
        }
        request = {"wanted": list(wanted), "infos": [atoms.info for atoms in frames]}
        return self._evaluate({**request, "settings": dict(settings)}, arrays, log)

    def _evaluate(
        self, request: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]], log: TextIO
    ) -> dict[str, NDArray[np.float64]]:
        request = {**request, "threads": self._threads}
        try:
            answer, found = self._ask(request, arrays, log)
        except NoAnswerError:
            raise
        except WorkerError as error:
            warnings.warn(f"{error}; it is started again", TLPotWarning, stacklevel=3)
            answer, found = self._ask(request, arrays, log)
        if "error" in answer:
            raise LabelError(f"{self._name.text}: {answer['error']}")
        return found

    def _ask(
        self,
        request: Mapping[str, Any],
        arrays: Mapping[str, NDArray[np.float64]],
        log: TextIO | None = None,
    ) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        # what a fork has inherited belongs to the process that it came from
        pid = os.getpid()
        if pid not in self._workers:
            self._check_files()
        worker = self._workers.get(pid) or self._workers.setdefault(pid, _Worker(self._name))
        with worker.lock:  # one question at a time
            late = threading.Timer(self._timeout, worker.process.kill)
            start, already = time.monotonic(), worker.n_printed()
            late.start()
            try:
                worker.send(request, arrays)
                return worker.receive()
            except BaseException as error:
                late.cancel()
                if self._workers.get(pid) is worker:
                    del self._workers[pid]
                if not isinstance(error, OSError | EOFError | ValueError):
                    worker.process.kill()  # it is at work, and need not be waited for
                worker.stop()  # an interrupted one would give its answer to the next question
                if not isinstance(error, OSError | EOFError | ValueError):
                    raise
                raise self._error(worker, error, time.monotonic() - start) from error
            finally:
                late.cancel()
                if log is not None:
                    log.write(worker.printed(already))
                worker.forget()

    def _check_files(self) -> None:
        """Refuses to start a worker with other files than those of the definition."""
        now = file_states(self._places)
        changed = sorted(path for path, state in self._files.items() if now.get(path) != state)
        if changed:
            raise LabelError(
                f"{self._name.text}: files that it is given have changed since it was started "
                f"({', '.join(changed[:3])}); start again, and its energies are those of another "
                "model"
            )

    def _error(self, worker: _Worker, error: Exception, seconds: float) -> WorkerError:
        code, kind = worker.process.returncode, WorkerError
        what = f"the worker of {self._name.text} died (exit status {code})"
        if seconds >= self._timeout:
            kind = NoAnswerError
            what = f"no answer of {self._name.text} in {self._timeout:g} s (setting timeout)"
        elif code == 0 or isinstance(error, ValueError):
            what = f"{self._name.text} does not answer as a Python would"
        end = worker.printed()[-_SHOWN:].strip()
        return kind(what + (f"; it printed last:\n{end}" if end else "; it printed nothing"))


class _Worker:
    """One running script with its pipes."""

    def __init__(self, name: EngineName) -> None:
        python = os.path.expanduser(str(name.python))  # noqa: PTH111  (a bare name is looked for)
        self.lock = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the worker)
        weakref.finalize(self, self._errors.close)
        try:
            self.process = subprocess.Popen(
                [python, str(_SCRIPT), name.module, name.attribute],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        except OSError as error:
            raise ConfigError(
                f"engine {name.text}: cannot run {python} ({error.strerror or error}); "
                "name the Python of the environment, such as ~/envs/aimnet/bin/python"
            ) from error
        self.stop = weakref.finalize(self, _stop, self.process, os.getpid())

    def send(self, request: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]]) -> None:
        shapes = {name: array.shape for name, array in arrays.items()}
        text = json.dumps({**request, "arrays": shapes}).encode()
        content = [np.ascontiguousarray(array, dtype="<f8").tobytes() for array in arrays.values()]
        pipe = self.process.stdin
        assert pipe is not None
        pipe.write(b"".join([struct.pack("<q", len(text)), text, *content]))
        pipe.flush()

    def receive(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        size = struct.unpack("<q", self._read(8))[0]
        if not 0 < size < _LARGEST:
            raise ValueError("not the answer of a worker")
        answer: dict[str, Any] = json.loads(self._read(size))
        found = {}
        for name, shape in answer.pop("arrays").items():
            content = self._read(8 * int(np.prod(shape)))
            found[name] = np.frombuffer(content, "<f8").reshape(shape).astype(np.float64)
        return answer, found

    def _read(self, size: int) -> bytes:
        pipe = self.process.stdout
        assert pipe is not None
        found = pipe.read(size)
        if len(found) < size:
            raise EOFError
        return found

    def n_printed(self) -> int:
        return os.fstat(self._errors.fileno()).st_size

    def printed(self, start: int = 0) -> str:
        """What it printed; the file's position is shared with the worker, and stays."""
        size = self.n_printed() - start
        return os.pread(self._errors.fileno(), size, start).decode("utf-8", "replace")

    def forget(self) -> None:
        """Drops what was printed once it is a lot."""
        if self.n_printed() > _PRINTED:
            os.ftruncate(self._errors.fileno(), 0)
            os.lseek(self._errors.fileno(), 0, os.SEEK_SET)


def _stop(process: subprocess.Popen[bytes], owner: int) -> None:
    """Ends a worker, unless it is that of another process."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # it is gone already
                pipe.close()
    if os.getpid() == owner:
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
