"""What is wrong with the force field of a structure: the model, the scheme, and both together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms

from tlpot.building.force_field import Assembly
from tlpot.building.known_labels import KnownLabels
from tlpot.building.labels import Level
from tlpot.building.stage import StageContext
from tlpot.building.structures import Target, read_atoms, scheme_of
from tlpot.calculators import FragmentCalculator
from tlpot.engines import make_engine
from tlpot.errors import ConfigError
from tlpot.fragments import FragmentedStructure
from tlpot.labelling import LabelSettings, label
from tlpot.reports import BudgetReport, measure_budget

FRAMES, REFERENCE = "frames.xyz", "reference.h5"


def check_reference(reference: Level, name: str) -> None:
    """Checks that a level has the forces that an error budget is about.

    Args:
        reference: level of theory.
        name: of its section in the configuration.

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


def label_reference(work: StageContext, folder: Path, assembly: Assembly, target: Target,
                    reference: Level) -> None:  # fmt: skip
    """Labels the frames of a structure, and all fragments of each.

    They are labels like any other: none is computed twice, and each is on disk at once.

    Args:
        work: of the stage.
        folder: of the structure, with its frames.
        assembly: of the force field.
        target: the structure.
        reference: level of theory.

    Raises:
        KeyboardInterrupt: the user stopped it; all labels are kept.
    """
    frames = read_atoms(folder / FRAMES)
    prepared = FragmentedStructure(target.topology, scheme_of(assembly.scheme), skin=0.0)
    todo: list[Atoms] = list(frames)
    for frame in frames:
        for fragment in prepared.partition(frame.positions).batch.assembly.fragments:
            todo.append(fragment.atoms(frame.positions))
    with work.labelling():
        report = label(
            todo, reference.spec, folder / REFERENCE, executor=work.executor, stop=work.stop,
            settings=LabelSettings(threads=1, in_flight=work.in_flight),
        )  # fmt: skip
    if work.stop() and report.n_left:
        raise KeyboardInterrupt


def error_budget(
    folder: Path,
    assembly: Assembly,
    target: Target,
    reference: Level,
    model: Path,
    pretrained: Path,
    *,
    name: str,
    device: str | None,
) -> BudgetReport:
    """Measures the error budget from labels that are there.

    Against the cheap level it is the budget of a force field of that level: the cheap head of
    the model, or the pretrained model, in one layer.

    Args:
        folder: of the structure, see `label_reference`.
        assembly: of the force field.
        target: the structure.
        reference: level of theory of the labels.
        model: file of the fragments' model.
        pretrained: the cheap level, where the model does not have it.
        name: of the force field.
        device: see `tlpot.load`.

    Raises:
        DataError: a label is missing, because its calculation failed.
    """
    frames: Sequence[Atoms] = read_atoms(folder / FRAMES)
    scheme = scheme_of(assembly.scheme)
    known = KnownLabels.read(folder / REFERENCE, reference.name)
    if reference.name != assembly.high:
        assembly = replace(assembly, high=reference.name, low=None)
        model = model if reference.name in assembly.levels(model) else pretrained
    options: dict[str, Any] = {"topology": target.topology, "device": device, "skin": 0.0}
    whole = FragmentCalculator(frames[0], known.calculator(), "direct", **options)
    layers: dict[str, Any] = {}
    if assembly.low is not None:
        layers = {
            "low": str(assembly.low_file(model, pretrained)), "low_level": assembly.low,
            "trained_charges": assembly.trained_charges,
        }  # fmt: skip
    pieces = FragmentCalculator(frames[0], known.calculator(), scheme, **layers, **options)
    own = assembly.calculator(target, model, pretrained, device=device, skin=0.0)
    return BudgetReport(
        budget=measure_budget(frames, whole=whole, fragments=pieces, model=own),
        structure=target.name,
        scheme=scheme.name + ("" if assembly.low is None else f", two layers ({assembly.low})"),
        model=f"{name} ({reference.name})",
        reference=reference.name,
    )
