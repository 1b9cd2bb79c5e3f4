"""Terms of the whole structure that stand in for what fragments leave out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor

from tlpot.energy import EnergyModel, implemented, implies_charges
from tlpot.fragments.batch import FragmentBatch
from tlpot.graph import AtomGraph
from tlpot.models import identity


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """One structure and its fragments, as layers see them.

    Attributes:
        graph: the structure.
        batch: its fragments.
        rows: [n_rows, 3], positions of all fragment atoms, Å.
        coefficients: [n_fragments], differentiable in the positions of the structure.
        first_order: one derivative at most will be taken.
    """

    graph: AtomGraph
    batch: FragmentBatch
    rows: Tensor
    coefficients: Tensor
    first_order: bool

    def weigh(self, energies: Tensor) -> Tensor:
        """Returns Σ c E on the atoms of the structure, [n_atoms], from rows, [n_rows]."""
        assembly = self.batch.assembly
        idx = assembly.fragment_idx.to(energies.device)
        return assembly.collect(self.coefficients.index_select(0, idx) * energies)


class Layer(Protocol):
    """E_low(whole) − Σ c E_low(fragment), or E_low(whole) alone."""

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list of the whole structure, Å."""
        ...

    @property
    def elements(self) -> tuple[int, ...] | None:
        """Atomic numbers that it knows, None for all."""
        ...

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`."""
        ...

    def energies(self, pieces: Pieces) -> Tensor:
        """Returns what it adds to each atom, [n_atoms], eV, float64."""
        ...


class ModelLayer:
    """An energy model of the whole structure; what fragments have of it already is taken off.

    Two layers as in the molecules-in-molecules method of Mayhall and Raghavachari,
    doi:10.1021/ct200033b: E = E_low(whole) + Σ c [E_high − E_low](fragment).

    Args:
        model: the low level.
        subtract: whether fragment energies contain it; False for a term that the labels of the
            high level were freed of, such as dispersion.
        charge: tell the model charges, unless it implies them, see `tlpot.models.ModelCard`.
    """

    def __init__(self, model: EnergyModel, *, subtract: bool = True, charge: bool = True) -> None:
        self.model, self.subtract, self.charge = model, subtract, charge

    def identity(self) -> dict[str, Any]:
        """Returns what decides its energies, see `tlpot.models.identity`."""
        return {**identity(self.model), "subtract": self.subtract, "charge": self.charge}

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å."""
        return self.model.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model knows."""
        return self.model.elements

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`."""
        return implemented(self.model)

    def energies(self, pieces: Pieces) -> Tensor:
        """Returns what it adds to each atom, [n_atoms], eV, float64."""
        graph = pieces.graph
        charge = self.charge and not implies_charges(self.model)
        if not charge:
            graph = replace(graph, charge=graph.charge * 0)
        whole = self.model.atomic_energies(graph)
        if not self.subtract:
            return whole
        rows = pieces.batch.energies(
            self.model, pieces.rows, first_order=pieces.first_order, charge=charge
        )
        return whole - pieces.weigh(rows)
