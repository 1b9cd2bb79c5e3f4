"""A topology as text."""

from __future__ import annotations

from collections import Counter

from tlpot.fragments.topology import Topology


def topology_table(topology: Topology) -> str:
    """Returns totals, one line per residue of a peptide, and a count of each other molecule.

    The charge of a unit that several residues share is shown with the first of them.
    """
    peptides = [chain for chain in topology.chains if len(chain.residues) > 1]
    others = [chain.residues[0] for chain in topology.chains if len(chain.residues) == 1]
    lines = [
        f"{_count(len(topology.atomic_numbers), 'atom')}, {_count(len(topology.bonds), 'bond')}, "
        f"{_count(len(topology.units), 'unit')}, {_count(len(topology.cuts), 'bond')} to cut, "
        f"charge {topology.charge:+d}"
    ]
    for number, chain in enumerate(peptides, start=1):
        kind = "ring" if chain.cyclic else "chain"
        lines.append(f"{kind} {number}: {_count(len(chain.residues), 'residue')}")
        lines += [_line(topology, residue) for residue in chain.residues]
    kinds: Counter[tuple[str, int, bool]] = Counter(
        (topology.residues[r].name, _charge(topology, r), bool(topology.residues[r].partners))
        for r in others
    )
    for (name, charge, bound), count in sorted(kinds.items()):
        lines.append(
            f"{count} x {name}, charge {charge:+d}" + (", bound to other residues" * bound)
        )
    return "\n".join(lines)


def _line(topology: Topology, index: int) -> str:
    residue = topology.residues[index]
    atoms = sum(len(topology.units[unit].atoms) for unit in residue.units)
    line = f"  {residue.number(index):>7}  {residue.name:<8} {_charge(topology, index):+3d}"
    line += f"  {atoms:4d} atoms"
    if residue.label:
        line += f"  {residue.label}"
    if residue.partners:
        others = [(topology.residues[other], other) for other in residue.partners]
        names = (f"{other.name} {other.number(k)}" for other, k in others)
        line += f"  bound to {', '.join(names)}"
    return line


def _charge(topology: Topology, index: int) -> int:
    units = (topology.units[unit] for unit in topology.residues[index].units)
    return sum(unit.charge for unit in units if unit.residues[0] == index)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
