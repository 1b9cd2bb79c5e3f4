"""Error tables: overall, by molecule, by element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.evaluation.predictions import Predictions
from tlpot.plural import counted
from tlpot.presentation import Column, Table


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorReport:
    """Errors in meV, meV/atom, meV/Å and meV/Å³.

    Attributes:
        overall: MAE and RMSE by property.
        by_molecule: mean signed error, MAE of the energy and MAE of the forces.
        by_element: MAE and RMSE of the forces on the atoms of an element.
    """

    overall: Mapping[str, float]
    by_molecule: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    by_element: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Returns plain dicts for a JSON file."""
        return {
            "units": {
                "energy": "meV",
                "energy_per_atom": "meV/atom",
                "forces": "meV/Å",
                "stress": "meV/Å³",
            },
            "overall": dict(self.overall),
            "by_molecule": {k: dict(v) for k, v in self.by_molecule.items()},
            "by_element": {k: dict(v) for k, v in self.by_element.items()},
        }

    def text(self) -> str:
        """Returns aligned tables."""
        o = self.overall
        rows = [
            (f"  {kind.replace('_', ' ')}", o[f"{kind}_mae"], o[f"{kind}_rmse"], unit)
            for kind, unit in (
                ("energy", "meV"), ("energy_per_atom", "meV/atom"), ("forces", "meV/Å"),
                ("stress", "meV/Å³"),
            )
            if f"{kind}_mae" in o
        ]  # fmt: skip
        head = Column(counted(int(o["n_frames"]), "frame"), align="left", width=18)
        columns = [head, Column("MAE", gap=1), Column("RMSE", gap=1), Column(gap=1)]
        lines = Table(columns, rows, format=".4g", widths=(0, 10)).lines()
        lines += _table(
            "molecule",
            self.by_molecule,
            {"frames": "n_frames", "E mean": "energy_mean", "E MAE": "energy_mae",
             "F MAE": "forces_mae"},
        )  # fmt: skip
        lines += _table(
            "element", self.by_element, {"F MAE": "forces_mae", "F RMSE": "forces_rmse"}
        )
        return "\n".join(lines)


def error_report(predictions: Predictions) -> ErrorReport:
    """Summarises predictions; what has no label is passed over."""
    error = 1e3 * (predictions.energy[:, 1] - predictions.energy[:, 0])
    force = 1e3 * (predictions.forces[..., 1] - predictions.forces[..., 0])
    force_known = np.isfinite(predictions.forces[..., 0])
    known = np.isfinite(predictions.energy[:, 0])
    overall: dict[str, float] = {"n_frames": float(len(error))}
    overall |= _errors("energy", error[known])
    overall |= _errors("energy_per_atom", (error / predictions.sizes)[known])
    overall |= _errors("forces", force[force_known])
    stress = 1e3 * (predictions.stress[..., 1] - predictions.stress[..., 0])
    overall |= _errors("stress", stress[np.isfinite(predictions.stress[..., 0])])
    frame_of_atom = np.repeat(np.arange(len(error)), predictions.sizes)
    molecules: dict[str, dict[str, float]] = {}
    for name in sorted(set(predictions.groups.tolist())):
        frames = predictions.groups == name
        atoms = frames[frame_of_atom]
        row = {"n_frames": float(frames.sum())}
        row |= _errors("energy", error[frames & known])
        row |= _errors("forces", force[atoms][force_known[atoms]])
        if (frames & known).any():
            row["energy_mean"] = float(error[frames & known].mean())
        molecules[name] = row
    elements: dict[str, dict[str, float]] = {}
    for z in sorted(set(predictions.atomic_numbers.tolist())):
        atoms = predictions.atomic_numbers == z
        row = _errors("forces", force[atoms][force_known[atoms]])
        if row:
            elements[chemical_symbols[z]] = row
    return ErrorReport(overall=overall, by_molecule=molecules, by_element=elements)


def _errors(kind: str, error: NDArray[np.float64]) -> dict[str, float]:
    if not error.size:
        return {}
    return {
        f"{kind}_mae": float(np.abs(error).mean()),
        f"{kind}_rmse": float(np.sqrt(np.square(error).mean())),
    }


def _table(
    title: str, rows: Mapping[str, Mapping[str, float]], columns: Mapping[str, str]
) -> list[str]:
    shown = {k: v for k, v in columns.items() if any(v in row for row in rows.values())}
    if not shown:
        return []
    cells = [
        [name, *(int(row[key]) if key == "n_frames" else row.get(key) for key in shown.values())]
        for name, row in rows.items()
    ]
    table = Table(
        [title, *(Column(name, gap=1) for name in shown)],
        cells,
        format=".4g",
        missing="-",
        widths=(0, 10),
        indent=2,
    )
    return ["", *table.lines()]
