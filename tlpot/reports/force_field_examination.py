"""Looking at a force field from all sides that the given files allow."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from tlpot.calculators import FragmentCalculator, energy_model, named_source
from tlpot.config import to_mapping
from tlpot.data import Dataset, UnchargedDataset
from tlpot.dynamics import Motion, simulate
from tlpot.errors import ConfigError
from tlpot.learning_curves import load_curve
from tlpot.levels import choose_level
from tlpot.models import TrainedModel, load
from tlpot.reports.error_budget import measure_budget
from tlpot.reports.error_budget_report import BudgetReport
from tlpot.reports.force_field_report import Assembly, ExaminationSettings, ForceFieldReport
from tlpot.reports.kind_errors import StageErrors, measure_stage
from tlpot.reports.provenance import (
    CostRow,
    Provenance,
    data_record,
    data_used,
    labelling_cost,
    model_chain,
    versions,
)
from tlpot.reports.ramachandran import Ramachandran, compare_angles
from tlpot.system import System
from tlpot.topology import Topology, perceive_topology
from tlpot.torch_mode import choose_device

PathLike = str | os.PathLike[str]
ModelFiles = PathLike | Mapping[str, PathLike]
"""One model for all fragments, or one for each kind with ``"*"`` for all others."""


def examine_force_field(
    model: ModelFiles,
    structures: Mapping[str, Sequence[Atoms]] | None = None,
    *,
    level: str | None = None,
    assembly: Assembly | None = None,
    reference: Any = None,
    dataset: Dataset | None = None,
    indices: NDArray[np.int64] | None = None,
    part: str = "all labelled frames, training frames included",
    train: NDArray[np.int64] | None = None,
    parent: ModelFiles | None = None,
    parent_level: str | None = None,
    curve: PathLike | None = None,
    cost: Sequence[PathLike] = (),
    more_cost: Sequence[CostRow] = (),
    ancestors: Sequence[PathLike] = (),
    settings: ExaminationSettings | None = None,
    title: str = "",
    device: str | torch.device | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> ForceFieldReport:
    """Measures what can be measured, and leaves the other sections empty.

    Args:
        model: file or name of the model of fragments, or a mapping from names of kinds.
        structures: test structures by name, each in one or more conformations; the first starts
            the dynamics.
        level: of the model; needed if it has several.
        assembly: how the structures are put together; default ``mfcc_mbe2``.
        reference: what QM is: a name such as ``gfn2-xtb``, or what `FragmentCalculator` takes.
        dataset: labelled fragments.
        indices: the frames of it that errors are measured on; None for all.
        part: what these frames are, in words.
        train: frames that the model learned from, which the parent's reference energies are
            fitted to; None if that is not known: they are then fitted to `indices`.
        parent: the model before the transfer.
        parent_level: of the parent; needed if it has several. Without a parent, a level of the
            model itself: that head is then what it was before the transfer.
        curve: folder that ``tlpot curve`` wrote.
        cost: files that ``tlpot label`` wrote.
        more_cost: further work to count, such as training.
        ancestors: model files to look for the parents in.
        settings: of dynamics and budget.
        title: of the page.
        device: None is CUDA if there is one, else the CPU.
        progress: called with a line before each piece of work.

    Raises:
        ConfigError: arguments that do not go together.
        TLPotError: something is wrong with models, data or structures.
    """
    settings = settings or ExaminationSettings()
    assembly = assembly or Assembly()
    where = choose_device(device)
    high = _Models(model, level, where, "the model", "level")
    before = None
    if parent is not None:
        before = _Models(parent, parent_level, where, "the parent", "parent_level")
    elif parent_level is not None:
        before = _Models(model, parent_level, where, "the model", "parent_level")
        if before.level == high.level:
            raise ConfigError(
                f"parent_level (--source) and level are both {high.level}; name the head that the "
                "transfer started from, or the parent that it is in"
            )
    skipped: dict[str, str] = {}
    stages: tuple[StageErrors, ...] = ()
    if dataset is not None:
        chosen = np.arange(len(dataset)) if indices is None else np.asarray(indices)
        progress("errors on fragments")
        trained_charges = bool(assembly.options.get("trained_charges"))
        seen = UnchargedDataset(dataset) if trained_charges else dataset
        stages = _stages(high, before, seen, chosen, part, train, where)
        if not stages:
            skipped["stages"] = (
                f"{dataset.path.name} has no labels at {high.level} among the chosen frames, so "
                "there are no errors to report."
            )
    budgets: list[BudgetReport] = []
    motions: list[Motion] = []
    angles: list[Ramachandran] = []
    if structures:
        source = named_source(reference) if isinstance(reference, str) else reference
        qm = None if source is None else energy_model(source, device=where)
        name = reference if isinstance(reference, str) else type(reference).__name__
        for label, frames in structures.items():
            bench = _Bench(label, frames, high, assembly, qm, name, where)
            if qm is not None and settings.budget:
                progress(f"assembly error budget of {label}")
                budgets.append(bench.budget())
            found, pair = bench.motions(settings, progress)
            motions += found
            angles += [pair] if pair is not None else []
        if qm is None:
            skipped["budgets"] = "Not asked for: there is no reference to compare structures with."
        if not angles:
            skipped["ramachandran"] = (
                "Not asked for." if not settings.langevin_steps
                else "None of the structures has an amino acid with both φ and ψ."
            )  # fmt: skip
    own_cost = (*labelling_cost([Path(c) for c in cost]), *more_cost)
    records, missing = high.records([*ancestors, *(before.files if before else ())])
    return ForceFieldReport(
        title=title or f"Force field report: {high.name}",
        summary=_summary(high, structures, assembly, reference),
        data=() if dataset is None else data_used(dataset),
        stages=stages,
        curve=None if curve is None else load_curve(Path(curve)),
        budgets=tuple(budgets),
        motions=tuple(motions),
        ramachandran=tuple(angles),
        cost=own_cost,
        provenance=Provenance(
            models=records,
            missing=missing,
            data=() if dataset is None else (data_record(dataset),),
            settings=_settings(structures, assembly, reference, settings),
            versions=versions(),
        ),
        skipped=skipped,
    )


class _Models:
    """The opened models of one side at one level."""

    def __init__(
        self, given: ModelFiles, level: str | None, device: torch.device, what: str, option: str
    ) -> None:
        table = given if isinstance(given, Mapping) else {"*": given}
        if not table:
            raise ConfigError(f"{what} is an empty table of models")
        self.single = not isinstance(given, Mapping)
        self.sources = {kind: os.fspath(source) for kind, source in table.items()}
        self.files = tuple(dict.fromkeys(self.sources.values()))
        opened: dict[str, TrainedModel] = {f: load(f, device=device) for f in self.files}
        for one in opened.values():
            one.eval().requires_grad_(False)
        levels = tuple(
            name
            for name in next(iter(opened.values())).levels
            if all(name in one.levels for one in opened.values())
        )
        self.levels = levels
        self.level = choose_level(level, levels, what, option=option)
        self._opened = opened
        named = [Path(f).stem if Path(f).is_file() else f for f in self.files]
        self.name = named[0] if len(named) == 1 else f"{len(named)} models"

    def at(self, level: str) -> Any:
        """Energy models by kind of fragment; just one where there is one."""
        found = {kind: self._opened[source].at(level) for kind, source in self.sources.items()}
        return found["*"] if self.single else found

    def high(self) -> Any:
        """What `FragmentCalculator` takes as the model of fragments."""
        return self.at(self.level)

    def records(self, ancestors: Sequence[PathLike]) -> Any:
        """Models with their ancestors, and the first that is missing."""
        found: dict[str, Any] = {}
        missing = ""
        for kind, source in self.sources.items():
            role = "model" if self.single else f"model of {kind}"
            chain, gone = model_chain(source, ancestors, role)
            missing = missing or gone
            for record in chain:
                found.setdefault(record.sha256, record)
        return tuple(found.values()), missing


def _stages(
    model: _Models,
    parent: _Models | None,
    dataset: Dataset,
    indices: NDArray[np.int64],
    part: str,
    train: NDArray[np.int64] | None,
    device: torch.device,
) -> tuple[StageErrors, ...]:
    """The parent on its labels and on the new ones, the model on the new ones and on others."""
    fitted_on = indices if train is None else train
    if train is not None:
        train = (
            train[dataset.labelled(model.level)[train]] if model.level in dataset.levels else None
        )
    plan: list[tuple[str, _Models, str, str]] = []
    own_head = parent is not None and parent.sources == model.sources
    if parent is not None:
        if not own_head:
            plan.append(("parent, own level", parent, parent.level, parent.level))
        if parent.level != model.level:
            title = "before transfer (head of the model)" if own_head else "before transfer"
            plan.append((title, parent, parent.level, model.level))
    after = "after transfer" if parent is not None else "model"
    plan.append((after, model, model.level, model.level))
    plan += [("model, other head", model, x, x) for x in model.levels if x != model.level]
    return tuple(
        measure_stage(
            models.at(own), dataset, indices, title=title, model=models.name, model_level=own,
            label_level=labels, part=part, train=train if title == after else None,
            shift_on=fitted_on if own != labels else None, device=device,
        )
        for title, models, own, labels in plan
        if labels in dataset.levels and dataset.labelled(labels)[indices].any()
    )  # fmt: skip


class _Bench:
    """One test structure with the calculators that move it."""

    def __init__(
        self,
        name: str,
        frames: Sequence[Atoms],
        models: _Models,
        assembly: Assembly,
        reference: Any,
        reference_name: str,
        device: torch.device,
    ) -> None:
        if not len(frames):
            raise ConfigError(f"the structure {name} has no frames")
        self.name, self.frames = name, frames
        self.topology: Topology = perceive_topology(System.from_atoms(frames[0]))
        self.assembly, self.reference_name, self.model_name = assembly, reference_name, models.name
        self.level = models.level
        options: dict[str, Any] = {"topology": self.topology, "device": device}
        self.field = FragmentCalculator(
            frames[0], models.high(), assembly.scheme, **assembly.options, **options
        )
        self.whole = self.pieces = None
        if reference is not None:
            self.whole = FragmentCalculator(frames[0], reference, "direct", **options)
            self.pieces = FragmentCalculator(
                frames[0], reference, assembly.scheme, **assembly.options, **options
            )

    def budget(self) -> BudgetReport:
        assert self.whole is not None
        assert self.pieces is not None
        budget = measure_budget(
            self.frames, whole=self.whole, fragments=self.pieces, model=self.field
        )
        return BudgetReport(
            budget=budget,
            structure=self.name,
            scheme=self.assembly.text(),
            model=f"{self.model_name} ({self.level})",
            reference=self.reference_name,
        )

    def motions(
        self, settings: ExaminationSettings, progress: Callable[[str], object]
    ) -> tuple[list[Motion], Ramachandran | None]:
        found = []
        if settings.nve_steps:
            found.append(self._run("nve", settings.nve_steps, settings, progress))
        if not settings.langevin_steps:
            return found, None
        own = self._run("langevin", settings.langevin_steps, settings, progress)
        found.append(own)
        other = None
        if self.whole is not None and settings.reference_steps:
            other = self._run(
                "langevin", settings.reference_steps, settings, progress, reference=True
            )
            found.append(other)
        return found, compare_angles(own, other, self.topology)

    def _run(
        self,
        ensemble: str,
        steps: int,
        settings: ExaminationSettings,
        progress: Callable[[str], object],
        *,
        reference: bool = False,
    ) -> Motion:
        calculator = self.whole if reference else self.field
        assert calculator is not None
        name = self.reference_name if reference else self.model_name
        progress(f"{ensemble} of {self.name} with {name}, {steps} steps")
        md = settings.run(ensemble, steps)
        if reference:  # with the same noise, short runs agree better than their densities do
            md = replace(md, seed=md.seed + 1)
        return simulate(
            self.frames[0], calculator, md, self.topology,
            structure=self.name, name=name,
        )  # fmt: skip


def _settings(
    structures: Mapping[str, Sequence[Atoms]] | None,
    assembly: Assembly,
    reference: Any,
    settings: ExaminationSettings,
) -> dict[str, Any]:
    """What was done to the structures; empty if there were none."""
    if not structures:
        return {}
    name = reference if isinstance(reference, str) else ""
    return {"scheme": assembly.text(), "reference": name, **to_mapping(settings)}


def _summary(
    models: _Models,
    structures: Mapping[str, Sequence[Atoms]] | None,
    assembly: Assembly,
    reference: Any,
) -> str:
    text = f"{models.name} at {models.level}"
    if structures:
        text += f", assembled by {assembly.text()} for {', '.join(structures)}"
        if reference is not None:
            name = reference if isinstance(reference, str) else type(reference).__name__
            text += f"; reference {name}"
    return text + "."
