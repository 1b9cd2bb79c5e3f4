"""What a structure is made of: bonds, valences, residues and units, without any model."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.topology.bonds import (
        COVALENT,
        LABILE,
        NOBLE,
        OPEN_SHELLS,
        assumed_charges,
        formula,
        symbol,
    )
    from tlpot.topology.canonical_order import ColouredGraph, matching_order
    from tlpot.topology.lattice import Continuity, Lattice
    from tlpot.topology.perception import perceive_topology
    from tlpot.topology.residue_names import fewest_atoms
    from tlpot.topology.topology import Chain, Residue, Topology, Unit, residue_of
    from tlpot.topology.torsions import (
        BackboneDihedrals,
        MolecularGraph,
        backbone_dihedrals,
        dihedral_angles,
        dihedrals,
        torsions,
    )

__getattr__ = lazy_exports(__name__)
