"""What fragments that stack into one array have in common, and where each one is from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class FragmentKind:
    """A capped molecular graph in canonical order of its atoms.

    Attributes:
        key: name of the group in a file; kinds with the same key are the same molecule.
        name: for people, such as ``ACE-ALA-NME``.
        charge: formal charge, e.
        multiplicity: 2S + 1.
        atomic_numbers: [n], int64; caps are last.
        is_cap: [n], bool.
        cap_host: [n_caps], the atom that each cap is bound to.
        cap_gone: [n_caps], atomic number of the atom that each cap replaces.
        bonds: [n_bonds, 2], int64, those of the caps included; the smaller index first, sorted.
        unit_id: [n], which unit of the protein an atom belongs to, numbered from 0 on; that of
            a cap is its host's.
    """

    key: str
    name: str
    charge: int
    multiplicity: int = 1
    atomic_numbers: NDArray[np.int64]
    is_cap: NDArray[np.bool_]
    cap_host: NDArray[np.int64]
    cap_gone: NDArray[np.int64]
    bonds: NDArray[np.int64]
    unit_id: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.atomic_numbers)

    def is_same_graph(self, other: FragmentKind) -> bool:
        """Whether elements, caps, charge and bonds are equal atom by atom."""
        return (self.charge, self.multiplicity) == (other.charge, other.multiplicity) and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("atomic_numbers", "is_cap", "cap_host", "cap_gone", "bonds")
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentSource:
    """Where a fragment was cut out.

    Attributes:
        source: the protein; a split by source keeps all its fragments together.
        trajectory: the run that the frame is from, if there are several.
        frame: number of the frame.
        scheme: name of the fragment scheme.
        residues: the residues that it has atoms of.
        seed: of the choice among many geometries; -1 where none was made.
    """

    source: str
    trajectory: str = ""
    frame: int = 0
    scheme: str = ""
    residues: str = ""
    seed: int = -1


@dataclass(frozen=True, kw_only=True)
class FragmentRows:
    """Geometries of one kind.

    Attributes:
        kind: what they are.
        positions: [m, n, 3], Å, in the order of the kind's atoms.
        sources: where each is from.
        weight: [m], coefficient of each in the energy of its source.
    """

    kind: FragmentKind
    positions: NDArray[np.float64]
    sources: tuple[FragmentSource, ...]
    weight: NDArray[np.float64]
