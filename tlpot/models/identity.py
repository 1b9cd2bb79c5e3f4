"""What an energy model or a calculator is made of, so that another one can be told from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from tlpot.models.calculator import CalculatorModel
from tlpot.models.model_file import weights_hash
from tlpot.models.trained import LevelView

_SHOWN = 16
"""Arrays with more entries than this are replaced by a hash."""
_DIGITS = 16
"""Of a hash: enough to tell models apart, and to read in a message."""


@runtime_checkable
class Identified(Protocol):
    """Says itself what decides its energies; parts of it by `identity`."""

    def identity(self) -> dict[str, Any]:
        """Returns what `plain` makes plain JSON of."""
        ...


def identity(thing: Any) -> dict[str, Any]:
    """Returns what decides the energies of a calculator or energy model, as plain JSON.

    Models of tlpot are known by their weights, their level and their precision, fragment
    calculators by their scheme and the models in it, engines by program, version and settings.
    Of any other calculator class and ``parameters`` are known, of any other energy model the
    class and, if it is a dataclass, its fields. Device, threads and kernels do not count.

    Args:
        thing: an ASE calculator or an energy model.
    """
    if isinstance(thing, CalculatorModel):
        return identity(thing.calculator)
    if isinstance(thing, LevelView):
        parts = _trained(thing)
    elif isinstance(thing, Identified) and not isinstance(thing, type):
        parts = thing.identity()
    else:
        parts = _foreign(thing)
    found: dict[str, Any] = json.loads(json.dumps(parts, default=plain))
    return found


def _trained(view: LevelView[Any]) -> dict[str, Any]:
    model = view.potential
    return {
        "name": model.card.name,
        "level": view.level,
        "weights": weights_hash(model)[:_DIGITS],
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def _foreign(thing: Any) -> dict[str, Any]:
    named = thing if hasattr(thing, "__qualname__") else type(thing)  # a function, or an object
    found: dict[str, Any] = {"kind": f"{named.__module__}.{named.__qualname__}"}
    parameters = getattr(thing, "parameters", None)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        found |= {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
    elif isinstance(parameters, dict):
        found["parameters"] = {str(key): value for key, value in parameters.items()}
    return found


def plain(value: Any) -> Any:
    """Returns what JSON should say of something that it has no word for, see `json.dumps`."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        if value.size <= _SHOWN:
            return value.tolist()
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:_DIGITS]
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, torch.dtype | Path | complex):
        return str(value)
    # the text of any other object may hold its address
    return f"{type(value).__module__}.{type(value).__qualname__}"
