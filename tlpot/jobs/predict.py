"""What a model says about structures, labelled or not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.calculators import value_in_info
from tlpot.data import (
    ID,
    Batch,
    Dataset,
    Frame,
    SpecSource,
    as_listed,
    deepmd_systems,
    frames_of,
    known_values,
    readable_structures,
)
from tlpot.energy import has_domain, has_forces, implemented, known_value
from tlpot.errors import ConfigError, DataError, GeometryError
from tlpot.evaluation import EVEN, evaluated, system_batches
from tlpot.files import check_replaced, check_spared
from tlpot.jobs.datasets import DataFiles
from tlpot.jobs.engine_values import name_of_labels, named_failures, open_named
from tlpot.jobs.evaluate import ModelSource, open_with_properties, told_properties
from tlpot.jobs.structure_predictions import UNLESS, StructurePredictions, check_predictions_file
from tlpot.labelling import is_native, read_structures, stored_texts
from tlpot.levels import choose_level, difference_parts
from tlpot.models import WARNING_LEVEL
from tlpot.presentation import progress_bar
from tlpot.system import System
from tlpot.targets import KnownValue, of_difference
from tlpot.uncertainty import DomainCheck

StructureSource = (
    str | os.PathLike[str] | Atoms | Dataset | Sequence[str | os.PathLike[str]] | Sequence[Atoms]
)
"""Files of structures, with labels or without, `ase.Atoms`, or a dataset."""

ALL = "all"
"""In place of a level: every one that the model has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How structures are read.

    Attributes:
        spec: layout of the data, if it is not tlpot's own.
        keys: names of charge and multiplicity in files of structures.
        charge: total charge of all structures, where they state none.
        spin: multiplicity, likewise.
    """

    spec: SpecSource | None = None
    keys: Mapping[str, str] | None = None
    charge: int | None = None
    spin: int | None = None

    @property
    def states(self) -> dict[str, int]:
        """Charge and multiplicity, where they are given."""
        both = {"charge": self.charge, "spin": self.spin}
        return {name: value for name, value in both.items() if value is not None}

    def check_stated(self, what: str) -> None:
        """Checks that nothing is given that does not apply.

        Raises:
            ConfigError: a charge or multiplicity.
        """
        if self.states:
            raise ConfigError(
                f"{' and '.join(self.states)} {'do' if len(self.states) > 1 else 'does'} not apply "
                f"to {what}, where every structure has its own; leave it out"
            )


def predict_structures(
    model: ModelSource,
    structures: StructureSource,
    *,
    level: str | None = None,
    output: str | os.PathLike[str] | None = None,
    reading: Reading | None = None,
    overwrite: bool = False,
    device: str | torch.device | None = None,
) -> StructurePredictions:
    """Evaluates a model; `tlpot.predict` says what the arguments are.

    Raises:
        TLPotError: something is wrong with the model or the structures.
    """
    structures = as_listed(structures)
    if output is not None:
        check_spared(check_predictions_file(output), structures, model)
        check_replaced(output, what="file of predictions", overwrite=overwrite)
    potential = open_named(model, device)
    named = model if isinstance(model, str | os.PathLike) else potential.card.name
    where = f"the model {named}"
    parts = [level] if level is None else level.split(UNLESS)
    levels = (
        [*potential.levels]
        if level == ALL
        else [choose_level(part, potential.levels, where) for part in parts]
    )
    how = Reading() if reading is None else reading
    told = {name: known_value(potential.at(name)) for name in levels}
    if any(told.values()) and isinstance(structures, str | os.PathLike | list | tuple):
        how.check_stated("structures with values that the model is told")
        structures = _with_values(structures, how, told_properties(potential))
        how = Reading()
    unread: Mapping[str, str] = {}
    about: tuple[Mapping[str, Any], ...] = ()
    folder = _only_folder(structures)
    if folder is not None and how.spec is None and not how.keys:
        names, systems, unread = _read_folder(folder, how)
    else:
        names, systems, about = _read(structures, how)
    made = None
    for name in reversed(levels):
        others = () if made is None else (replace(made, others=()), *made.others)
        known = told[name]
        values = None if known is None else _told(structures, known)
        found = _predicted(potential, named, name, names, systems, output, values)
        made = replace(found, others=others, unread=unread, about=about)
    assert made is not None
    if len(parts) > 1:
        made = _hurdle(made)
    if output is not None:
        made.write(output)
    return made


def _hurdle(made: StructurePredictions) -> StructurePredictions:
    """Returns how much there is, zero where the other level, a yes or no, says that there is none.

    Raises:
        ConfigError: not two levels, a number and a yes or no.
    """
    kinds = [None if each.quantity is None else each.quantity.kind for each in made.levels]
    if len(kinds) != 2 or kinds[0] in (None, "yes_no") or kinds[1] != "yes_no":
        names = UNLESS.join(each.level for each in made.levels)
        raise ConfigError(
            f"level {names!r}: expected a property and one of kind yes_no, such as "
            "'gap@pbe unless metal@pbe'"
        )
    (other,) = made.others
    value = np.where(other.energy > EVEN, 0.0, made.energy)
    value[np.isnan(other.energy)] = np.nan
    return replace(
        made, level=f"{made.level}{UNLESS}{other.level}", energy=value, energy_std=None,
        others=(replace(made, others=()), other),
    )  # fmt: skip


def _predicted(
    potential: Any,
    named: str | os.PathLike[str],
    level: str,
    names: tuple[str, ...],
    systems: tuple[System, ...],
    output: str | os.PathLike[str] | None,
    told: NDArray[np.float64] | None,
) -> StructurePredictions:
    chosen = potential.at(level)
    if difference_parts(chosen.level) is not None:
        raise ConfigError(of_difference(chosen.level))
    notes = [""] * len(systems)
    if output is not None and Path(output).suffix == ".csv":  # a table says what has no number
        notes = [_unknown(system, potential.elements) for system in systems]
    used = [k for k, note in enumerate(notes) if not note]
    own = [names[k] for k in used]
    batches = system_batches(
        chosen, [systems[k] for k in used], device=potential.device, names=own,
        at_once=getattr(potential, "at_once", None), known=None if told is None else told[used],
    )  # fmt: skip
    strained = {"forces", "stress"} <= implemented(chosen)
    energies, gradients, stresses, stds, force_stds, domains = [], [], [], [], [], []
    with progress_bar(total=len(used), desc="predict", unit="structure", disable=None) as bar:
        results = evaluated(
            chosen, batches, forces=has_forces(chosen),
            stress=lambda batch: strained and bool(_has_volume(batch).any()),
            domain=has_domain(chosen), std="energy",
        )  # fmt: skip
        for batch, found, spread in named_failures(results, potential, own):
            energies.append(_array(found.energy))
            if found.forces is not None:
                gradients += _by_structure(found.forces, batch)
            stress = np.full((len(batch.sizes), 3, 3), np.nan)
            if found.stress is not None:
                stress = np.where(_has_volume(batch)[:, None, None], _array(found.stress), np.nan)
            stresses.append(stress)
            if spread is not None:
                stds.append(_array(spread.energy_std))
                if spread.forces_std is not None:  # where they cost nothing
                    force_stds += _by_structure(spread.forces_std, batch)
            if found.domain is not None:
                domains.append(_array(found.domain))
            bar.update(len(batch.sizes))
    domain = np.concatenate(domains) if domains else None
    if domain is not None:
        check = DomainCheck(chosen)
        for k in np.argsort(domain, kind="stable")[: int((domain < WARNING_LEVEL).sum())]:
            atoms = systems[used[k]].to_atoms()
            reason = check.speaks_against(float(domain[k]), atoms)
            if reason is not None:
                check.warn(float(domain[k]), atoms)
                notes[used[k]] = f"outside of what the model was trained on{reason}"
    target = getattr(chosen, "target", None)
    return StructurePredictions(
        model=name_of_labels(potential, named),
        level=chosen.level,
        names=names,
        systems=systems,
        energy=_placed(np.concatenate(energies or [np.zeros(0)]), used, len(systems)),
        forces=_of_atoms(gradients, used, systems),
        stress=_placed(np.concatenate(stresses or [np.zeros((0, 3, 3))]), used, len(systems)),
        energy_std=_placed(np.concatenate(stds), used, len(systems)) if stds else None,
        forces_std=_of_atoms(force_stds, used, systems),
        domain=None if domain is None else _placed(domain, used, len(systems)),
        quantity=None if target is None else target.quantity,
        notes=tuple(notes),
    )


def _unknown(system: System, elements: Sequence[int]) -> str:
    """Says which elements of a structure a model does not know; nothing if it knows them all."""
    unknown = sorted({*system.atomic_numbers.tolist()} - {*elements})
    symbols = ", ".join(chemical_symbols[z] for z in unknown)
    return f"the model does not know {symbols}" if unknown else ""


def _by_structure(values: torch.Tensor, batch: Batch) -> list[NDArray[np.float64]]:
    """Divides what there is of all atoms of a batch among its structures."""
    ends = np.cumsum(_array(batch.sizes))[:-1].astype(int)
    return np.split(_array(values), ends)


def _of_atoms(
    values: Sequence[NDArray[np.float64]], used: Sequence[int], systems: Sequence[System]
) -> tuple[NDArray[np.float64], ...] | None:
    """Puts vectors of atoms where they belong, [n_atoms, 3] each; NaN elsewhere."""
    if not values:
        return None
    by_place = dict(zip(used, values, strict=True))
    nothing = [np.full((len(system), 3), np.nan) for system in systems]
    return tuple(by_place.get(k, nothing[k]) for k in range(len(systems)))


def _placed(values: NDArray, used: Sequence[int], n: int) -> NDArray[np.float64]:
    """Puts values where they belong, [n, ...]; NaN elsewhere."""
    if len(used) == n:
        return values
    found = np.full((n, *values.shape[1:]), np.nan)
    found[list(used)] = values
    return found


def _read(
    structures: StructureSource, how: Reading
) -> tuple[tuple[str, ...], tuple[System, ...], tuple[Mapping[str, Any], ...]]:
    if isinstance(structures, str | os.PathLike | Atoms | list | tuple):
        read = read_structures(
            cast(Any, structures), how.spec, how.keys, charge=how.charge, spin=how.spin
        )
        return _named_by_ids(structures, read.names), read.systems, read.about
    how.check_stated("a dataset")
    dataset = cast(Dataset, structures)
    frames = list(frames_of(dataset, levels=()))
    return _ids(dataset, frames), tuple(frame.system for frame in frames), ()


def _ids(dataset: Dataset, frames: Sequence[Frame]) -> tuple[str, ...]:
    """Returns the ids of structures, as of a folder without its table, or their names."""
    ids = _column_of_ids(dataset)
    if ids is not None:
        return ids
    prefix = f"{dataset.path.name}/"
    if all(frame.name.startswith(prefix) for frame in frames):
        return tuple(frame.name.removeprefix(prefix) for frame in frames)
    return tuple(frame.name for frame in frames)


def _named_by_ids(structures: StructureSource, names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the ids that a dataset in tlpot's own layout has of its frames, or the names."""
    given = structures[0] if isinstance(structures, list | tuple) and structures else structures
    if isinstance(given, Atoms) or not is_native(Path(cast(Any, given))):
        return names
    ids = _told_apart(stored_texts(Path(cast(Any, given)), ID))
    return names if ids is None or len(ids) != len(names) else ids


def _column_of_ids(dataset: Dataset) -> tuple[str, ...] | None:
    """Returns the column of ids, if there is one and it tells all frames apart."""
    try:
        return _told_apart([str(each) for each in dataset.column(ID).tolist()])
    except DataError:
        return None


def _told_apart(ids: Sequence[str] | None) -> tuple[str, ...] | None:
    return tuple(ids) if ids and all(ids) and len({*ids}) == len(ids) else None


def _only_folder(structures: StructureSource) -> Path | None:
    given: Any = structures
    if isinstance(structures, list) and len(structures) == 1:
        given = structures[0]
    if not isinstance(given, str | os.PathLike) or not Path(given).is_dir():
        return None
    return None if deepmd_systems(Path(given)) else Path(given)


def _read_folder(
    folder: Path, how: Reading
) -> tuple[tuple[str, ...], tuple[System, ...], Mapping[str, str]]:
    """Reads a folder of structures, of which one that cannot be read does not stop the others."""
    found, unread = readable_structures(folder)
    systems = {}
    for name, atoms in found.items():
        try:
            (systems[name],) = read_structures(atoms, charge=how.charge, spin=how.spin).systems
        except (DataError, GeometryError) as error:
            unread[name] = str(error)
    if not systems:
        raise DataError(f"{folder}: no structure is usable: {next(iter(unread.values()))}")
    return tuple(systems), tuple(systems.values()), unread


def _with_values(structures: Any, how: Reading, told: Sequence[str]) -> Dataset | list[Atoms]:
    """Returns structures together with their labels, of which a model has to be told one."""
    given = [structures] if isinstance(structures, str | os.PathLike) else list(structures)
    if all(isinstance(each, Atoms) for each in given):
        return cast(list[Atoms], given)
    return open_with_properties(DataFiles(data=given, spec=how.spec, keys=how.keys or None), told)


def _told(structures: StructureSource, known: KnownValue) -> NDArray[np.float64]:
    """Returns what a model has to be told of each structure."""
    if isinstance(structures, Atoms):
        structures = [structures]
    if isinstance(structures, list):
        return np.array([value_in_info(atoms, known) for atoms in cast(list[Atoms], structures)])
    dataset = cast(Dataset, structures)
    choose_level(known.level, dataset.levels, str(dataset.path), option="keys")
    return known_values(dataset, list(frames_of(dataset, levels=[known.level])), known)


def _has_volume(batch: Batch) -> NDArray[np.bool_]:
    """Which structures of a batch have three periodic lattice vectors that span a volume."""
    graph = batch.graph
    if graph.cell is None or graph.pbc is None:
        return np.zeros(len(batch.sizes), dtype=bool)
    spans = torch.linalg.det(graph.cell).abs() > 0
    return _array(graph.pbc.all(dim=1) & spans)


def _array(tensor: torch.Tensor) -> Any:
    return tensor.cpu().numpy()
