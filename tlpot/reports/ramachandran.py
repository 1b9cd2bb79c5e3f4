"""Where the backbone goes with the force field, and with the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tlpot.dynamics import Motion
from tlpot.numbers import Floats
from tlpot.topology import Topology, dihedral_angles, dihedrals

CELL = 30.0
"""Degrees; cells of the densities that are compared."""
_SETTLED = 0.1
"""Share of a run that is left out at its start."""


@dataclass(frozen=True, kw_only=True)
class AngleRun:
    """The backbone angles of one run.

    Attributes:
        calculator: name of what computed the forces.
        picoseconds: length of the run, of which the first tenth is left out.
        angles: φ and ψ, [n_samples, n_residues, 2], degrees.
        broken: what broke, empty if nothing did.
    """

    calculator: str
    picoseconds: float
    angles: Floats
    broken: str = ""

    @classmethod
    def of(cls, motion: Motion, topology: Topology) -> AngleRun:
        """Takes the angles of a run."""
        pairs = [(d.phi, d.psi) for d in complete(topology)]
        begun = int(_SETTLED * len(motion.positions))
        quads = np.array(pairs, dtype=np.int64).reshape(-1, 4)
        angles = dihedral_angles(motion.positions[begun:], quads)
        return cls(
            calculator=motion.calculator,
            picoseconds=motion.picoseconds,
            angles=angles.reshape(len(angles), -1, 2),
            broken=motion.broken,
        )

    @property
    def halves(self) -> float:
        """Overlap of the densities of the first and the second half, 0 to 1."""
        middle = len(self.angles) // 2
        return overlap(self.angles[:middle], self.angles[middle:])

    def as_json(self) -> dict[str, Any]:
        """Returns plain lists."""
        return {
            "calculator": self.calculator,
            "picoseconds": self.picoseconds,
            "broken": self.broken or None,
            "overlap_of_halves": self.halves,
            "phi_psi_degrees": np.round(self.angles, 2).tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class Ramachandran:
    """Two runs of one structure.

    Attributes:
        structure: its name.
        residues: names of the amino acids that have both angles.
        force_field: the run with the force field.
        reference: the run with the reference; None if none was asked for.
        start: φ and ψ at the start, [n_residues, 2], degrees.
    """

    structure: str
    residues: tuple[str, ...]
    force_field: AngleRun
    reference: AngleRun | None
    start: Floats

    @property
    def agreement(self) -> float:
        """Overlap of the two densities, 0 to 1; NaN without a reference."""
        if self.reference is None:
            return float("nan")
        return overlap(self.force_field.angles, self.reference.angles)

    def as_json(self) -> dict[str, Any]:
        """Returns plain dicts."""
        return {
            "structure": self.structure,
            "residues": list(self.residues),
            "cell_degrees": CELL,
            "start_degrees": self.start.tolist(),
            "force_field": self.force_field.as_json(),
            "reference": None if self.reference is None else self.reference.as_json(),
            "overlap": None if self.reference is None else self.agreement,
        }


def complete(topology: Topology) -> tuple[Any, ...]:
    """Returns the dihedrals of the amino acids that have both φ and ψ."""
    return tuple(d for d in dihedrals(topology) if d.phi is not None and d.psi is not None)


def compare_angles(
    force_field: Motion, reference: Motion | None, topology: Topology
) -> Ramachandran | None:
    """Compares two runs of one structure; None for one without φ and ψ."""
    both = complete(topology)
    if not both:
        return None
    quads = np.array([(d.phi, d.psi) for d in both], dtype=np.int64).reshape(-1, 4)
    return Ramachandran(
        structure=force_field.structure,
        residues=tuple(f"{d.name} {d.residue}" for d in both),
        force_field=AngleRun.of(force_field, topology),
        reference=None if reference is None else AngleRun.of(reference, topology),
        start=dihedral_angles(force_field.positions[0], quads).reshape(-1, 2),
    )


def overlap(first: Floats, second: Floats) -> float:
    """Returns Σ min(p, q) over cells of 30°, averaged over the residues; NaN without samples.

    It is 1 less the total-variation distance of the two histograms.

    Both are [n_samples, n_residues, 2], degrees, of as many samples as there are.
    """
    if not (len(first) and len(second)):
        return float("nan")
    shared = [
        np.minimum(_density(first[:, k]), _density(second[:, k])).sum()
        for k in range(first.shape[1])
    ]
    return float(np.mean(shared))


def _density(angles: Floats) -> Floats:
    side = round(360.0 / CELL)
    cells = np.floor((angles + 180.0) / CELL).astype(np.int64) % side
    counts = np.bincount(cells[:, 0] * side + cells[:, 1], minlength=side**2)
    return counts / len(angles)
