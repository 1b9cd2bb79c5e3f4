"""From atoms to units, residues and chains, by distances and valences alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlpot.bond_thresholds import METALLIC_REACH, RADII
from tlpot.errors import GeometryError
from tlpot.neighbors import neighbor_list
from tlpot.system import System, stated_charge_of
from tlpot.topology.backbone import ValenceGraph, find_strands
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
from tlpot.topology.topology import Topology
from tlpot.topology.unit_partition import UnitPartition
from tlpot.topology.valence import close_valences

if TYPE_CHECKING:
    from ase import Atoms


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
    numbers: NDArray[np.int64] = system.atomic_numbers
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
