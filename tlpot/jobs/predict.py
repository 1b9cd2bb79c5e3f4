"""What a model says about structures, labelled or not."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from tlpot.calculators import value_in_info
from tlpot.data import (
    Batch,
    Dataset,
    SpecSource,
    as_listed,
    frames_of,
    known_values,
    open_dataset,
    readable_structures,
    write_dataset,
)
from tlpot.energy import has_domain, has_forces, implemented, known_value
from tlpot.errors import ConfigError, DataError, GeometryError, OutputError
from tlpot.evaluation import EVEN, evaluated, system_batches
from tlpot.files import check_replaced, check_spared, write_text
from tlpot.jobs.datasets import DataFiles
from tlpot.jobs.evaluate import ModelSource, open_with_properties, told_properties
from tlpot.jobs.named_engine import name_of_labels, named_failures, open_named
from tlpot.labelling import read_structures
from tlpot.levels import choose_level, difference_parts
from tlpot.models import WARNING_LEVEL
from tlpot.presentation import Result, progress_bar, text_table
from tlpot.structures import extxyz_text
from tlpot.system import System
from tlpot.targets import KnownValue, Quantity
from tlpot.uncertainty import DomainCheck

StructureSource = (
    str | os.PathLike[str] | Atoms | Dataset | Sequence[str | os.PathLike[str]] | Sequence[Atoms]
)
"""Files of structures, with labels or without, `ase.Atoms`, or a dataset."""

_SHOWN = 20
"""Structures that are listed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructurePredictions(Result):
    """What a model says about some structures.

    Attributes:
        model: name of the model, and so of labels that it makes.
        level: level of theory of the model.
        names: of the structures: file and number.
        systems: the structures.
        energy: [n_structures], eV, or a property in its unit; NaN where there is none.
        forces: [n_atoms, 3] of each, eV/Å; None for a model that has none.
        stress: [n_structures, 3, 3], eV/Å³; NaN where there are no three periodic directions.
        energy_std: [n_structures], eV; None for a model that does not know how sure it is.
        domain: [n_structures], 1 for structures such as those of the training, 0 far away from
            them; None for a model that does not know them.
        quantity: what the property is; None for energies.
        notes: [n_structures], what speaks against a number; empty for nothing.
        others: the same structures at the other levels, where all were asked for.
        unread: why, by id, files of a folder are no structures.
    """

    model: str
    level: str
    names: tuple[str, ...]
    systems: tuple[System, ...]
    energy: NDArray[np.float64]
    forces: tuple[NDArray[np.float64], ...] | None
    stress: NDArray[np.float64]
    energy_std: NDArray[np.float64] | None
    domain: NDArray[np.float64] | None
    quantity: Quantity | None = None
    notes: tuple[str, ...] = ()
    others: tuple[StructurePredictions, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The number that the model gives, with its unit: ``gap@hse06 (eV)``."""
        if self.quantity is None:
            return "energy (eV)"
        unit = "probability" if self.quantity.kind == "yes_no" else self.quantity.unit
        return f"{self.level} ({unit})" if unit else self.level

    def __len__(self) -> int:
        return len(self.systems)

    def text(self) -> str:
        """Returns a table, of the first structures where there are many."""
        columns: dict[str, Sequence[Any]] = {
            "atoms": [str(len(system)) for system in self.systems],
            **{self._named(each): [f"{x:.6f}" for x in each.energy] for each in self._levels},
        }
        of_one = f"{self.level} " * bool(self.others)
        if self.forces is not None:
            longest = [float(np.linalg.norm(f, axis=1).max()) for f in self.forces]
            columns[f"{of_one}largest force (eV/Å)"] = [f"{value:.4f}" for value in longest]
        if self.energy_std is not None:
            unit = "eV" if self.quantity is None else self.quantity.unit
            columns[f"{of_one}± ({unit})"] = [f"{value:.4f}" for value in self.energy_std]
        if self.domain is not None:
            columns["domain"] = [f"{value:.2f}" for value in self.domain]
        rows = [["structure", *columns]]
        rows += [[name, *cells] for name, *cells in zip(self.names, *columns.values(), strict=True)]
        levels = self.level
        if UNLESS not in self.level:
            levels = ", ".join(each.level for each in self._levels)
        named = self.model if self.model == levels else f"{self.model} at {levels}"
        lines = [named, *text_table(rows[: _SHOWN + 1])]
        more = len(self) - _SHOWN
        lines += [f"... and {more} more"] if more > 0 else []
        for name, why in self.unread.items():
            lines.append(f"NOT READ: {name}: {why}")
        return "\n".join(lines)

    @property
    def _levels(self) -> tuple[StructurePredictions, ...]:
        return (self, *self.others)

    def _named(self, each: StructurePredictions) -> str:
        """Title of a level's column; where there are several, energies are told apart."""
        alone = each.quantity is not None or not self.others
        return each.title if alone else f"{each.level} {each.title}"

    def csv_text(self) -> str:
        """Returns a table of ids with the numbers of all levels, how sure they are, and notes."""
        columns: dict[str, Sequence[Any]] = {"id": self.names}
        for each in self._levels:
            name = each.title if each.quantity is not None else f"{each.level} energy (eV)"
            columns[name] = [_cell(value) for value in each.energy]
            if each.energy_std is not None:
                columns[f"{name} ±"] = [_cell(value) for value in each.energy_std]
        if self.domain is not None:
            columns["domain"] = [_cell(value) for value in self.domain]
        columns["warnings"] = self.notes or [""] * len(self)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(columns)
        table.writerows(zip(*columns.values(), strict=True))
        for name, why in self.unread.items():
            table.writerow([name, *[""] * (len(columns) - 2), f"not read: {why}"])
        return text.getvalue()

    def as_json(self) -> dict[str, Any]:
        """Returns everything but the structures; eV, eV/Å, eV/Å³; null for no stress."""
        stress = [None if np.isnan(s).any() else s.tolist() for s in self.stress]
        return {
            "model": self.model,
            "level": self.level,
            "names": list(self.names),
            "energy": self.energy.tolist(),
            "forces": None if self.forces is None else [f.tolist() for f in self.forces],
            "stress": stress,
            "energy_std": None if self.energy_std is None else self.energy_std.tolist(),
            "domain": None if self.domain is None else self.domain.tolist(),
            **({"unit": self.quantity.unit} if self.quantity is not None else {}),
            **({"others": [each.as_json() for each in self.others]} if self.others else {}),
            **({"unread": dict(self.unread)} if self.unread else {}),
        }

    def to_atoms(self) -> list[Atoms]:
        """Returns `ase.Atoms` with the predictions as results of a calculator.

        ``info`` has ``energy_std`` and ``domain`` where the model knows them. A property is no
        energy: it is in ``info`` by its name (``gap@hse06``, and ``gap@hse06_std``), as are the
        energies of further levels (``aimnet2_energy``); without an energy there is no calculator.
        """
        found = []
        for k, system in enumerate(self.systems):
            atoms = system.to_atoms()
            if self.domain is not None:
                atoms.info["domain"] = float(self.domain[k])
            for each in self._levels:
                results = each._results(k)
                std = None if each.energy_std is None else float(each.energy_std[k])
                if each.quantity is not None:
                    name = each.level
                else:
                    name = "energy" if each is self else f"{each.level}_energy"
                if name == "energy":
                    atoms.calc = SinglePointCalculator(atoms, **results)
                else:
                    atoms.info[name] = results["energy"]
                if std is not None:
                    atoms.info[f"{name}_std"] = std
            found.append(atoms)
        return found

    def _results(self, k: int) -> dict[str, Any]:
        """Results of a calculator for one structure."""
        results: dict[str, Any] = {"energy": float(self.energy[k])}
        if self.forces is not None:
            results["forces"] = self.forces[k]
        if np.isfinite(self.stress[k]).all():
            results["stress"] = full_3x3_to_voigt_6_stress(self.stress[k])
        return results

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes predictions: extended XYZ, HDF5 in the native layout, or a table (CSV).

        In HDF5 they are labels by the name of the model. A table has no structures.

        Raises:
            OutputError: another ending than .xyz, .extxyz, .h5, .hdf5 and .csv, properties in
                another file than a table, or the file could not be written.
        """
        target = check_predictions_file(path)
        if target.suffix == ".csv":
            write_text(target, self.csv_text())
            return
        if self.quantity is not None or self.others:
            raise OutputError(f"{target}: properties, and several levels, are written as .csv")
        if target.suffix in _HDF5:
            write_dataset(open_dataset(self.to_atoms(), level=self.model), target)
            return
        write_text(target, extxyz_text(self.to_atoms()))


_HDF5 = (".h5", ".hdf5")


def check_predictions_file(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a file of predictions, if it can be one.

    Raises:
        OutputError: another ending than .xyz, .extxyz, .h5, .hdf5 and .csv, or no such folder.
    """
    target = Path(path)
    if target.suffix not in (".xyz", ".extxyz", ".csv", *_HDF5):
        raise OutputError(f"the output {target} must end in .xyz, .extxyz, .h5, .hdf5 or .csv")
    if not target.parent.is_dir():
        raise OutputError(f"the folder {target.parent} does not exist; create it first")
    return target


def predict_structures(
    model: ModelSource,
    structures: StructureSource,
    *,
    level: str | None = None,
    output: str | os.PathLike[str] | None = None,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
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
    told = {name: known_value(potential.at(name)) for name in levels}
    if any(told.values()) and isinstance(structures, str | os.PathLike | list | tuple):
        structures = _with_values(structures, spec, keys, told_properties(potential))
        spec = keys = None
    unread: Mapping[str, str] = {}
    folder = _only_folder(structures)
    if folder is not None and spec is None and not keys:
        names, systems, unread = _read_folder(folder)
    else:
        names, systems = _read(structures, spec, keys)
    made = None
    for name in reversed(levels):
        others = () if made is None else (replace(made, others=()), *made.others)
        known = told[name]
        values = None if known is None else _told(structures, known)
        found = _predicted(potential, named, name, names, systems, output, values)
        made = replace(found, others=others, unread=unread)
    assert made is not None
    if len(parts) > 1:
        made = _hurdle(made)
    if output is not None:
        made.write(output)
    return made


ALL = "all"
"""In place of a level: every one that the model has."""
UNLESS = " unless "
"""Between two levels: the first, or zero where the second is more likely than not."""


def _hurdle(made: StructurePredictions) -> StructurePredictions:
    """Returns how much there is, zero where the other level, a yes or no, says that there is none.

    Raises:
        ConfigError: not two levels, a number and a yes or no.
    """
    kinds = [None if each.quantity is None else each.quantity.kind for each in made._levels]
    if len(kinds) != 2 or kinds[0] in (None, "yes_no") or kinds[1] != "yes_no":
        names = UNLESS.join(each.level for each in made._levels)
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
        raise ConfigError(
            f"the model's level is {chosen.level!r}: it gives a difference, not a total energy; "
            "attach tlpot.DeltaCalculator with a calculator of its low level (tlpot md, relax and "
            "frequencies: --low), or take tlpot.evaluate where there are labels"
        )
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
    energies, gradients, stresses, stds, domains = [], [], [], [], []
    with progress_bar(total=len(used), desc="predict", unit="structure", disable=None) as bar:
        results = evaluated(
            chosen, batches, forces=has_forces(chosen),
            stress=lambda batch: strained and bool(_has_volume(batch).any()),
            domain=has_domain(chosen), std="energy",
        )  # fmt: skip
        for batch, found, spread in named_failures(results, potential, own):
            energies.append(_array(found.energy))
            if found.forces is not None:
                ends = np.cumsum(_array(batch.sizes))[:-1].astype(int)
                gradients += np.split(_array(found.forces), ends)
            stress = np.full((len(batch.sizes), 3, 3), np.nan)
            if found.stress is not None:
                stress = np.where(_has_volume(batch)[:, None, None], _array(found.stress), np.nan)
            stresses.append(stress)
            if spread is not None:
                stds.append(_array(spread.energy_std))
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
    forces = None
    if gradients:
        by_place = dict(zip(used, gradients, strict=True))
        nothing = [np.full((len(system), 3), np.nan) for system in systems]
        forces = tuple(by_place.get(k, nothing[k]) for k in range(len(systems)))
    target = getattr(chosen, "target", None)
    return StructurePredictions(
        model=name_of_labels(potential, named),
        level=chosen.level,
        names=names,
        systems=systems,
        energy=_placed(np.concatenate(energies or [np.zeros(0)]), used, len(systems)),
        forces=forces,
        stress=_placed(np.concatenate(stresses or [np.zeros((0, 3, 3))]), used, len(systems)),
        energy_std=_placed(np.concatenate(stds), used, len(systems)) if stds else None,
        domain=None if domain is None else _placed(domain, used, len(systems)),
        quantity=None if target is None else target.quantity,
        notes=tuple(notes),
    )


def _unknown(system: System, elements: Sequence[int]) -> str:
    """Says which elements of a structure a model does not know; nothing if it knows them all."""
    unknown = sorted({*system.atomic_numbers.tolist()} - {*elements})
    symbols = ", ".join(chemical_symbols[z] for z in unknown)
    return f"the model does not know {symbols}" if unknown else ""


def _placed(values: NDArray, used: Sequence[int], n: int) -> NDArray[np.float64]:
    """Puts values where they belong, [n, ...]; NaN elsewhere."""
    if len(used) == n:
        return values
    found = np.full((n, *values.shape[1:]), np.nan)
    found[list(used)] = values
    return found


def _cell(value: float) -> str:
    # total energies are large beside their differences
    return "" if np.isnan(value) else repr(float(value))


def _read(
    structures: StructureSource, spec: SpecSource | None, keys: Mapping[str, str] | None
) -> tuple[tuple[str, ...], tuple[System, ...]]:
    if isinstance(structures, str | os.PathLike | Atoms | list | tuple):
        read = read_structures(cast(Any, structures), spec, keys)
        return read.names, read.systems
    frames = list(frames_of(cast(Dataset, structures), levels=()))
    return tuple(frame.name for frame in frames), tuple(frame.system for frame in frames)


def _only_folder(structures: StructureSource) -> Path | None:
    given: Any = structures
    if isinstance(structures, list) and len(structures) == 1:
        given = structures[0]
    return Path(given) if isinstance(given, str | os.PathLike) and Path(given).is_dir() else None


def _read_folder(
    folder: Path,
) -> tuple[tuple[str, ...], tuple[System, ...], Mapping[str, str]]:
    """Reads a folder of structures, of which one that cannot be read does not stop the others."""
    found, unread = readable_structures(folder)
    systems = {}
    for name, atoms in found.items():
        try:
            (systems[name],) = read_structures(atoms).systems
        except (DataError, GeometryError) as error:
            unread[name] = str(error)
    if not systems:
        raise DataError(f"{folder}: no structure is usable: {next(iter(unread.values()))}")
    return tuple(systems), tuple(systems.values()), unread


def _with_values(
    structures: Any, spec: SpecSource | None, keys: Mapping[str, str] | None, told: Sequence[str]
) -> Dataset | list[Atoms]:
    """Returns structures together with their labels, of which a model has to be told one."""
    given = [structures] if isinstance(structures, str | os.PathLike) else list(structures)
    if all(isinstance(each, Atoms) for each in given):
        return cast(list[Atoms], given)
    return open_with_properties(DataFiles(data=given, spec=spec, keys=keys or None), told)


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
