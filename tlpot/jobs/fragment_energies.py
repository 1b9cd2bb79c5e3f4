"""Energies and forces of a structure from its fragments, by residue."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from tlpot.calculators import FragmentCalculator
from tlpot.files import write_text
from tlpot.models import CalculatorModel
from tlpot.presentation import Table
from tlpot.structures import extxyz_text
from tlpot.topology import Topology, residue_of


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
    energies: NDArray[np.float64]
    by_residue: NDArray[np.float64]
    forces: NDArray[np.float64]
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
