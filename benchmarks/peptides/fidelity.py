"""How close a model is to the teachers that it has learned (rows P1 and P3).

    python fidelity.py teachers MODEL --data peptides.h5 --split SPLIT.json [--part test]
    python fidelity.py dimers MODEL --data s66x8.h5 --aimnet2 FILE.jpt
    python fidelity.py noise MODEL --data peptides.h5 --split SPLIT.json --aimnet2 ENSEMBLE.jpt

``teachers``: errors of energies per atom, of forces and of energies relative to the mean of their
molecule on held-out molecules, by kind of molecule. ``dimers``: interaction energies of S66x8
geometries (Řezáč et al., doi:10.1021/ct2002946) in the layout of COMP6 (isayev/COMP6, MIT), against
the teacher on the same geometries. ``noise``: how far the networks of an ensemble of AIMNet2 are
from each other on held-out molecules, beside how far a model is from the first of them and from
their mean: what one network's labels have that no other network would learn from the same data.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import h5py
import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import build_neighbor_list, get_connectivity_matrix
from ase.units import kcal, mol
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

import tlpot
from tlpot.calculators import named_calculator
from tlpot.data import Dataset, NeutralDataset, load_split, open_dataset, with_any_label
from tlpot.evaluation import predict
from tlpot.models import load
from tlpot.system import System

KCAL = kcal / mol
DISTANCES = (0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0)
"""Of the equilibrium distance; the geometries of a dimer in the file."""


def teachers(model: str, data: list[Path], split: Path, part: str) -> None:
    """Prints a table for each level of the model."""
    loaded = load(model, device="cpu")
    plain = open_dataset(data)
    dataset = NeutralDataset(plain)
    held = getattr(load_split(split, plain), part)
    kinds = _kinds(plain)
    for level in loaded.levels:
        frames = held[with_any_label(dataset, level)[held]]
        found = predict(loaded.at(level), dataset, frames, level)
        print(f"{level}: {len(frames)} {part} frames")
        print("  kind        frames  E meV/atom  E relative kcal/mol  F meV/Å (MAE)")
        energy = found.energy[:, 1] - found.energy[:, 0]
        force = np.abs(found.forces[..., 1] - found.forces[..., 0])
        owner = np.repeat(np.arange(len(found.indices)), found.sizes)
        own_kinds = kinds[found.indices]
        for kind in ("all", *sorted(set(own_kinds.tolist()))):
            chosen = np.ones(len(energy), dtype=bool) if kind == "all" else own_kinds == kind
            relative = np.abs(_centred(energy[chosen], dataset.group_idx[found.indices][chosen]))
            print(
                f"  {kind:10} {chosen.sum():7d} "
                f"{1e3 * np.mean(np.abs(energy / found.sizes)[chosen]):11.2f} "
                f"{np.nanmean(relative) / KCAL:20.2f} "
                f"{1e3 * np.nanmean(force[chosen[owner]]):15.1f}"
            )


def dimers(model: str, data: Path, aimnet2: Path) -> None:
    """Prints errors of interaction energies by distance and kind of dimer."""
    loaded = load(model, device="cpu")
    teacher = named_calculator(f"torch:{aimnet2}")
    level = "aimnet2"
    ours = tlpot.TLPotCalculator(loaded, level=level)
    errors, labels = [], []
    with h5py.File(data) as file:
        for dimer in file["s66x8"].values():
            numbers = dimer["species"][()]
            symbols = [s.decode() if isinstance(s, bytes) else s for s in numbers.tolist()]
            geometries = [Atoms(symbols, positions) for positions in dimer["coordinates"][()]]
            order = np.argsort([_apart(atoms) for atoms in geometries])
            first = _monomer(geometries[order[-1]])
            pairs = [
                [
                    _interaction(geometries[k], first, c.get_potential_energy)
                    for c in (teacher, ours)
                ]
                for k in order
            ]
            errors.append([b - a for a, b in pairs])
            labels.append([a for a, _ in pairs])
    wrong, label = np.abs(errors) / KCAL, np.array(labels) / KCAL
    print(f"S66x8, {wrong.shape[0]} dimers, interaction energies against {level}, kcal/mol")
    print("  distance   " + "".join(f"{d:8.2f}" for d in DISTANCES))
    print("  MAE        " + "".join(f"{e:8.2f}" for e in wrong.mean(axis=0)))
    print("  mean |E|   " + "".join(f"{e:8.2f}" for e in np.abs(label).mean(axis=0)))
    near = wrong[:, 1:6].mean()
    print(f"  0.95 to 1.25: {near:.2f}; all: {wrong.mean():.2f}; largest {wrong.max():.2f}")
    for name, rows in (("hydrogen-bonded", slice(0, 23)), ("dispersion", slice(23, 46)),
                       ("mixed", slice(46, 66))):  # fmt: skip
        print(f"  {name:16} {wrong[rows].mean():.2f}")


def noise(model: str, data: list[Path], split: Path, ensemble: Path, at_most: int) -> None:
    """Prints mean absolute differences of forces and of energies per atom, by kind of molecule."""
    ours = load(model, device="cpu").at("aimnet2")
    members = list(torch.jit.load(str(ensemble), map_location="cpu").models.children())
    plain = open_dataset(data)
    dataset = NeutralDataset(plain)
    test = load_split(split, plain).test
    kinds = _kinds(plain)
    rng = np.random.default_rng(0)
    print(f"{len(members)} networks of AIMNet2; F meV/Å (MAE), E meV/atom (MAE)")
    columns = ("two networks", "one, the others' mean", "model, first", "model, mean")
    print(f"  {'kind':10} {'frames':>6} " + " ".join(f"{name:>21}" for name in columns))
    for kind in sorted(set(kinds[test].tolist())):
        own = test[kinds[test] == kind]
        chosen = np.sort(rng.choice(own, min(at_most, len(own)), replace=False))
        found = predict(ours, dataset, chosen, "aimnet2")
        ends = np.cumsum(found.sizes)
        forces: list[list[NDArray[np.float64]]] = [[] for _ in columns]
        energies: list[list[float]] = [[] for _ in columns]
        for row, frame in enumerate(plain.read(found.indices)):
            answers = [_answer(member, frame.system) for member in members]
            energy = np.array([answer[0] for answer in answers]) / found.sizes[row]
            force = np.array([answer[1] for answer in answers])
            e = found.energy[row, 1] / found.sizes[row]
            f = found.forces[ends[row] - found.sizes[row] : ends[row], :, 1]
            rest = [np.delete(np.arange(len(members)), k) for k in range(len(members))]
            for k, (of_force, of_energy) in enumerate((
                ([force[i] - force[j] for i, j in combinations(range(len(members)), 2)],
                 [energy[i] - energy[j] for i, j in combinations(range(len(members)), 2)]),
                ([force[i] - force[rest[i]].mean(axis=0) for i in range(len(members))],
                 [energy[i] - energy[rest[i]].mean() for i in range(len(members))]),
                ([f - force[0]], [e - energy[0]]),
                ([f - force.mean(axis=0)], [e - energy.mean()]),
            )):  # fmt: skip
                forces[k].append(np.abs(of_force).ravel())
                energies[k].append(float(np.abs(of_energy).mean()))
        print(f"  {kind:10} {len(chosen):6d} " + " ".join(
            f"{1e3 * np.concatenate(f).mean():14.1f} {1e3 * np.mean(e):6.2f}"
            for f, e in zip(forces, energies, strict=True)
        ), flush=True)  # fmt: skip


def _answer(member: Any, system: System) -> tuple[float, NDArray[np.float64]]:
    """Returns energy and forces of one network of an ensemble, eV and Å."""
    answer = member({
        "coord": torch.tensor(system.positions[None], dtype=torch.float32),
        "numbers": torch.tensor(system.atomic_numbers[None]),
        "charge": torch.tensor([float(system.charge)]),
    })  # fmt: skip
    return float(answer["energy"].detach().sum()), answer["forces"][0].detach().numpy()


def _kinds(dataset: Dataset) -> NDArray[np.str_]:
    """Returns the kind of molecule of each frame."""
    of_group = [str(dataset.attributes(name).get("kind", "")) for name in dataset.group_names]
    return np.array(of_group)[dataset.group_idx]


def _interaction(atoms: Atoms, first: NDArray[np.bool_], energy: Callable[[Atoms], float]) -> float:
    return energy(atoms) - energy(atoms[first]) - energy(atoms[~first])


def _monomer(atoms: Atoms) -> NDArray[np.bool_]:
    """Returns which atoms are of the first molecule."""
    near = build_neighbor_list(atoms, self_interaction=False)
    n, owner = connected_components(get_connectivity_matrix(near.nl))
    if n != 2:
        raise ValueError(f"{atoms.get_chemical_formula()}: {n} molecules, expected 2")
    return owner == owner[0]


def _apart(atoms: Atoms) -> float:
    """How far the atoms are spread; the monomers are rigid, so this grows with their distance."""
    return float(np.square(atoms.positions - atoms.positions.mean(axis=0)).sum())


def _centred(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    n = int(groups.max()) + 1
    counts = np.bincount(groups, minlength=n)
    means = np.bincount(groups, values, n) / np.maximum(counts, 1)
    return np.where(counts[groups] > 1, values - means[groups], np.nan)


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    rows = parser.add_subparsers(dest="row", required=True)
    one, two, three = (rows.add_parser(name) for name in ("teachers", "dimers", "noise"))
    for row in (one, two, three):
        row.add_argument("model")
        row.add_argument("--data", type=Path, nargs="+", required=True)
    for row in (one, three):
        row.add_argument("--split", type=Path, required=True)
    one.add_argument("--part", default="test")
    for row in (two, three):
        row.add_argument("--aimnet2", type=Path, required=True)
    three.add_argument("--frames", type=int, default=60, help="of each kind")
    given = parser.parse_args()
    if given.row == "teachers":
        teachers(given.model, given.data, given.split, given.part)
    elif given.row == "dimers":
        dimers(given.model, given.data[0], given.aimnet2)
    else:
        noise(given.model, given.data, given.split, given.aimnet2, given.frames)


if __name__ == "__main__":
    main()
