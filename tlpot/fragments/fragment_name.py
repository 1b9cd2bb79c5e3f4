"""Names of fragments, such as ACE-ALA-NME."""

from __future__ import annotations

from tlpot.fragments.fragment import Units
from tlpot.fragments.image import Images
from tlpot.fragments.residue import Residue
from tlpot.fragments.topology import Topology

_BACKBONE = ("amino", "alpha", "carbonyl")


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
