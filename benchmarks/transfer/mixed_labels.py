"""Six molecules as a newcomer labels them: many GFN2-xTB frames, few energies, fewer forces.

`write_mixed` writes 300 training frames of GFN2-xTB dynamics, 36 of them with a PBE/def2-SVP
energy and 12 of these with forces; and 60 test frames of other trajectories with everything. The
labels were computed once by this module and lie beside it; run it to compute them again (needs
tblite and PySCF, about half an hour).
"""

from __future__ import annotations

import argparse
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from labelled import Group, gfn2_calculator, with_gfn2, write_groups
from tqdm import tqdm

from tlpot.engines import EngineSpec, make_engine
from tlpot.system import System

PBE = "pbe/def2-svp"
HELD_OUT = "held out"
_OF_TEST = " test"
NAMES = ("CH3CONH2", "C4H4NH", "CH3COCH3", "C5H5N", "CH3CH2OCH3", "CH3CH2NH2")
LABELS = Path(__file__).with_name("mixed.h5")
_TRAINING, _TEST, _ENERGIES, _FORCES = 50, 10, 6, 2
"""For each molecule: frames, test frames, energies, and forces among these."""


def write_mixed(_: Path, path: Path) -> None:
    """Copies the labels."""
    shutil.copyfile(LABELS, path)


def compute(path: Path) -> None:
    """Runs the dynamics and the labels, and writes them."""
    engine = make_engine(EngineSpec(name=f"pyscf:{PBE}"))
    engine.use_threads(1)
    groups = []
    bar = tqdm(total=len(NAMES) * (_ENERGIES + _TEST), desc=PBE)
    for seed, name in enumerate(NAMES):
        train = _trajectory(name, 500.0, _TRAINING, seed)
        test = _trajectory(name, 500.0, _TEST, seed + 100)
        chosen = np.linspace(0, _TRAINING - 1, _ENERGIES).round().astype(int)
        groups.append(_labelled(engine, name, name, train, chosen, _FORCES, bar))
        every = np.arange(_TEST)
        groups.append(_labelled(engine, name + _OF_TEST, HELD_OUT, test, every, _TEST, bar))
    write_groups(path, with_gfn2(groups))


def _labelled(engine, name, group, positions, chosen, n_forces, bar):
    numbers = molecule(name.removesuffix(_OF_TEST)).numbers
    energies = np.full(len(positions), np.nan)
    forces = np.full(positions.shape, np.nan)
    for count, k in enumerate(chosen):
        system = System.from_atoms(Atoms(numbers, positions[k]))
        labels = engine.compute(system, forces=count < n_forces, log=StringIO())
        energies[k] = labels.energy
        if labels.forces is not None:
            forces[k] = labels.forces
        bar.update()
    return Group(name=name, molecule=group, numbers=numbers, positions=positions,
                 energies={PBE: energies}, forces={PBE: forces})  # fmt: skip


def _trajectory(name: str, temperature: float, n: int, seed: int) -> np.ndarray:
    """Returns positions of Langevin dynamics with GFN2-xTB, [n, n_atoms, 3], 10 fs apart."""
    start = molecule(name)
    atoms = Atoms(start.numbers, start.positions, calculator=gfn2_calculator())
    rng = np.random.default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    dynamics = Langevin(atoms, 0.5 * units.fs, temperature_K=temperature,
                        friction=0.01 / units.fs, fixcm=False, rng=rng)  # fmt: skip
    positions = []
    dynamics.run(100)
    for _ in range(n):
        dynamics.run(20)
        positions.append(atoms.positions.copy())
    return np.array(positions)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=LABELS)
    compute(parser.parse_args().out)
