"""Proteins from fragments: topology, schemes, assembly and the force field that they make."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.fragments.backbone_angles import BackboneDihedrals as BackboneDihedrals
    from tlpot.fragments.backbone_angles import dihedral_angles as dihedral_angles
    from tlpot.fragments.backbone_angles import dihedrals as dihedrals
    from tlpot.fragments.calculator_model import CalculatorModel as CalculatorModel
    from tlpot.fragments.coverage import check_coverage as check_coverage
    from tlpot.fragments.export import ExportReport as ExportReport
    from tlpot.fragments.export import export_fragments as export_fragments
    from tlpot.fragments.export import fragments_from as fragments_from
    from tlpot.fragments.force_field import FragmentForceField as FragmentForceField
    from tlpot.fragments.fragment import Fragment as Fragment
    from tlpot.fragments.fragment_name import fragment_name as fragment_name
    from tlpot.fragments.fragment_pool import ProteinFrames as ProteinFrames
    from tlpot.fragments.fragment_type import FragmentTypes as FragmentTypes
    from tlpot.fragments.lattice import Lattice as Lattice
    from tlpot.fragments.peptide import build_peptide as build_peptide
    from tlpot.fragments.peptide import capped_residues as capped_residues
    from tlpot.fragments.perception import perceive_topology as perceive_topology
    from tlpot.fragments.residue import Chain as Chain
    from tlpot.fragments.residue import Residue as Residue
    from tlpot.fragments.schemes import SCHEMES as SCHEMES
    from tlpot.fragments.schemes import choose_scheme as choose_scheme
    from tlpot.fragments.topology import Topology as Topology
    from tlpot.fragments.unit import Unit as Unit
    from tlpot.fragments.unwrapping import unwrap as unwrap

__getattr__ = lazy_exports(__name__)
