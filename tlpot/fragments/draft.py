"""Units and residues before merging."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlpot.fragments.backbone import Backbone
from tlpot.fragments.residue import ResidueKind
from tlpot.fragments.unit import UnitKind


@dataclass(kw_only=True)
class Part:
    """A unit before merging: atoms of one role, and the residues that they belong to."""

    kind: UnitKind
    atoms: list[int]
    residues: list[int] = field(default_factory=list)


@dataclass(kw_only=True)
class Draft:
    """A residue before merging.

    Attributes:
        kind: as of `Residue`.
        anchor: the atom whose label is the residue's.
        roles: part of each role.
        backbone: of an amino acid.
    """

    kind: ResidueKind
    anchor: int
    roles: dict[UnitKind, int] = field(default_factory=dict)
    backbone: Backbone | None = None
