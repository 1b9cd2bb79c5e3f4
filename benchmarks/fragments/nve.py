"""Energy conservation across pair-list changes: python nve.py [--sequence TGT] [--time 2].

Velocity Verlet of a capped peptide with fragment energies of GFN1-xTB (tblite). Beside the exact
forces, two rules found in the literature: cap forces given to the atom that the cap replaces, and
cap forces dropped. A hard list of pairs is a fourth way to go wrong. Prints the slope and the
spread of the total energy, kcal/mol, and writes nve.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from tblite.ase import TBLite
from tqdm import tqdm

from tlpot import FragmentCalculator
from tlpot.fragments import CalculatorModel, build_peptide
from tlpot.fragments.schemes import Dimers

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
        energies = partition.batch.energies(field.high, rows, once=True)
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
    totals, times = [], []
    for step in tqdm(range(steps + 1), desc=label, mininterval=20):
        if step:
            dynamics.run(1)
        if step % 5 == 0:
            totals.append(atoms.get_total_energy() / KCAL)
            times.append(0.5e-3 * step)
    totals = np.array(totals)
    slope = np.polyfit(times, totals, 1)[0]
    velocity = atoms.get_momenta().sum(0) / atoms.get_masses().sum() * units.fs * 1e3
    return {
        "drift": float(slope),
        "std": float(totals.std()),
        "range": float(np.ptp(totals)),
        "centre_of_mass": float(np.linalg.norm(velocity)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequence", default="TGT")
    parser.add_argument("--time", type=float, default=2.0, help="ps")
    parser.add_argument("--inner", type=float, default=2.2)
    parser.add_argument("--outer", type=float, default=3.0)
    parser.add_argument("--out", type=Path, default=Path("nve.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    atoms = build_peptide(options.sequence, conformation="ppii")
    model = CalculatorModel(TBLite(method="GFN1-xTB", accuracy=0.1, cache_api=False, verbosity=0))
    smooth = Dimers(inner=options.inner, outer=options.outer)
    hard = Dimers(inner=options.outer, outer=options.outer)
    atoms.calc = FragmentCalculator(atoms, model, smooth)
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=100)
    rng = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=600, rng=rng)
    Stationary(atoms)
    ZeroRotation(atoms)
    found, steps = {}, round(2000 * options.time)
    for label in ("exact", "hard list", "dropped", "given to the atom that is gone"):
        calculator = FragmentCalculator(atoms, model, hard if label == "hard list" else smooth)
        rule = None if label in ("exact", "hard list") else label
        begun = time.perf_counter()
        used = WrongForces(calculator, rule) if rule else calculator
        found[label] = run(atoms, used, steps, label)
        prepared = calculator.force_field.prepared(atoms.numbers, atoms.positions)
        found[label]["lists"] = prepared.n_lists
        line = found[label]
        print(
            f"{label:32s} drift {line['drift']:+.3f} kcal/mol/ps, std {line['std']:.3f}, range "
            f"{line['range']:.3f} kcal/mol, centre of mass {line['centre_of_mass']:.1e} Å/ps, "
            f"{line['lists']} lists, {time.perf_counter() - begun:.0f} s",
            flush=True,
        )
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
