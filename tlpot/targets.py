"""Scalar properties as targets: ``property@level``, their units, and how atoms make one up.

Everything that a model predicts has one name: a level of theory for energies (`tlpot.levels`), and
``property@level`` for the rest, such as ``gap@hse06`` or ``formation_energy@experiment``. The
difference of two is called ``high - low``, as that of energies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tlpot.config import parse
from tlpot.errors import ConfigError, DataError
from tlpot.levels import canonical_level, difference_parts
from tlpot.numbers import Bools, Floats
from tlpot.units import ENERGY, PRESSURE

Kind = Literal["scalar", "positive", "yes_no"]
"""``positive`` is learned as its logarithm; ``yes_no`` is 0 or 1 and predicted as a probability."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """What the numbers of a property are.

    Attributes:
        unit: of the numbers, in words that people know: ``eV``, ``GPa``, ``eV/atom``; empty for
            none.
        extensive: whether it doubles when the structure is taken twice; a gap does not.
        kind: see `Kind`.
    """

    unit: str
    extensive: bool
    kind: Kind = "scalar"

    def __post_init__(self) -> None:
        if self.kind != "scalar" and self.extensive:
            raise ConfigError(
                f"a property of kind {self.kind!r} cannot be extensive: neither logarithms nor "
                "probabilities of parts add up; give extensive: false"
            )
        if self.kind == "yes_no" and self.unit:
            raise ConfigError(f"a property of kind 'yes_no' has no unit, not {self.unit!r}")

    @property
    def words(self) -> str:
        """What is said of it beside its name: ``eV, intensive, positive``."""
        parts = [self.unit, "extensive" if self.extensive else "intensive"]
        return ", ".join([part for part in parts if part] + [self.kind] * (self.kind != "scalar"))


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownValue:
    """A property of each structure that a model is told, such as a gap at a cheaper level.

    It adds slope · x + at_zero · [x = 0] to the latent value, and is a feature beside those of the
    structure. The step is there because half of all gaps are exactly zero, where no line fits.

    Attributes:
        level: name of the property.
        unit: of its values.
        slope: of the latent value.
        at_zero: the step.
        logarithm: whether x is the logarithm of the value, as where both are positive.
    """

    level: str
    unit: str
    slope: float
    at_zero: float = 0.0
    logarithm: bool = False


def of_difference(level: str) -> str:
    """Says that a model's level is a difference, and how to come to the whole; for messages."""
    parts = difference_parts(level)
    assert parts is not None
    if is_property(level):
        return (
            f"the model's level is {level!r}: it gives the difference of a property. Where "
            f"{parts[1]} is known, add it, or learn with strategy.known={parts[1]}; a model of the "
            "whole is made by strategy delta with low=parent"
        )
    return (
        f"the model's level is {level!r}: it gives a difference, not a total energy. Use "
        f"DeltaCalculator(low=..., delta=...) with a calculator of {parts[1]} (tlpot md, relax and "
        f"frequencies: --low {parts[1]}; other programs: low={parts[1]!r}), or tlpot.evaluate "
        "where there are labels"
    )


def is_property(level: str) -> bool:
    """Whether a name is that of a property, and not of a level of total energies."""
    return "@" in level


def property_name(level: str) -> str:
    """Returns the property in the name of a target, ``gap`` of ``gap@hse06``; empty for energies.

    Of a difference, that of its high part.
    """
    parts = difference_parts(level)
    name, at, _ = (parts[0] if parts else level).rpartition("@")
    return name if at else ""


def check_name(level: str) -> None:
    """Checks the name of a property.

    Raises:
        ConfigError: it is not ``property@level``.
    """
    name, _, method = level.rpartition("@")
    if level.count("@") != 1 or not name or not method or canonical_level(level) != level:
        raise ConfigError(
            f"the property {level!r} should be called property@level, in lower case without "
            "spaces, such as gap@hse06"
        )


def parse_quantity(said: Any, where: str) -> Quantity:
    """Reads a quantity from JSON.

    Raises:
        ConfigError: an unknown key, or a value that makes no sense.
    """
    if not isinstance(said, Mapping):
        raise ConfigError(f"{where}: expected unit, extensive and kind, not {said!r}")
    return parse(Quantity, said, where)


def unit_ratio(found: str, wanted: str, where: str) -> float:
    """Returns the factor from one unit to another.

    Args:
        found: of the numbers.
        wanted: of what they are to be used for.
        where: the place of `found`, for the message.

    Raises:
        DataError: the two are not the same, and not both of energy or both of pressure.
    """
    if found == wanted:
        return 1.0
    parts = [text.strip().lower().removesuffix("/atom") for text in (found, wanted)]
    per_atom = [text.strip().lower().endswith("/atom") for text in (found, wanted)]
    if per_atom[0] == per_atom[1]:
        if parts[0] == parts[1]:
            return 1.0
        for table in (ENERGY, PRESSURE):
            if parts[0] in table and parts[1] in table:
                return table[parts[0]] / table[parts[1]]
    raise DataError(
        f"{where} is in {found or 'no unit'}, expected {wanted or 'no unit'}, and nothing is known "
        "of how to convert one to the other; convert the numbers, or state their unit"
    )


def broken_values(values: Floats, quantity: Quantity) -> Bools:
    """Returns which of some values cannot be, [n]; NaN is a missing one."""
    known = ~np.isnan(values)
    if quantity.kind == "positive":
        return known & ~(np.isfinite(values) & (values > 0))
    if quantity.kind == "yes_no":
        return known & ~np.isin(values, (0.0, 1.0))
    return np.isinf(values)


def broken_words(quantity: Quantity) -> str:
    """Says what is wrong with `broken_values`, and what to do."""
    if quantity.kind == "positive":
        return (
            "is not a positive number, of which a logarithm could be taken; leave such frames out "
            "(NaN), or declare it a scalar"
        )
    if quantity.kind == "yes_no":
        return "is neither 0 nor 1; write these, and NaN where nothing is known"
    return "is infinite; write NaN where there is no value"
