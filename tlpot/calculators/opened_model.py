"""Models as calculators get them: opened, frozen, packed for another process, shared by threads."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from threading import RLock
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.outputs import Properties, all_outputs

from tlpot.energy import EnergyModel, evaluate, has_domain, known_value, layout_of
from tlpot.errors import ConfigError, DataError
from tlpot.files import PathLike
from tlpot.graph import build_graph
from tlpot.levels import difference_parts
from tlpot.models import LevelView, TrainedModel, from_bytes, load, to_bytes, uncertain
from tlpot.system import System
from tlpot.targets import KnownValue, is_property
from tlpot.torch_mode import choose_device, choose_dtype, plain_torch
from tlpot.uncertainty import DomainCheck


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


STD = "_std"
"""Behind the name of a property: its standard deviation, in its unit."""

Model = PathLike | TrainedModel | EnergyModel


@plain_torch()
def open_model(
    model: Model,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    kernels: str = "auto",
) -> TrainedModel | EnergyModel:
    """Returns a model of the caller's own, with frozen weights, or the energy model as it is.

    Args:
        model: a file, the name of a shipped model, a potential, an ensemble or another energy
            model.
        device: for a potential or ensemble; see `TLPotCalculator`.
        dtype: for a potential or ensemble; see `TLPotCalculator`.
        kernels: for a file or name.

    Raises:
        ModelFileError: no such file or name, or an unusable file.
        ConfigError: not a model, an argument that does not apply to it, or no such device.
    """
    precision = choose_dtype(dtype)
    if isinstance(model, LevelView):
        model = model.potential
    if isinstance(model, str | os.PathLike):
        return _frozen(load(model, device=device, dtype=precision, kernels=kernels))
    if isinstance(model, TrainedModel):
        target = None if device is None else choose_device(device)
        return _frozen(copy.deepcopy(model).to(device=target, dtype=precision))
    if not isinstance(model, EnergyModel):
        raise ConfigError(
            f"model is a {type(model).__name__}; expected a file, the name of a shipped model, "
            "a Potential, an Ensemble, or an object with the methods of tlpot.energy.EnergyModel"
        )
    if precision is not None:
        raise ConfigError(
            f"dtype applies to a potential; {type(model).__name__} has a precision of its own. "
            "Leave it out"
        )
    return model


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedModel:
    """A trained model without tensors: it crosses to processes and machines as plain bytes.

    Attributes:
        content: of a model file.
        kernels: name of the implementation.
        device: where to unpack; None means CUDA if there is one, else the CPU.
    """

    content: bytes
    kernels: str
    device: str | None

    @classmethod
    def pack(cls, model: TrainedModel, device: str | None) -> PackedModel:
        """Packs the weights, wherever they are."""
        return cls(content=to_bytes(model), kernels=model.kernels, device=device)

    @plain_torch()
    def unpack(self) -> TrainedModel:
        """Rebuilds the model, with frozen weights.

        Raises:
            ModelFileError: another version of tlpot or e3nn wrote the bytes.
            ConfigError: the device does not exist here.
            MissingExtraError: torch-scatter is not installed here.
        """
        model = from_bytes(self.content, kernels=self.kernels)
        return _frozen(model.to(choose_device(self.device)))


def _frozen(model: TrainedModel) -> TrainedModel:
    return model.eval().requires_grad_(False)


def property_levels(model: TrainedModel | EnergyModel) -> tuple[str, ...]:
    """Returns the levels of a model that are scalar properties and not energies."""
    levels = model.levels if isinstance(model, TrainedModel) else ()
    return tuple(name for name in levels if is_property(name) and difference_parts(name) is None)


def only_energy_level(model: TrainedModel) -> str | None:
    """Returns the level to open a model at where none is named, None where that is unclear.

    Properties are named when they are asked for: what counts is which energies are meant. Without
    any it is the first property, which is then as good as another.
    """
    properties = property_levels(model)
    energies = [name for name in model.levels if not is_property(name)]
    if properties and len(energies) < 2:
        return (*energies, *properties)[0]
    return None


def property_values(
    model: TrainedModel | EnergyModel,
    levels: list[str],
    atoms: Atoms,
    system: System,
    checks: dict[str, DomainCheck],
) -> dict[str, float]:
    """Returns values of properties of a structure, each in its unit, and the least ``domain``.

    Of a level that knows how sure it is the standard deviation is beside it, see `STD`.

    Args:
        model: has the levels.
        levels: canonical names.
        atoms: whose ``info`` has what the model has to be told, if anything.
        system: the same.
        checks: of the levels that know what they were trained on, by level; more are added, so
            that each warns once.

    Warns:
        DomainWarning: the structure is unlike those of the training.

    Raises:
        DataError: what has to be told is not there.
        GeometryError: an unusable structure.
        UnknownElementError: an element that the model does not know.
    """
    assert isinstance(model, TrainedModel)  # others have no levels
    found: dict[str, float] = {}
    for name in levels:
        level = model.at(name)
        found[name], std, domain = _value(level, atoms, system, model.device)
        if std is not None:
            found[f"{name}{STD}"] = std
        if domain is not None:
            found["domain"] = min(domain, found.get("domain", domain))
            checks.setdefault(name, DomainCheck(level)).warn(domain, atoms)
    return found


def _value(
    level: EnergyModel, atoms: Atoms, system: System, device: torch.device
) -> tuple[float, float | None, float | None]:
    graph = build_graph([system], level.cutoff, layout=layout_of(level)).to(device)
    if (known := known_value(level)) is not None:
        value = torch.tensor([value_in_info(atoms, known)], dtype=torch.float64)
        graph = replace(graph, known=value.to(device))
    std, sure = None, uncertain(level)
    if sure is None:
        found = evaluate(level, graph, forces=False, domain=has_domain(level))
    else:
        found, spread = sure.predict(
            graph, forces=False, stress=False, forces_std=False, domain=has_domain(level)
        )
        std = float(spread.energy_std)
    return float(found.energy), std, None if found.domain is None else float(found.domain)


def value_in_info(atoms: Atoms, known: KnownValue) -> float:
    """Returns a property that a model has to be told, of ``atoms.info``.

    Raises:
        DataError: it is not there, or no number.
    """
    value = atoms.info.get(known.level)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{atoms.get_chemical_formula()}: the model has to be told {known.level}, and "
            f"atoms.info[{known.level!r}] is {value!r}; set it, in {known.unit or 'no unit'}"
        )
    return number
