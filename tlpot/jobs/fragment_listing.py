"""What a protein is cut into: residues, fragments by kind, cost, and the other schemes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from tlpot.config import to_mapping
from tlpot.files import write_text
from tlpot.fragments import choose_scheme
from tlpot.jobs.fragment_cut import Cut
from tlpot.presentation import Table
from tlpot.structures import extxyz_text
from tlpot.topology import Topology

COMPARED = ("direct", "mfcc", "mfcc2", "mfcc_mbe2", "gmfcc", "sphere")
SHOWN = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedFragments:
    """Fragments of the same name, size and charge.

    Attributes:
        name: see `tlpot.fragments.fragment_type`.
        n_atoms: caps included.
        n_caps: hydrogen caps.
        charge: e.
        coefficients: one for each fragment.
    """

    name: str
    n_atoms: int
    n_caps: int
    charge: int
    coefficients: tuple[float, ...]

    def coefficient_text(self) -> str:
        """Returns such as ``+1, −1 (3 times), +0.42``."""
        counts = Counter(f"{c:+.3g}".replace("-", "−") for c in self.coefficients)
        if len(counts) == 1:
            return next(iter(counts))
        texts = [text + (f" ({n} times)" if n > 1 else "") for text, n in counts.items()]
        return ", ".join(texts[:4]) + (", ..." if len(texts) > 4 else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A structure cut by a scheme, and the cost of others.

    Attributes:
        name: of the scheme, as the user wrote it.
        cut: by that scheme.
        others: by other schemes, by name.
    """

    name: str
    cut: Cut
    others: dict[str, Cut]

    @classmethod
    def make(cls, name: str, cut: Cut, compared: Sequence[str] = COMPARED) -> Listing:
        """Cuts the structure with the default settings of the other schemes too."""
        others = {
            other: Cut.make(cut.topology, choose_scheme(other), cut.positions, cut.lattice)
            for other in compared
            if other != name
        }
        return cls(name=name, cut=cut, others=others)

    @property
    def kinds(self) -> tuple[ListedFragments, ...]:
        """Fragments by kind, the largest first."""
        found: dict[tuple[str, int, int, int], list[float]] = {}
        cut = self.cut
        for name, fragment, c in zip(cut.names, cut.fragments, cut.coefficients, strict=True):
            key = (name, len(fragment), len(fragment.host), fragment.charge)
            found.setdefault(key, []).append(float(c))
        made = [
            ListedFragments(name=n, n_atoms=a, n_caps=h, charge=q, coefficients=tuple(cs))
            for (n, a, h, q), cs in found.items()
        ]
        return tuple(sorted(made, key=lambda k: (-k.n_atoms, k.name)))

    def as_json(self) -> dict[str, Any]:
        """Returns plain dicts."""
        return {
            "scheme": self.name,
            "settings": to_mapping(self.cut.scheme),
            "residues": _residues(self.cut.topology),
            "charge": self.cut.topology.charge,
            "fragments": [to_mapping(kind) for kind in self.kinds],
            "cost": {
                name: _cost(cut) for name, cut in {self.name: self.cut, **self.others}.items()
            },
        }

    def text(self, *, shown: int | None = SHOWN) -> str:
        """Returns all tables; `shown` kinds of fragments at most, None for all."""
        topology = self.cut.topology
        counted = (
            f"{len(topology.atomic_numbers)} atoms, {len(topology.bonds)} bonds and charge "
            f"{charge_text(topology.charge)} count once each, and caps cancel"
        )
        return "\n\n".join(
            [topology.summary(), self._fragments(shown), f"conserved: {counted}", self._costs()]
        )

    def _fragments(self, shown: int | None) -> str:
        kinds, cut = self.kinds, self.cut
        settings = ", ".join(f"{k}={v}" for k, v in to_mapping(cut.scheme).items())
        lines = [
            f"scheme {self.name}" + (f" ({settings})" if settings else "") + f": "
            f"{len(cut.fragments)} fragments of {len(kinds)} kinds, {cut.cost:.1f} atoms evaluated "
            "per atom",
        ]
        listed = kinds if shown is None else kinds[:shown]
        columns = "number | atoms | caps | charge | fragment, and its coefficients"
        rows = []
        for kind in listed:
            words = f"{kind.name}  {kind.coefficient_text()}"
            sizes = len(kind.coefficients), kind.n_atoms, kind.n_caps
            rows.append((*sizes, charge_text(kind.charge), words))
        lines += Table(columns, rows, widths=(8, 0)).lines()
        if len(listed) < len(kinds):
            lines.append(f"{'...':>8} {len(kinds) - len(listed)} more kinds (--all lists them)")
        return "\n".join(lines)

    def _costs(self) -> str:
        rows = [
            (name, len(c.fragments), c.sizes.max(), c.n_charged, c.cost, c.scheme.summary)
            for name, c in {self.name: self.cut, **self.others}.items()
        ]
        columns = "scheme | fragments | largest | charged | cost | "
        table = Table(columns, rows, format=".1f", widths=(10, 8))
        note = "cost: atoms evaluated per atom; largest: atoms; charged: fragments"
        return "\n".join([*table.lines(), note])


def charge_text(charge: int) -> str:
    """Returns such as ``+1``, ``−2`` or ``0``."""
    return f"{charge:+d}".replace("-", "−") if charge else "0"


def _cost(cut: Cut) -> dict[str, Any]:
    return {
        "fragments": len(cut.fragments),
        "largest": int(cut.sizes.max()),
        "charged": cut.n_charged,
        "atoms_per_atom": cut.cost,
        "smooth": bool(cut.scheme.smooth),
    }


def _residues(topology: Topology) -> list[dict[str, Any]]:
    chain_of = {r: k for k, chain in enumerate(topology.chains) for r in chain.residues}
    return [
        {
            "name": residue.name,
            "label": residue.label,
            "kind": residue.kind,
            "chain": chain_of[index],
            "charge": sum(
                topology.units[u].charge
                for u in residue.units
                if topology.units[u].residues[0] == index
            ),
            "atoms": sum(len(topology.units[u].atoms) for u in residue.units),
            "bound_to": list(residue.partners),
        }
        for index, residue in enumerate(topology.residues)
    ]


def write_fragments(cuts: Iterable[Cut], path: str | os.PathLike[str]) -> int:
    """Writes every fragment of every structure, and returns how many.

    Each has in ``info`` its charge and multiplicity (spin), its name (fragment), its coefficient
    and the number of its structure (frame); the array ``source`` holds the atom of the structure
    that each atom is, or -1 for a cap.

    Raises:
        OutputError: the file could not be written.
    """
    molecules = [atoms for frame, cut in enumerate(cuts) for atoms in _molecules(cut, frame)]
    write_text(path, extxyz_text(molecules))
    return len(molecules)


def _molecules(cut: Cut, frame: int) -> list[Atoms]:
    found = []
    for name, fragment, c in zip(cut.names, cut.fragments, cut.coefficients, strict=True):
        atoms = fragment.atoms(cut.positions, cut.lattice)
        atoms.info |= {"fragment": name, "coefficient": float(c), "frame": frame}
        caps = np.full(len(fragment.host), -1, dtype=np.int64)
        atoms.set_array("source", np.concatenate([fragment.real, caps]))
        found.append(atoms)
    return found
