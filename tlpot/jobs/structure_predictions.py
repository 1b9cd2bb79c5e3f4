"""What a model says about structures, one by one, and the files of that."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory
from ase.stress import full_3x3_to_voigt_6_stress

from tlpot.data import open_dataset, write_dataset
from tlpot.errors import OutputError
from tlpot.files import atomic_file, write_text
from tlpot.numbers import Floats, counted
from tlpot.presentation import Result, text_table
from tlpot.structures import extxyz_text
from tlpot.system import System
from tlpot.targets import Quantity

UNLESS = " unless "
"""Between two levels: the first, or zero where the second is more likely than not."""

_SHOWN = 20
"""Structures that are listed."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
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
        forces_std: [n_atoms, 3] of each, eV/Å; None for a model that does not know them, or to
            which they are expensive.
        about: of each structure, what else its file says, such as an id; empty where nothing.
    """

    model: str
    level: str
    names: tuple[str, ...]
    systems: tuple[System, ...]
    energy: Floats
    forces: tuple[Floats, ...] | None
    stress: Floats
    energy_std: Floats | None
    domain: Floats | None
    quantity: Quantity | None = None
    notes: tuple[str, ...] = ()
    others: tuple[StructurePredictions, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    forces_std: tuple[Floats, ...] | None = None
    about: tuple[Mapping[str, Any], ...] = ()

    @property
    def title(self) -> str:
        """The number that the model gives, with its unit: ``gap@hse06 (eV)``."""
        if self.quantity is None:
            return "energy (eV)"
        unit = "probability" if self.quantity.kind == "yes_no" else self.quantity.unit
        return f"{self.level} ({unit})" if unit else self.level

    def __len__(self) -> int:
        return len(self.systems)

    @overload
    def __getitem__(self, which: int) -> Atoms: ...

    @overload
    def __getitem__(self, which: slice) -> list[Atoms]: ...

    def __getitem__(self, which: int | slice) -> Atoms | list[Atoms]:
        """Returns a structure with its predictions, or those of a slice; see `to_atoms`."""
        if isinstance(which, slice):
            return [self._atoms(k) for k in range(len(self))[which]]
        if not -len(self) <= which < len(self):
            raise IndexError(f"structure {which} of {len(self)}")
        return self._atoms(which % len(self))

    def __iter__(self) -> Iterator[Atoms]:
        return (self._atoms(k) for k in range(len(self)))

    def headline(self) -> str:
        """Returns what was evaluated."""
        return f"{self.model} at {self.level}: {counted(len(self), 'structure')}"

    def text(self) -> str:
        """Returns a table, of the first structures where there are many."""
        columns: dict[str, Sequence[Any]] = {
            "atoms": [str(len(system)) for system in self.systems],
            **{self._named(each): [f"{x:.6f}" for x in each.energy] for each in self.levels},
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
            levels = ", ".join(each.level for each in self.levels)
        named = self.model if self.model == levels else f"{self.model} at {levels}"
        lines = [named, *text_table(rows[: _SHOWN + 1])]
        more = len(self) - _SHOWN
        lines += [f"... and {more} more"] if more > 0 else []
        for name, why in self.unread.items():
            lines.append(f"NOT READ: {name}: {why}")
        return "\n".join(lines)

    @property
    def levels(self) -> tuple[StructurePredictions, ...]:
        """At this level and at the others."""
        return (self, *self.others)

    def _named(self, each: StructurePredictions) -> str:
        """Title of a level's column; where there are several, energies are told apart."""
        alone = each.quantity is not None or not self.others
        return each.title if alone else f"{each.level} {each.title}"

    def csv_text(self) -> str:
        """Returns a table of ids with the numbers of all levels, how sure they are, and notes."""
        columns: dict[str, Sequence[Any]] = {"id": self.names}
        for each in self.levels:
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
            **(
                {"forces_std": [s.tolist() for s in self.forces_std]}
                if self.forces_std is not None
                else {}
            ),
            **({"unit": self.quantity.unit} if self.quantity is not None else {}),
            **({"others": [each.as_json() for each in self.others]} if self.others else {}),
            **({"unread": dict(self.unread)} if self.unread else {}),
        }

    def to_atoms(self) -> list[Atoms]:
        """Returns `ase.Atoms` with the predictions as results of a calculator.

        ``info`` has ``energy_std`` and ``domain``, ``arrays`` has ``forces_std``, where the model
        knows them. A property is no
        energy: it is in ``info`` by its name (``gap@hse06``, and ``gap@hse06_std``), as are the
        energies of further levels (``aimnet2_energy``); without an energy there is no calculator.
        What a file of structures says besides in words and numbers, such as an id, stays in
        ``info``; its labels do not.
        """
        return list(self)

    def _atoms(self, k: int, *, bare: bool = False) -> Atoms:
        atoms = self.systems[k].to_atoms()
        if self.about and not bare:
            atoms.info |= self.about[k]
        if self.domain is not None:
            atoms.info["domain"] = float(self.domain[k])
        for each in self.levels:
            results = each._results(k)
            name = each.level
            if each.quantity is None:
                name = "energy" if each is self else f"{each.level}_energy"
            if name == "energy":
                atoms.calc = SinglePointCalculator(atoms, **results)
            else:
                atoms.info[name] = results["energy"]
            if each.energy_std is not None:
                atoms.info[f"{name}_std"] = float(each.energy_std[k])
        if self.forces_std is not None:
            atoms.set_array("forces_std", self.forces_std[k])
        return atoms

    def _results(self, k: int) -> dict[str, Any]:
        """Results of a calculator for one structure."""
        results: dict[str, Any] = {"energy": float(self.energy[k])}
        if self.forces is not None:
            results["forces"] = self.forces[k]
        if np.isfinite(self.stress[k]).all():
            results["stress"] = full_3x3_to_voigt_6_stress(self.stress[k])
        return results

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes predictions: structures with numbers, or a table (CSV), which has no structures.

        Extended XYZ, a trajectory (``.traj``) or a database (``.db``, ``.json``) of ASE, or HDF5 in
        the native layout, where they are labels by the name of the model. Charge and multiplicity
        are ``total_charge`` and ``multiplicity`` in a database.

        Raises:
            OutputError: another ending, properties in another file than a table, or the file could
                not be written.
        """
        target = check_predictions_file(path)
        if target.suffix == ".csv":
            write_text(target, self.csv_text())
            return
        if self.quantity is not None or self.others:
            raise OutputError(f"{target}: properties, and several levels, are written as .csv")
        if target.suffix in _HDF5:
            bare = [self._atoms(k, bare=True) for k in range(len(self))]
            write_dataset(open_dataset(bare, level=self.model), target)
        elif target.suffix in _XYZ:
            write_text(target, extxyz_text(self.to_atoms()))
        else:
            with atomic_file(target) as temporary:
                self._write_with_ase(temporary, target.suffix)

    def _write_with_ase(self, path: Path, ending: str) -> None:
        frames = [self._atoms(k, bare=ending != ".traj") for k in range(len(self))]
        for atoms in frames:  # arrays of any other name are not kept
            atoms.info |= {key: atoms.arrays[key] for key in ("forces_std",) if key in atoms.arrays}
        if ending == ".traj":
            with Trajectory(path, "w") as trajectory:
                for atoms in frames:
                    trajectory.write(atoms)
            return
        from ase.db import connect  # takes its time to load

        kind = ending.removeprefix(".")
        with connect(str(path), type=kind, append=False, use_lock_file=False) as database:
            for k, atoms in enumerate(frames):
                data = {key: value for key, value in atoms.info.items() if np.ndim(value)}
                pairs = {_IN_DATABASE.get(x, x): v for x, v in atoms.info.items() if x not in data}
                # keys of databases may not be called anything
                data |= {"about": dict(self.about[k])} if self.about and self.about[k] else {}
                database.write(atoms, key_value_pairs=pairs, data=data)


_HDF5 = (".h5", ".hdf5")
_XYZ = (".xyz", ".extxyz")
_ASE = (".traj", ".db", ".json")
_IN_DATABASE = {"charge": "total_charge", "spin": "multiplicity"}
"""Names of what databases keep for themselves, or not at all."""


def check_predictions_file(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a file of predictions, if it can be one.

    Raises:
        OutputError: an ending that no such file has, or no such folder.
    """
    target, known = Path(path), (*_XYZ, *_HDF5, *_ASE, ".csv")
    if target.suffix not in known:
        raise OutputError(f"the output {target} must end in {', '.join(known[:-1])} or {known[-1]}")
    if not target.parent.is_dir():
        raise OutputError(f"the folder {target.parent} does not exist; create it first")
    return target


def _cell(value: float) -> str:
    # total energies are large beside their differences
    return "" if np.isnan(value) else repr(float(value))
