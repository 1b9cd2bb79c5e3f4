"""From atoms to units, residues and chains: which bonds may be cut, and what is merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tlpot.bond_thresholds import METALLIC_REACH, RADII
from tlpot.errors import GeometryError
from tlpot.neighbors import neighbor_list
from tlpot.numbers import Ints
from tlpot.system import System, stated_charge_of
from tlpot.topology.backbone import (
    Part,
    PeptideBackbone,
    ResidueBuilder,
    Strand,
    ValenceGraph,
    branch,
    c_cap,
    find_strands,
    n_cap,
)
from tlpot.topology.bonds import (
    COVALENT,
    ION_CHARGES,
    NOBLE,
    BondGraph,
    atom_name,
    geometry_error,
    perceive_bonds,
    symbol,
)
from tlpot.topology.lattice import follow_bonds
from tlpot.topology.residue_names import Names
from tlpot.topology.topology import Chain, Residue, ResidueKind, Topology, Unit, UnitKind
from tlpot.topology.valence import close_valences

if TYPE_CHECKING:
    from ase import Atoms


_ORDER: tuple[UnitKind, ...] = ("amino", "alpha", "side", "carbonyl", "molecule")
_WITHIN: tuple[UnitKind, ...] = ("molecule", "alpha", "carbonyl", "amino", "side")
_ACROSS: tuple[UnitKind, ...] = ("molecule", "side", "alpha", "carbonyl", "amino")
"""The kind of a merged unit is the first of these among its parts: of one or several residues."""


class UnitPartition:
    """Builds units, residues and chains; `parts` and `builders` grow, then `merge` joins."""

    def __init__(self, molecule: ValenceGraph, strands: Sequence[Strand]) -> None:
        self.molecule = molecule
        self.parts: list[Part] = []
        self.builders: list[ResidueBuilder] = []
        self.chains: list[Chain] = []
        self.owner = np.full(len(molecule.numbers), -1, dtype=np.int64)
        self.links: set[tuple[int, int]] = set()
        self.blocked = {a for s in strands for b in s.backbones for a in (b.n, b.ca, b.c)}
        for strand in strands:
            self._add_strand(strand)
        self._add_rest()
        self.parent = list(range(len(self.parts)))
        self._merge()

    def _add(self, kind: UnitKind, atoms: Sequence[int], residue: int | None) -> int:
        part = Part(kind=kind, atoms=list(atoms))
        self.owner[part.atoms] = len(self.parts)
        self.parts.append(part)
        if residue is not None:
            part.residues.append(residue)
            self.builders[residue].roles[kind] = len(self.parts) - 1
        return len(self.parts) - 1

    def _begin(
        self, kind: ResidueKind, anchor: int, backbone: PeptideBackbone | None = None
    ) -> int:
        self.builders.append(ResidueBuilder(kind=kind, anchor=anchor, backbone=backbone))
        return len(self.builders) - 1

    def _add_strand(self, strand: Strand) -> None:
        molecule, members = self.molecule, []
        first, last = strand.backbones[0], strand.backbones[-1]
        front = None if strand.cyclic else n_cap(molecule, first, self.blocked)
        back = None if strand.cyclic else c_cap(molecule, last, self.blocked)
        if front is not None:
            members.append(self._add_n_cap(first, front))
        for backbone in strand.backbones:
            members.append(self._add_amino(backbone))
        if back is not None:
            members.append(self._add_c_cap(last, back))
        self.links.update(pairwise(members))
        if strand.cyclic:
            self.links.add((members[-1], members[0]))
        self.chains.append(Chain(residues=tuple(members), cyclic=strand.cyclic))

    def _add_amino(self, backbone: PeptideBackbone) -> int:
        molecule = self.molecule
        residue = self._begin("amino", backbone.ca, backbone)
        self._add("amino", [backbone.n, *molecule.hydrogens(backbone.n)], residue)
        self._add("alpha", [backbone.ca, *molecule.hydrogens(backbone.ca)], residue)
        end = [backbone.c, *backbone.oxygens]
        after = backbone.after
        if after is not None and molecule.numbers[after] != 7 and after not in self.blocked:
            tail, touched = branch(molecule, after, self.blocked)
            if touched == {backbone.c}:
                end += sorted(tail)
        self._add("carbonyl", end, residue)
        return residue

    def _add_n_cap(self, first: PeptideBackbone, carbon: int) -> int:
        molecule = self.molecule
        residue = self._begin("n-cap", carbon)
        oxygens = molecule.oxo(carbon)
        (root,) = (n for n in molecule.near(carbon) if n != first.n and n not in oxygens[:1])
        rest, _ = branch(molecule, root, {carbon})
        if molecule.numbers[root] == 6 and molecule.valences.single(carbon, root):
            self._add("alpha", sorted(rest), residue)
            self._add("carbonyl", [carbon, *oxygens], residue)
        else:
            self._add("carbonyl", [carbon, oxygens[0], *sorted(rest)], residue)
        return residue

    def _add_c_cap(self, last: PeptideBackbone, nitrogen: int) -> int:
        molecule = self.molecule
        residue = self._begin("c-cap", nitrogen)
        self._add("amino", [nitrogen, *molecule.hydrogens(nitrogen)], residue)
        rest: set[int] = set()
        for root in molecule.heavy(nitrogen):
            if root != last.c:
                rest |= branch(molecule, root, {nitrogen})[0]
        if rest:
            self._add("alpha", sorted(rest), residue)
        return residue

    def _add_rest(self) -> None:
        """Side chains, and whatever hangs on no alpha carbon or on nothing at all."""
        molecule = self.molecule
        for atom in range(len(self.owner)):
            if self.owner[atom] >= 0:
                continue
            inside, front, alphas, touched = {atom}, [atom], set(), False
            while front:
                for other in molecule.near(front.pop()):
                    part = int(self.owner[other])
                    if part < 0:
                        if other not in inside:
                            inside.add(other)
                            front.append(other)
                        continue
                    touched = True
                    if self.parts[part].kind == "alpha":
                        alphas.update(self.parts[part].residues)
            atoms = sorted(inside)
            if not touched:
                residue = self._begin("molecule", atoms[0])
                self._add("molecule", atoms, residue)
                self.chains.append(Chain(residues=(residue,)))
                continue
            side = self._add("side", atoms, None)
            self._give_side(side, sorted(alphas))

    def _give_side(self, side: int, residues: list[int]) -> None:
        self.parts[side].residues = residues
        for residue in residues:
            self.builders[residue].roles.setdefault("side", side)

    def root(self, part: int) -> int:
        """Returns the part that stands for all that are merged with it."""
        while self.parent[part] != part:
            self.parent[part] = self.parent[self.parent[part]]
            part = self.parent[part]
        return part

    def _join(self, a: int, b: int) -> None:
        a, b = sorted((self.root(a), self.root(b)))
        self.parent[b] = a

    def _merge(self) -> None:
        owner, ligands = self.owner.tolist(), self.molecule.graph.ligands
        for part, entry in enumerate(self.parts):
            if entry.kind == "side":  # two groups on one alpha carbon are one side chain
                for residue in entry.residues:
                    self._join(part, self.builders[residue].roles["side"])
        for a, b in self.molecule.graph.pairs.tolist():
            first, second = owner[a], owner[b]
            if first == second:
                continue
            if (a in ligands and b in ligands[a]) or not self._may_cut(a, b):
                self._join(first, second)

    def _may_cut(self, a: int, b: int) -> bool:
        numbers = self.molecule.numbers
        if sorted((numbers[a], numbers[b])) not in ([6, 6], [6, 7]):
            return False
        if not self.molecule.valences.single(a, b):
            return False
        first, second = self.parts[self.owner[a]], self.parts[self.owner[b]]
        kinds = {first.kind, second.kind}
        if kinds == {"carbonyl", "amino"}:
            if first.kind == "amino":
                first, second = second, first
            return (first.residues[0], second.residues[0]) in self.links
        if kinds == {"amino", "alpha"}:  # of a tertiary amide cap there are several such bonds
            return first.residues == second.residues
        if kinds == {"alpha", "carbonyl"}:
            return first.residues == second.residues
        if kinds in ({"side", "alpha"}, {"side", "amino"}):
            side, other = (first, second) if first.kind == "side" else (second, first)
            root = a if first.kind == "side" else b
            return bool(numbers[root] == 6) and other.residues[0] in side.residues
        return False

    def finish(
        self, labels: Sequence[str] | None
    ) -> tuple[tuple[Unit, ...], tuple[Residue, ...], tuple[Chain, ...]]:
        """Returns units, residues and chains, ordered by chain and, in it, from N to C."""
        groups: dict[int, list[int]] = {}
        for part in range(len(self.parts)):
            groups.setdefault(self.root(part), []).append(part)
        self.chains.sort(key=self._first_atom)
        order = [residue for chain in self.chains for residue in chain.residues]
        place = {residue: k for k, residue in enumerate(order)}
        roots = list(
            dict.fromkeys(
                self.root(self.builders[residue].roles[kind])
                for residue in order
                for kind in _ORDER
                if kind in self.builders[residue].roles
            )
        )
        units = tuple(self._unit(groups[root], place) for root in roots)
        index = {root: k for k, root in enumerate(roots)}
        names = Names(self.molecule, self.owner, self.parts)
        residues = []
        for k, residue in enumerate(order):
            builder = self.builders[residue]
            roles = {kind: index[self.root(part)] for kind, part in builder.roles.items()}
            if roles.get("side") == roles.get("alpha"):
                roles.pop("side", None)  # merged into the alpha unit
            mine = tuple(dict.fromkeys(roles[kind] for kind in _ORDER if kind in roles))
            residues.append(
                Residue(
                    name=names.name(residue, builder),
                    label=labels[builder.anchor] if labels is not None else None,
                    kind=builder.kind,
                    amino=roles.get("amino"),
                    alpha=roles.get("alpha"),
                    side=roles.get("side"),
                    carbonyl=roles.get("carbonyl"),
                    units=mine,
                    partners=tuple(sorted({r for u in mine for r in units[u].residues} - {k})),
                )
            )
        chains = tuple(
            Chain(residues=tuple(place[r] for r in chain.residues), cyclic=chain.cyclic)
            for chain in self.chains
        )
        return units, tuple(residues), chains

    def _unit(self, parts: list[int], place: dict[int, int]) -> Unit:
        atoms = sorted(a for part in parts for a in self.parts[part].atoms)
        residues = sorted({place[r] for part in parts for r in self.parts[part].residues})
        rank = _WITHIN if len(residues) == 1 else _ACROSS
        return Unit(
            kind=min((self.parts[part].kind for part in parts), key=rank.index),
            atoms=tuple(atoms),
            charge=int(self.molecule.valences.charges[atoms].sum()),
            residues=tuple(residues),
        )

    def _first_atom(self, chain: Chain) -> int:
        roles = (self.builders[r].roles.values() for r in chain.residues)
        return min(min(self.parts[part].atoms) for parts in roles for part in parts)


def perceive_topology(
    structure: System | Atoms, *, labels: Sequence[str] | None = None
) -> Topology:
    """Finds bonds, formal charges, units, residues and chains; in time linear in the atoms.

    Only elements and positions decide: never the order of the atoms, names or numbers. All
    hydrogens must be there.

    - *Bonds* come from covalent radii (`perceive_bonds`), bond orders and formal charges from
      the cheapest assignment that closes every valence (`close_valences`).
    - *Peptides* are rows of N-CA-C(=O); a row of one amino acid needs a known cap. What is no
      peptide is one unit: a water, a ligand, a free amino acid.
    - *Merged* into one unit are side chains that bonds connect (disulfides, staples,
      isopeptides with the carbonyl or amino unit that they use), groups on a backbone nitrogen
      (N-methyl) with the amino unit, esters with the carbonyl unit, and any two units joined by
      a bond that is not a single C-C or C-N bond.
    - *Metals* other than the alkali metals are merged with every unit that has an atom of their
      first shell (N, O, S, halogens and others within 1.25 sums of covalent radii, carbon within
      1.15): all of the side chains, waters or carbonyl units that bind it, not just the atoms.
      Their charge is the usual one of the element (Fe +2, Cu +2); another oxidation state
      does not show in a geometry. Alkali and halide ions and noble gases stay alone.

    Args:
        structure: atoms with all hydrogens; periodic molecules may be wrapped.
        labels: what the file calls each atom's residue (``A/ALA 12``), for messages and tables;
            default: ``atoms.arrays["residue_label"]``, if there is one, as of protein files.

    Raises:
        GeometryError: no atoms, NaN, overlaps, valences that do not close, a molecule without
            end in a periodic cell, or formal charges that do not add up to the stated charge
            (``atoms.info["charge"]``, or a `System.charge` other than zero).
    """
    system, charge, labels = _read(structure, labels)
    numbers = system.atomic_numbers
    _check(system, labels)
    graph = perceive_bonds(system, labels)
    if system.pbc.any() and len(graph.pairs):
        follow_bonds(system, graph.pairs, graph.vectors)
    _refuse_metals(graph, system, labels)
    valences = close_valences(numbers, graph, labels, charge)
    molecule = ValenceGraph(numbers=numbers, graph=graph, valences=valences)
    units, residues, chains = UnitPartition(molecule, find_strands(molecule)).finish(labels)
    return Topology(
        atomic_numbers=numbers, bonds=graph.pairs, units=units, residues=residues, chains=chains
    )


def _read(
    structure: System | Atoms, labels: Sequence[str] | None
) -> tuple[System, int | None, Sequence[str] | None]:
    if isinstance(structure, System):
        return structure, structure.charge or None, labels
    system = System.from_atoms(structure)
    if labels is None and "residue_label" in structure.arrays:
        labels = [str(label) for label in structure.arrays["residue_label"]]
    return system, stated_charge_of(structure).charge, labels


def _check(system: System, labels: Sequence[str] | None) -> None:
    numbers: Ints = system.atomic_numbers
    if not len(numbers):
        raise GeometryError("the structure has no atoms; expected a molecule with all hydrogens")
    if labels is not None and len(labels) != len(numbers):
        raise GeometryError(f"there are {len(labels)} labels for {len(numbers)} atoms")
    strange = np.flatnonzero((numbers < 1) | (numbers > 96))
    lost = np.flatnonzero(~np.isfinite(system.positions).all(axis=1))
    for atoms, what, remedy in (
        (strange, "atoms have no element", "Give every atom an element (dummy atoms are none)."),
        (lost, "positions are not finite", "Every coordinate must be a number; read it again."),
    ):
        if atoms.size:
            lines = [f"atom {atom_name(int(k), numbers, labels)}" for k in atoms]
            raise geometry_error(what, lines, remedy)


def _refuse_metals(graph: BondGraph, system: System, labels: Sequence[str] | None) -> None:
    """Refuses elements of unknown ionic charge, and metal atoms bound to metal atoms only."""
    numbers = system.atomic_numbers
    metals = np.flatnonzero(~np.isin(numbers, list(COVALENT | NOBLE)))
    unknown = [int(k) for k in metals if int(numbers[k]) not in ION_CHARGES]
    if unknown:
        known = " ".join(symbol(z) for z in sorted(ION_CHARGES))
        lines = [f"atom {atom_name(k, numbers, labels)}" for k in unknown]
        raise geometry_error("the charge of these atoms is not known", lines, f"Known: {known}.")
    bare = np.array([k for k in metals.tolist() if k not in graph.ligands], dtype=np.int64)
    if len(bare) < 2:
        return
    radii = RADII[numbers[bare]]
    alone = replace(system, atomic_numbers=numbers[bare], positions=system.positions[bare])
    found = neighbor_list(alone, float(2 * METALLIC_REACH * radii.max()))
    vectors = alone.positions[found.neighbor] - alone.positions[found.center]
    if system.pbc.any():
        vectors = vectors + found.shifts @ system.cell
    reach = METALLIC_REACH * (radii[found.center] + radii[found.neighbor])
    touching = np.unique(found.center[np.linalg.norm(vectors, axis=1) < reach])
    if touching.size:
        lines = [f"atom {atom_name(int(bare[k]), numbers, labels)}" for k in touching]
        raise geometry_error(
            "metal atoms are bound to each other", lines, "A metal has no ions, so no fragments."
        )
