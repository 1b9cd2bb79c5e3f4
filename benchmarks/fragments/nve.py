"""Energy conservation of fragment force fields: python nve.py [--time 2] [--model MODEL].

First a capped tripeptide as capped dipeptides (mfcc): the exact forces, and two rules found in the
literature, cap forces given to the atom that the cap replaces and cap forces dropped. Then two
peptides beside each other, with pairs of fragments (mfcc_mbe2) that come and go: smooth pairs
against a hard list. Energies by a tlpot model in double precision, or by GFN1-xTB (tblite) without
--model. Prints the slope and the spread of the total energy in kcal/mol and writes nve.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from scipy.spatial.distance import cdist
from tblite.ase import TBLite
from tqdm import tqdm

from tlpot.calculators import FragmentCalculator
from tlpot.fragments import Dimers
from tlpot.models import CalculatorModel
from tlpot.structures import build_peptide

KCAL = units.kcal / units.mol


class WrongForces(Calculator):
    """The right energy with forces on caps dropped, or given to the atom that is gone."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, right: FragmentCalculator, rule: str) -> None:
        super().__init__()
        self.right, self.rule = right, rule

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        """Takes off what Pᵀ does with forces on caps, and puts the rule in its place."""
        super().calculate(atoms, properties, system_changes)
        copy = atoms.copy()
        copy.calc = self.right
        forces = copy.get_forces()
        field = self.right.force_field
        partition = field.partition(atoms.numbers.astype(np.int64), atoms.positions)
        assembly = partition.batch.assembly
        rows = assembly.positions(torch.from_numpy(atoms.positions)).requires_grad_(True)
        energies = partition.batch.energies(field.high, rows, first_order=True)
        (slope,) = torch.autograd.grad(energies.sum(), rows)
        whole = torch.from_numpy(atoms.positions)
        c = partition.coefficients(whole)[assembly.fragment_idx]
        on_caps = (-c[:, None] * slope)[assembly.is_cap].numpy()
        host, gone = (x[assembly.is_cap].numpy() for x in (assembly.host, assembly.gone))
        ratio = assembly.ratio[assembly.is_cap].numpy()[:, None]
        np.add.at(forces, host, -(1.0 - ratio) * on_caps)
        np.add.at(forces, gone, -ratio * on_caps)
        if self.rule == "given to the atom that is gone":
            np.add.at(forces, gone, on_caps)
        self.results = {"energy": copy.get_potential_energy(), "forces": forces}


def run(atoms: Atoms, calculator: Calculator, steps: int, label: str) -> dict[str, float]:
    atoms = atoms.copy()
    atoms.calc = calculator
    dynamics = VelocityVerlet(atoms, timestep=0.5 * units.fs)
    totals, times, lists = [], [], []
    field = getattr(calculator, "right", calculator).force_field
    for step in tqdm(range(steps + 1), desc=label, mininterval=20):
        if step:
            dynamics.run(1)
        if step % 5 == 0:
            totals.append(atoms.get_total_energy() / KCAL)
            times.append(0.5e-3 * step)
        partition = field.partition(atoms.numbers.astype(np.int64), atoms.positions)
        c = partition.coefficients(torch.from_numpy(atoms.positions))
        pairs = zip(partition.expansion.sets, c.tolist(), strict=True)
        lists.append(frozenset(units for units, value in pairs if abs(value) > 1e-12))
    totals = np.array(totals)
    slope = np.polyfit(times, totals, 1)[0]
    velocity = atoms.get_momenta().sum(0) / atoms.get_masses().sum() * units.fs * 1e3
    return {
        "drift": float(slope),
        "std": float(totals.std()),
        "range": float(np.ptp(totals)),
        "changes": sum(a != b for a, b in itertools.pairwise(lists)),
        "centre_of_mass": float(np.linalg.norm(velocity)),
    }


def started(atoms: Atoms, calculator: Calculator, kelvin: float) -> Atoms:
    """Relaxed a little, with velocities; the kinetic temperature settles at about half."""
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=0.1, steps=60)
    rng = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=kelvin, rng=rng)
    Stationary(atoms)
    ZeroRotation(atoms)
    return atoms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequence", default="TGT", help="of the first part")
    parser.add_argument("--pair", default="AGA", help="both peptides of the second part")
    parser.add_argument(
        "--model", default=None, help="of the second part; without it, no such part"
    )
    parser.add_argument("--level", default=None)
    parser.add_argument("--time", type=float, default=2.0, help="ps")
    parser.add_argument("--kelvin", type=float, default=600.0)
    parser.add_argument("--part", type=int, choices=(1, 2), default=None)
    parser.add_argument("--out", type=Path, default=Path("nve.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    jobs: list[tuple[str, Atoms, Calculator]] = []
    xtb = TBLite(method="GFN1-xTB", accuracy=0.1, cache_api=False, verbosity=0)
    high: Any = CalculatorModel(xtb)
    settings: dict[str, Any] = {}
    if options.model is not None:
        high = options.model
        settings = {"level": options.level, "dtype": "float64", "trained_charges": True}
    if options.part != 2:
        atoms = build_peptide(options.sequence, conformation="ppii")
        right = FragmentCalculator(atoms, high, "mfcc", **settings)
        atoms = started(atoms, right, options.kelvin)
        for label in ("exact", "given to the atom that is gone", "dropped"):
            used = right if label == "exact" else WrongForces(right, label)
            jobs.append((f"{options.sequence}, {label}", atoms, used))
    if options.part != 1:
        one = build_peptide(options.pair, conformation="ppii")
        other = one.copy()
        other.positions[:, 1] += 20.0
        while cdist(one.positions, other.positions).min() > 2.6:
            other.positions[:, 1] -= 0.1
        atoms = Atoms(one.numbers, one.positions) + Atoms(other.numbers, other.positions)
        for label, inner in (("smooth pairs", 3.0), ("hard list", 4.0)):
            scheme = Dimers(inner=inner, outer=4.0)
            calculator = FragmentCalculator(atoms, high, scheme, **settings)
            if label == "smooth pairs":
                atoms = started(atoms, calculator, options.kelvin)
            jobs.append((f"{options.pair}, {label}", atoms, calculator))
    found = {}
    for label, atoms, calculator in jobs:
        begun = time.perf_counter()
        found[label] = line = run(atoms, calculator, round(2000 * options.time), label)
        print(
            f"{label:40s} drift {line['drift']:+.3f} kcal/mol/ps, std {line['std']:.3f}, range "
            f"{line['range']:.3f} kcal/mol, centre of mass {line['centre_of_mass']:.1e} Å/ps, "
            f"pairs changed {line['changes']} times, {time.perf_counter() - begun:.0f} s",
            flush=True,
        )
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
