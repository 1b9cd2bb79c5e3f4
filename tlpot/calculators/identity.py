"""What a calculator is made of, so that another one can be told from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlpot.calculators.delta import DeltaCalculator
from tlpot.calculators.engine import EngineCalculator
from tlpot.calculators.fragment import FragmentCalculator
from tlpot.calculators.tlpot import TLPotCalculator
from tlpot.config import to_mapping
from tlpot.fragments import FragmentForceField, ModelLayer, NonbondedLayer, TypedModel
from tlpot.models import CalculatorModel, LevelView, weights_hash

_SHOWN = 16
"""Arrays with more entries than this are replaced by a hash."""
_DIGITS = 16
"""Of a hash: enough to tell models apart, and to read in a message."""


def identity(calculator: Any) -> dict[str, Any]:
    """Returns what decides the energies of a calculator or energy model, as plain JSON.

    Models of tlpot are known by their weights, their level and their precision, fragment
    calculators by their scheme and the models in it, engines by program, version and settings.
    Of any other calculator class and ``parameters`` are known, of any other energy model the
    class and, if it is a dataclass, its fields. Device, threads and kernels do not count.

    Args:
        calculator: an ASE calculator or an energy model.
    """
    found: dict[str, Any] = json.loads(json.dumps(_identity(calculator), default=plain))
    return found


def _identity(thing: Any) -> dict[str, Any]:
    if isinstance(thing, TLPotCalculator | FragmentCalculator):
        return _identity(thing.model)
    if isinstance(thing, DeltaCalculator):
        parts = {"low": _identity(thing.low), "delta": _identity(thing.difference.model)}
        return {"kind": "DeltaCalculator", **parts}
    if isinstance(thing, EngineCalculator):
        engine = thing.engine
        return {"kind": "engine", "level": engine.level, "definition": dict(engine.definition)}
    if isinstance(thing, LevelView):
        model = thing.potential
        return {
            "name": model.card.name,
            "level": thing.level,
            "weights": weights_hash(model)[:_DIGITS],
            "dtype": str(model.dtype).removeprefix("torch."),
        }
    if isinstance(thing, FragmentForceField):
        return {
            "kind": "FragmentForceField",
            "scheme": {"name": thing.scheme.name, **to_mapping(thing.scheme)},
            "fragments": _identity(thing.high),
            "layers": {str(k): _identity(layer) for k, layer in enumerate(thing.layers)},
            "trained_charges": thing.trained_charges,
        }
    if isinstance(thing, TypedModel):
        return {name: _identity(one) for name, one in sorted(thing.models.items())}
    if isinstance(thing, CalculatorModel):
        return _identity(thing.calculator)
    if isinstance(thing, ModelLayer):
        return {**_identity(thing.model), "subtract": thing.subtract, "charge": thing.charge}
    if isinstance(thing, NonbondedLayer):
        terms = {"charges": thing.charges, "sigma": thing.sigma, "epsilon": thing.epsilon}
        return {"kind": "NonbondedLayer", **terms}
    return _foreign(thing)


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
