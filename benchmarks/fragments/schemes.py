"""Errors of fragment schemes without any model error: python schemes.py SNAPSHOTS.xyz ...

GFN2-xTB (tblite) of fragments against GFN2-xTB of the whole, energies in kcal/mol per residue and
forces in kcal/mol/Å; alone, with Coulomb terms of GFN2 charges of the whole (the best case), and as
the high layer over GFN1-xTB of the whole. Frames of snapshots.py. Results are kept in --out, so
that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from ase import Atoms, units
from ase.io import read
from tblite.ase import TBLite

from tlpot.calculators import FragmentCalculator
from tlpot.fragments import GMFCC, MFCC, Dimers, Sphere
from tlpot.models import CalculatorModel

KCAL = units.kcal / units.mol
CAREFUL = {"mixer_damping": 0.2, "max_iterations": 1000}
"""A few fragments of the sphere scheme do not converge otherwise."""

SCHEMES = {
    "mfcc": MFCC(size=1),
    "mfcc2": MFCC(size=2),
    "mfcc3": MFCC(size=3),
    "gmfcc 4": GMFCC(inner=4.0, outer=4.0),
    "mfcc_mbe2 3-4": Dimers(inner=3.0, outer=4.0),
    "mfcc_mbe2 4": Dimers(inner=4.0, outer=4.0),
    "mfcc_mbe2 4-5": Dimers(inner=4.0, outer=5.0),
    "mfcc_mbe2 4, size 2": Dimers(inner=4.0, outer=4.0, size=2),
    "sphere 3": Sphere(radius=3.0),
}


def xtb(method: str) -> TBLite:
    return TBLite(method=method, accuracy=0.1, cache_api=False, verbosity=0, **CAREFUL)


LAYERS = ("", " + Coulomb", " over GFN1")


def one_frame(
    atoms: Atoms, names: list[str], layers: tuple[str, ...] = LAYERS
) -> dict[str, dict[str, float]]:
    """Errors of one structure by scheme and layer."""
    high, low = CalculatorModel(xtb("GFN2-xTB")), CalculatorModel(xtb("GFN1-xTB"))
    whole = atoms.copy()
    share = np.zeros(len(atoms))
    share[0] = 1.0
    whole.set_initial_charges(atoms.info.get("charge", 0) * share)
    whole.calc = xtb("GFN2-xTB")
    energy, forces = whole.get_potential_energy(), whole.get_forces()
    charges = whole.get_charges()
    other = whole.copy()
    other.calc = xtb("GFN1-xTB")
    found = {"GFN1 itself": _errors(0.0, other.get_forces() - forces, atoms, 1, 0.0)}
    kinds = dict(zip(LAYERS, ({}, {"charges": charges}, {"low": low}), strict=True))
    for name in names:
        for layer in layers:
            options = kinds[layer]
            begun = time.perf_counter()
            calculator = FragmentCalculator(atoms, high, SCHEMES[name], **options)
            copy = atoms.copy()
            copy.calc = calculator
            difference = copy.get_forces() - forces
            n_residues = sum(r.kind == "amino" for r in calculator.topology.residues)
            where = atoms.positions
            partition = calculator.force_field.partition(atoms.numbers.astype(np.int64), where)
            cost = partition.batch.assembly.n_rows / len(atoms)
            error = copy.get_potential_energy() - energy
            found[name + layer] = _errors(error, difference, atoms, n_residues, cost)
            print(f"  {name + layer:28s} {time.perf_counter() - begun:6.1f} s", flush=True)
    return found


def _errors(
    energy: float, forces: np.ndarray, atoms: Atoms, n_residues: int, cost: float
) -> dict[str, float]:
    return {
        "energy": energy / KCAL,
        "per_residue": energy / KCAL / n_residues,
        "force_mae": float(np.abs(forces).mean() / KCAL),
        "force_max": float(np.abs(forces).max() / KCAL),
        "cost": cost,
    }


def table(results: list[dict[str, dict[str, float]]]) -> str:
    """Mean over frames; energies also as spread, which is what conformers feel."""
    lines = [f"{'scheme':28s} |dE|/res  std dE  F MAE  F max  cost (kcal/mol, kcal/mol/Å)"]
    for name in results[0]:
        get = lambda key, n=name: np.array([r[n][key] for r in results])  # noqa: E731
        per_residue, spread = np.abs(get("per_residue")).mean(), get("energy").std()
        lines.append(
            f"{name:28s} {per_residue:8.3f} {spread:7.2f} {get('force_mae').mean():6.3f} "
            f"{get('force_max').max():6.2f} {get('cost').mean():5.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("snapshots", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("scheme_errors"))
    parser.add_argument("--schemes", help="separated by semicolons; of " + ", ".join(SCHEMES))
    parser.add_argument("--layers", choices=("none", "coulomb", "gfn1"), nargs="+")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = list(SCHEMES) if options.schemes is None else options.schemes.split(";")
    for name in names:
        if name not in SCHEMES:
            parser.error(f"no scheme {name!r}; there are {'; '.join(SCHEMES)}")
    short = dict(zip(("none", "coulomb", "gfn1"), LAYERS, strict=True))
    layers = LAYERS if options.layers is None else tuple(short[n] for n in options.layers)
    for path in options.snapshots:
        results = []
        for k, atoms in enumerate(read(path, ":")):
            kept = options.out / f"{path.stem}-{k}.json"
            if kept.exists():
                results.append(json.loads(kept.read_text()))
                continue
            print(f"{path.stem} frame {k}", flush=True)
            results.append(one_frame(atoms, names, layers))
            kept.write_text(json.dumps(results[-1], indent=1))
        print(f"\n{path.stem}, {len(results)} frames\n{table(results)}\n", flush=True)


if __name__ == "__main__":
    main()
