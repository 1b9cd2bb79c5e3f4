"""An error budget as text, JSON and a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import kcal, mol
from numpy.typing import NDArray

from tlpot.presentation import short
from tlpot.reports.error_budget import MODEL, SCHEME, TOTAL, Budget, Difference

KCAL = 1e3 * kcal / mol
"""1 kcal/mol in meV."""
_KINDS = 12
_OFFSET = 1e3
"""meV per atom; more is no error but another level of theory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetReport:
    """A budget with the names of what was compared; all figures are meV and meV/Å.

    Attributes:
        budget: the measurement.
        structure: what was measured.
        scheme: of the fragments, with its settings and layers.
        model: name of the model, empty without one.
        reference: name of the reference.
    """

    budget: Budget
    structure: str
    scheme: str
    model: str
    reference: str

    def energies(self, name: str) -> dict[str, float]:
        """Returns the energy errors of a part: absolute, per atom and residue, relative."""
        part = self.budget.parts[name]
        error, n_atoms, n_residues = 1e3 * part.energy, self.budget.n_atoms, self.budget.n_residues
        mae = float(np.abs(error).mean())
        found = {
            "mean": float(error.mean()),
            "mae": mae,
            "max": float(np.abs(error).max()),
            "mae_per_atom": mae / n_atoms,
            "mae_per_residue": mae / n_residues,
        }
        if len(error) > 1:
            relative = 1e3 * part.relative
            spread = float(np.abs(relative).mean())
            found |= {
                "relative_mae": spread,
                "relative_max": float(np.abs(relative).max()),
                "relative_mae_per_atom": spread / n_atoms,
                "relative_mae_per_residue": spread / n_residues,
            }
        return found

    def forces(self, name: str, mask: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Returns force errors of a part by component, of the atoms in `mask` alone."""
        return _force_statistics(self.budget.parts[name], mask)

    def by_residue(self, name: str) -> list[dict[str, Any]]:
        """Returns force errors of a part for each residue."""
        residues = self.budget.topology.residues
        return [
            {
                "residue": index,
                "name": residues[index].name,
                "label": residues[index].label,
                **self.forces(name, mask),
            }
            for index, mask in enumerate(self.budget.residue_masks())
        ]

    def by_class(self, name: str) -> dict[str, dict[str, float]]:
        """Returns force errors of a part for each class of atoms."""
        return {key: self.forces(name, mask) for key, mask in self.budget.classes.items()}

    def as_json(self) -> dict[str, Any]:
        """Returns plain dicts; meV and meV/Å."""
        budget = self.budget
        return {
            "structure": self.structure,
            "scheme": self.scheme,
            "model": self.model or None,
            "reference": self.reference,
            "n_frames": budget.n_frames,
            "n_atoms": budget.n_atoms,
            "n_residues": budget.n_residues,
            "atoms_per_atom": budget.cost,
            "parts": {
                name: {
                    "energy_by_frame": (1e3 * part.energy).tolist(),
                    "energy": self.energies(name),
                    "forces": self.forces(name),
                    "by_residue": self.by_residue(name),
                    "by_class": self.by_class(name),
                }
                for name, part in budget.parts.items()
            },
            "class_sizes": {k: float(m.sum(1).mean()) for k, m in budget.classes.items()},
            "fragments": None if budget.fragments is None else budget.fragments.by_kind(),
        }

    def text(self) -> str:
        """Returns all tables."""
        budget = self.budget
        frames = f"{budget.n_frames} frame" + ("s" if budget.n_frames > 1 else "")
        head = (
            f"error budget of {self.structure}: {frames}, {budget.n_atoms} atoms, "
            f"{budget.n_residues} residues\n"
            f"scheme {self.scheme}, {budget.cost:.1f} atoms evaluated per atom\n"
            + (f"model {self.model}, " if self.model else "no model, ")
            + f"QM is {self.reference}"
        )
        blocks = [head, self._energy_table(), self._force_table()]
        blocks += ["\n".join(self._residue_table()), "\n".join(self._fragment_table())]
        return "\n\n".join(block for block in blocks if block) + "\n"

    def _energy_table(self) -> str:
        several = self.budget.n_frames > 1
        lines = [
            f"{'energy error (meV)':<26}{'mean':>11}{'MAE':>11}{'per atom':>11}{'per residue':>13}"
            + (f"{'relative':>11}{'per atom':>11}" if several else "")
        ]
        for name in self.budget.parts:
            e = self.energies(name)
            line = f"{name:<26}{short(e['mean'], sign=True):>11}{short(e['mae']):>11}"
            line += f"{short(e['mae_per_atom']):>11}{short(e['mae_per_residue']):>13}"
            if several:
                line += f"{short(e['relative_mae']):>11}{short(e['relative_mae_per_atom']):>11}"
            lines.append(line)
        if several:
            lines.append("relative: MAE of differences between frames, the mean error taken off")
        kcals = (short(self.energies(name)["mae_per_residue"] / KCAL) for name in self.budget.parts)
        lines.append(f"MAE per residue in kcal/mol: {', '.join(kcals)}")
        offset = abs(self.energies(MODEL)["mean"]) if MODEL in self.budget.parts else 0.0
        if offset > _OFFSET * self.budget.n_atoms:
            lines.append(
                "note: model and QM have different zeros of energy (other levels of theory?); "
                "compare relative energies and forces"
            )
        return "\n".join(lines)

    def _force_table(self) -> str:
        names = list(self.budget.parts)
        lines = ["force error by component (meV/Å): MAE / RMSE / max"]
        lines.append(f"{'':<17}{'atoms':>7}" + "".join(f"{name:>26}" for name in names))
        rows: dict[str, NDArray[np.bool_] | None] = {"all": None, **self.budget.classes}
        for label, mask in rows.items():
            atoms = self.budget.n_atoms if mask is None else mask.sum(1).mean()
            cells = (_triple(self.forces(name, mask)) for name in names)
            lines.append(f"{label:<17}{atoms:>7.0f}" + "".join(f"{cell:>26}" for cell in cells))
        total = self.forces(TOTAL if TOTAL in names else SCHEME)["mae"] / KCAL
        lines.append(
            f"{TOTAL if TOTAL in names else SCHEME}: force MAE {short(total)} kcal/mol/Å; an atom "
            "may be in several classes"
        )
        return "\n".join(lines)

    def _residue_table(self) -> Iterator[str]:
        names = list(self.budget.parts)
        yield f"{'residue':>8}  {'name':<8}" + "".join(f"{name:>26}" for name in names)
        tables = [self.by_residue(name) for name in names]
        residues = self.budget.topology.residues
        for index, rows in enumerate(zip(*tables, strict=True)):
            cells = (f"{_triple(row):>26}" for row in rows)
            yield f"{residues[index].number(index):>8}  {rows[0]['name']:<8}" + "".join(cells)

    def _fragment_table(self) -> Iterator[str]:
        found = self.budget.fragments
        if found is None:
            return
        force = 1e3 * found.components()
        yield (
            f"{MODEL} on {len(found.names)} single fragments, caps included: force MAE "
            f"{short(np.abs(force).mean())}, RMSE {short(np.sqrt(np.square(force).mean()))} meV/Å"
        )
        yield f"{'number':>8}{'energy':>11}{'scatter':>10}{'force MAE':>11}{'max':>9}  worst kinds"
        kinds = found.by_kind()
        for name, row in list(kinds.items())[:_KINDS]:
            yield (
                f"{row['n']:>8}{short(row['energy_mean'], sign=True):>11}"
                f"{short(row['energy_std']):>10}{short(row['force_mae']):>11}"
                f"{short(row['force_max']):>9}  {name}"
            )
        if len(kinds) > _KINDS:
            yield f"{'...':>8} {len(kinds) - _KINDS} more kinds (all in the JSON file)"


def _force_statistics(part: Difference, mask: NDArray[np.bool_] | None = None) -> dict[str, float]:
    forces = 1e3 * part.forces
    if mask is not None:
        forces = forces[np.broadcast_to(mask, forces.shape[:2])]
    if not forces.size:
        return {"mae": float("nan"), "rmse": float("nan"), "max": float("nan")}
    size = np.abs(forces)
    return {
        "mae": float(size.mean()),
        "rmse": float(np.sqrt(np.square(size).mean())),
        "max": float(size.max()),
    }


def _triple(row: dict[str, Any]) -> str:
    return " / ".join(short(row[key]) for key in ("mae", "rmse", "max"))
