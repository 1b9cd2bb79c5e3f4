"""Geometries like those that tlpot-fragments was trained on: python sample.py STEP --out DIR.

Its 18,197 training geometries are not kept; these stand in for them. STEP is one of, in this order:

residues  each capped residue, its other protonation states and the cap. As in the recipe,
          ../force_field/tlpot_fragments.py, from turned single bonds and from dynamics at 300 and
          600 K, but by the model at gfn2-xtb itself instead of GFN2-xTB, all at once in batches,
          which costs a hundredth; and without normal modes, which the dynamics excite anyway
peptides  the mfcc_mbe2 fragments of snapshots of peptides, as in the recipe, of which every
          sequence that is there is used (``peptides`` of that script makes them; seven do)
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import h5py
import numpy as np
import torch
from ase import Atoms, units
from ase.io import read

from tlpot.data import Frame, write_structures
from tlpot.energy import evaluate
from tlpot.fragments import ProteinFrames, export_fragments
from tlpot.graph import build_graph
from tlpot.models import load
from tlpot.sampling import named_fragments
from tlpot.sampling.scans import scan
from tlpot.system import System
from tlpot.topology import MolecularGraph

FILES = ("residues.h5", "pairs.h5")
LEVEL = "gfn2-xtb"
STATES = ("ASH", "GLH", "LYN", "CYM", "TYM", "HID", "HIP")
WINDOW = 0.2
"""eV per atom above the lowest of a fragment, as in the recipe."""
TEMPERATURES = (300.0, 600.0)
WARM_UP, INTERVAL = 25, 10
"""Steps of 1 fs before the first frame, and between two."""


def residues(out: Path, options: argparse.Namespace) -> None:
    model = load("tlpot-fragments", device="cpu").at(LEVEL)
    fragments = named_fragments(["residues", *(f"ACE-{name}-NME" for name in STATES)])
    rng = np.random.default_rng(11)
    frames = []
    for fragment in fragments:
        molecule = MolecularGraph(fragment.atoms)
        turned = scan(fragment.atoms, molecule, 3 * options.replicas, 11)
        starts = [one.placed(fragment.atoms) for one in turned] or [fragment.atoms]
        starts = [starts[k % len(starts)] for k in range(options.replicas)]
        relaxed = descend(model, starts, 25)
        warm = [relaxed[k] for k in range(len(relaxed))]
        kelvin = np.resize(TEMPERATURES, len(warm))
        moving = langevin(model, warm, kelvin, options.frames, rng)
        pool = [*relaxed, *moving, *(one.placed(fragment.atoms) for one in turned)]
        # frames of one trajectory are alike: they stay together when frames are divided
        tags = [*range(len(warm))] * (1 + options.frames) + [
            f"turned{k}" for k in range(len(turned))
        ]
        whole = [k for k, atoms in enumerate(pool) if molecule.intact(atoms)]
        low = within(model, [pool[k] for k in whole])
        kept = [k for k, is_low in zip(whole, low, strict=True) if is_low]
        frames += [named(pool[k], fragment, tags[k]) for k in kept]
        print(f"{fragment.name}: {len(kept)} of {len(pool)} geometries", flush=True)
    write_structures(frames, out / FILES[0])
    add_energies(model, out / FILES[0])
    pack(out / FILES[0])


def add_energies(model, path: Path) -> None:
    """Adds energies of the model, for a file of geometries alone is none of labels."""
    with h5py.File(path, "a") as handle:
        handle.attrs["levels"] = json.dumps({"model": "tlpot-fragments"})
        for group in handle.values():
            positions = group["coordinates"][:]
            atoms = Atoms(group["atomic_numbers"][:])
            energies, _ = batched(model, [atoms] * len(positions), positions)
            group["model.energy"] = energies / units.Hartree


def pack(path: Path) -> None:
    """Writes a file of many small groups anew, in two thirds of the room."""
    packed = path.with_suffix(".packed")
    with h5py.File(path) as given, h5py.File(packed, "w", libver="latest") as new:

        def write(name: str, item: h5py.Group | h5py.Dataset) -> None:
            is_group = isinstance(item, h5py.Group)
            made = new.create_group(name) if is_group else new.create_dataset(name, data=item[()])
            made.attrs.update(item.attrs)

        new.attrs.update(given.attrs)
        given.visititems(write)
    packed.replace(path)


def descend(model, frames, steps):
    """A few short steps down each force, so that clashes of turned bonds are gone."""
    positions = np.stack([atoms.positions for atoms in frames])
    for _ in range(steps):
        _, forces = batched(model, frames, positions)
        positions = positions + np.clip(0.01 * forces, -0.05, 0.05)
    return [moved(atoms, x) for atoms, x in zip(frames, positions, strict=True)]


def langevin(model, frames, kelvin, count, rng):
    """Langevin dynamics (BAOAB, 1 fs, 20/ps) of several geometries of one molecule at once."""
    step, friction = units.fs, 0.02 / units.fs
    masses = frames[0].get_masses()[None, :, None]
    kt = units.kB * kelvin[:, None, None]
    positions = np.stack([atoms.positions for atoms in frames])
    momenta = np.sqrt(masses * kt) * rng.standard_normal(positions.shape)
    decay = np.exp(-friction * step)
    noise = np.sqrt((1.0 - decay**2) * masses * kt)
    _, forces = batched(model, frames, positions)
    found = []
    for number in range(1, WARM_UP + INTERVAL * count + 1):
        momenta += 0.5 * step * forces
        positions = positions + 0.5 * step * momenta / masses
        momenta = decay * momenta + noise * rng.standard_normal(positions.shape)
        positions = positions + 0.5 * step * momenta / masses
        _, forces = batched(model, frames, positions)
        momenta += 0.5 * step * forces
        if number > WARM_UP and (number - WARM_UP) % INTERVAL == 0:
            found += [moved(atoms, x) for atoms, x in zip(frames, positions, strict=True)]
    return found


def within(model, frames):
    """Which are near the lowest, as the recipe keeps."""
    energies, _ = batched(model, frames, np.stack([atoms.positions for atoms in frames]))
    return energies < energies.min() + WINDOW * len(frames[0])


def batched(model, frames, positions):
    systems = [system(atoms, x) for atoms, x in zip(frames, positions, strict=True)]
    found = evaluate(model, build_graph(systems, model.cutoff, layout=model.layout))
    return found.energy.numpy(), found.forces.numpy().reshape(positions.shape)


def system(atoms: Atoms, positions: np.ndarray) -> System:
    # the model reads no charges: those of the fragments are the ones that it was trained with
    return System(atomic_numbers=atoms.numbers.astype(np.int64), positions=positions,
                  cell=np.zeros((3, 3)), pbc=np.zeros(3, dtype=bool))  # fmt: skip


def moved(atoms: Atoms, positions: np.ndarray) -> Atoms:
    return Atoms(atoms.numbers, positions)


def named(atoms: Atoms, fragment, tag) -> Frame:
    name = f"{fragment.name}_{tag}"
    with_charge = Atoms(atoms.numbers, atoms.positions, info=dict(fragment.atoms.info))
    return Frame(system=System.from_atoms(with_charge), labels={}, group=name,
                 name=name)  # fmt: skip


def peptides(out: Path, options: argparse.Namespace) -> None:
    proteins = [
        ProteinFrames(name=path.stem, frames=read(path, ":"))
        for path in sorted((out / "peptides").glob("*.xyz"))
    ]
    print(export_fragments(proteins, "mfcc_mbe2", out / FILES[1], per_kind=4, select="random"))
    pack(out / FILES[1])


STEPS = {f.__name__: f for f in (residues, peptides)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--replicas", type=int, default=12, help="trajectories of each fragment")
    parser.add_argument("--frames", type=int, default=2, help="of each trajectory")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    STEPS[options.step](options.out, options)


if __name__ == "__main__":
    main()
