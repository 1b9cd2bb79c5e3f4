"""What the seeds of a learning curve are worth together: ensembles, and what their spread knows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from tlpot.errors import ConfigError, TLPotError
from tlpot.evaluation import error_report, predict
from tlpot.jobs import make_ensemble, parent_engine, with_engine
from tlpot.learning_curves.config import CurveConfig
from tlpot.learning_curves.record import geometric
from tlpot.learning_curves.tasks import CurveTasks, SeriesTasks, curve_tasks
from tlpot.models import Ensemble
from tlpot.numbers import mae
from tlpot.presentation import Column, Table
from tlpot.stored_results import write_json
from tlpot.uncertainty import deviations, spearman

RECORD = "ensembles.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class EnsembleRow:
    """The models of one strategy and size, which differ in seed and perhaps in subset.

    Attributes:
        label: of the series.
        size: training frames of each.
        n_members: how many models.
        kind: ``energy``, in meV, or ``forces``, in meV/Å.
        single: geometric mean over the models of the MAE of each, on the test frames.
        joined: MAE of their mean.
        std: mean standard deviation of their predictions, not calibrated.
        within: share of the errors of the mean that are within one such standard deviation.
        spearman: rank correlation of |error| and standard deviation.
    """

    label: str
    size: int
    n_members: int
    kind: str
    single: float
    joined: float
    std: float
    within: float
    spearman: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveEnsembles:
    """Ensembles of a curve.

    Attributes:
        rows: by series, size and kind.
        left_out: why there is none, by series.
    """

    rows: tuple[EnsembleRow, ...]
    left_out: dict[str, str]

    def text(self) -> str:
        """Returns a table."""
        width = max([len(row.label) for row in self.rows] + [6])
        columns = [Column(width=width), *(Column(n, f, align="right") for n, f, _ in _COLUMNS)]
        rows = [(row.label, *(getattr(row, key) for _, _, key in _COLUMNS)) for row in self.rows]
        lines = [
            "ensembles of the seeds, on the test frames; energies in meV, forces in meV/Å; σ is "
            "not calibrated",
            *Table(columns, rows, widths=(0, 12), indent=2).lines(),
        ]
        lines += [f"  {label:{width}}  none: {why}" for label, why in self.left_out.items()]
        return "\n".join(lines)

    def save(self, folder: Path) -> None:
        """Writes ``ensembles.json``.

        Raises:
            OutputError: the file could not be written.
        """
        content = {"rows": [asdict(row) for row in self.rows], "left out": self.left_out}
        write_json(folder / RECORD, content)


_COLUMNS = (
    ("labels", "", "size"),
    ("kind", "", "kind"),
    ("models", "", "n_members"),
    ("MAE of one", ".4g", "single"),
    ("of the mean", ".4g", "joined"),
    ("mean σ", ".4g", "std"),
    ("within σ", ".1%", "within"),
    ("Spearman", ".2f", "spearman"),
)
"""Headings, how the values are written, and where they are."""


def check_ensembles(config: CurveConfig) -> None:
    """Refuses a curve that will have nothing to join.

    Raises:
        ConfigError: the models are not kept, or there is only one seed.
    """
    if not config.keep_models:
        raise ConfigError("ensembles need the models of the curve; add --keep-models")
    if config.seeds < 2:
        raise ConfigError("ensembles need two seeds or more; set --seeds")


def curve_ensembles(
    config: CurveConfig, *, device: torch.device | str | None = None
) -> CurveEnsembles:
    """Joins the models of all seeds of a finished curve and looks at the spread of predictions.

    Raises:
        ConfigError: see `check_ensembles`.
    """
    check_ensembles(config)
    rows, left_out = [], {}
    plan = curve_tasks(config, device=device)
    for series in plan.series:
        try:
            rows += _rows(config, plan, series, device)
        except TLPotError as error:
            left_out[series.label] = str(error)
    return CurveEnsembles(rows=tuple(rows), left_out=left_out)


def _rows(
    config: CurveConfig, plan: CurveTasks, series: SeriesTasks, device: torch.device | str | None
) -> list[EnsembleRow]:
    dataset, test, level = config.data.open(), plan.split.test, plan.level
    rows = []
    for size in sorted(config.sizes):
        files = [task.model_file for task in series.tasks if task.size == size]
        ensemble = make_ensemble([str(file) for file in files if file is not None], device=device)
        if level not in ensemble.levels:
            raise ConfigError(
                f"its models are of {', '.join(ensemble.levels)}, and the labels of {level}; "
                "'tlpot ensemble --calibrate DATA' joins them and looks at them at that level"
            )
        if parent_engine(series.parent.path) is not None:
            ensemble = cast(Ensemble, with_engine(ensemble, series.parent.path))
        found = deviations(ensemble.at(level), dataset, test, level, device=ensemble.device)
        single = [
            error_report(predict(m.at(level), dataset, test, level, device=m.device)).overall
            for m in ensemble.potentials()
        ]
        for kind, error, std in (
            ("energy", found.energy, found.energy_std),
            ("forces", found.forces, found.forces_std),
        ):
            if len(error):
                rows.append(
                    EnsembleRow(
                        label=series.label,
                        size=size,
                        n_members=len(files),
                        kind=kind,
                        single=geometric([errors[f"{kind}_mae"] for errors in single]),
                        joined=1e3 * mae(error),
                        std=1e3 * float(std.mean()),
                        within=float((np.abs(error) <= std).mean()),
                        spearman=spearman(np.abs(error), std),
                    )
                )
    return rows
