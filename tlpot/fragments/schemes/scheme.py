"""What a fragment scheme is: a rule that lists fragments and their signs; the simplest has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from tlpot.fragments.expansion import Expansion
from tlpot.fragments.fragment import Cutter
from tlpot.topology import Lattice


class Scheme(Protocol):
    """A frozen dataclass; its fields are its settings.

    Attributes:
        name: as users write it.
        summary: one line for tables.
        smooth: the energy is twice differentiable in the positions; otherwise the list of
            fragments is hard, and the energy jumps where it changes.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    smooth: ClassVar[bool]

    @property
    def reach(self) -> float | None:
        """Distance at which atoms decide about fragments, Å; None if positions do not matter."""
        ...

    def expand(
        self,
        cutter: Cutter,
        positions: NDArray[np.float64],
        *,
        skin: float = 0.0,
        lattice: Lattice | None = None,
    ) -> Expansion:
        """Lists the fragments.

        Args:
            cutter: of the structure.
            positions: [n_atoms, 3], Å.
            skin: Å; pair terms that begin this much beyond the reach are listed too (their
                weight is 0), so that the list stays good while atoms move by half of it.
            lattice: of a periodic structure, in which molecules are whole; None in vacuum.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Direct:
    """No fragments: exact for the model and the cheapest, if it has seen what a protein holds."""

    name: ClassVar[str] = "direct"
    summary: ClassVar[str] = "the whole structure at once (right for a local model)"
    smooth: ClassVar[bool] = True

    @property
    def reach(self) -> None:
        """Positions do not matter."""
        return

    def expand(
        self,
        cutter: Cutter,
        positions: NDArray[np.float64],
        *,
        skin: float = 0.0,
        lattice: Lattice | None = None,
    ) -> Expansion:
        """Lists the one fragment, see `Scheme`."""
        return Expansion.fixed({frozenset(range(len(cutter.topology.units))): 1})
