"""Kinds of fragments, their names, the order of their atoms, and a model for each kind."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlpot.data import FragmentGraph
from tlpot.energy import EnergyModel, implemented
from tlpot.errors import ConfigError, FragmentError, GeometryError, TLPotWarning, nearest
from tlpot.fragments.contacts import Images
from tlpot.fragments.fragment import Fragment, Units
from tlpot.fragments.fragmented_structure import FragmentBatch, FragmentMap
from tlpot.graph import AtomGraph
from tlpot.models import CalculatorModel, identity
from tlpot.numbers import Ints
from tlpot.topology import ColouredGraph, Residue, Topology, matching_order

_BACKBONE = ("amino", "alpha", "carbonyl")

_SHOWN_NAME = 80
_SHOWN_RESIDUES = 6

OTHERS = "*"
"""Name of the model for fragments without one of their own."""


def fragment_name(topology: Topology, units: Units) -> str:
    """Returns the name of a fragment.

    Residues are in the order of the chain, parts that are not bonded to each other are joined by
    ``+``. What is there of a residue is named as the molecule that it is with its hydrogen caps:
    alpha and carbonyl units are ACE, amino and alpha units NME, a whole backbone without its
    side chain GLY. Other pieces are named by their units, as in ``TYR[side]``. Each periodic image
    has pieces of its own.
    """
    images = Images(len(topology.units))
    if images.has_others(units):
        several = [fragment_name(topology, part) for part in images.split(units).values()]
        return "+".join(sorted("+".join(several).split("+")))
    parts = []
    for chain in topology.chains:
        pieces = [(r, _piece(topology.residues[r], units)) for r in chain.residues]
        run: list[str] = []
        begun = None
        for place, (residue, name) in enumerate(pieces):
            follows = run and name and _joined(topology, pieces[place - 1][0], residue, units)
            if run and not follows:
                parts.append("-".join(run))
                run = []
            if name:
                begun = place if not run else begun
                run.append(name)
        around = chain.cyclic and run and parts and begun and pieces[0][1]
        if around and _joined(topology, pieces[-1][0], pieces[0][0], units):
            parts[0] = "-".join([*run, parts[0]])
        elif run:
            parts.append("-".join(run))
    return "+".join(sorted(parts))


def fragment_place(topology: Topology, units: Units) -> str:
    """Returns the name of a fragment and the residues that it has whole, for messages.

    A residue is called as in its file, else by its number in the topology, from 0.
    """
    home = {unit for part in Images(len(topology.units)).split(units).values() for unit in part}
    whole = [
        residue.label or f"residue {k}"
        for k, residue in enumerate(topology.residues)
        if home.issuperset(residue.units)
    ]
    more = f" and {len(whole) - _SHOWN_RESIDUES} more" if len(whole) > _SHOWN_RESIDUES else ""
    where = f" ({', '.join(whole[:_SHOWN_RESIDUES])}{more})" if whole else ""
    return f"{fragment_name(topology, units)}{where}"


def _piece(residue: Residue, units: Units) -> str:
    inside = [unit for unit in residue.units if unit in units]
    if not inside:
        return ""
    if len(inside) == len(residue.units):
        return residue.name
    has = {kind for kind in (*_BACKBONE, "side") if getattr(residue, kind) in inside}
    if has == {"alpha", "carbonyl"}:
        return "ACE"
    if has == {"amino", "alpha"}:
        return "NME"
    if has == set(_BACKBONE):
        return "GLY"
    return f"{residue.name}[{','.join(sorted(has))}]"


def _joined(topology: Topology, left: int, right: int, units: Units) -> bool:
    """Whether the peptide bond between two neighbours is in the fragment."""
    carbonyl, amino = topology.residues[left].carbonyl, topology.residues[right].amino
    return carbonyl in units and amino in units


class FragmentTypes:
    """Tells kinds of fragments apart and brings each into the order of its kind.

    Two fragments are of one kind if elements, bonds, caps (with the element that each replaces),
    charge and name are equal. All fragments of a kind have the same bonds, atom by atom, which
    is checked for each. Mirror images are of one kind; which of several equivalent atoms, such
    as the hydrogens of a methyl group, comes first is arbitrary.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[FragmentGraph, ColouredGraph]] = {}

    @property
    def kinds(self) -> dict[str, FragmentGraph]:
        """Those met so far, by key."""
        return {key: kind for key, (kind, _) in self._kinds.items()}

    def graph(self, key: str) -> ColouredGraph:
        """The graph of a kind, its atoms in canonical order."""
        return self._kinds[key][1]

    def add(self, kind: FragmentGraph) -> None:
        """Takes over a kind from a file; fragments will be in the order that it has."""
        self._kinds[kind.key] = kind, _kind_graph(kind)

    def of(self, topology: Topology, fragment: Fragment) -> tuple[FragmentGraph, Ints]:
        """Returns the kind of a fragment and the order that its atoms have there, [n].

        Row k of the kind is atom ``order[k]`` of the fragment.

        Raises:
            GeometryError: two different molecules have the same key.
        """
        bonds = fragment_bonds(topology, fragment)
        graph = ColouredGraph(_labels(topology, fragment), bonds)
        name = fragment_name(topology, fragment.units)
        stem = re.sub(r"[^\w\-+.\[\]()]", ".", name)
        if len(stem) > _SHOWN_NAME:
            stem = stem[:_SHOWN_NAME] + "..."
        key = f"{stem}.{graph.digest(name, fragment.charge)}"
        if key not in self._kinds:
            kind = _kind(topology, fragment, graph, key, name)
            self._kinds[key] = kind, _kind_graph(kind)
        kind, reference = self._kinds[key]
        order = matching_order(graph, reference)
        if order is None:
            raise GeometryError(
                f"two different molecules are both called {key}: refinement cannot tell their "
                "bonds apart. Export them to different files"
            )
        return kind, np.array(order, dtype=np.int64)


def fragment_bonds(topology: Topology, fragment: Fragment) -> Ints:
    """Returns the bonds within a fragment, [n_bonds, 2], those of the caps included."""
    place = np.full(len(topology.atomic_numbers), -1, dtype=np.int64)
    n_real = len(fragment.real)
    place[fragment.real] = np.arange(n_real)
    real = place[topology.bonds.reshape(-1, 2)]
    real = real[(real >= 0).all(axis=1)]
    caps = np.arange(n_real, n_real + len(fragment.host))
    own = np.stack([place[fragment.host], caps], axis=1)
    return np.concatenate([real, own.reshape(-1, 2)])


def _labels(topology: Topology, fragment: Fragment) -> list[tuple[int, ...]]:
    """Of each atom: the element that it replaces, 0 for real atoms, and its own."""
    replaced = np.zeros(len(fragment), dtype=np.int64)
    replaced[len(fragment.real) :] = topology.atomic_numbers[fragment.replaced]
    # heavy atoms first, hydrogens next, caps last
    return [
        (int(g), int(z == 1), int(z))
        for g, z in zip(replaced, fragment.atomic_numbers.tolist(), strict=True)
    ]


def _kind_graph(kind: FragmentGraph) -> ColouredGraph:
    replaced = np.zeros(len(kind), dtype=np.int64)
    replaced[kind.is_cap] = kind.cap_gone
    labels = [
        (int(g), int(z == 1), int(z))
        for g, z in zip(replaced, kind.atomic_numbers.tolist(), strict=True)
    ]
    return ColouredGraph(labels, kind.bonds)


def _kind(
    topology: Topology, fragment: Fragment, graph: ColouredGraph, key: str, name: str
) -> FragmentGraph:
    order = graph.order()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    n_real = len(fragment.real)
    caps = np.argsort(place[n_real:])  # in the order of the rows
    atoms = np.concatenate([fragment.real, fragment.host])[order]
    _, first, units = np.unique(topology.unit_of[atoms], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    bonds = graph.sorted_bonds(order)
    local = {int(atom): k for k, atom in enumerate(fragment.real)}
    hosts = [place[local[int(host)]] for host in fragment.host[caps]]
    return FragmentGraph(
        key=key,
        name=name,
        charge=fragment.charge,
        atomic_numbers=fragment.atomic_numbers[order],
        is_cap=np.array(order) >= n_real,
        cap_host=np.array(hosts, dtype=np.int64),
        cap_gone=topology.atomic_numbers[fragment.replaced[caps]],
        bonds=bonds,
        unit_id=rank[units],
    )


class TypedModel:
    """Energy models by name of the fragment; used by `FragmentForceField` only.

    Args:
        models: by fragment name, see `fragment_name`; ``"*"`` is for all others.
        all_used: whether each is for a fragment of the one structure that they are for, so that
            a name that no fragment has is a mistake.

    Raises:
        ConfigError: no model at all, or models of different levels of theory, where the energies
            of atoms would not cancel in the sum over overlapping fragments.
    """

    def __init__(self, models: Mapping[str, EnergyModel], *, all_used: bool = False) -> None:
        if not models:
            raise ConfigError("no model was given for any fragment")
        self.models, self.all_used = dict(models), all_used
        kinds: dict[str, list[str]] = {}
        for name, model in self.models.items():
            if (level := _level(model)) is not None:
                kinds.setdefault(level, []).append(name)
        if len(kinds) > 1:
            found = "; ".join(f"{level} for {', '.join(names)}" for level, names in kinds.items())
            raise ConfigError(
                f"the models by fragment are of different levels of theory ({found}), and the "
                "energies of atoms do not cancel in the sum over fragments; take one level for all "
                "kinds, and another one of the whole structure as low"
            )

    def check_used(self, names: Collection[str], *, fixed: bool) -> None:
        """Checks, where all are to be used, that each is for one of the fragments there are.

        Args:
            names: of the fragments.
            fixed: whether a structure has these fragments in every conformation. Where it has
                not, others of the same parts may come: a name that they can have is warned of.

        Raises:
            ConfigError: a name that no fragment has.
        """
        present = set(names)
        unused = [name for name in self.models if name != OTHERS and name not in present]
        if not (self.all_used and unused):
            return
        parts = {part for name in present for part in re.split(r"[+-]", name)}
        never = [name for name in unused if fixed or not parts.issuperset(re.split(r"[+-]", name))]
        if never:
            raise ConfigError(
                f"no fragment is a {never[0]}, for which there is a model"
                f"{nearest(never[0], present)}. Mend the name, or leave it out"
            )
        warnings.warn(
            f"no fragment is a {unused[0]} as the structure is now, for which there is a model"
            f"{nearest(unused[0], present)}",
            TLPotWarning,
            stacklevel=2,
        )

    def identity(self) -> dict[str, Any]:
        """Returns what decides its energies, see `tlpot.models.identity`."""
        return {name: identity(model) for name, model in sorted(self.models.items())}

    def of(self, name: str) -> EnergyModel:
        """Returns the model of a fragment.

        Raises:
            ConfigError: there is none; the nearest name is given.
        """
        found = self.models.get(name, self.models.get(OTHERS))
        if found is None:
            raise ConfigError(
                f"no model for the fragment {name}{nearest(name, self.models)}. Add one, or one "
                f"for all others under {OTHERS!r}"
            )
        return found

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å: the largest."""
        return max(model.cutoff for model in self.models.values())

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that any of the models knows."""
        return tuple(sorted({z for model in self.models.values() for z in model.elements}))

    @property
    def uses_charge(self) -> bool:
        """Whether any model reads charges; each is told what it reads, see `TypedBatch`."""
        return any(model.uses_charge for model in self.models.values())

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`."""
        return implemented(*self.models.values())

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Refuses: a graph does not say which fragments it holds.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "models by fragment name need a fragment scheme; 'direct' has only one fragment, the "
            "whole structure"
        )


def _level(model: EnergyModel) -> str | None:
    """The level of theory of a model, as far as it says one."""
    source = model.calculator if isinstance(model, CalculatorModel) else model
    found = getattr(source, "level", None)
    return found if isinstance(found, str) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShare:
    """The fragments that one of several models evaluates.

    Attributes:
        model: of them.
        members: which of all fragments.
        names: of the fragments.
        batch: the fragments.
        rows: where their atoms are among those of all fragments, [n_rows of `batch`].
    """

    model: EnergyModel
    members: tuple[int, ...]
    names: tuple[str, ...]
    batch: FragmentBatch
    rows: Tensor


class TypedBatch:
    """The fragments of a structure, sorted by the model that evaluates them.

    Args:
        batch: all fragments.
        names: of the fragments.
        models: by name.

    Raises:
        ConfigError: a fragment without a model.

    Attributes:
        shares: what each model evaluates.
    """

    def __init__(self, batch: FragmentBatch, names: Sequence[str], models: TypedModel) -> None:
        assembly = batch.assembly
        groups: dict[int, list[int]] = {}
        for k, name in enumerate(names):
            groups.setdefault(id(models.of(name)), []).append(k)
        self.shares: list[ModelShare] = []
        for members in groups.values():
            chosen = torch.isin(assembly.fragment_idx, torch.tensor(members))
            part = FragmentMap([assembly.fragments[k] for k in members], assembly.n_atoms)
            self.shares.append(
                ModelShare(
                    model=models.of(names[members[0]]),
                    members=tuple(members),
                    names=tuple(names[k] for k in members),
                    batch=FragmentBatch(part, skin=batch.skin),
                    rows=chosen.nonzero()[:, 0],
                )
            )

    def energies(self, positions: Tensor, *, first_order: bool) -> Tensor:
        """Returns the energy of each row of the whole batch, see `FragmentBatch.energies`.

        A model is told the charges of its fragments if it reads them, whatever the others do.

        Raises:
            FragmentError: a program fails for a fragment, whose index is given.
        """
        found = torch.zeros(len(positions), dtype=torch.float64, device=positions.device)
        for share in self.shares:
            there = share.rows.to(positions.device)
            try:
                own = share.batch.energies(
                    share.model,
                    positions[there],
                    first_order=first_order,
                    charge=share.model.uses_charge,
                )
            except FragmentError as error:
                raise FragmentError(str(error), share.members[error.index]) from error
            found = found.index_add(0, there, own)
        return found
