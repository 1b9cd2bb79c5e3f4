"""A learning curve from its settings to tables and picture, and what to buy by it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tlpot.config import to_mapping
from tlpot.errors import ConfigError, DataError, TLPotError
from tlpot.execution import WorkerPool
from tlpot.files import PathLike
from tlpot.labelling import cost_ratio, label_costs
from tlpot.learning_curves.budget import Prices
from tlpot.learning_curves.config import CurveConfig
from tlpot.learning_curves.curve import run_curve
from tlpot.learning_curves.ensembles import CurveEnsembles, check_ensembles, curve_ensembles
from tlpot.learning_curves.plan import Plan, make_plan
from tlpot.learning_curves.power_law import Law
from tlpot.learning_curves.record import Curve, load_curve
from tlpot.learning_curves.report import CurveReport, analyse, curve_figure, save_reports
from tlpot.learning_curves.tasks import curve_tasks
from tlpot.numbers import counted
from tlpot.presentation import Result, drawn, save_picture
from tlpot.targets import is_property, unit_ratio
from tlpot.units import energy_factor, force_factor, stress_factor

_ERROR = re.compile(r"(?P<number>(\d+\.?\d*|\.\d+)(e[-+]?\d+)?)(?P<unit>\D.*)?", re.IGNORECASE)
"""An error to reach, with or without a unit."""

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = "curve.png"
_SHOWN = ("energy_mae", "forces_mae", "property_mae")
"""Errors that are printed and drawn; the files have all."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class LearningCurve(Result):
    """A measured learning curve with its laws.

    Attributes:
        folder: where it is kept, and goes on.
        curve: the measurements.
        reports: by error, such as ``energy_mae``: tables and laws.
        ensembles: what the seeds are worth together, if that was asked for.
        todo: what would be measured, where it was only asked for that.
    """

    folder: Path
    curve: Curve
    reports: Mapping[str, CurveReport]
    ensembles: CurveEnsembles | None = None
    todo: tuple[str, ...] = ()

    @property
    def laws(self) -> dict[str, Mapping[str, Law]]:
        """Laws by error and strategy."""
        return {quantity: report.laws for quantity, report in self.reports.items()}

    @property
    def failures(self) -> list[str]:
        """What went wrong with points that could not be measured, see `advice`."""
        return [
            f"{failure.label}, {failure.size} labels, seed {failure.seed}: {failure.error}"
            for failure in self.curve.failures
        ]

    @property
    def advice(self) -> str:
        """What to do about the points that failed; empty if none did."""
        failed = self.curve.failures
        recurring = sum(failure.recurs for failure in failed)
        once_more = "the same command tries them again"
        what = f"{counted(len(failed), 'point')} failed, see above"
        if not recurring:
            return f"{what}; {once_more}" if failed else ""
        which = "these" if recurring == len(failed) else f"{recurring} of these"
        others = f", and {once_more.replace('them', 'the others')}" * (recurring < len(failed))
        return (
            f"{what}; the same subset of labels would fail again in {which}{others}: begin with a "
            "larger size or leave the size out (--sizes), take "
            "other seeds (split.seed=..., another -o), or mend the settings that are named"
        )

    def headline(self) -> str:
        """Returns what was measured."""
        names = ", ".join(series.label for series in self.curve.series)
        return f"{self.folder}: {self.curve.level}, {names}{', not measured' * bool(self.todo)}"

    def text(self) -> str:
        """Returns the tables of energies and forces."""
        if self.todo:
            return "\n".join(self.todo)
        blocks = [report.text() for report in self._shown.values()]
        if self.reports:
            blocks.append(
                f"picture {self.folder / PICTURE}, all errors in {self.folder / 'report.txt'}"
            )
        if self.ensembles is not None:
            blocks.append(self.ensembles.text())
        if self.failures:
            blocks.append("\n".join(f"failed: {failure}" for failure in self.failures))
        return "\n\n".join(blocks)

    def as_json(self) -> dict[str, Any]:
        """Returns points and laws as plain values."""
        return {
            "curve": to_mapping(self.curve),
            "reports": {quantity: report.as_json() for quantity, report in self.reports.items()},
            "ensembles": None if self.ensembles is None else to_mapping(self.ensembles),
        }

    def plot(self, path: PathLike | None = None) -> Figure:
        """Returns the picture of energies and forces, and writes it to `path`.

        Raises:
            ConfigError: there is nothing to draw.
            OutputError: the file could not be written.
        """
        if not self._shown:
            raise ConfigError(f"{self.folder}: there are no points to draw")
        return drawn(curve_figure(self._shown), path)

    def plan(
        self,
        *,
        target: float | str | None = None,
        budget: float | None = None,
        cost_ratio: float | None = None,
        quantity: str = "energy_mae",
        pretraining_paid: bool = False,
        have: int = 0,
    ) -> Plan | CurveReport:
        """Returns what to buy; see `tlpot.plan`."""
        wanted = Wanted(
            target=target, budget=budget, cost_ratio=cost_ratio, quantity=quantity,
            pretraining_paid=pretraining_paid,
            have=have,
        )  # fmt: skip
        return plan_purchase(self, wanted)

    @property
    def _shown(self) -> dict[str, CurveReport]:
        return {name: self.reports[name] for name in _SHOWN if name in self.reports}


def measure_curve(
    config: CurveConfig,
    *,
    ensembles: bool = False,
    workers: int = 1,
    executor: Executor | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    device: str | torch.device | None = None,
) -> LearningCurve:
    """Measures a curve; `tlpot.learning_curve` says what the arguments are.

    Raises:
        TLPotError: something is wrong with the parents, the data or the settings.
        KeyboardInterrupt: what was measured until then is kept.
    """
    if workers < 1:
        raise ConfigError(f"workers (--workers) is {workers}, expected 1 or more")
    if ensembles:
        check_ensembles(config)
    if dry_run:
        return _planned(config, device)
    with ExitStack() as stack:
        in_flight = None
        if executor is None and workers > 1:
            executor, in_flight = stack.enter_context(WorkerPool(workers)), workers
        curve = run_curve(
            config, executor=executor, in_flight=in_flight, device=device, overwrite=overwrite
        )
    found = LearningCurve(
        folder=config.output,
        curve=curve,
        reports={q: analyse(curve, q) for q in curve.quantities()},
    )
    if found.reports:  # else all points failed
        save_reports(found.reports, config.output)
        save_picture(found.plot(), config.output / PICTURE)
    if not ensembles:
        return found
    joined = curve_ensembles(config, device=device)
    joined.save(config.output)
    return LearningCurve(folder=found.folder, curve=curve, reports=found.reports, ensembles=joined)


def _planned(config: CurveConfig, device: str | torch.device | None) -> LearningCurve:
    plan = curve_tasks(config, device=device)
    lines = []
    for series in plan.series:
        here = sum(task.file.exists() for task in series.tasks)
        updates = sum(task.updates for task in series.tasks)
        lines.append(f"{series.label}: {len(series.tasks)} points, {here} there, {updates} updates")
    curve = Curve(
        level=plan.level,
        n_validation=len(plan.split.validation),
        n_test=len(plan.split.test),
        series=(),
        config=to_mapping(config),
    )
    return LearningCurve(folder=config.output, curve=curve, reports={}, todo=tuple(lines))


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a plan is for; `tlpot.plan` says what the fields are."""

    target: float | str | None = None
    budget: float | None = None
    cost_ratio: float | None = None
    cost_from: Sequence[PathLike] | None = None
    levels: tuple[str, str] | None = None
    quantity: str = "energy_mae"
    pretraining_paid: bool = False
    have: int = 0
    pretraining: PathLike | Curve | LearningCurve | None = None
    fit_up_to: int | None = None


def plan_purchase(curve: PathLike | Curve | LearningCurve, wanted: Wanted) -> Plan | CurveReport:
    """Plans what to buy, or tests the forecasts of the laws; see `tlpot.plan`.

    Raises:
        TLPotError: there is no such curve, or something is wrong with the terms.
    """
    measured, folder = _measured(curve)
    if wanted.fit_up_to is not None:
        if wanted.target is not None or wanted.budget is not None:
            raise ConfigError(
                "fit_up_to (--fit-up-to) tests the forecasts; it does not go with a plan"
            )
        return analyse(measured, wanted.quantity, up_to=wanted.fit_up_to)
    ratio, basis = _cost_ratio(wanted)
    target = wanted.target
    prices = Prices(
        cost_ratio=ratio,
        target=None if target is None else error_to_reach(target, measured, wanted.quantity),
        budget=wanted.budget,
        pretraining_paid=wanted.pretraining_paid,
        have=wanted.have,
        basis=basis,
    )
    pretraining = None if wanted.pretraining is None else _measured(wanted.pretraining)[0]
    return make_plan(measured, wanted.quantity, prices, pretraining=pretraining, folder=folder)


def _measured(curve: PathLike | Curve | LearningCurve) -> tuple[Curve, Path | None]:
    if isinstance(curve, LearningCurve):
        return curve.curve, curve.folder
    if isinstance(curve, Curve):
        return curve, None
    return load_curve(Path(curve)), Path(curve)


def _cost_ratio(wanted: Wanted) -> tuple[float, str]:
    """Returns the price as given, or as measured and then how."""
    if (wanted.cost_from is None) != (wanted.levels is None):
        raise ConfigError("--cost-from FILE and --levels EXPENSIVE CHEAP go together")
    if wanted.cost_from is None or wanted.levels is None:
        if wanted.cost_ratio is None:
            raise ConfigError(
                "--cost-ratio is needed: how many cheap labels one expensive one costs; or "
                "--cost-from FILE --levels EXPENSIVE CHEAP, where tlpot label has measured it"
            )
        return float(wanted.cost_ratio), ""
    if wanted.cost_ratio is not None:
        raise ConfigError("give --cost-ratio or --cost-from, not both")
    costs = label_costs([Path(file) for file in wanted.cost_from])
    high, low = wanted.levels
    ratio, n_both = cost_ratio(costs, high, low)
    basis = f"{n_both} geometries with both" if n_both else "the medians of different geometries"
    return ratio, f"one label at {high} costs {ratio:.4g} at {low} ({basis})"


def error_to_reach(target: float | str, curve: Curve, quantity: str) -> float:
    """Reads an error in eV and Å, or with a unit, and returns it in meV; a property's in its unit.

    Raises:
        ConfigError: no number, or a unit that the error has not.
    """
    found = _ERROR.fullmatch(str(target).strip())
    own = curve.unit or "its unit" if is_property(curve.level) else "eV and Å"
    if found is None:
        raise ConfigError(
            f"target (--target) is {target!r}; expected a number in {own}, or one with its unit "
            "such as 50meV, 1kcal/mol or 50meV/Å"
        )
    number, unit = float(found["number"]), (found["unit"] or "").strip()
    try:
        if is_property(curve.level):
            return number * unit_ratio(unit, curve.unit, "target") if unit else number
        return number * _factor(unit, quantity) * 1e3
    except TLPotError as error:
        raise ConfigError(f"target (--target) is {target!r}: {error}") from None


def _factor(unit: str, quantity: str) -> float:
    """Returns the factor to eV and Å; a unit of energy alone stands for that per atom or Å, too."""
    kind = quantity.rsplit("_", 1)[0]
    if kind == "energy_per_atom":
        unit = unit.removesuffix("/atom")
    try:
        return energy_factor(unit or "ev")
    except DataError:
        others = {"forces": force_factor, "stress": stress_factor}
        if kind not in others:
            raise
        return others[kind](unit)
