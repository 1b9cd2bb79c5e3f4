"""The force field of a structure, and what is wrong with it: the model, the scheme, and both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from tlpot.building.labels import Level
from tlpot.building.stage import StageContext
from tlpot.building.structures import Target, read_atoms, scheme_of
from tlpot.building.training import MODEL
from tlpot.calculators import FragmentCalculator
from tlpot.data import Labels, frames_of, open_dataset
from tlpot.engines import make_engine
from tlpot.errors import ConfigError, DataError
from tlpot.fragments import FragmentedStructure
from tlpot.labelling import LabelSettings, label
from tlpot.models import load
from tlpot.numbers import Floats
from tlpot.reports import BudgetReport, measure_budget

_SAME = 1e-5
"""Å."""

Entry = tuple[Floats, Labels]


@dataclass(frozen=True, kw_only=True)
class TargetTests:
    """The structures that a force field is tested on, and the levels that it is held against.

    Attributes:
        targets: the structures.
        reference: of the error budget; None for no budget.
        mover: of the reference dynamics; None for none.
    """

    targets: Sequence[Target]
    reference: Level | None
    mover: Level | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Assembly:
    """How a force field is put together.

    Attributes:
        scheme: as in the configuration.
        high: the expensive level.
        low: the cheap level, if the force field has two layers.
        trained_charges: see `FragmentCalculator`.
    """

    scheme: str | Mapping[str, Any]
    high: str
    low: str | None
    trained_charges: bool = False

    def calculator(
        self,
        target: Target,
        model: Path,
        pretrained: Path,
        *,
        device: str | None,
        skin: float = 0.3,
    ) -> FragmentCalculator:
        """Returns the calculator of a structure.

        `pretrained` has the cheap level where `model` does not; `skin` is that of
        `FragmentForceField`.
        """
        return FragmentCalculator(
            target.frames[0],
            str(model),
            scheme_of(self.scheme),
            level=self.high,
            low=None if self.low is None else str(self.low_file(model, pretrained)),
            low_level=self.low,
            trained_charges=self.trained_charges,
            topology=target.topology,
            device=device,
            skin=skin,
        )

    def low_file(self, model: Path, pretrained: Path) -> Path:
        """Returns the file that has the cheap level: the model itself, if it kept it."""
        return model if self.low in self.levels(model) else pretrained

    @staticmethod
    def levels(model: Path) -> tuple[str, ...]:
        """Returns the levels of theory of a model file."""
        return tuple(load(model, device="cpu").levels)


@dataclass(frozen=True, kw_only=True)
class KnownLabels:
    """Geometries with labels, by elements and charge.

    Attributes:
        path: of the file.
        level: of theory.
        entries: positions and labels.
    """

    path: Path
    level: str
    entries: dict[tuple[bytes, int], list[Entry]]

    @classmethod
    def read(cls, path: Path, level: str) -> KnownLabels:
        """Reads the labels of a file.

        Raises:
            DataError, UnknownLevelError: no such file or level.
        """
        dataset = open_dataset(path)
        entries: dict[tuple[bytes, int], list[Entry]] = {}
        frames = np.flatnonzero(dataset.labelled(level))
        for frame in frames_of(dataset, frames, levels=[level]):
            system = frame.system
            key = system.atomic_numbers.astype("<i8").tobytes(), system.charge
            entries.setdefault(key, []).append((system.positions, frame.labels[level]))
        return cls(path=path, level=level, entries=entries)

    def find(self, atoms: Atoms) -> Labels:
        """Returns the labels of a geometry.

        Raises:
            DataError: it has none.
        """
        key = atoms.numbers.astype("<i8").tobytes(), int(atoms.info.get("charge", 0))
        for positions, labels in self.entries.get(key, ()):
            if np.abs(positions - atoms.positions).max() < _SAME:
                return labels
        raise DataError(
            f"{self.path} has no label at {self.level} of a geometry of "
            f"{atoms.get_chemical_formula()}; see {self.path}.failures.txt for those that failed"
        )

    def calculator(self) -> Calculator:
        """Returns a calculator that knows these geometries, and no others."""
        return _Lookup(self)


class _Lookup(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, known: KnownLabels) -> None:
        super().__init__()
        self.known = known

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        labels = self.known.find(self.atoms)
        self.results = {"energy": labels.energy}
        if labels.forces is not None:
            self.results["forces"] = labels.forces


FRAMES, REFERENCE, FORCE_FIELD = "frames.xyz", "reference.h5", "model.safetensors"


def check_reference(reference: Level, name: str) -> None:
    """Checks that a level, `name` in the configuration, has the forces of an error budget.

    Raises:
        ConfigError: its engine has none, or is not to compute them.
    """
    settings = reference.settings
    if settings.forces == "no":
        found, remedy = f"{name}.forces is no", f"leave {name}.forces out"
    elif not make_engine(reference.spec).has_forces:
        found = f"{settings.engine} has none here"
        remedy = f"take {name}.forces: numerical (6 energies for each atom of every structure)"
    else:
        return
    other = "low" if name == "high" else "high"
    raise ConfigError(
        f"assemble.reference: {name} needs forces, and {found}; {remedy}, or take "
        f"assemble.reference: {other} or none"
    )


def label_reference(
    work: StageContext, assembly: Assembly, target: Target, reference: Level
) -> None:
    """Labels the frames of a structure, and all fragments of each.

    They are labels like any other: none is computed twice, and each is on disk at once.

    Raises:
        KeyboardInterrupt: the user stopped it; all labels are kept.
    """
    folder = work.of("assemble", target.name)
    frames = read_atoms(folder / FRAMES)
    prepared = FragmentedStructure(target.topology, scheme_of(assembly.scheme), skin=0.0)
    todo = [*frames]
    for frame in frames:
        pieces = prepared.partition(frame.positions).batch.assembly.fragments
        todo += [fragment.atoms(frame.positions) for fragment in pieces]
    with work.labelling():
        report = label(
            todo, reference.spec, folder / REFERENCE, executor=work.executor, stop=work.stop,
            settings=LabelSettings(threads=1, in_flight=work.in_flight),
        )  # fmt: skip
    if work.stop() and report.n_left:
        raise KeyboardInterrupt


def error_budget(
    work: StageContext, assembly: Assembly, target: Target, reference: Level
) -> BudgetReport:
    """Measures the error budget of an assembled force field, from labels that are there.

    Against the cheap level it is the budget of a force field of that level: the cheap head of
    the model, or the pretrained model, in one layer.

    Raises:
        DataError: a label is missing, because its calculation failed.
    """
    folder = work.of("assemble", target.name)
    model, pretrained = work.of("assemble", FORCE_FIELD), work.of("pretrain", MODEL)
    frames: Sequence[Atoms] = read_atoms(folder / FRAMES)
    scheme = scheme_of(assembly.scheme)
    known = KnownLabels.read(folder / REFERENCE, reference.name)
    if reference.name != assembly.high:
        assembly = replace(assembly, high=reference.name, low=None)
        model = model if reference.name in assembly.levels(model) else pretrained
    options: dict[str, Any] = {"topology": target.topology, "device": work.device, "skin": 0.0}
    whole = FragmentCalculator(frames[0], known.calculator(), "direct", **options)
    layers: dict[str, Any] = {}
    if assembly.low is not None:
        layers = {
            "low": str(assembly.low_file(model, pretrained)),
            "low_level": assembly.low,
            "trained_charges": assembly.trained_charges,
        }
    pieces = FragmentCalculator(frames[0], known.calculator(), scheme, **layers, **options)
    own = assembly.calculator(target, model, pretrained, device=work.device, skin=0.0)
    return BudgetReport(
        budget=measure_budget(frames, whole=whole, fragments=pieces, model=own),
        structure=target.name,
        scheme=scheme.name + ("" if assembly.low is None else f", two layers ({assembly.low})"),
        model=f"{work.root.name} ({reference.name})",
        reference=reference.name,
    )
