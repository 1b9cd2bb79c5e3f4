"""Looking at a force field from all sides that the given files allow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from tqdm import tqdm

from tlpot.calculators import FragmentCalculator, FragmentMethod, energy_model
from tlpot.config import read_yaml, to_mapping
from tlpot.dynamics import Motion, simulate
from tlpot.energy import implies_charges
from tlpot.errors import ConfigError
from tlpot.files import PathLike
from tlpot.fragments import TypedModel
from tlpot.learning_curves import load_curve
from tlpot.levels import choose_level
from tlpot.models import TrainedModel, load
from tlpot.presentation import progress_bar
from tlpot.reports import provenance
from tlpot.reports.error_budget import measure_budget
from tlpot.reports.error_budget_report import BudgetReport
from tlpot.reports.force_field_report import ExaminationSettings, ForceFieldReport
from tlpot.reports.fragmentation import source_name
from tlpot.reports.kind_errors import LabelledFragments, StageErrors, measure_stage
from tlpot.reports.ramachandran import Ramachandran, compare_angles
from tlpot.structures import read_frames
from tlpot.system import System
from tlpot.topology import Topology, perceive_topology
from tlpot.torch_mode import choose_device

ModelFiles = PathLike | Mapping[str, PathLike]
"""One model for all fragments, or one for each kind with ``"*"`` for all others."""


@dataclass(frozen=True, kw_only=True)
class ForceFieldModels:
    """The model of a force field and what it was before the transfer.

    Attributes:
        model: file or name of the model of fragments, or a mapping from names of kinds.
        level: of the model; needed if it has several.
        parent: the model before the transfer.
        parent_level: of the parent; needed if it has several. Without a parent, a level of the
            model itself: that head is then what it was before the transfer.
        ancestors: model files to look for the parents in.
    """

    model: ModelFiles
    level: str | None = None
    parent: ModelFiles | None = None
    parent_level: str | None = None
    ancestors: Sequence[PathLike] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was measured elsewhere and goes into a report.

    Attributes:
        curve: folder that ``tlpot curve`` wrote.
        cost: files that ``tlpot label`` wrote.
        more_cost: further work to count, such as training.
    """

    curve: PathLike | None = None
    cost: Sequence[PathLike] = ()
    more_cost: Sequence[provenance.CostRow] = ()


def models_by_kind(model: ModelFiles) -> ModelFiles:
    """Returns a model, or the table of models of a YAML file.

    Raises:
        ConfigError: the file is no list of models.
    """
    if isinstance(model, Mapping) or not os.fspath(model).endswith((".yaml", ".yml")):
        return model
    table = read_yaml(model)
    if not table or not all(isinstance(v, str) for v in table.values()):
        raise ConfigError(f"{model} is no list of models by fragment, such as 'ACE-ALA-NME: FILE'")
    return table


def named_structures(
    given: PathLike | Sequence[PathLike] | Mapping[str, Atoms | Sequence[Atoms]] | None,
) -> dict[str, Sequence[Atoms]]:
    """Returns the frames of structures by name; files are named by their stem.

    Raises:
        ConfigError: two files of one name.
        DataError: a file could not be read.
    """
    if isinstance(given, Mapping):
        return {k: [v] if isinstance(v, Atoms) else list(v) for k, v in given.items()}
    paths = [given] if isinstance(given, str | os.PathLike) else list(given or ())
    found: dict[str, Sequence[Atoms]] = {}
    for path in paths:
        stem = Path(path).stem
        if stem in found:
            raise ConfigError(f"two structures are called {stem}; rename one of the files")
        found[stem] = read_frames(os.fspath(path))
    return found


def examine_force_field(
    models: ForceFieldModels,
    structures: Mapping[str, Sequence[Atoms]] | None = None,
    *,
    method: FragmentMethod | None = None,
    reference: Any = None,
    fragments: LabelledFragments | None = None,
    evidence: Evidence | None = None,
    settings: ExaminationSettings | None = None,
    device: str | torch.device | None = None,
) -> ForceFieldReport:
    """Measures what can be measured, and leaves the other sections empty.

    Args:
        models: the model, and its parent.
        structures: test structures by name, each in one or more conformations; the first starts
            the dynamics.
        method: how the structures are put together.
        reference: what QM is: a name such as ``gfn2-xtb``, or what `FragmentCalculator` takes.
        fragments: labelled ones, to measure errors on. The parent's reference energies are
            fitted to those that were trained on, or, where that is not known, to all looked at.
        evidence: what was measured before.
        settings: of dynamics and budget, and the title.
        device: None is CUDA if there is one, else the CPU.

    Raises:
        ConfigError: arguments that do not go together.
        TLPotError: something is wrong with models, data or structures.
    """
    settings, method = settings or ExaminationSettings(), method or FragmentMethod()
    evidence = evidence or Evidence()
    where = choose_device(device)
    high = _Models(models.model, models.level, where, "the model", "level")
    before = None
    if models.parent is not None:
        before = _Models(models.parent, models.parent_level, where, "the parent", "parent_level")
    elif models.parent_level is not None:
        before = _Models(models.model, models.parent_level, where, "the model", "parent_level")
        if before.level == high.level:
            raise ConfigError(
                f"parent_level (--source) and level are both {high.level}; name the head that the "
                "transfer started from, or the parent that it is in"
            )
    skipped: dict[str, str] = {}
    stages: tuple[StageErrors, ...] = ()
    budgets: list[BudgetReport] = []
    motions: list[Motion] = []
    angles: list[Ramachandran] = []
    total = (fragments is not None) + len(structures or ()) * settings.pieces(reference is not None)
    with progress_bar(total=total, desc="report", unit="part", dynamic_ncols=True) as bar:
        if fragments is not None:
            with _part(bar, "errors on fragments"):
                # where the model's training ignored charges, the parent was not told them either
                said = method.trained_charges or high.implies_charges
                seen = replace(fragments, trained_charges=said or fragments.trained_charges)
                stages = _stages(high, before, seen, where)
            if not stages:
                skipped["stages"] = (
                    f"{fragments.dataset.path.name} has no labels at {high.level} among the chosen "
                    "frames, so there are no errors to report."
                )
        if structures:
            qm = None if reference is None else energy_model(reference, device=where)
            name = source_name(reference)
            for label, frames in structures.items():
                bench = _Bench(label, frames, high, method, qm, name, where)
                if qm is not None and settings.budget:
                    with _part(bar, f"assembly error budget of {label}"):
                        budgets.append(bench.budget())
                found, pair = bench.motions(settings, bar)
                motions += found
                angles += [pair] if pair is not None else []
            if qm is None:
                skipped["budgets"] = (
                    "Not asked for: there is no reference to compare structures with."
                )
            if not angles:
                skipped["ramachandran"] = (
                    "Not asked for."
                    if not settings.langevin_steps
                    else "None of the structures has an amino acid with both φ and ψ."
                )
    own_cost = (*provenance.labelling_cost([Path(c) for c in evidence.cost]), *evidence.more_cost)
    records, missing = high.records([*models.ancestors, *(before.files if before else ())])
    dataset = None if fragments is None else fragments.dataset
    return ForceFieldReport(
        title=settings.title or f"Force field report: {high.name}",
        summary=_summary(high, structures, method, reference),
        data=() if dataset is None else provenance.data_used(dataset),
        stages=stages,
        curve=None if evidence.curve is None else load_curve(Path(evidence.curve)),
        budgets=tuple(budgets),
        motions=tuple(motions),
        ramachandran=tuple(angles),
        cost=own_cost,
        provenance=provenance.Provenance(
            models=records,
            missing=missing,
            data=() if dataset is None else (provenance.data_record(dataset),),
            settings=_settings(structures, method, reference, settings),
            versions=provenance.versions(),
        ),
        skipped=skipped,
    )


@contextmanager
def _part(bar: tqdm[Any], what: str) -> Iterator[None]:
    bar.set_postfix_str(what)
    yield
    bar.update()


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

    @property
    def implies_charges(self) -> bool:
        """Whether no model reads charges, and all know those of their fragments."""
        return all(implies_charges(one.at(self.level)) for one in self._opened.values())

    def high(self) -> Any:
        """What `FragmentCalculator` takes as the model of fragments."""
        found = self.at(self.level)
        return found if self.single else TypedModel(found)  # kinds of other structures, too

    def records(self, ancestors: Sequence[PathLike]) -> Any:
        """Models with their ancestors, and the first that is missing."""
        found: dict[str, Any] = {}
        missing = ""
        for kind, source in self.sources.items():
            role = "model" if self.single else f"model of {kind}"
            chain, replaced = provenance.model_chain(source, ancestors, role)
            missing = missing or replaced
            for record in chain:
                found.setdefault(record.sha256, record)
        return tuple(found.values()), missing


def _stages(
    model: _Models, parent: _Models | None, fragments: LabelledFragments, device: torch.device
) -> tuple[StageErrors, ...]:
    """The parent on its labels and on the new ones, the model on the new ones and on others."""
    dataset, indices, train = fragments.dataset, fragments.chosen, fragments.train
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
            models.at(own), replace(fragments, train=train if title == after else None),
            title=title, model=models.name, model_level=own, label_level=labels,
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
        method: FragmentMethod,
        reference: Any,
        reference_name: str,
        device: torch.device,
    ) -> None:
        if not len(frames):
            raise ConfigError(f"the structure {name} has no frames")
        self.name, self.frames = name, frames
        self.topology: Topology = perceive_topology(System.from_atoms(frames[0]))
        self.method, self.reference_name, self.model_name = method, reference_name, models.name
        self.level = models.level
        options: dict[str, Any] = {"topology": self.topology, "device": device}
        self.field = method.calculator(frames[0], models.high(), **options)
        self.whole = self.pieces = None
        if reference is not None:
            self.whole = FragmentCalculator(frames[0], reference, "direct", **options)
            self.pieces = method.calculator(frames[0], reference, **options)

    def budget(self) -> BudgetReport:
        assert self.whole is not None
        assert self.pieces is not None
        return BudgetReport(
            budget=measure_budget(
                self.frames, whole=self.whole, fragments=self.pieces, model=self.field
            ),
            structure=self.name,
            scheme=self.method.text(),
            model=f"{self.model_name} ({self.level})",
            reference=self.reference_name,
        )

    def motions(
        self, settings: ExaminationSettings, bar: tqdm[Any]
    ) -> tuple[list[Motion], Ramachandran | None]:
        found = []
        if settings.nve_steps:
            found.append(self._run("nve", settings.nve_steps, settings, bar))
        if not settings.langevin_steps:
            return found, None
        own = self._run("langevin", settings.langevin_steps, settings, bar)
        found.append(own)
        other = None
        if self.whole is not None and settings.reference_steps:
            other = self._run("langevin", settings.reference_steps, settings, bar, reference=True)
            found.append(other)
        return found, compare_angles(own, other, self.topology)

    def _run(
        self,
        ensemble: str,
        steps: int,
        settings: ExaminationSettings,
        bar: tqdm[Any],
        *,
        reference: bool = False,
    ) -> Motion:
        calculator = self.whole if reference else self.field
        assert calculator is not None
        name = self.reference_name if reference else self.model_name
        md = settings.run(ensemble, steps)
        if reference:  # with the same noise, short runs agree better than their densities do
            md = replace(md, seed=md.seed + 1)
        with _part(bar, f"{ensemble} of {self.name} with {name}, {steps} steps"):
            return simulate(
                self.frames[0], calculator, md, self.topology, structure=self.name, name=name
            )


def _settings(
    structures: Mapping[str, Sequence[Atoms]] | None,
    method: FragmentMethod,
    reference: Any,
    settings: ExaminationSettings,
) -> dict[str, Any]:
    """What was done to the structures; empty if there were none."""
    if not structures:
        return {}
    name = reference if isinstance(reference, str) else ""
    numbers = {key: value for key, value in to_mapping(settings).items() if key != "title"}
    return {"scheme": method.text(), "reference": name, **numbers}


def _summary(
    models: _Models,
    structures: Mapping[str, Sequence[Atoms]] | None,
    method: FragmentMethod,
    reference: Any,
) -> str:
    text = f"{models.name} at {models.level}"
    if structures:
        text += f", assembled by {method.text()} for {', '.join(structures)}"
        if reference is not None:
            text += f"; reference {source_name(reference)}"
    return text + "."
