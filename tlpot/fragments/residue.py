"""Amino acids, caps and other molecules of a structure, and how they follow each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ResidueKind = Literal["amino", "n-cap", "c-cap", "molecule"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Residue:
    """One residue, as its bonds tell.

    Attributes:
        name: perceived from the bond graph: a three-letter name with the protonation state in
            it (ALA, HID, HIE, HIP, ASP, ASH, CYS, CYX, CYM, LYN, ...), ACE, NME, HOH, an element
            symbol for an ion, or the formula of what has no name.
        label: what the file calls it, such as ``A/ALA 12``; for messages and tables only.
        kind: amino acid, cap at the N or C terminus, or a molecule without backbone.
        amino: index of its amino unit, None if it has none.
        alpha: index of its alpha unit; None of NH2 and formyl caps.
        side: index of its side-chain unit; None of glycine, caps, and where the side chain is
            merged into the alpha unit.
        carbonyl: index of its carbonyl unit. Where units are merged (a metal that binds a
            carbonyl, an isopeptide), two roles of one residue may have the same index.
        units: indices of all its units, each once.
        partners: other residues that share a unit with it or are bound to it by a bond that may
            not be cut; a fragment with the core of one has the core of all.
    """

    name: str
    label: str | None
    kind: ResidueKind
    amino: int | None
    alpha: int | None
    side: int | None
    carbonyl: int | None
    units: tuple[int, ...]
    partners: tuple[int, ...] = ()

    def number(self, index: int) -> str:
        """Returns its number in the file, with the chain: ``A/12``; else its place.

        Args:
            index: its place in the topology.
        """
        if not self.label:
            return str(index)
        chain, slash, rest = self.label.rpartition("/")
        return f"{chain}{slash}{rest.replace('_', ' ').rpartition(' ')[2]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """Residues joined by peptide bonds, caps included; a molecule is a chain of one.

    Attributes:
        residues: indices from the N to the C terminus; of a ring, from an arbitrary one on.
        cyclic: the last is bound to the first.
    """

    residues: tuple[int, ...]
    cyclic: bool = False
