"""Proteins from fragments: topology, schemes, assembly and the force field that they make."""

from tlpot.fragments.peptide import build_peptide as build_peptide
from tlpot.fragments.peptide import capped_residues as capped_residues
from tlpot.fragments.perception import perceive_topology as perceive_topology
from tlpot.fragments.residue import Chain as Chain
from tlpot.fragments.residue import Residue as Residue
from tlpot.fragments.topology import Topology as Topology
from tlpot.fragments.unit import Unit as Unit
from tlpot.fragments.unwrapping import unwrap as unwrap
