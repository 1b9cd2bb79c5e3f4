"""Checks of an imported model: symmetry, size consistency, and what mace-torch itself gives."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from tlpot.energy import evaluate
from tlpot.errors import ModelFileError
from tlpot.graph import build_graph
from tlpot.models.level_potential import LevelPotential
from tlpot.models.potential import Potential
from tlpot.system import System

TOLERANCE = 1e-8
"""eV and eV/Å for each eV or eV/Å of a model in float64, which is exact to some 1e-11."""


def check_physics(potential: Potential) -> dict[str, float]:
    """Checks an imported model in float64 on clusters of its elements.

    Returns:
        The largest relative change of energies and forces under a rotation with reflection and a
        permutation, and the largest deviation from additivity of two clusters far apart.

    Raises:
        ModelFileError: one of them is not zero.
    """
    rng = np.random.default_rng(0)
    clusters = [
        _cluster(rng.choice(potential.elements, size=6), potential.cutoff, rng) for _ in range(3)
    ]
    turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    found: dict[str, list[float]] = {"symmetry": [], "size consistency": []}
    for level in potential.levels:
        model = potential.at(level)
        energies = []
        for atoms in clusters:
            energy, forces = _evaluated(model, atoms)
            order = rng.permutation(len(atoms))
            other = Atoms(atoms.numbers[order], atoms.positions[order] @ turned.T + 1.0)
            energy_2, forces_2 = _evaluated(model, other)
            size = max(abs(energy), float(np.abs(forces).max()), 1.0)
            off = np.abs(forces_2 - forces[order] @ turned.T).max()
            found["symmetry"] += [abs(energy_2 - energy) / size, float(off) / size]
            energies.append(energy)
        joined = clusters[0].copy()
        for k, atoms in enumerate(clusters[1:], start=1):
            moved = atoms.copy()
            moved.translate([0.0, 0.0, 50.0 * k])
            joined += moved
        off = abs(_evaluated(model, joined)[0] - sum(energies)) / max(1.0, *map(abs, energies))
        found["size consistency"].append(off)
    worst = {what: float(np.max(offs)) for what, offs in found.items()}  # NaN stays NaN
    for what, off in worst.items():
        if not off < TOLERANCE:
            raise ModelFileError(
                f"the imported model fails a check of {what} (off by {off:.1e}, expected at most "
                f"{TOLERANCE:.0e}): it would give wrong energies and is not written"
            )
    return worst


def _evaluated(model: LevelPotential, atoms: Atoms) -> tuple[float, NDArray[np.float64]]:
    """Returns the energy without E0, eV, and the forces, eV/Å."""
    graph = build_graph([System.from_atoms(atoms)], model.cutoff, layout=model.layout)
    result = evaluate(model, graph)
    e0 = model.potential.references(model.level)
    assert result.forces is not None
    energy = float(result.energy[0]) - sum(e0[z] for z in atoms.numbers)
    return energy, result.forces.numpy()


def _cluster(numbers: NDArray[np.int64], cutoff: float, rng: np.random.Generator) -> Atoms:
    """Returns atoms at some 1.3 times the sum of their largest radii, within the cutoff."""
    grid = np.array([(x, y, z) for x in range(2) for y in range(2) for z in range(2)], dtype=float)
    spacing = min(2.6 * max(covalent_radii[z] for z in numbers), 0.4 * cutoff)
    places = grid[: len(numbers)] * spacing + rng.normal(scale=0.1, size=(len(numbers), 3))
    return Atoms(numbers, places)


def check_vectors(
    potential: Potential, taken: Mapping[str, str], path: str | os.PathLike[str]
) -> dict[str, float]:
    """Compares an imported model in float64 with energies and forces that mace-torch gave.

    Args:
        potential: the model.
        taken: head by level.
        path: npz file with ``n`` structures, each as ``numbers_k``, ``positions_k``, ``cell_k``,
            ``pbc_k``, ``charge_k``, ``spin_k``, and by head ``HEAD/energy_k``, ``HEAD/forces_k``.

    Returns:
        Largest differences of energies (without E0, relative) and forces (relative to the
        largest).

    Raises:
        ModelFileError: the file cannot be read, or a difference is larger than rounding.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {key: file[key] for key in file.files}
        structures = [
            Atoms(
                data[f"numbers_{k}"],
                data[f"positions_{k}"],
                cell=data[f"cell_{k}"],
                pbc=data[f"pbc_{k}"],
                info={"charge": int(data[f"charge_{k}"]), "spin": int(data[f"spin_{k}"])},
            )
            for k in range(int(data["n"]))
        ]
        tolerance = 1e-4 if bool(data.get("single", False)) else 1e-7
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ModelFileError(
            f"cannot read the test vectors {path}: {error!r}; expected what "
            "examples/mace_vectors.py writes in an environment with mace-torch"
        ) from error
    offs: dict[str, list[float]] = {"energy": [], "forces": []}
    for level, head in taken.items():
        model = potential.at(level)
        e0 = potential.references(level)
        before = len(offs["energy"])
        for k, atoms in enumerate(structures):
            if f"{head}/energy_{k}" not in data or not set(atoms.numbers) <= set(model.elements):
                continue
            energy, forces = _evaluated(model, atoms)
            truth = float(data[f"{head}/energy_{k}"]) - sum(e0[z] for z in atoms.numbers)
            offs["energy"].append(abs(energy - truth) / max(abs(truth), 0.1))
            expected = data[f"{head}/forces_{k}"]
            off = np.abs(forces - expected).max() / max(np.abs(expected).max(), 0.1)
            offs["forces"].append(float(off))
        if len(offs["energy"]) == before:
            raise ModelFileError(
                f"{path} holds no structure of the elements that were taken with energies of head "
                f"{head!r}; write it with structures of these elements, or take other heads"
            )
    worst = {what: float(np.max(values)) for what, values in offs.items()}  # NaN stays NaN
    if not np.max(list(worst.values())) <= tolerance:
        raise ModelFileError(
            f"the imported model does not give what mace-torch gave ({path}): energies are off by "
            f"{worst['energy']:.1e}, forces by {worst['forces']:.1e} (relative), expected at most "
            f"{tolerance:.0e}; it is not written. Please report the file's version of mace-torch"
        )
    return worst
