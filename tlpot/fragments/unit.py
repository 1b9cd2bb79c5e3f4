"""The pieces of a structure that a fragment has whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UnitKind = Literal["amino", "alpha", "side", "carbonyl", "molecule"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A group of atoms that no fragment boundary runs through.

    An amino acid has the units amino {N, H on N}, alpha {CA, H on CA}, carbonyl {C, O, OXT} and,
    unless it is glycine, side {the rest}. An acetyl cap has alpha {CH3} and carbonyl, an
    N-methylamide cap amino and alpha. Whatever has no peptide backbone is one unit of kind
    molecule: a water, an ion, a ligand, a metal with its first shell.

    Side chains that bonds connect (cystine, isopeptides, staples) are one unit of several
    residues.

    Attributes:
        kind: what it is.
        atoms: indices in the structure, ascending.
        charge: formal charge, e.
        residues: indices of the residues that it belongs to; one, but for crosslinks.
    """

    kind: UnitKind
    atoms: tuple[int, ...]
    charge: int
    residues: tuple[int, ...]
