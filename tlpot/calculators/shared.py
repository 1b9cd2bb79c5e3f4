"""Calculators that several threads may call."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.outputs import Properties, all_outputs


class CallLock:
    """Lets one thread at a time through, again and again; a copy is a new one."""

    def __init__(self) -> None:
        self._lock = RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[CallLock], tuple[()]]:
        """Pickles, and copies, as a lock that nobody holds."""
        return CallLock, ()


class _Locked(Protocol):
    @property
    def lock(self) -> CallLock: ...


_Owner = TypeVar("_Owner", bound=_Locked)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def one_at_a_time(
    method: Callable[Concatenate[_Owner, _P], _R],
) -> Callable[Concatenate[_Owner, _P], _R]:
    """Makes a method of an object with a `lock` wait while another thread is in one of them."""

    @wraps(method)
    def locked(self: _Owner, /, *args: _P.args, **options: _P.kwargs) -> _R:
        with self.lock:
            return method(self, *args, **options)

    return locked


class SharedCalculator(Calculator):
    """A calculator of ASE that threads may share: each call waits for the one before it.

    ASE keeps the structure and the results of the last call in the calculator, so that without a
    lock a thread may be given the energy of another's molecule. What `get_property` returns, and
    so ``atoms.get_potential_energy()`` and the like, belongs to the structure of the call;
    ``results`` are those of the last call of any thread.
    """

    def __init__(self) -> None:
        self.lock = CallLock()
        super().__init__()

    @one_at_a_time
    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Returns a property, see ASE; the structure is the last one where none is given."""
        return super().get_property(name, atoms, allow_calculation)

    @one_at_a_time
    def calculate_properties(self, atoms: Atoms, properties: list[str]) -> Properties:
        """Returns several properties of a structure, see ASE."""
        return super().calculate_properties(atoms, properties)

    @one_at_a_time
    def export_properties(self) -> Properties:
        """Returns the results that ASE has names for, which leaves out our own."""
        return Properties({k: v for k, v in self.results.items() if k in all_outputs})

    @one_at_a_time
    def reset(self) -> None:
        """Forgets the results."""
        super().reset()
