"""Pairs of capped residues out of folded peptides, without labels, for the set of `peptides.py`.

    python peptide_fragments.py FILE.h5 --frames 9000 [--models tlpot-peptides]

They are the fragments of `mfcc_mbe2` in peptides of five to nine residues at random, a fifth of
them with a bridge of two cysteines, which dynamics with ff14SB without a solvent (OpenMM:
`tlpot[openmm]`) has folded, with the charges of the force field or a share of them, so that groups
meet that are not charged, too. Half of the snapshots then go on by a model's own dynamics, a
quarter are partly relaxed by it; bond lengths of the others are the force field's. Single residues
and neighbours are left out, as sets of molecules have those. Then

    python peptides.py DIR --kinds --more FILE.h5 --aimnet2 ... --ani ...
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import h5py
import numpy as np
import openmm as mm
import torch
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import FIRE
from openmm import app, unit

import tlpot
from tlpot.errors import GeometryError, TLPotError
from tlpot.fragments import FragmentPool, FragmentTypes, ProteinFrames
from tlpot.fragments.layer import openmm_topology
from tlpot.structures import build_peptide
from tlpot.system import System
from tlpot.topology import perceive_topology

NAMES = (
    "ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIE", "HID", "HIP", "ILE", "LEU",
    "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL",
)  # fmt: skip
CHARGED = {"ARG", "ASP", "GLU", "HIP", "LYS"}
BASINS = ((-60.0, -45.0), (-120.0, 130.0), (-75.0, 145.0), (-90.0, 0.0), (55.0, 45.0))
"""φ and ψ, each spread by 25°."""
LARGEST = 72
"""Atoms of a fragment."""
OF_EACH = 12
"""Fragments of a snapshot."""
SNAPSHOTS, PICOSECONDS = 3, 5.0
"""Of each peptide, and from one to the next."""
STEPS, RELAXING = 60, (4, 16)
"""Of 0.5 fs, of the model's dynamics; of its relaxation."""
MOST_FORCE = 25.0
"""eV/Å, of the model; what has more is in no state to be learned from."""


def peptide(rng: np.random.Generator) -> Atoms:
    """Returns a peptide at random."""
    names = [str(name) for name in rng.choice(NAMES, rng.integers(5, 10))]
    bridge = []
    if rng.random() < 0.2:
        first = int(rng.integers(0, len(names) - 4))
        last = int(rng.integers(first + 3, len(names)))
        names[first] = names[last] = "CYS"
        bridge = [(first, last)]
    basins = [BASINS[k] for k in rng.choice(len(BASINS), len(names), p=(0.3, 0.3, 0.2, 0.15, 0.05))]
    angles = {} if bridge else {
        key: [
            None if key == "phi" and name == "PRO" else float(rng.normal(basin[k], 25))
            for name, basin in zip(names, basins, strict=True)
        ]
        for k, key in enumerate(("phi", "psi"))
    }  # fmt: skip
    ends = {"n_cap": "NH3+", "c_cap": "COO-"} if rng.random() < 0.2 else {}
    return build_peptide(names, disulfides=bridge, **angles, **ends)


def folding(atoms: Atoms, seed: int, *, share: float, temperature: float) -> Iterator[Atoms]:
    """Yields snapshots of dynamics with the force field and a share of its charges."""
    topology = perceive_topology(System.from_atoms(atoms))
    field = app.ForceField("amber14-all.xml")
    made, order = openmm_topology(topology)
    back = np.argsort(order)
    system = field.createSystem(made, nonbondedMethod=app.NoCutoff)
    (pairs,) = (f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    for k in range(pairs.getNumParticles()):
        charge, *others = pairs.getParticleParameters(k)
        pairs.setParticleParameters(k, share * charge, *others)
    for k in range(pairs.getNumExceptions()):
        i, j, product, *others = pairs.getExceptionParameters(k)
        pairs.setExceptionParameters(k, i, j, share**2 * product, *others)
    integrator = mm.LangevinMiddleIntegrator(
        temperature, 1 / unit.picosecond, 0.5 * unit.femtosecond
    )
    integrator.setRandomNumberSeed(seed)
    platform = mm.Platform.getPlatformByName("CPU")
    context = mm.Context(system, integrator, platform, {"Threads": "1"})
    context.setPositions(atoms.positions[order] * unit.angstrom)
    mm.LocalEnergyMinimizer.minimize(context, maxIterations=300)
    context.setVelocitiesToTemperature(temperature, seed)
    for _ in range(SNAPSHOTS):
        integrator.step(round(2000 * PICOSECONDS))
        positions = context.getState(positions=True).getPositions(asNumpy=True)
        frame = atoms.copy()
        frame.positions = positions.value_in_unit(unit.angstrom)[back]
        yield frame


def moved(atoms: Atoms, calculator: tlpot.TLPotCalculator, rng: np.random.Generator) -> Atoms:
    """Returns a snapshot after dynamics of a model, relaxed a little by it, or as it is."""
    atoms = atoms.copy()
    atoms.calc = calculator
    if abs(atoms.get_forces()).max() > MOST_FORCE:
        raise GeometryError("forces are too large")
    draw = rng.random()
    if draw < 0.5:
        thermalize_momenta(atoms, rng.uniform(250, 450), rng=rng)
        dynamics = Langevin(
            atoms, 0.5 * units.fs, temperature_K=300, friction=0.01 / units.fs, rng=rng, fixcm=False
        )
        dynamics.run(STEPS)
    elif draw < 0.75:
        FIRE(atoms, logfile=None).run(fmax=0.05, steps=int(rng.integers(*RELAXING)))
    atoms.calc = None
    return atoms


def cut(atoms: Atoms, rng: np.random.Generator) -> dict[str, tuple[object, np.ndarray]]:
    """Returns some fragments of a snapshot, without single residues and neighbours."""
    types = FragmentTypes()
    pool = FragmentPool(types, "mfcc_mbe2")
    pool.add(ProteinFrames(name="one", frames=[atoms]))
    found = {}
    for key, candidates in pool.found.items():
        kind = types.kinds[key]
        residues = [part for part in kind.name.replace("+", "-").split("-")
                    if part not in ("ACE", "NME")]  # fmt: skip
        neighbours = "+" not in kind.name and len(residues) < 3
        if not neighbours and len(kind) <= LARGEST:
            found[key] = kind, candidates[0].positions
    chosen = rng.permutation(sorted(found))[:OF_EACH]
    return {str(key): found[str(key)] for key in chosen}


def has_ions(name: str) -> bool:
    """Whether a fragment has charged groups, also where they add up to nothing."""
    for piece in name.split("+"):
        parts = piece.split("-")
        whole = [part for part in (parts[0], parts[-1]) if "[" not in part]
        if CHARGED & set(parts) or not set(whole) <= {"ACE", "NME"}:
            return True
    return False


def write(file: Path, found: dict[str, tuple[object, list[np.ndarray]]]) -> None:
    """Writes the fragments, a group for each kind."""
    with h5py.File(file, "w") as out:
        units_of_labels = {"energy": "hartree", "forces": "hartree/angstrom"}  # to come
        out.attrs["units"] = json.dumps({"coordinates": "angstrom", **units_of_labels})
        out.attrs["levels"] = "{}"
        for key, (kind, geometries) in sorted(found.items()):
            group = out.create_group(f"fragment_{key}")
            group.attrs.update(kind="fragment", name=kind.name, ions=has_ions(kind.name))
            group["atomic_numbers"] = kind.atomic_numbers
            group["coordinates"] = np.array(geometries, dtype="f4")
            group["charge"] = kind.charge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--frames", type=int, default=9000)
    parser.add_argument("--models", nargs="+", default=["tlpot-peptides"])
    parser.add_argument("--level", default="aimnet2")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    calculators = cycle([tlpot.TLPotCalculator(model, level=given.level) for model in given.models])
    found: dict[str, tuple[object, list[np.ndarray]]] = {}
    made = number = left = 0
    while made < given.frames:
        number += 1
        rng = np.random.default_rng([given.seed, number])
        try:
            atoms = peptide(rng)
            begun = perceive_topology(System.from_atoms(atoms)).bonds
            frames = folding(
                atoms, number, share=rng.uniform(0.3, 1.0), temperature=rng.uniform(300, 500)
            )
            for frame in frames:
                snapshot = moved(frame, next(calculators), rng)
                if not np.array_equal(perceive_topology(System.from_atoms(snapshot)).bonds, begun):
                    left += 1
                    continue
                for key, (kind, positions) in cut(snapshot, rng).items():
                    found.setdefault(key, (kind, []))[1].append(positions)
                    made += 1
        except (TLPotError, mm.OpenMMException, ValueError) as error:
            left += 1
            print(f"peptide {number}: {error}", flush=True)
        if number % 10 == 0 or made >= given.frames:
            print(f"{made} fragments of {len(found)} kinds out of {number} peptides, "
                  f"{left} left out", flush=True)  # fmt: skip
            write(given.file, found)


if __name__ == "__main__":
    main()
