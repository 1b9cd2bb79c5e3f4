"""Stages that sample and label."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tlpot.building.config import LevelSettings
from tlpot.building.stage import Stage, StageContext, StageResult, read_json
from tlpot.building.structures import FRAGMENTS, read_atoms, sampled_fragments
from tlpot.calculators import CalculatorFactory
from tlpot.config import parse, to_mapping
from tlpot.data import Dataset, Frame, NeutralDataset, frames_of, open_dataset
from tlpot.engines import EngineSpec, make_engine, parse_engine
from tlpot.errors import ConfigError, DataError
from tlpot.files import copy_file, file_hash
from tlpot.labelling import LabelSettings, label, label_costs
from tlpot.models import content_hash
from tlpot.sampling import Parts, SamplingReport, SamplingSettings, sample_with
from tlpot.stored_results import write_json

SAMPLES, LABELS, PARTS = "samples.h5", "labels.h5", "fragments"
_DECIDED = ("budget", "model", "level", "select")
"""Settings of a sampling that a build decides about itself."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A level of theory of a build.

    Attributes:
        settings: from the configuration.
    """

    settings: LevelSettings

    @property
    def spec(self) -> EngineSpec:
        """The engine as plain data."""
        s = self.settings
        return EngineSpec(name=s.engine, settings=s.settings, level=s.level, forces=s.forces)

    @cached_property
    def name(self) -> str:
        """Canonical name of the level of theory.

        Raises:
            ConfigError: no such engine or setting.
            MissingExtraError: its program is not installed.
        """
        return make_engine(self.spec).level

    def check(self, frames: Sequence[Atoms]) -> None:
        """Checks that fragments can be labelled at all.

        Raises:
            ConfigError: an element without parameters.
        """
        make_engine(self.spec).check(
            sorted({int(z) for f in frames for z in f.numbers}), periodic=False
        )

    def as_json(self) -> dict[str, Any]:
        """What labels depend on."""
        found: dict[str, Any] = to_mapping(self.settings)
        del found["budget"]
        return found | _model_file(self.settings.engine)


def sampling_settings(given: Mapping[str, Any], budget: int) -> tuple[SamplingSettings, str | None]:
    """Returns the settings of the sampling, and the engine that is to sample if one is named.

    Raises:
        ConfigError: a typo, or a setting that a build decides about itself.
    """
    settings = dict(given)
    for name in _DECIDED:
        if name in settings:
            instead = "low.budget" if name == "budget" else "select"
            raise ConfigError(f"sample.{name} does not apply to a build; see {instead}")
    calculator = settings.pop("calculator", None)
    return parse(SamplingSettings, {**settings, "budget": budget}, "sample"), calculator


def sampling_engine(calculator: str | None, low: Level) -> CalculatorFactory:
    """Returns what drives the sampling: by default the cheap level, with its settings.

    Raises:
        ConfigError: no such engine.
    """
    return CalculatorFactory.of(low.spec if calculator is None else EngineSpec(name=calculator))


def sample_stage(given: Mapping[str, Any], low: Level) -> Stage:
    """Makes geometries of every fragment."""
    settings, calculator = sampling_settings(given, low.settings.budget)
    engine = sampling_engine(calculator, low)

    def run(work: StageContext) -> StageResult:
        fragments = sampled_fragments(read_atoms(work.of("fragments", FRAGMENTS)))
        target = work.folder / SAMPLES
        # a kill between the last step of the sampling and the record
        target.unlink(missing_ok=True)
        parts = Parts(work.folder / PARTS, settings, engine, kept=True)
        with _at_once():
            samples = sample_with(fragments, target, parts, work.executor)
        report = SamplingReport.of(samples, target, engine.label_level)
        report.save(work.folder / "diversity.json")
        report.plot(work.folder / "ramachandran.png")
        return StageResult(
            outputs=(SAMPLES,), facts={"geometries": {row.name: row.frames for row in report.rows}}
        )

    level = low.as_json()
    if calculator is not None:
        level = {"engine": calculator} | _model_file(calculator)
    return Stage(
        name="sample",
        summary=f"{settings.budget} geometries of each, by {engine.name}",
        settings={"sample": settings.as_json(), "level": level},
        needs=("fragments",),
        run=run,
        kept=PARTS,
    )


def low_stage(low: Level) -> Stage:
    """Labels the samples, and the fragments as they were cut, at the cheap level."""

    def run(work: StageContext) -> StageResult:
        frames = read_atoms(work.of("fragments", FRAGMENTS))
        cut = [atoms for atoms in frames if not _is_distant(atoms)]
        dataset = open_dataset(work.of("sample", SAMPLES))
        sampled = [as_atoms(frame) for frame in frames_of(dataset, levels=())]
        return labelled(work, [*cut, *sampled], [low])

    return Stage(
        name="low",
        summary=f"labels at {low.name}",
        settings={"level": low.as_json()},
        needs=("fragments", "sample"),
        run=run,
    )


def high_stage(high: Level) -> Stage:
    """Labels the chosen geometries at the expensive level, beside all the cheap labels."""

    def run(work: StageContext) -> StageResult:
        source = work.of("low", LABELS)
        target = work.folder / LABELS
        if not target.exists():
            copy_file(source, target)
        picked = read_json(work.of("select", "chosen.json"))
        chosen = np.array([k for frames in picked.values() for k in frames], dtype=np.int64)
        frames = [as_atoms(frame) for frame in frames_of(open_dataset(source), chosen, levels=())]
        return labelled(work, frames, [high])

    return Stage(
        name="high",
        summary=f"labels at {high.name}",
        settings={"level": high.as_json()},
        needs=("low", "select"),
        run=run,
    )


def labelled(work: StageContext, frames: Sequence[Atoms], levels: Sequence[Level]) -> StageResult:
    """Labels frames at one level after the other, in the stage's own file.

    Raises:
        DataError: no label at all could be had.
        KeyboardInterrupt: the user stopped it; all labels are kept.
    """
    target = work.folder / LABELS
    facts: dict[str, Any] = {}
    for level in levels:
        report = label(
            list(frames),
            level.spec,
            target,
            settings=LabelSettings(threads=1, in_flight=work.in_flight),
            executor=work.executor,
            stop=work.stop,
        )
        if work.stop() and report.n_left:
            raise KeyboardInterrupt
        if report.n_geometries == len(report.failures):
            raise DataError(
                f"no geometry could be labelled at {level.name}: "
                f"{report.failures[0].outcome.error}; logs are in {target}.failures.txt"
            )
        cost = label_costs([target]).get(level.name)
        facts[level.name] = {
            "labels": report.n_known + report.n_labelled,
            "new": report.n_labelled,
            "failures": len(report.failures),
            "seconds_each": None if cost is None else cost.seconds,
            "cpu_seconds_each": None if cost is None else cost.cpu_seconds,
        }
    write_json(work.folder / "labels.json", facts)
    return StageResult(outputs=(LABELS,), facts=facts)


def as_atoms(frame: Frame) -> Atoms:
    """Returns a frame of a dataset as atoms that keep charge, multiplicity and molecule."""
    system = frame.system
    info = {"charge": system.charge, "spin": system.spin, "molecule": frame.group}
    return Atoms(system.atomic_numbers, system.positions, info=info)


def labels_of(paths: Sequence[Path], trained_charges: bool) -> Dataset:
    """Opens files of labels as one dataset, without charges if the model reads none."""
    dataset = open_dataset(list(paths))
    return NeutralDataset(dataset) if trained_charges else dataset


@contextmanager
def _at_once() -> Iterator[None]:
    """Lets Ctrl-C end a sampling at once: what is finished is on disk, and waiting is long."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _model_file(engine: str) -> dict[str, str]:
    """What a model is, where an engine is one: a file may be replaced under its name."""
    name = parse_engine(engine)
    if name.kind == "torch":
        return {"model_sha256": file_hash(Path(name.target).expanduser())}
    return {"model_sha256": content_hash(name.target)} if name.kind == "model" else {}


def _is_distant(atoms: Atoms) -> bool:
    """Whether it is a pair as it was put together by name, far apart."""
    first = int(atoms.info["first"])
    if not first:
        return False
    gaps = np.linalg.norm(atoms.positions[:first, None] - atoms.positions[None, first:], axis=2)
    return bool(gaps.min() > 8.0)
