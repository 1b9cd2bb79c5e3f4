"""What a structure is made of: bonds, valences, residues and units, without any model."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.topology.backbone_angles import BackboneDihedrals, dihedral_angles, dihedrals
    from tlpot.topology.bonds import COVALENT, LABILE, METAL_REACH, NOBLE, RADII
    from tlpot.topology.canonical_order import ColouredGraph, matching_order
    from tlpot.topology.lattice import Continuity, Lattice, unwrap
    from tlpot.topology.perception import perceive_topology
    from tlpot.topology.rotatable import Molecule, backbone_dihedrals, torsions
    from tlpot.topology.topology import Chain, Residue, Topology, Unit, residue_of

__getattr__ = lazy_exports(__name__)
