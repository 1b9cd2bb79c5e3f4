"""A model assembled by fragments against its teacher, by the same scheme and whole (rows P4, P7).

    python assembled.py errors MODEL --aimnet2 FILE.jpt --chignolin chig.pdb [--level aimnet2]
    python assembled.py dynamics MODEL STRUCTURE [--scheme mfcc_mbe2] [--time 20] [--out DIR]

``errors``: Ala12 as a helix, chignolin (microsoft/AI2BMD, MIT; charge −2) and the disulfide peptide
of the examples, each after 20 fs of dynamics at 300 K (GFN2-xTB), as forces of a minimum say
little. "model" compares the model with the teacher by the same scheme, "scheme" the teacher by the
scheme with the teacher of the whole, "whole" the model by the scheme with the teacher of the
whole. ``dynamics`` goes on where an interrupted run of the same DIR ended.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii
from ase.units import kcal, mol
from numpy.typing import NDArray

import tlpot
from tlpot.calculators import named_calculator
from tlpot.fragments import parse_scheme
from tlpot.structures import build_peptide, read_frames

KCAL = kcal / mol
EXAMPLES = Path(__file__).parents[2] / "examples"
PAIRS, LONGER = (
    parse_scheme({"name": "mfcc_mbe2", "inner": 3.0, "outer": 4.0, "size": size}) for size in (1, 2)
)
SCHEMES: Mapping[str, Mapping[str, Any]] = {
    "mfcc": {"scheme": "mfcc"},
    "mfcc_mbe2 3-4": {"scheme": PAIRS},
    "mfcc_mbe2 on gfn2-xtb": {"scheme": PAIRS, "low": "gfn2-xtb"},
    "the same, size 2": {"scheme": LONGER},
    "size 2 on gfn2-xtb": {"scheme": LONGER, "low": "gfn2-xtb"},
}


def structures(chignolin: Path) -> dict[str, Atoms]:
    """Returns the peptides with their charges."""
    found = {
        "Ala12": build_peptide("A" * 12, conformation="helix"),
        "chignolin": read_frames(os.fspath(chignolin))[0],
        "disulfide": read_frames(os.fspath(EXAMPLES / "disulfide.pdb"))[0],
    }
    found["chignolin"].info["charge"] = -2
    return found


def errors(model: str, level: str, aimnet2: Path, chignolin: Path) -> None:
    """Prints errors of forces and energies, of the model and of the schemes apart."""
    teacher = f"torch:{aimnet2}"
    print("RMS of force errors, kcal/mol/Å; error of the energy, kcal/mol per atom")
    print(f"  {'':12} {'scheme':22} {'model':>15} {'scheme':>15} {'whole':>15}")
    for name, atoms in structures(chignolin).items():
        start = moved(atoms)
        whole = evaluated(start, named_calculator(teacher))
        for scheme, settings in SCHEMES.items():
            ours, theirs = (
                evaluated(start, tlpot.FragmentCalculator(start, high=high, level=at, **settings))
                for high, at in ((model, level), (teacher, None))
            )
            cells = [
                f"{_rms(one[1] - two[1]):.2f} {abs(one[0] - two[0]) / KCAL / len(atoms):.3f}"
                for one, two in ((ours, theirs), (theirs, whole), (ours, whole))
            ]
            print(
                f"  {name:12} {scheme:22} " + " ".join(f"{cell:>15}" for cell in cells), flush=True
            )


def moved(atoms: Atoms) -> Atoms:
    """Returns the structure after some steps of dynamics with GFN2-xTB."""
    from ase import units
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    atoms = atoms.copy()
    rng = np.random.default_rng(0)
    atoms.calc = named_calculator("gfn2-xtb")
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=rng)
    Langevin(atoms, 0.5 * units.fs, temperature_K=300, friction=0.02, rng=rng,
             fixcm=False).run(40)  # fmt: skip
    atoms.calc = None
    return atoms


def evaluated(atoms: Atoms, calculator: object) -> tuple[float, NDArray[np.float64]]:
    """Returns energy and forces."""
    found = atoms.copy()
    found.calc = calculator
    return found.get_potential_energy(), found.get_forces()


def dynamics(
    model: str, level: str, structure: Path, scheme: str, picoseconds: float, out: Path
) -> None:
    """Runs Langevin dynamics at 300 K and says whether bonds and the domain held."""
    atoms = read_frames(os.fspath(structure))[0]
    out.mkdir(parents=True, exist_ok=True)
    output = out / f"{structure.stem}-{scheme}"
    found = tlpot.md(
        atoms, model, level=level, scheme=scheme, time=picoseconds, temperature=300.0,
        stop_when=["domain<0.05"], output=output, resume=Path(f"{output}.xyz").exists(),
    )  # fmt: skip
    print(found)
    frames = ase.io.read(f"{output}.xyz", ":")
    longest = [bond_stretch(frame, frames[0]) for frame in (frames[0], *frames)]
    print(f"longest bond, of covalent radii: {max(longest):.2f}, at the start {longest[0]:.2f}")


def bond_stretch(atoms: Atoms, start: Atoms) -> float:
    """Returns the longest distance of atoms bonded at the start, in sums of covalent radii."""
    radii = covalent_radii[start.numbers]
    sums = radii[:, None] + radii
    bonded = np.triu(start.get_all_distances() < 1.3 * sums, 1)
    return float((atoms.get_all_distances() / sums)[bonded].max())


def _rms(forces: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(forces).mean())) / KCAL


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    rows = parser.add_subparsers(dest="row", required=True)
    one, two = rows.add_parser("errors"), rows.add_parser("dynamics")
    for row in (one, two):
        row.add_argument("model")
        row.add_argument("--level", default="aimnet2")
    one.add_argument("--aimnet2", type=Path, required=True)
    one.add_argument("--chignolin", type=Path, required=True)
    two.add_argument("structure", type=Path)
    two.add_argument("--scheme", default="mfcc_mbe2")
    two.add_argument("--time", type=float, default=20.0)
    two.add_argument("--out", type=Path, default=Path("runs/peptides"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.row == "errors":
        errors(given.model, given.level, given.aimnet2, given.chignolin)
    else:
        dynamics(given.model, given.level, given.structure, given.scheme, given.time, given.out)


if __name__ == "__main__":
    main()
