"""All that is known of a force field, section by section."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tlpot.config import check_least, to_mapping
from tlpot.dynamics import MDSettings, Motion
from tlpot.learning_curves import Curve
from tlpot.presentation import Result
from tlpot.reports.error_budget_report import BudgetReport
from tlpot.reports.kind_errors import StageErrors, error_text
from tlpot.reports.provenance import CostRow, DataRow, Provenance
from tlpot.reports.ramachandran import Ramachandran


@dataclass(frozen=True, kw_only=True, slots=True)
class ExaminationSettings:
    """Lengths of the runs, and what is left out.

    Attributes:
        nve_steps: of the run at constant energy; 0 for none.
        langevin_steps: of the run at constant temperature; 0 for none, and no φ and ψ.
        reference_steps: of the same run with the reference; 0 for none.
        timestep: fs.
        temperature: K.
        friction: of the Langevin runs, 1/ps.
        log_every: steps between two samples.
        seed: of velocities and noise; the reference's is the next one.
        budget: whether to measure the assembly error where there is a reference.
        title: of the page.
    """

    nve_steps: int = 1000
    langevin_steps: int = 4000
    reference_steps: int = 4000
    timestep: float = 0.5
    temperature: float = 300.0
    friction: float = 10.0
    log_every: int = 10
    seed: int = 0
    budget: bool = True
    title: str = ""

    def __post_init__(self) -> None:
        check_least(self, nve_steps=0, langevin_steps=0, reference_steps=0)
        self.run("nve", 1)  # checks the others

    def pieces(self, reference: bool) -> int:
        """Returns the number of pieces of work on each structure, with a reference or without."""
        own = bool(self.nve_steps) + bool(self.langevin_steps)
        compared = self.budget + bool(self.langevin_steps and self.reference_steps)
        return own + (compared if reference else 0)

    def run(self, ensemble: Any, steps: int) -> MDSettings:
        """Returns the settings of a run."""
        return MDSettings(
            ensemble=ensemble,
            temperature=self.temperature,
            timestep=self.timestep,
            steps=steps,
            friction=self.friction,
            seed=self.seed,
            log_every=self.log_every,
        )


FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, repr=False)
class ForceFieldReport(Result):
    """The sections; an empty one was not asked for, and the page says so.

    Attributes:
        title: of the page.
        summary: a sentence on what is reported on.
        data: see `data_used`.
        stages: errors on fragments, see `measure_stage`; in the order of the work.
        curve: learning curve.
        budgets: of the assembly, one for each test structure.
        motions: NVE and Langevin runs of the test structures.
        ramachandran: of the test structures that have φ and ψ.
        cost: of labels, and of whatever else.
        provenance: of models and data.
        skipped: why a section that was asked for is empty, by its name here.
    """

    title: str
    summary: str = ""
    data: tuple[DataRow, ...] = ()
    stages: tuple[StageErrors, ...] = ()
    curve: Curve | None = None
    budgets: tuple[BudgetReport, ...] = ()
    motions: tuple[Motion, ...] = ()
    ramachandran: tuple[Ramachandran, ...] = ()
    cost: tuple[CostRow, ...] = ()
    provenance: Provenance | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Returns all numbers as plain dicts; null for what was not asked for or is not defined.

        Errors are in meV, meV/atom and meV/Å, times in seconds; other keys name their unit.
        """
        content = {
            "format": "tlpot-force-field-report",
            "format_version": FORMAT_VERSION,
            "title": self.title,
            "summary": self.summary,
            "data": [to_mapping(row) for row in self.data] or None,
            "errors": [stage.as_json() for stage in self.stages] or None,
            "learning_curve": None if self.curve is None else to_mapping(self.curve),
            "assembly": [budget.as_json() for budget in self.budgets] or None,
            "dynamics": [motion.as_json() for motion in self.motions] or None,
            "ramachandran": [each.as_json() for each in self.ramachandran] or None,
            "cost": [to_mapping(row) for row in self.cost] or None,
            "provenance": None if self.provenance is None else self.provenance.as_json(),
            "skipped": dict(self.skipped),
        }
        return _finite(content)

    @property
    def warnings(self) -> tuple[str, ...]:
        """In which respects the model came out of its training worse than it went in."""
        if self.provenance is None:
            return ()
        return tuple(self.provenance.models[0].card.metrics.get("warnings", ()))

    def headline(self) -> str:
        """Returns what the report is on."""
        return f"{self.title}: {self.summary}" if self.summary else self.title

    def text(self) -> str:
        """Returns the errors on fragments, or what the report is on where there are none."""
        if self.stages:
            return error_text([stage.as_json() for stage in self.stages])
        return f"{self.title}\n{self.summary}"


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
