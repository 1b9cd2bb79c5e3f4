"""A structure cut into fragments: the list, its cost, energies and forces by residue."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from tlpot.calculators import FragmentCalculator
from tlpot.config import to_mapping
from tlpot.files import write_text
from tlpot.fragments import (
    Fragment,
    FragmentedStructure,
    Partition,
    Scheme,
    check_closed_shells,
    check_coverage,
    choose_scheme,
    fragment_name,
)
from tlpot.models import CalculatorModel
from tlpot.numbers import Floats, Ints, counted
from tlpot.presentation import Table
from tlpot.structures import extxyz_text
from tlpot.topology import Lattice, Topology, residue_of

_NOTHING = 1e-12
"""A coefficient below this is rounding."""

COMPARED = ("direct", "mfcc", "mfcc2", "mfcc_mbe2", "gmfcc", "sphere")
SHOWN = 30


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The fragments of one structure at its positions.

    Attributes:
        topology: of the structure.
        scheme: that lists the fragments.
        positions: [n_atoms, 3], Å, of whole molecules.
        lattice: of a periodic structure.
        fragments: those with a coefficient other than 0.
        coefficients: [n_fragments].
    """

    topology: Topology
    scheme: Scheme
    positions: Floats
    fragments: tuple[Fragment, ...]
    coefficients: Floats
    lattice: Lattice | None = None

    @classmethod
    def make(
        cls,
        topology: Topology,
        scheme: Scheme,
        positions: Floats,
        lattice: Lattice | None = None,
    ) -> Cut:
        """Cuts a structure, and checks that everything in it counts once.

        Raises:
            GeometryError: a bond is broken, or something does not add up.
        """
        prepared = FragmentedStructure(topology, scheme, skin=0.0)
        positions = prepared.whole(positions, lattice)
        prepared.check_bonds(positions)
        partition = prepared.partition(positions, lattice)
        check_coverage(prepared.cutter, partition.expansion)
        coefficients = used_coefficients(partition, positions, lattice)
        used = np.flatnonzero(coefficients)
        fragments = partition.batch.assembly.fragments
        return cls(
            topology=topology,
            scheme=scheme,
            positions=positions,
            fragments=tuple(fragments[k] for k in used),
            coefficients=coefficients[used],
            lattice=lattice,
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the fragments, [n_fragments]."""
        return tuple(fragment_name(self.topology, f.units) for f in self.fragments)

    @cached_property
    def sizes(self) -> Ints:
        """Atoms of the fragments with their caps, [n_fragments]."""
        return np.array([len(f) for f in self.fragments], dtype=np.int64)

    @property
    def cost(self) -> float:
        """Atoms evaluated per atom of the structure."""
        return float(self.sizes.sum() / len(self.positions))

    @property
    def n_charged(self) -> int:
        """Number of fragments with a charge."""
        return sum(f.charge != 0 for f in self.fragments)

    @cached_property
    def coverage(self) -> Floats:
        """Mean of Σ c [a and b in f] over atoms a, b of two residues, [n_residues, n_residues].

        1 where fragments have all of both residues together, 0 where they never meet.
        """
        from scipy import sparse

        topology = self.topology
        rows = np.concatenate([np.full(len(f.real), k) for k, f in enumerate(self.fragments)])
        columns = residue_of(topology)[np.concatenate([f.real for f in self.fragments])]
        shape = (len(self.fragments), len(topology.residues))
        counts = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
        together = (counts.T @ sparse.diags_array(self.coefficients) @ counts).toarray()
        sizes = np.bincount(residue_of(topology), minlength=shape[1])
        found: Floats = together / np.maximum(np.outer(sizes, sizes), 1)
        return found


def used_coefficients(
    partition: Partition, positions: Floats, lattice: Lattice | None = None
) -> Floats:
    """Returns the coefficients at some positions, [n_fragments], rounding set to 0."""
    cell = None if lattice is None else torch.from_numpy(lattice.vectors)
    where = torch.from_numpy(positions)
    found: Floats = partition.coefficients(where, cell).numpy().copy()
    found[np.abs(found) < _NOTHING] = 0.0
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class SinglePoints:
    """What the fragments give for each frame.

    Attributes:
        topology: of all frames.
        energies: [n_frames], eV.
        by_residue: [n_frames, n_residues], eV; they sum to `energies`.
        forces: [n_frames, n_atoms, 3], eV/Å.
        shared: the model knows no energies of atoms, so those of each fragment are shared
            evenly and say little about residues.
    """

    topology: Topology
    energies: Floats
    by_residue: Floats
    forces: Floats
    shared: bool

    @classmethod
    def compute(cls, frames: Sequence[Atoms], calculator: FragmentCalculator) -> SinglePoints:
        """Evaluates all frames.

        Raises:
            TLPotError: see `FragmentCalculator.calculate`.
        """
        topology = calculator.topology
        owner, n_residues = residue_of(topology), len(topology.residues)
        energies, by_residue, forces = [], [], []
        for frame in frames:
            calculator.calculate(frame, ("energy", "forces"))
            found = calculator.results
            energies.append(found["energy"])
            by_residue.append(np.bincount(owner, found["energies"], minlength=n_residues))
            forces.append(found["forces"])
        return cls(
            topology=topology,
            energies=np.array(energies, dtype=np.float64),
            by_residue=np.array(by_residue, dtype=np.float64),
            forces=np.array(forces, dtype=np.float64),
            shared=isinstance(calculator.force_field.high, CalculatorModel),
        )

    def as_json(self) -> dict[str, Any]:
        """Returns plain lists; eV and eV/Å."""
        return {
            "energy": self.energies.tolist(),
            "energy_by_residue": self.by_residue.tolist(),
            "forces": self.forces.tolist(),
        }

    def text(self) -> str:
        """Returns energies and forces, then a table of residues (means over frames)."""
        norms = np.linalg.norm(self.forces, axis=2)
        rms = np.sqrt(np.square(self.forces).mean(axis=(1, 2)))
        frames = [
            (k, f"{energy:.6f}", rms[k], norms[k].max(), int(norms[k].argmax()))
            for k, energy in enumerate(self.energies)
        ]
        columns = "frame | energy (eV) | RMS force | max (eV/Å) | at atom"
        lines = [*Table(columns, frames, format=".4f", widths=(6, 12)).lines(), ""]
        owner = residue_of(self.topology)
        energies = self.by_residue.mean(0)
        rows = []
        for index, residue in enumerate(self.topology.residues):
            most = norms[:, owner == index].max(initial=0.0)
            rows.append((residue.number(index), residue.name, f"{energies[index]:.6f}", most))
        columns = "residue | name | energy (eV) | max force (eV/Å)"
        lines += Table(columns, rows, format=".4f", widths=(8, 10)).lines()
        if self.shared:
            lines.append(
                "note: this model has no energies of atoms; that of a fragment is shared evenly"
            )
        return "\n".join(lines)

    def write_forces(self, frames: Sequence[Atoms], path: str | os.PathLike[str]) -> None:
        """Writes the frames with energies and forces as extended XYZ.

        Raises:
            OutputError: the file could not be written.
        """
        labelled = []
        for frame, energy, forces in zip(frames, self.energies, self.forces, strict=True):
            copy = frame.copy()
            copy.info.setdefault("charge", self.topology.charge)
            copy.calc = SinglePointCalculator(copy, energy=float(energy), forces=forces)
            labelled.append(copy)
        write_text(path, extxyz_text(labelled))


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
            f"{counted(len(cut.fragments), 'fragment')} of {counted(len(kinds), 'kind')}, "
            f"{cut.cost:.1f} atoms evaluated per atom",
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
        GeometryError: a fragment that is no singlet.
        OutputError: the file could not be written.
    """
    cuts = list(cuts)
    for cut in cuts:
        check_closed_shells(cut.topology, cut.fragments)
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
