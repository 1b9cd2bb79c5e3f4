"""A structure and its fragments: what it is cut into, energies and forces, and the error budget."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from tlpot.calculators import FragmentCalculator, FragmentMethod, energy_model, named_source
from tlpot.data import files_or_atoms
from tlpot.errors import ChargeWarning, ConfigError, GeometryError, OutputError
from tlpot.files import PathLike
from tlpot.fragments import FragmentedStructure, ProteinFrames, choose_scheme, export_fragments
from tlpot.jobs import Cut, Listing, SinglePoints, write_fragments
from tlpot.numbers import counted
from tlpot.presentation import Result, drawn, progress_bar
from tlpot.reports.error_budget import measure_budget
from tlpot.reports.error_budget_report import BudgetReport
from tlpot.reports.pictures import partition_figure
from tlpot.structures import read_frames
from tlpot.system import System
from tlpot.topology import Lattice, Topology, assumed_charges, perceive_topology

if TYPE_CHECKING:
    from matplotlib.figure import Figure

StructureFrames = PathLike | Atoms | Sequence[Atoms]
"""A file, one of ASE's molecules by name, or atoms; of several frames, all of one molecule."""


@dataclass(frozen=True, kw_only=True)
class FragmentedFrames:
    """A structure in one or more frames, with its bonds.

    Attributes:
        name: of the file, or the formula.
        frames: of one molecule.
        topology: of all frames.
        notes: what the reader of the file had to say.
    """

    name: str
    frames: tuple[Atoms, ...]
    topology: Topology
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, structure: StructureFrames) -> FragmentedFrames:
        """Reads a structure and checks that all frames have the bonds of the first.

        Raises:
            DataError: neither a file nor the name of a molecule, or an unreadable file.
            ConfigError: no frames.
            GeometryError: valences that do not close, or bonds that differ; the frame is named.
        """
        if isinstance(structure, str | os.PathLike):
            name = os.fspath(structure)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ChargeWarning)  # the topology refuses such bonds
                frames = read_frames(name)
        else:
            parts = files_or_atoms(structure, "structure")
            frames = [part.copy() for part in parts if isinstance(part, Atoms)]
            if not frames or len(frames) < len(parts):
                raise ConfigError("structure is neither a file nor ase.Atoms, one or several")
            name = frames[0].get_chemical_formula()
        some = ", frame 0" if len(frames) > 1 else ""
        try:
            topology = perceive_topology(frames[0])
        except GeometryError as error:
            raise GeometryError(f"{name}{some}: {error}") from error
        bonds = FragmentedStructure(topology, choose_scheme("direct"), skin=0.0)
        for k, frame in enumerate(frames):
            positions = bonds.whole(frame.positions, lattice_of(frame))
            bonds.check_bonds(positions, where=f"{name}, frame {k}")
        notes = str(frames[0].info.get("reader_notes", "")).splitlines()
        assumed = assumed_charges(topology.atomic_numbers)
        if assumed and assumed not in notes:  # which only files of proteins say themselves
            notes.append(assumed)
        return cls(name=name, frames=tuple(frames), topology=topology, notes=tuple(notes))

    @property
    def stem(self) -> str:
        """The name of a file without folder and ending."""
        return Path(self.name).stem


@dataclass(frozen=True, kw_only=True, repr=False)
class Fragmentation(Result):
    """What a scheme makes of a structure.

    Attributes:
        structure: what was cut.
        method: of the fragments.
        cuts: one for each frame; none where the error budget alone was asked for.
        listing: of the first frame.
        points: energies and forces of all frames, where there is a model.
        budget: where there is a reference.
        model: name of the model; empty without one.
        level: of theory of the model; empty where it has none of its own.
    """

    structure: FragmentedFrames
    method: FragmentMethod
    cuts: tuple[Cut, ...] = ()
    listing: Listing | None = None
    points: SinglePoints | None = None
    budget: BudgetReport | None = None
    model: str = ""
    level: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the file had to say."""
        return self.structure.notes

    def text(self, *, everything: bool = False) -> str:
        """Returns all tables; with `everything` all kinds of fragments, and not the first 30."""
        if self.budget is not None:
            return self.budget.text()
        lines = []
        if len(self.cuts) > 1:
            lines.append(f"{len(self.cuts)} frames; the first is listed\n")
        if self.listing is not None:
            lines.append(self.listing.text(**{"shown": None} if everything else {}))
        if self.points is not None:
            level = f"{self.level} of " if self.level not in ("", self.model) else ""
            lines.append(f"\n{level}{self.model} by {self.method.name}\n{self.points.text()}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Returns plain dicts and lists; eV and eV/Å, of the budget meV and meV/Å."""
        parts = [part for part in (self.listing, self.points, self.budget) if part is not None]
        return {key: value for part in parts for key, value in part.as_json().items()}

    def plot(self, path: PathLike | None = None, *, show: str | None = None) -> Figure:
        """Returns the picture of the error budget, or else of the partition.

        With `show` it is the fragment of that name or number of which the caps are drawn.

        Raises:
            ConfigError: no such fragment, or more residues than a picture can show.
            OutputError: the file could not be written.
        """
        if self.budget is not None:
            return self.budget.plot(path)
        return drawn(partition_figure(self.cuts[0], self.structure.stem, show), path)

    def export(self, path: PathLike) -> str:
        """Writes the fragments for labelling, and returns in a line what was written.

        The path ends in ``.h5``, to which the distinct fragments are added, or ``.xyz``, for all.

        Raises:
            OutputError: another ending, or the file could not be written.
            GeometryError: a periodic structure, into an HDF5 file.
        """
        check_export(path)
        if Path(path).suffix == ".xyz":
            return f"wrote {write_fragments(self.cuts, path)} fragments to {path}"
        protein = ProteinFrames(name=self.structure.stem, frames=self.structure.frames)
        report = export_fragments([protein], self.cuts[0].scheme, path)
        return (
            f"wrote {counted(report.n_written, 'new geometry')} of "
            f"{counted(report.n_distinct, 'distinct one')} of "
            f"{counted(len(report.counts), 'kind')} to {path}"
        )

    def write_forces(self, path: PathLike) -> None:
        """Writes the frames with energies and forces as extended XYZ.

        Raises:
            ConfigError: there was no model.
            OutputError: the file could not be written.
        """
        if self.points is None:
            raise ConfigError("there are no forces without a model; name one")
        self.points.write_forces(self.structure.frames, path)


def check_export(path: PathLike) -> None:
    """Checks the ending of a file for fragments.

    Raises:
        OutputError: it is another one.
    """
    if Path(path).suffix not in (".xyz", ".h5", ".hdf5"):
        raise OutputError(f"the fragments' file {path} must end in .h5 or .xyz")


def lattice_of(frame: Atoms) -> Lattice | None:
    """Returns the lattice of a structure, None in vacuum."""
    return Lattice.of(System.from_atoms(frame))


def fragment_structure(
    structure: FragmentedFrames,
    method: FragmentMethod,
    model: Any = None,
    *,
    level: str | None = None,
    device: str | None = None,
) -> Fragmentation:
    """Cuts a structure, and computes energies and forces where there is a model.

    `model` is that of the fragments, see `FragmentMethod.calculator`; None computes nothing.

    Raises:
        TLPotError: see `FragmentCalculator`.
    """
    scheme, topology = method.parsed(), structure.topology
    cuts = [Cut.make(topology, scheme, f.positions, lattice_of(f)) for f in structure.frames]
    points, known = None, ""
    if model is not None:
        with progress_bar(desc="calculations", unit="", delay=1.0, dynamic_ncols=True) as bar:
            calculator = method.calculator(
                structure.frames[0],
                model,
                level=level,
                topology=topology,
                on_done=bar.update,
                device=device,
                skin=0.0,
            )
            points = SinglePoints.compute(structure.frames, calculator)
            known = getattr(calculator.force_field.high, "level", None) or ""
    return Fragmentation(
        structure=structure,
        method=method,
        cuts=tuple(cuts),
        listing=Listing.make(method.name.lower(), cuts[0]),
        points=points,
        model=source_name(model),
        level=known,
    )


def fragment_budget(
    structure: FragmentedFrames,
    method: FragmentMethod,
    reference: Any,
    model: Any = None,
    *,
    level: str | None = None,
    device: str | None = None,
) -> Fragmentation:
    """Measures the error budget of a structure.

    `reference` is one model for everything; without `model` only the error of the scheme is left.

    Raises:
        ConfigError: a reference for each kind of fragment, or scheme direct without a model.
        TLPotError: see `measure_budget`.
    """
    if method.name == "direct" and model is None:
        raise ConfigError("scheme direct has no fragments, and without a model there is no error")
    frames, words = structure.frames, method.text()
    with progress_bar(desc="QM calculations", unit="", delay=1.0, dynamic_ncols=True) as bar:
        qm = _one_model(reference, "reference", device, bar.update)
        if method.low is not None:  # shared, so that nothing is computed twice
            low = _one_model(method.low, "low", device, bar.update, method.low_level)
            method = replace(method, low=low, low_level=None)
        options: dict[str, Any] = {"topology": structure.topology, "device": device, "skin": 0.0}
        whole = FragmentCalculator(frames[0], qm, "direct", **options)
        pieces = method.calculator(frames[0], qm, **options)
        own = None
        if model is not None:
            own = method.calculator(frames[0], model, level=level, on_done=bar.update, **options)
        budget = measure_budget(frames, whole=whole, fragments=pieces, model=own)
    return Fragmentation(
        structure=structure,
        method=method,
        budget=BudgetReport(
            budget=budget,
            structure=Path(structure.name).name,
            scheme=words,
            model=source_name(model),
            reference=source_name(reference),
        ),
        model=source_name(model),
    )


def _one_model(
    source: Any,
    name: str,
    device: str | None,
    on_done: Callable[[], object],
    level: str | None = None,
) -> Any:
    if isinstance(source, str | os.PathLike):
        source = named_source(os.fspath(source), on_done=on_done)
    if isinstance(source, Mapping):
        raise ConfigError(f"{name} must be one model for everything, not one per fragment")
    return energy_model(source, level=level, device=device)


def source_name(source: Any) -> str:
    """Returns what to call a model; empty for none."""
    if source is None:
        return ""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else type(source).__name__
