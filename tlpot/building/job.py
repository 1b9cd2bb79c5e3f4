"""A build as a job: where it stands, how it is run, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from ase import Atoms

from tlpot.building.config import build_config
from tlpot.building.plan import BuildPlan, make_build_plan, up_to
from tlpot.building.runner import StageStatus, run_stages, stage_statuses, stage_table
from tlpot.building.stage import Record
from tlpot.config import job_settings, to_mapping
from tlpot.presentation import Result
from tlpot.reports import error_text

PathLike = str | os.PathLike[str]


def build_plan(
    config: str | os.PathLike[str] | Mapping[str, Any] | None,
    structures: PathLike | Sequence[PathLike] | Mapping[str, Atoms | Sequence[Atoms]] | None = None,
    **settings: Any,
) -> BuildPlan:
    """Returns what is to be done.

    Args:
        config: YAML file, or what is in one.
        structures: files, or atoms by name.
        settings: further keys; those that are not None win over `config`.

    Raises:
        TLPotError: see `make_build_plan`.
    """
    atoms = None
    if isinstance(structures, Mapping):
        atoms = {k: [v] if isinstance(v, Atoms) else list(v) for k, v in structures.items()}
    elif structures is not None:
        paths = [structures] if isinstance(structures, str | os.PathLike) else structures
        settings["structures"] = [str(path) for path in paths]
    given = job_settings(config, "build", **settings)
    return make_build_plan(build_config(given, given.where), atoms)


@dataclass(frozen=True, kw_only=True)
class BuildResult(Result):
    """A build: its stages, and what those that are done have to say.

    Attributes:
        plan: the configuration and all stages.
        statuses: where the stages stand, up to the last that was asked for.
        records: of the stages that were done or were there; none where nothing was run.
    """

    plan: BuildPlan
    statuses: tuple[StageStatus, ...]
    records: Mapping[str, Record]

    @classmethod
    def of(
        cls, plan: BuildPlan, until: str | None, records: Mapping[str, Record] | None = None
    ) -> BuildResult:
        """Looks where the stages stand.

        Raises:
            ConfigError: there is no stage `until`.
            DataError: a file about a stage is damaged.
        """
        stages = up_to(plan.stages, until)
        found = stage_statuses(stages, plan.config.output)
        return cls(plan=plan, statuses=tuple(found), records=records or {})

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Errors on fragments before and after the transfer; empty before the report is done."""
        record = self.records.get("report")
        return [] if record is None else list(record.facts["errors"])

    @property
    def snippet(self) -> str:
        """Python that uses the force field; empty before it is assembled."""
        record = self.records.get("assemble")
        return "" if record is None else str(record.facts["snippet"])

    def text(self) -> str:
        """Returns what is built and where it stands, and what came of it."""
        return "\n".join(filter(None, [self.status(), self.conclusion()]))

    def status(self) -> str:
        """Returns what is built, and a line for each stage."""
        names = ", ".join(
            f"{target.name} ({len(target.frames)} conformations)" for target in self.plan.targets
        )
        return (
            f"{names}: {self.plan.n_kinds} kinds of fragments, {self.plan.low} -> "
            f"{self.plan.high}\n{stage_table(self.statuses)}"
        )

    def conclusion(self) -> str:
        """Returns errors and how to use the force field; empty if it is not done."""
        parts = []
        if self.errors:
            parts.append("\n" + error_text(self.errors))
        if self.snippet:
            parts.append("\nthe force field of a structure `atoms`:\n\n" + self.snippet)
        return "\n".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Returns configuration, stages with times and facts, errors and the snippet."""
        return {
            "config": to_mapping(self.plan.config),
            "stages": [
                {
                    "name": one.stage.name,
                    "state": one.state,
                    "why": one.why,
                    "seconds": None if one.record is None else one.record.seconds,
                    "facts": None if one.record is None else to_mapping(one.record.facts),
                }
                for one in self.statuses
            ],
            "errors": self.errors,
            "calculator": self.snippet,
        }


def run_build(
    plan: BuildPlan,
    *,
    until: str | None = None,
    executor: Executor | None = None,
    in_flight: int | None = None,
    device: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_start: Callable[[StageStatus], object] = lambda _: None,
    on_end: Callable[[StageStatus, Record], object] = lambda *_: None,
) -> BuildResult:
    """Does the stages that are not done; the arguments are those of `run_stages`.

    Raises:
        TLPotError: something is wrong; what was finished is kept.
        KeyboardInterrupt: the user stopped it; so is what was begun.
    """
    records = run_stages(
        up_to(plan.stages, until),
        plan.config.output,
        executor=executor,
        in_flight=in_flight,
        stop=stop,
        device=device,
        on_start=on_start,
        on_end=on_end,
    )
    return BuildResult.of(plan, until, records)
