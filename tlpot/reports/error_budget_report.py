"""An error budget as text, JSON and a picture: forces by residue and class, energies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tlpot.files import PathLike
from tlpot.numbers import Bools, counted, mae, rmse, short, signed
from tlpot.presentation import (
    COLOURS,
    Column,
    Result,
    Table,
    add_legend,
    drawn,
    letter_panels,
    make_figure,
)
from tlpot.reports.error_budget import KCAL, MODEL, SCHEME, TOTAL, Budget, Difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_signed = partial(short, sign=True)
_COLOURS = {MODEL: COLOURS[0], SCHEME: COLOURS[1], TOTAL: "0.25"}
_KINDS = 12
_OFFSET = 1e3
"""meV per atom; more is no error but another level of theory."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class BudgetReport(Result):
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

    @property
    def frames(self) -> str:
        """How many frames there are, in words."""
        return counted(self.budget.n_frames, "frame")

    def energies(self, name: str) -> dict[str, float]:
        """Returns the energy errors of a part: absolute, per atom and residue, relative."""
        part = self.budget.parts[name]
        error, n_atoms, n_residues = 1e3 * part.energy, self.budget.n_atoms, self.budget.n_residues
        found = {"mean": float(error.mean())}
        several = [("", error)] + [("relative_", 1e3 * part.relative)] * (len(error) > 1)
        for kind, errors in several:
            found[f"{kind}mae"] = mae(errors)
            found[f"{kind}max"] = float(np.abs(errors).max())
            found[f"{kind}mae_per_atom"] = mae(errors) / n_atoms
            found[f"{kind}mae_per_residue"] = mae(errors) / n_residues
        return found

    def forces(self, name: str, mask: Bools | None = None) -> dict[str, float]:
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

    def plot(self, path: PathLike | None = None) -> Figure:
        """Returns the picture, and writes it to `path`.

        Raises:
            OutputError: the file could not be written.
        """
        return drawn(budget_figure(self), path)

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
        head = (
            f"error budget of {self.structure}: {self.frames}, {budget.n_atoms} atoms, "
            f"{budget.n_residues} residues\n"
            f"scheme {self.scheme}, {budget.cost:.1f} atoms evaluated per atom\n"
            + (f"model {self.model}, " if self.model else "no model, ")
            + f"QM is {self.reference}"
        )
        blocks = [head, self._energy_table(), self._force_table()]
        blocks += [self._residue_table(), self._fragment_table()]
        return "\n\n".join(block for block in blocks if block) + "\n"

    def _energy_table(self) -> str:
        several = self.budget.n_frames > 1
        keys = ["mean", "mae", "mae_per_atom", "mae_per_residue"]
        columns = ["MAE", "per atom", "per residue"]
        if several:
            keys += ["relative_mae", "relative_mae_per_atom"]
            columns += ["relative", "per atom"]
        parts = {name: self.energies(name) for name in self.budget.parts}
        lines = Table(
            ["energy error (meV)", Column("mean", _signed), *columns],
            [(name, *(e[k] for k in keys)) for name, e in parts.items()],
            format=short,
            widths=(26, 11),
        ).lines()
        if several:
            lines.append("relative: MAE of differences between frames, the mean error taken off")
        kcals = (short(e["mae_per_residue"] / KCAL) for e in parts.values())
        lines.append(f"MAE per residue in kcal/mol: {', '.join(kcals)}")
        offset = abs(parts[MODEL]["mean"]) if MODEL in parts else 0.0
        if offset > _OFFSET * self.budget.n_atoms:
            lines.append(
                "note: model and QM have different zeros of energy (other levels of theory?); "
                "compare relative energies and forces"
            )
        return "\n".join(lines)

    def _triples(self) -> list[Column]:
        """A column of force errors for each part."""
        return [Column(name, _triple, width=26) for name in self.budget.parts]

    def _force_table(self) -> str:
        names = list(self.budget.parts)
        masks: dict[str, Bools | None] = {"all": None, **self.budget.classes}
        rows = [
            (
                label,
                self.budget.n_atoms if mask is None else mask.sum(1).mean(),
                *(self.forces(name, mask) for name in names),
            )
            for label, mask in masks.items()
        ]
        columns = [Column(width=17), Column("atoms", ".0f", width=7), *self._triples()]
        last = TOTAL if TOTAL in names else SCHEME
        total = short(self.forces(last)["mae"] / KCAL)
        return "\n".join(
            [
                "force error by component (meV/Å): MAE / RMSE / max",
                *Table(columns, rows).lines(),
                f"{last}: force MAE {total} kcal/mol/Å; an atom may be in several classes",
            ]
        )

    def _residue_table(self) -> str:
        tables = [self.by_residue(name) for name in self.budget.parts]
        residues = self.budget.topology.residues
        rows = [
            (residues[index].number(index), row[0]["name"], *row)
            for index, row in enumerate(zip(*tables, strict=True))
        ]
        columns = [Column("residue", width=8), Column("name", width=10), *self._triples()]
        return Table(columns, rows).text()

    def _fragment_table(self) -> str:
        found = self.budget.fragments
        if found is None:
            return ""
        force = 1e3 * found.components()
        kinds = found.by_kind()
        columns: list[Column | str] = [
            Column("number", width=8), Column("energy", _signed, width=11), "scatter", "force MAE",
            "max", "worst kinds",
        ]  # fmt: skip
        keys = ("n", "energy_mean", "energy_std", "force_mae", "force_max")
        rows = [(*(row[k] for k in keys), name) for name, row in list(kinds.items())[:_KINDS]]
        lines = [
            f"{MODEL} on {len(found.names)} single fragments, caps included: force MAE "
            f"{short(mae(force))}, RMSE {short(rmse(force))} meV/Å",
            *Table(columns, rows, format=short, widths=(8, 9)).lines(),
        ]
        if len(kinds) > _KINDS:
            lines.append(f"{'...':>8} {len(kinds) - _KINDS} more kinds (all in the JSON file)")
        return "\n".join(lines)


def _force_statistics(part: Difference, mask: Bools | None = None) -> dict[str, float]:
    forces = 1e3 * part.forces
    if mask is not None:
        forces = forces[np.broadcast_to(mask, forces.shape[:2])]
    largest = float(np.abs(forces).max()) if forces.size else float("nan")
    return {"mae": mae(forces), "rmse": rmse(forces), "max": largest}


def _triple(row: dict[str, Any]) -> str:
    return " / ".join(short(row[key]) for key in ("mae", "rmse", "max"))


def budget_figure(report: BudgetReport) -> Figure:
    """Returns four panels: forces by residue and class, their distribution, energies."""
    model = f"{report.model}, " if report.model else ""
    title = f"{report.structure}, {report.frames}: {model}{report.scheme}; QM is {report.reference}"
    figure, panels = make_figure(10.4, 7.6, 2, 2, title=title)
    for draw, axes in zip((_residues, _classes, _spread, _energies), panels.ravel(), strict=True):
        draw(axes, report)
    letter_panels(panels.ravel())
    return figure


def _residues(axes: Axes, report: BudgetReport) -> None:
    axes.set_title("forces by residue")
    residues = report.budget.topology.residues
    where = np.arange(len(residues))
    for name in report.budget.parts:
        errors = [row["mae"] for row in report.by_residue(name)]
        axes.plot(where, errors, "o-", color=_COLOURS[name], ms=4, lw=1.2, label=name)
    step = max(1, len(residues) // 24)
    names = [f"{residues[k].name} {residues[k].number(k)}" for k in where[::step]]
    axes.set_xticks(where[::step], names, rotation=90, fontsize=7)
    axes.set_ylabel("force MAE (meV/Å)")
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    add_legend(axes, loc="upper left", ncols=2)


def _classes(axes: Axes, report: BudgetReport) -> None:
    axes.set_title("forces by class of atom")
    names = list(report.budget.parts)
    classes = [None, *report.budget.classes]
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        errors = [
            report.forces(name, None if c is None else report.budget.classes[c])["mae"]
            for c in classes
        ]
        shift = (k - 0.5 * (len(names) - 1)) * width
        bars = axes.barh(
            np.arange(len(classes)) + shift, errors, height=0.9 * width, color=_COLOURS[name]
        )
        axes.bar_label(bars, labels=[short(m) for m in errors], fontsize=7, padding=2)
    axes.set_yticks(range(len(classes)), [c or "all atoms" for c in classes], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("force MAE (meV/Å)")
    axes.set_xlim(0, 1.12 * axes.get_xlim()[1])


def _spread(axes: Axes, report: BudgetReport) -> None:
    axes.set_title("all components of the forces")
    for name, part in report.budget.parts.items():
        error = np.sort(1e3 * np.abs(part.forces).reshape(-1))
        error = np.maximum(error, 1e-3 * max(error[-1], 1e-9))
        share = 100 * np.arange(1, len(error) + 1) / len(error)
        label = f"{name}: median {short(np.median(error))}"
        axes.step(error, share, where="post", color=_COLOURS[name], label=label)
    axes.plot([KCAL] * 2, [0, 100], color="0.8", lw=1, zorder=0)
    axes.text(KCAL, 101, "1 kcal/mol/Å", color="0.5", fontsize=8, ha="center", va="bottom")
    axes.set_xscale("log")
    axes.set_ylim(0, 140)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("|error|, force component (meV/Å)")
    axes.set_ylabel("components below (%)")
    add_legend(axes, loc="upper left")


def _energies(axes: Axes, report: BudgetReport) -> None:
    from matplotlib.ticker import MaxNLocator

    budget = report.budget
    several = budget.n_frames > 1
    unit = KCAL * budget.n_residues
    axes.axhline(0, color="0.8", lw=1, zorder=0)
    if several:
        axes.set_title("energies, the mean error of all frames taken off")
        for name, part in budget.parts.items():
            mean = signed(1e3 * part.energy.mean() / unit)
            label = f"{name}: mean {mean}"
            axes.plot(
                1e3 * part.relative / unit, "o-", color=_COLOURS[name], ms=4, lw=1.2, label=label
            )
        axes.set_xlabel("frame")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.35 * (high - low))
        add_legend(axes, loc="upper left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.set_title("energy")
        values = [1e3 * part.energy[0] / unit for part in budget.parts.values()]
        names = [name.replace(" − ", " −\n") for name in budget.parts]
        bars = axes.bar(names, values, color=[_COLOURS[n] for n in budget.parts])
        axes.bar_label(bars, labels=[signed(v) for v in values], fontsize=8, padding=2)
        axes.tick_params(axis="x", labelsize=8)
        axes.margins(y=0.15)
    axes.set_ylabel("error per residue (kcal/mol)")
