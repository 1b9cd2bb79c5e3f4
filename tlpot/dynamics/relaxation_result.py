"""What a relaxation gave, with every number that the command line prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units

from tlpot.dynamics.relaxation import RelaxationSettings, RelaxationStep
from tlpot.dynamics.structure_change import bond_changes, rmsd
from tlpot.files import PathLike
from tlpot.numbers import Floats
from tlpot.presentation import COLOURS, Result, add_legend, drawn, make_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Relaxation(Result):
    """A relaxed structure, and how it came to be.

    Attributes:
        atoms: the last structure, with energy and forces.
        start: the first one.
        settings: as asked for.
        optimizer: that was used.
        method: the model and its level, in words.
        converged: whether no force is larger than ``settings.fmax``.
        energies: of the start and after each step, [n_steps + 1], eV.
        max_forces: largest force on an atom, [n_steps + 1], eV/Å.
        max_stress: largest deviation of a stress component from the pressure at the end, eV/Å³;
            NaN unless the cell was relaxed.
        rmsd: root mean square displacement after superposition, Å.
        broken: bonds that were lost, such as ``C0-H4 (1.09 to 2.31 Å)``.
        formed: bonds that are new.
        domain: 1 where the model was trained, 0 far away; None if it does not know.
        notes: of the reader of the structure.
        files: that were written.
    """

    atoms: Atoms
    start: Atoms
    settings: RelaxationSettings
    optimizer: str
    method: str
    converged: bool
    energies: Floats
    max_forces: Floats
    max_stress: float = math.nan
    rmsd: float
    broken: tuple[str, ...]
    formed: tuple[str, ...]
    domain: float | None = None
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @classmethod
    def of_steps(
        cls,
        start: Atoms,
        atoms: Atoms,
        settings: RelaxationSettings,
        steps: Sequence[RelaxationStep],
        *,
        method: str,
        domain: float | None = None,
        notes: Sequence[str] = (),
        files: Sequence[Path] = (),
    ) -> Relaxation:
        """Makes the result of all steps; `atoms` is where the last of them ended."""
        broken, formed = bond_changes(start, atoms)
        return cls(
            atoms=atoms,
            start=start,
            settings=settings,
            optimizer=settings.chosen(len(atoms)),
            method=method,
            converged=steps[-1].converged,
            energies=np.array([step.energy for step in steps]),
            max_forces=np.array([step.max_force for step in steps]),
            max_stress=steps[-1].max_stress,
            rmsd=rmsd(start, atoms),
            broken=broken,
            formed=formed,
            domain=domain,
            notes=tuple(notes),
            files=tuple(files),
        )

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return len(self.energies) - 1

    @property
    def energy(self) -> float:
        """Of the last structure, eV."""
        return float(self.energies[-1])

    @property
    def energy_change(self) -> float:
        """From the start to the end, eV; negative where the relaxation went downhill."""
        return float(self.energies[-1] - self.energies[0])

    @property
    def max_force(self) -> float:
        """Largest force on an atom at the end, eV/Å."""
        return float(self.max_forces[-1])

    @property
    def volume_change(self) -> float:
        """Relative change of the cell's volume; 0 without a cell."""
        before = float(self.start.cell.volume)
        return float(self.atoms.cell.volume) / before - 1.0 if before else 0.0

    @property
    def remedy(self) -> str:
        """What to do about a relaxation that is not converged; empty if it is."""
        if self.converged:
            return ""
        text = (
            f"the relaxation is not converged after {self.n_steps} steps: the largest force is "
            f"{self.max_force:.4f} eV/Å, fmax {self.settings.fmax:g}"
        )
        if self.settings.cell:
            text += f", stress {self.max_stress / units.GPa:.3f} GPa off"
        return f"{text}. Go on from the last structure, with more steps or another optimizer"

    @property
    def bond_lines(self) -> tuple[str, ...]:
        """What became of the bonds, in capitals where they changed; empty where none did."""
        broken = (f"BONDS BROKEN: {'; '.join(self.broken)}",) if self.broken else ()
        formed = (f"BONDS FORMED: {'; '.join(self.formed)}",) if self.formed else ()
        return (*broken, *formed)

    def text(self) -> str:
        """Returns a few lines for a terminal."""
        state = "converged" if self.converged else "NOT CONVERGED"
        return "\n".join(
            [
                f"{self.atoms.get_chemical_formula()}, {self.method}, {self.optimizer}",
                f"{state} after {self.n_steps} steps",
                *(f"{name:15}{value}" for name, value in self._rows()),
                *self.bond_lines,
                *([f"wrote {', '.join(map(str, self.files))}"] if self.files else []),
            ]
        )

    def _rows(self) -> list[tuple[str, str]]:
        rows = [
            ("energy", f"{self.energy:.6f} eV ({self.energy_change:+.6f} from the start)"),
            (
                "largest force",
                f"{self.max_force:.5f} eV/Å (fmax {self.settings.fmax:g}, "
                f"at the start {self.max_forces[0]:.5f})",
            ),
            ("rmsd", f"{self.rmsd:.4f} Å"),
        ]
        if self.settings.cell:
            change = 100 * self.volume_change
            rows += [
                ("volume", f"{self.atoms.cell.volume:.3f} Å³ ({change:+.2f} %)"),
                ("stress off by", f"{self.max_stress / units.GPa:.4f} GPa"),
            ]
        if self.domain is not None:
            rows.append(("domain", f"{self.domain:.3g}"))
        if not (self.broken or self.formed):
            rows.append(("bonds", "as at the start"))
        return rows

    def as_json(self) -> dict[str, Any]:
        """Returns everything as plain JSON."""
        found: dict[str, Any] = {
            "formula": self.atoms.get_chemical_formula(),
            "method": self.method,
            "optimizer": self.optimizer,
            "fmax_eV_per_A": self.settings.fmax,
            "converged": self.converged,
            "steps": self.n_steps,
            "energy_eV": self.energy,
            "energy_change_eV": self.energy_change,
            "max_force_eV_per_A": self.max_force,
            "rmsd_A": self.rmsd,
            "bonds_broken": list(self.broken),
            "bonds_formed": list(self.formed),
            "domain": self.domain,
            "symbols": list(self.atoms.symbols),
            "positions_A": self.atoms.positions.tolist(),
            "energies_eV": self.energies.tolist(),
            "max_forces_eV_per_A": self.max_forces.tolist(),
            "notes": list(self.notes),
            "files": [str(path) for path in self.files],
        }
        if self.atoms.pbc.any():
            found |= {"cell_A": self.atoms.cell.array.tolist(), "pbc": self.atoms.pbc.tolist()}
        if self.settings.cell:
            found |= {
                "pressure_bar": self.settings.pressure,
                "max_stress_eV_per_A3": self.max_stress,
                "volume_A3": float(self.atoms.cell.volume),
                "volume_change": self.volume_change,
            }
        return found

    def plot(self, path: PathLike | None = None) -> Figure:
        """Draws energy and largest force against the step, and writes the picture to `path`.

        Raises:
            OutputError: the file could not be written.
        """
        from matplotlib.ticker import MaxNLocator

        figure, panels = make_figure(6.0, 4.5, 2, 1, sharex=True)
        upper, lower = panels[:, 0]
        steps = np.arange(self.n_steps + 1)
        upper.plot(steps, self.energies - self.energies[0], color=COLOURS[0], lw=1.2)
        upper.set_ylabel("energy − first (eV)")
        title = "converged" if self.converged else "NOT CONVERGED"
        upper.set_title(f"{self.atoms.get_chemical_formula()}, {self.method}, {title}", fontsize=10)
        lower.semilogy(steps, np.maximum(self.max_forces, 1e-12), color=COLOURS[1], lw=1.2)
        lower.axhline(self.settings.fmax, color="black", lw=1.0, ls="--", label="fmax")
        lower.set_ylabel("largest force (eV/Å)")
        lower.set_xlabel("step")
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
        add_legend(lower)
        return drawn(figure, path)
