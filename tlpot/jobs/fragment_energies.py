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
from tlpot.files import atomic_file
from tlpot.models import CalculatorModel
from tlpot.presentation import Column, Table
from tlpot.structures import for_extxyz
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
        columns: list[Column | str] = [
            Column("frame", width=6), Column("energy (eV)", ".6f", width=18), "RMS force",
            "max (eV/Å)", Column("at atom", align="left"),
        ]  # fmt: skip
        rows = [
            (
                k, energy, np.sqrt(np.square(self.forces[k]).mean()), norms[k].max(),
                int(norms[k].argmax()),
            )
            for k, energy in enumerate(self.energies)
        ]  # fmt: skip
        lines = [*Table(columns, rows, format=".4f", widths=(6, 12)).lines(), ""]
        owner = residue_of(self.topology)
        energies = self.by_residue.mean(0)
        columns = [
            Column("residue", width=8), Column("name", width=10),
            Column("energy (eV)", ".6f", width=16), Column("max force (eV/Å)", ".4f", width=19),
        ]  # fmt: skip
        residues = [
            (
                residue.number(index), residue.name, energies[index],
                norms[:, owner == index].max(initial=0.0),
            )
            for index, residue in enumerate(self.topology.residues)
        ]  # fmt: skip
        lines += Table(columns, residues).lines()
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
        from ase.io import write

        labelled = []
        for frame, energy, forces in zip(frames, self.energies, self.forces, strict=True):
            copy = for_extxyz(frame)
            copy.info.setdefault("charge", self.topology.charge)
            copy.calc = SinglePointCalculator(copy, energy=float(energy), forces=forces)
            labelled.append(copy)
        with atomic_file(path) as temporary:
            write(temporary, labelled, format="extxyz")
