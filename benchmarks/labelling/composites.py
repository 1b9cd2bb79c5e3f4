"""3c composites: published figures again, seconds of a label, errors of conformers.

Usage:
    python benchmarks/labelling/composites.py published
    python benchmarks/labelling/composites.py seconds [--sequence A] [--levels LEVEL ...]
    python benchmarks/labelling/composites.py conformers FILE [--names NAME ...] [--conformers 5]

`published`: the ethene-ethyne dimer of tests/engines/test_composite_3c.py and its halves, SCF and
corrections, with fitted integrals (as labels are made) and without. `seconds`: energy and forces of
a capped peptide, alanine dipeptide (22 atoms) unless told otherwise, on one thread, beside
PBE-D3(BJ)/def2-SVP. `conformers`: energies within each molecule against DLPNO-CCSD(T)/cc-pVTZ,
mean-centred, on geometries of ghutchis/conformer-benchmark (MIT; D. L. Folmsbee and G. R.
Hutchison, doi:10.1002/qua.26381), and totals of B97-3c against the published ones.
"""

from __future__ import annotations

import argparse
import io
import time

import h5py
import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree, kcal, mol

from tlpot.engines import EngineSpec, make_engine
from tlpot.structures import build_peptide
from tlpot.system import System

COMPOSITES = ("b97-3c", "r2scan-3c", "wb97x-3c")
ORCA = {
    "b97-3c": (-155.833790674968, -78.544937023820, -77.285860375503),
    "r2scan-3c": (
        -155.86137806 - 1.4455457680017e-3 + 2.0969558e-3,
        -78.55690019 - 6.2041477166e-4 + 1.6932666e-3,
        -77.30233380 - 3.3971225644558e-4 + 3.797674e-4,
    ),
    "wb97x-3c": (-26.275166807430, -13.771538675222, -12.501060363754),
}
"""Hartree, of dimer, ethene and ethyne; where they are from: tests/engines/test_composite_3c.py."""

DIMER = Atoms(
    "C2H4C2H2",
    Bohr * np.array([
        [0.0, -1.26153959, -4.01502362], [0.0, 1.26153959, -4.01502362],
        [1.74539073, -2.32862069, -4.01790734], [-1.74539073, -2.32862069, -4.01790734],
        [-1.74539073, 2.32862069, -4.01790734], [1.74539073, 2.32862069, -4.01790734],
        [0.0, 0.0, 5.4811563], [0.0, 0.0, 3.19975986],
        [0.0, 0.0, 1.18552346], [0.0, 0.0, 7.49074019],
    ]),
)  # fmt: skip


def hartree(name: str, atoms: Atoms, **settings: object) -> float:
    engine = make_engine(EngineSpec(name=f"pyscf:{name}", settings=settings))
    found = engine.compute(System.from_atoms(atoms), forces=False, log=io.StringIO())
    return found.energy / Hartree


def published() -> None:
    print("ours - published, μHartree: dimer, ethene, ethyne, interaction")
    for name in COMPOSITES:
        for fitted in (True, False):
            parts = (DIMER, DIMER[:6], DIMER[6:])
            ours = [hartree(name, part, density_fitting=fitted) for part in parts]
            off = 1e6 * (np.array(ours) - ORCA[name])
            columns = [*off, off[0] - off[1] - off[2]]
            how = "fitted" if fitted else "exact"
            print(f"{name:10} {how:6}", *(f"{x:8.1f}" for x in columns), flush=True)


def seconds(sequence: str, levels: list[str]) -> None:
    atoms = build_peptide(sequence)
    print(f"{len(atoms)} atoms, energy and forces, one thread")
    base = None
    for name in levels:
        engine = make_engine(EngineSpec(name=f"pyscf:{name}"))
        engine.use_threads(1)
        started, used = time.perf_counter(), time.process_time()
        engine.compute(System.from_atoms(atoms), forces=True, log=io.StringIO())
        taken, used = time.perf_counter() - started, time.process_time() - used
        base = base or used
        print(
            f"{name:18} {taken:7.0f} s, {used:7.0f} s of processor, ratio {used / base:.1f}",
            flush=True,
        )


def conformers(file: str, names: list[str], n_conformers: int) -> None:
    with h5py.File(file) as handle:
        offsets, rows = handle["offsets"][:], handle["name"][:].astype(str)
        numbers, positions = handle["numbers"][:], handle["positions"][:]
        levels = ("dlpno_ccsdt_ccpvtz", "b97-3c", "wb97x-d3_def2tzvp", "pbe-d3bj_def2svp")
        known = {level: handle["energy"][level][:] for level in levels}
        charges = handle["charge"][:]
    errors: dict[str, list[float]] = {}
    for molecule in names:
        places = [i for i, row in enumerate(rows) if row.startswith(f"{molecule}/")][:n_conformers]
        energies = {f"{level}, published": known[level][places] for level in levels[1:]}
        for name in COMPOSITES:
            energies[name] = np.array([
                hartree(name, Atoms(
                    numbers[offsets[i]:offsets[i + 1]], positions[offsets[i]:offsets[i + 1]],
                    info={"charge": int(charges[i])},
                )) for i in places
            ])  # fmt: skip
        totals = 1e3 * (energies["b97-3c"] - energies["b97-3c, published"])
        n_atoms = offsets[places[0] + 1] - offsets[places[0]]
        print(
            f"{molecule}, {n_atoms} atoms, {len(places)} conformers; B97-3c - published: "
            f"{totals.mean():.3f} mHartree, spread {np.ptp(totals):.3f}"
        )
        for name, values in energies.items():
            off = (values - known[levels[0]][places]) * Hartree / (kcal / mol)
            errors.setdefault(name, []).append(float(np.mean(np.abs(off - off.mean()))))
            print(f"  {name:30} {errors[name][-1]:.3f} kcal/mol", flush=True)
    print("mean over molecules")
    for name, values in errors.items():
        print(f"  {name:30} {np.mean(values):.3f} kcal/mol")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=("published", "seconds", "conformers"))
    parser.add_argument("file", nargs="?")
    parser.add_argument("--sequence", default="A")
    parser.add_argument("--levels", nargs="+", default=["pbe-d3bj/def2-svp", *COMPOSITES])
    parser.add_argument(
        "--names", nargs="+", default=["omegapdb_1xge", "omegapdb_1p1o", "omegapdb_1jsl"]
    )
    parser.add_argument("--conformers", type=int, default=5)
    args = parser.parse_args()
    if args.job == "published":
        published()
    elif args.job == "seconds":
        seconds(args.sequence, args.levels)
    else:
        conformers(args.file, args.names, args.conformers)


if __name__ == "__main__":
    main()
