"""How a level of a model makes a scalar property of its atoms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from tlpot.config import LATER
from tlpot.errors import ConfigError
from tlpot.graph import AtomGraph
from tlpot.targets import KnownValue, Quantity, property_name

PoolingMethod = Literal["sum", "mean", "attention"]

_CERTAIN = 1e-7
"""Probabilities are kept this far from 0 and 1, where a logarithm has an end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PropertyTarget:
    """A property as a network learns it.

    The network gives a number for each atom. These are pooled to one for the structure, the latent
    value: that of the property itself, its logarithm (``positive``), or its log-odds (``yes_no``).

    Attributes:
        quantity: what the numbers are.
        pooling: ``sum`` for an extensive property, ``mean`` over the atoms for an intensive one, or
            ``attention``: the mean with weights softmax(a_i) that are learned, too (Xie and
            Grossman, doi:10.1103/PhysRevLett.120.145301, pool by the mean; gated pooling is of
            Li et al., arXiv:1511.05493).
        spread: root mean square of the latent labels about their mean, of those per atom where the
            property is extensive; errors count in this unit, and readouts begin with it. About
            the line, where there is a known value.
        known: another property, which is told; None for none.
    """

    quantity: Quantity
    pooling: PoolingMethod
    spread: float
    known: KnownValue | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        if self.quantity.extensive != (self.pooling == "sum"):
            kind = "extensive" if self.quantity.extensive else "intensive"
            possible = "sum" if self.quantity.extensive else "mean or attention"
            raise ConfigError(
                f"pooling is {self.pooling!r} and the property is {kind}; expected {possible}"
            )
        if not 0 < self.spread < float("inf"):
            raise ConfigError(f"the spread of the labels is {self.spread}, expected more than 0")

    @property
    def words(self) -> str:
        """What is said of it beside its name."""
        told = "" if self.known is None else f", told {self.known.level}"
        return f"{self.quantity.words}{told}"

    @property
    def link(self) -> Callable[[Tensor], Tensor] | None:
        """The function from latent values to those of the property; None where they are equal."""
        links = {"positive": torch.exp, "yes_no": torch.sigmoid}
        return links.get(self.quantity.kind)

    def latent(self, values: Tensor) -> Tensor:
        """Returns the latent values of the property; those of 0 and 1 are large, not infinite."""
        if self.quantity.kind == "positive":
            return values.log()
        if self.quantity.kind == "yes_no":
            return values.clamp(_CERTAIN, 1.0 - _CERTAIN).logit()
        return values

    def slope(self, values: Tensor) -> Tensor:
        """Returns how fast values of the property move with latent ones, at these values."""
        if self.quantity.kind == "positive":
            return values
        if self.quantity.kind == "yes_no":
            return values * (1.0 - values)
        return torch.ones_like(values)

    def error(self, latent: Tensor, labels: Tensor, sizes: Tensor) -> Tensor:
        """Returns what a loss is of, in units of the spread, [n_systems].

        Of ``yes_no`` that is the cross entropy −y log p − (1 − y) log(1 − p).

        Args:
            latent: values of the model, [n_systems].
            labels: of the property, [n_systems].
            sizes: atoms, [n_systems].
        """
        if self.quantity.kind == "yes_no":
            return binary_cross_entropy_with_logits(latent, labels, reduction="none")
        per = sizes * self.spread if self.quantity.extensive else self.spread
        return (latent - self.latent(labels)) / per


def same_readout(
    level: str, target: PropertyTarget | None, source: str, known: PropertyTarget | None
) -> bool:
    """Whether the readout of a level is a start for that of another: of energies, or one property.

    Args:
        level: the new one.
        target: its property; None for energies.
        source: the level whose readout there is.
        known: its property.
    """
    if target is None or known is None:
        return target is known
    return (
        property_name(level) == property_name(source)
        and (target.known and target.known.level) == (known.known and known.known.level)
        and target.pooling == known.pooling
        and target.quantity == known.quantity
    )


N_KNOWN = 2
"""Columns of `known_columns`."""


def known_columns(known: KnownValue, values: Tensor) -> Tensor:
    """Returns x and whether the value is zero, [n, 2], float64, of values [n]."""
    x = values.log() if known.logarithm else values
    return torch.stack([x, (values == 0).to(x)], dim=1)


def known_term(known: KnownValue, columns: Tensor) -> Tensor:
    """Returns what the known value adds to latent values, [n], from `known_columns`."""
    return columns @ columns.new_tensor([known.slope, known.at_zero])


def shares(target: PropertyTarget | None, graph: AtomGraph) -> Tensor | None:
    """Returns 1 / n_atoms of the structure of each atom, [n_atoms]; None where values add up."""
    if target is None or target.quantity.extensive:
        return None
    counts = torch.bincount(graph.system_idx, minlength=graph.n_systems).double()
    return (1.0 / counts).index_select(0, graph.system_idx)


def attention_weights(scores: Tensor, graph: AtomGraph) -> Tensor:
    """Returns softmax over the atoms of each structure, [n_atoms].

    Args:
        scores: [n_atoms].
        graph: whose structures.
    """
    highest = scores.new_full((graph.n_systems,), -torch.inf).scatter_reduce(
        0, graph.system_idx, scores.detach(), "amax"
    )
    weights = (scores - highest.index_select(0, graph.system_idx)).exp()
    totals = torch.zeros_like(highest).index_add(0, graph.system_idx, weights)
    return weights / totals.index_select(0, graph.system_idx)
