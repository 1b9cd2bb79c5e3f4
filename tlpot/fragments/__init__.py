"""Proteins from fragments: topology, schemes, assembly and the force field that they make."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.fragments.closed_shells import check_closed_shells
    from tlpot.fragments.contacts import close_atoms
    from tlpot.fragments.export import ExportReport, export_fragments, farthest, fragments_from
    from tlpot.fragments.force_field import FragmentForceField
    from tlpot.fragments.fragment import Fragment
    from tlpot.fragments.fragment_pool import FragmentPool, ProteinFrames
    from tlpot.fragments.fragment_type import (
        OTHERS,
        FragmentTypes,
        TypedBatch,
        TypedModel,
        fragment_name,
    )
    from tlpot.fragments.fragmented_structure import SKIN, FragmentedStructure, Partition
    from tlpot.fragments.inclusion_exclusion import check_coverage
    from tlpot.fragments.layer import (
        VACUUM_ONLY,
        Layer,
        ModelLayer,
        NonbondedLayer,
        amber_parameters,
    )
    from tlpot.fragments.schemes.mfcc import GMFCC, MFCC, Dimers
    from tlpot.fragments.schemes.registry import (
        AI2BMD,
        DEFAULT_SCHEME,
        SCHEMES,
        Direct,
        Scheme,
        choose_scheme,
        is_ai2bmd,
        parse_scheme,
    )
    from tlpot.fragments.schemes.sphere import Sphere

__getattr__ = lazy_exports(__name__)
