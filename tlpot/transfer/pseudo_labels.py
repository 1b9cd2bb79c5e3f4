"""What the parent says in the place of labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols

from tlpot.data import (
    Dataset,
    DatasetWithLabels,
    LabelKind,
    Labels,
    LowValues,
    NeutralDataset,
    SpecSource,
    evaluation_batches,
    frames_of,
    load_spec,
    open_dataset,
)
from tlpot.errors import DataError, UnknownElementError, UnknownLevelError
from tlpot.evaluation import evaluated
from tlpot.models import Potential, to_bytes
from tlpot.numbers import Floats, Ints, counted
from tlpot.structures import read_all
from tlpot.system import System
from tlpot.transfer.strategy import TransferContext


def low_values(
    potential: Potential,
    level: str,
    dataset: Dataset,
    indices: Ints,
    high: str,
) -> LowValues:
    """Evaluates a potential where another level has labels.

    Args:
        potential: the low model.
        level: its level.
        dataset: the frames.
        indices: which of them; the others get NaN.
        high: the level of the dataset whose forces and stresses say where those are needed.

    Raises:
        DataError: a prediction is NaN or infinite; the message names the frame.
        UnknownElementError: a frame has an element that the potential does not know.
    """
    n = len(dataset)
    energies = np.full(n, np.nan)
    forces: list[Floats | None] = [None] * n
    stresses: list[Floats | None] = [None] * n
    kinds: tuple[LabelKind, LabelKind] = ("forces", "stress")
    has_forces, has_stress = (dataset.labelled(high, kind) for kind in kinds)
    model = potential.at(level)
    order, n_done = indices[np.argsort(dataset.sizes[indices], kind="stable")], 0
    batches = evaluation_batches(
        model, dataset, order, (high,), device=potential.device, batch_size=32,
        show=f"low level {level}",
    )  # fmt: skip
    for batch, found, _ in evaluated(
        model,
        batches,
        forces=lambda batch: bool(batch.targets[high].forces.isfinite().any()),
        stress=lambda batch: bool(batch.targets[high].stress.isfinite().any()),
    ):
        chosen = order[n_done : n_done + len(batch.sizes)]
        n_done += len(chosen)
        energies[chosen] = found.energy.cpu().numpy()
        ends = np.cumsum(dataset.sizes[chosen])
        for row, k in enumerate(chosen.tolist()):
            if found.forces is not None and has_forces[k]:
                atoms = slice(int(ends[row] - dataset.sizes[k]), int(ends[row]))
                forces[k] = found.forces[atoms].cpu().numpy()
            if found.stress is not None and has_stress[k]:
                stresses[k] = found.stress[row].cpu().numpy()
        bad = ~np.isfinite(energies[chosen])
        if bad.any():
            (frame,) = dataset.read(chosen[bad][:1], ())
            raise DataError(
                f"{frame.name}: model {potential.card.name!r} gives NaN or infinity for its "
                f"energy at {level}; look at this structure, or leave it out"
            )
    # a parent's E0 is fitted as a rule and no free atom, so the dataset has to say
    known = dataset.levels.get(level)
    return LowValues(
        level=level,
        energies=energies,
        forces=forces,
        stresses=stresses,
        isolated_atoms={} if known is None else known.isolated_atoms,
        origin=hashlib.sha256(to_bytes(potential)).hexdigest(),
    )


def pseudo_labels(parent: Potential, level: str, dataset: Dataset, indices: Ints) -> list[Labels]:
    """Returns the parent's energies and forces, or values of a property, one `Labels` for each.

    Args:
        parent: the pretrained potential.
        level: at which it is asked, canonical.
        dataset: the geometries.
        indices: which of them.

    Raises:
        UnknownElementError: a frame has an element that the parent does not know.
    """
    model = parent.at(level)
    some_level = next(iter(dataset.levels))  # the loader wants one; its labels are not looked at
    found: list[Labels] = []
    batches = evaluation_batches(
        model, dataset, indices, (some_level,), device=parent.device, batch_size=32, show=False
    )
    for batch, properties, _ in evaluated(model, batches, forces=model.target is None):
        if properties.forces is None:  # of a property
            found += [Labels(energy=value) for value in properties.energy.tolist()]
            continue
        forces = properties.forces.double().cpu().numpy()
        ends = np.cumsum(batch.sizes.cpu().numpy().astype(int))
        for energy, part in zip(
            properties.energy.tolist(), np.split(forces, ends[:-1]), strict=True
        ):
            found.append(Labels(energy=energy, forces=part))
    return found


def labelled_by_parent(
    files: Sequence[Path], spec: SpecSource | None, context: TransferContext, most: int | None
) -> Dataset:
    """Returns structures with the parent's energies and forces as labels of its level.

    So a parent whose training data is not at hand, as that of an imported one, can be asked what
    it knows.

    Args:
        files: see `bare_structures`, as are `spec` and `context`.
        spec: layout.
        context: says who labels.
        most: structures to take, at random; None for all.

    Raises:
        DataError: a file cannot be read, or there are fewer structures than asked for.
        UnknownElementError: a structure has an element that the parent does not know.
        GeometryError: a structure has a charge that the parent does not read, or is unusable.
    """
    bare = bare_structures(files, spec, context, most)
    if most is not None and most > len(bare):
        raise DataError(
            f"strategy.frames is {most}, but {', '.join(map(str, files))} hold "
            f"{counted(len(bare), 'structure')}"
        )
    frames = np.arange(len(bare))
    found = pseudo_labels(context.parent, context.source, bare, frames)
    return DatasetWithLabels(bare, context.source, frames, found, replace=True)


def bare_structures(
    files: Sequence[Path], spec: SpecSource | None, context: TransferContext, most: int | None
) -> Dataset:
    """Returns structures of some files, whose labels are not looked at; all of theirs are zero.

    Args:
        files: of structures in any format, or datasets.
        spec: layout of datasets that is not tlpot's own.
        context: names the level of the zeros, and the seed of the choice.
        most: structures to take at most, at random; None for all.

    Raises:
        DataError: a file cannot be read.
    """
    systems = bare_systems(files, spec, context)
    order = np.random.default_rng([context.seed, 3]).permutation(len(systems))
    structures = []
    for k in np.sort(order[:most]):
        atoms = systems[k].to_atoms()
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
        structures.append(atoms)
    return open_dataset(structures, level=context.source)


def bare_systems(
    files: Sequence[Path], spec: SpecSource | None, context: TransferContext
) -> list[System]:
    """Returns structures of some files; the arguments are those of `bare_structures`.

    Raises:
        DataError: a file cannot be read.
        UnknownElementError: the parent does not know an element.
    """
    found = []
    for path in files:
        systems = _systems(path, spec, context.source)
        held = {z for system in systems for z in system.atomic_numbers.tolist()}
        unknown = [chemical_symbols[z] for z in sorted(held - set(context.parent.elements))]
        if unknown:
            raise UnknownElementError(
                f"{path}: the parent does not know {', '.join(unknown)}; leave these structures out"
            )
        found += systems
    if isinstance(context.dataset, NeutralDataset):  # the parent reads none of their charges
        return [replace(system, charge=0, spin=1) for system in found]
    return found


def _systems(path: Path, spec: SpecSource | None, level: str) -> list[System]:
    if spec is None and path.suffix not in (".h5", ".hdf5"):
        return [System.from_atoms(atoms) for atoms in read_all(path)]
    if spec is not None and path.is_file():
        layout = load_spec(spec)
        # of such files the description says where labels are, and nothing of the structures
        if layout.container == "extxyz" and layout.units.coordinates in ("angstrom", "Å", "A"):
            return [System.from_atoms(atoms) for atoms in read_all(path)]
    try:
        dataset = open_dataset(path, spec)
    except UnknownLevelError:  # a layout of one level does not say which
        dataset = open_dataset(path, spec, level=level)
    return [frame.system for frame in frames_of(dataset, levels=())]
