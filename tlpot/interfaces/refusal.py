"""Errors that are ASE's and tlpot's at once, so that either kind of handler catches them."""

from __future__ import annotations

from ase.calculators.calculator import InputError, PropertyNotImplementedError

from tlpot.errors import ConfigError, GeometryError, UnknownElementError


class ElementRefusedError(UnknownElementError, InputError):
    """An element that the model was not trained on."""


class ChargeRefusedError(GeometryError, InputError):
    """A charge or multiplicity that the model cannot represent."""


class StressRefusedError(GeometryError, PropertyNotImplementedError):
    """Stress of a structure without a volume."""


class ForcesRefusedError(ConfigError, PropertyNotImplementedError):
    """Forces of a model whose energy cannot be differentiated."""
