"""A protein's energy from its fragments, as an energy model like any other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import torch
from torch import Tensor

from tlpot.config import to_mapping
from tlpot.energy import (
    DomainModel,
    EnergyModel,
    has_domain,
    implemented,
    implies_charges,
    layout_of,
)
from tlpot.errors import ConfigError, FragmentError, GeometryError
from tlpot.fragments.closed_shells import check_closed_shells
from tlpot.fragments.fragment import Fragment, Units
from tlpot.fragments.fragment_type import TypedBatch, TypedModel, fragment_name, fragment_place
from tlpot.fragments.fragmented_structure import SKIN, FragmentBatch, FragmentedStructure, Partition
from tlpot.fragments.layer import Layer, Pieces
from tlpot.fragments.schemes.registry import Scheme, choose_scheme
from tlpot.graph import AtomGraph, Layout
from tlpot.models import LevelView, identity
from tlpot.numbers import Floats, Ints
from tlpot.system import System
from tlpot.topology import Lattice, Topology, perceive_topology


class DomainCollector:
    """A model as it is, which keeps the domains of all that it evaluates.

    Args:
        model: knows what it was trained on.
    """

    def __init__(self, model: DomainModel) -> None:
        self._model = model
        self._found: list[Tensor] = []

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å."""
        return self._model.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model knows."""
        return self._model.elements

    @property
    def uses_charge(self) -> bool:
        """Whether the energy depends on total charge and multiplicity."""
        return self._model.uses_charge

    @property
    def layout(self) -> Layout:
        """How the pairs should be laid out."""
        return layout_of(self._model)

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`."""
        return implemented(self._model)

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns the energy of each atom, [n_atoms], eV, float64."""
        energies, inside = self._model.energies_and_domain(graph)
        self._found.append(inside)
        return energies

    def taken(self) -> Tensor:
        """Returns the domains of all structures so far, in order, and forgets them."""
        found, self._found = torch.cat(self._found), []
        return found


SMALLEST_CUTOFF = 1.0


class FragmentForceField:
    """E = Σ c E_high(fragment) + layers, and forces and stress that are its exact derivatives.

    Fragment positions are P X with a constant sparse P, the coefficients c are smooth functions
    of X, and everything is differentiated automatically, so F = Pᵀ (c f) − E ∂c/∂X and so on.
    Sums of large terms of both signs are in double precision.

    Fragments of periodic structures are molecules in vacuum, too: the bonds say which images of
    the atoms belong together, and fragments of several molecules take those images that meet, a
    molecule and images of itself included. Positions are P X + S cell with whole numbers S.

    Args:
        high: the model of all fragments.
        scheme: name of a fragment scheme, or a scheme.
        layers: terms of the whole structure, see `Layer`.
        topology: of the only structure that this is for. None perceives the topology of every
            structure that comes.
        trained_charges: the model reads no charge, but was trained on fragments with the charges
            that they have here, so it need not. A model that tlpot trained with
            ``data.charges=ignore`` says so itself, in its card.
        skin: Å, of the list of fragments, see `FragmentedStructure`; 0 for single points, which
            then evaluate no fragment of weight 0.

    Raises:
        ConfigError: no such scheme, or layers that make no sense with it.
    """

    uses_charge = True

    def __init__(
        self,
        high: EnergyModel,
        scheme: str | Scheme = "mfcc_mbe2",
        *,
        layers: Sequence[Layer] = (),
        topology: Topology | None = None,
        trained_charges: bool = False,
        skin: float = SKIN,
    ) -> None:
        self.high, self.scheme, self.skin = high, choose_scheme(scheme), skin
        self.layers = tuple(layers)
        if self.is_direct and any(getattr(layer, "subtract", True) for layer in self.layers):
            raise ConfigError(
                "with scheme='direct' the whole structure is evaluated at the high level, so a "
                "layer that stands in for what fragments leave out has nothing to add; leave low "
                "and charges out, or choose a fragment scheme"
            )
        self.trained_charges = trained_charges
        self._bound = (
            None if topology is None else FragmentedStructure(topology, self.scheme, skin=skin)
        )
        self._seen = False
        self._farthest: tuple[Topology, Units] | None = None
        self._singlets: WeakSet[FragmentBatch] = WeakSet()
        self._typed: WeakKeyDictionary[FragmentBatch, TypedBatch] = WeakKeyDictionary()
        self._known: dict[tuple[bytes, bytes], list[FragmentedStructure]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what was kept of structures."""
        state = self.__dict__.copy()
        del state["_typed"], state["_known"], state["_singlets"]
        state["_farthest"] = None
        state["_bound"] = None if self._bound is None else self._bound.topology
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        topology = state.pop("_bound")
        self.__dict__.update(state)
        self._bound = (
            None if topology is None else FragmentedStructure(topology, self.scheme, skin=self.skin)
        )
        self._typed, self._singlets, self._known = WeakKeyDictionary(), WeakSet(), {}

    def forget(self) -> None:
        """Forgets what was kept of structures, so that lists of fragments and pairs start anew.

        They go on from one evaluation to the next, and with them the order of sums. What follows
        now is the same to the last bit, whatever came before.
        """
        self._known.clear()
        if self._bound is not None:
            self._bound = FragmentedStructure(self._bound.topology, self.scheme, skin=self.skin)

    def identity(self) -> dict[str, Any]:
        """Returns what decides its energies, see `tlpot.models.identity`."""
        return {
            "kind": "FragmentForceField",
            "scheme": {"name": self.scheme.name, **to_mapping(self.scheme)},
            "fragments": identity(self.high),
            "layers": {str(k): identity(layer) for k, layer in enumerate(self.layers)},
            "trained_charges": self.trained_charges,
        }

    @property
    def is_direct(self) -> bool:
        """Whether the whole structure is the only fragment."""
        return self.scheme.name == "direct"

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list of the whole structure, Å."""
        own = self.high.cutoff if self.is_direct else SMALLEST_CUTOFF
        return max([own, *(layer.cutoff for layer in self.layers)])

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model and all layers know."""
        known = set(self.high.elements)
        for layer in self.layers:
            if layer.elements is not None:
                known &= set(layer.elements)
        return tuple(sorted(known))

    @property
    def layout(self) -> Layout:
        """How the pairs of the whole structure should be laid out."""
        return layout_of(self.high) if self.is_direct else "auto"

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`; stress only the whole structure has."""
        whole = [*self.layers, *([self.high] if self.is_direct else [])]
        return implemented(self.high, *whole) | (implemented(*whole) & {"stress"})

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns the energy of each atom, [n_atoms], eV, float64; that of a cap is its host's.

        Raises:
            GeometryError: broken bonds, valences that do not close, or a fragment that is no
                singlet, where the model reads that.
            ConfigError: charged fragments and a model that cannot read charges, or a layer that
                is for vacuum only.
        """
        return torch.cat([self._one(one, self.high)[0] for one in _structures(graph)])

    @property
    def farthest(self) -> str | None:
        """The fragment that decided about the last domain, by name and residues.

        None where the whole structure is the only one.
        """
        if self._farthest is None or self.is_direct:
            return None
        return fragment_place(*self._farthest)

    @property
    def has_domain(self) -> bool:
        """Whether the model of all fragments knows what it was trained on."""
        return has_domain(self.high)

    def energies_and_domain(self, graph: AtomGraph) -> tuple[Tensor, Tensor]:
        """Returns what `atomic_energies` does, and the smallest domain of a fragment that counts.

        Raises:
            GeometryError, ConfigError: see `atomic_energies`; or the model does not know what it
                was trained on.
        """
        collector = DomainCollector(cast(DomainModel, self.high))
        energies, inside = [], []
        for one in _structures(graph):
            own, weights, topology, fragments = self._one(one, collector)
            found = collector.taken().where(weights != 0, 1.0)
            energies.append(own)
            inside.append(found.amin())
            self._farthest = topology, fragments[int(found.argmin())].units
        return torch.cat(energies), torch.stack(inside)

    def prepared(
        self, numbers: Ints, positions: Floats, lattice: Lattice | None = None
    ) -> FragmentedStructure:
        """Returns the fragments' origin for a structure, perceiving its topology if need be.

        Raises:
            GeometryError: broken bonds, or valences that do not close.
        """
        if self._bound is not None:
            if not np.array_equal(numbers, self._bound.topology.atomic_numbers):
                raise GeometryError(
                    "the atoms are not those that the fragments were made from: "
                    f"{len(numbers)} atoms instead of "
                    f"{len(self._bound.topology.atomic_numbers)}, or another order"
                )
            self._bound.check_bonds(self._bound.whole(positions, lattice))
            return self._bound
        pbc = np.zeros(3, dtype=bool) if lattice is None else lattice.pbc
        known = self._known.setdefault((numbers.tobytes(), pbc.tobytes()), [])
        for one in known:
            if not len(one.broken_bonds(one.whole(positions, lattice))):
                return one
        cell = np.zeros((3, 3)) if lattice is None else lattice.vectors
        system = System(atomic_numbers=numbers, positions=positions, cell=cell, pbc=pbc)
        made = FragmentedStructure(perceive_topology(system), self.scheme, skin=self.skin)
        known.append(made)
        return made

    def partition(
        self, numbers: Ints, positions: Floats, lattice: Lattice | None = None
    ) -> Partition:
        """Returns the fragments of a structure."""
        prepared = self.prepared(numbers, positions, lattice)
        return prepared.partition(prepared.whole(positions, lattice), lattice)

    def _one(
        self, graph: AtomGraph, high: EnergyModel
    ) -> tuple[Tensor, Tensor, Topology, tuple[Fragment, ...]]:
        """Returns the energy of each atom, and coefficients, topology and fragments."""
        numbers = graph.atomic_numbers.cpu().numpy()
        where = graph.positions.detach().cpu().numpy()
        lattice = Lattice.of_graph(graph)
        prepared = self.prepared(numbers, where, lattice)
        topology = prepared.topology
        if int(graph.charge) != topology.charge:
            raise GeometryError(
                f"the charge is given as {int(graph.charge)}, but hydrogen atoms and valences make "
                f"it {topology.charge}; set atoms.info['charge'] to that, or mend the structure"
            )
        whole, cell = _whole(graph, prepared.images(where, lattice))
        partition = prepared.partition(whole.detach().cpu().numpy(), lattice)
        batch = partition.batch
        typed = self._typed_batch(prepared, batch)
        self._check_charges(batch, typed)
        rows = batch.assembly.positions(whole, cell)
        self._check_singlets(topology, batch, typed, int(graph.spin))
        weights = partition.coefficients(whole, cell)
        pieces = Pieces(
            graph=graph, batch=batch, rows=rows, coefficients=weights, first_order=graph.first_order
        )
        try:
            total = self._total(pieces, typed, high)
        except FragmentError as error:
            failed = fragment_place(topology, batch.assembly.fragments[error.index].units)
            raise GeometryError(f"the fragment {failed}: {error}") from error
        return total, weights.detach(), topology, batch.assembly.fragments

    def _total(self, pieces: Pieces, typed: TypedBatch | None, high: EnergyModel) -> Tensor:
        """Returns the energy of each atom; a program that fails says for which fragment."""
        graph, batch, rows = pieces.graph, pieces.batch, pieces.rows
        reads_charge = self.high.uses_charge
        if self.is_direct:
            given = graph if reads_charge else replace(graph, charge=graph.charge * 0)
            total = high.atomic_energies(given)
        elif typed is not None:
            total = pieces.weigh(typed.energies(rows, first_order=graph.first_order))
        else:
            energies = batch.energies(
                high, rows, first_order=graph.first_order, charge=reads_charge
            )
            total = pieces.weigh(energies)
        for layer in self.layers:
            total = total + layer.energies(pieces)
        return total

    def _typed_batch(
        self, prepared: FragmentedStructure, batch: FragmentBatch
    ) -> TypedBatch | None:
        """Sorts fragments by their models; None where there is one for all."""
        if not isinstance(self.high, TypedModel) or self.is_direct:
            return None
        typed = self._typed.get(batch)
        if typed is None:
            topology = prepared.topology
            names = [fragment_name(topology, f.units) for f in batch.assembly.fragments]
            if (
                self._bound is not None and not self._seen
            ):  # once: later lists are of this structure
                self.high.check_used(names, fixed=self.scheme.reach is None)
                self._seen = True
            typed = self._typed[batch] = TypedBatch(batch, names, self.high)
        return typed

    def _check_singlets(
        self, topology: Topology, batch: FragmentBatch, typed: TypedBatch | None, spin: int
    ) -> None:
        """Refuses electrons that a model which reads them would be told wrongly of."""
        if self.is_direct:
            return
        partial = [layer for layer in self.layers if getattr(layer, "subtract", False)]
        whole = [*(getattr(layer, "model", None) for layer in partial)]
        whole += [self.high] if typed is None else []
        told = [share.batch for share in typed.shares if share.model.uses_charge] if typed else []
        if any(getattr(model, "uses_charge", False) for model in whole):
            told = [batch]
        if not told:
            return
        if batch not in self._singlets:
            check_closed_shells(topology, [f for one in told for f in one.assembly.fragments])
            self._singlets.add(batch)
        if spin != 1:
            raise GeometryError(
                f"the multiplicity is given as {spin}, but fragments are singlets; leave it out "
                "(atoms.info['spin']), or take scheme direct"
            )

    def _check_charges(self, batch: FragmentBatch, typed: TypedBatch | None) -> None:
        """Refuses charges that a model neither reads nor knows from the atoms."""
        if typed is not None:
            for share in typed.shares:
                self._check_told(share.model, share.batch, share.names)
        elif not isinstance(self.high, TypedModel):  # with scheme direct it refuses any structure
            self._check_told(self.high, batch)

    def _check_told(
        self, model: EnergyModel, batch: FragmentBatch, names: Sequence[str] = ()
    ) -> None:
        charges = batch.assembly.charge
        if model.uses_charge or self.trained_charges or implies_charges(model):
            return
        if bool(charges.any()):
            values = sorted(set(charges.tolist()) - {0})
            kinds = list(dict.fromkeys(n for n, q in zip(names, charges, strict=False) if q))
            more = f" and {len(kinds) - 3} more" if len(kinds) > 3 else ""
            where = f" (for {', '.join(kinds[:3])}{more})" if kinds else ""
            raise ConfigError(
                f"fragments have charges {values}, which {_called(model)}{where} does not read. "
                "Use a model that was trained on such fragments with data.charges=ignore, or an "
                "imported one that reads charges; if this one was, and its card does not say so, "
                "say trained_charges=True (--trained-charges)"
            )


def _called(model: EnergyModel) -> str:
    """What a user calls a model that does not read charges."""
    if isinstance(model, LevelView):
        name = model.potential.card.name
        return f"the model {name!r} at {model.level}" if name else f"the model at {model.level}"
    return type(model).__name__


def _structures(graph: AtomGraph) -> Iterator[AtomGraph]:
    """Takes a batch apart."""
    ends = torch.bincount(graph.system_idx, minlength=graph.n_systems).cumsum(0).tolist()
    if graph.n_systems > 1:
        graph = graph.by_center()
    begin = 0
    for k, end in enumerate(ends):
        yield _structure(graph, k, begin, end)
        begin = end


def _structure(graph: AtomGraph, k: int, begin: int, end: int) -> AtomGraph:
    """Takes one structure out of a batch in the sorted layout."""
    if graph.n_systems == 1:
        return graph
    inside = (graph.center >= begin) & (graph.center < end)
    edges = inside.nonzero()[:, 0]
    return replace(
        graph,
        positions=graph.positions[begin:end],
        atomic_numbers=graph.atomic_numbers[begin:end],
        system_idx=graph.system_idx[begin:end] - k,
        n_systems=1,
        cell=None if graph.cell is None else graph.cell[k : k + 1],
        pbc=None if graph.pbc is None else graph.pbc[k : k + 1],
        center=graph.center[edges] - begin,
        neighbor=graph.neighbor[edges] - begin,
        shifts=None if graph.shifts is None else graph.shifts[edges],
        charge=graph.charge[k : k + 1],
        spin=graph.spin[k : k + 1],
    )


def _whole(graph: AtomGraph, images: Floats | None) -> tuple[Tensor, Tensor | None]:
    """Returns the positions of whole molecules and the cell, differentiable."""
    cell = None if graph.cell is None else graph.cell[0]
    if images is None or cell is None:
        return graph.positions, cell
    return graph.positions + torch.from_numpy(images).to(cell.device) @ cell, cell
