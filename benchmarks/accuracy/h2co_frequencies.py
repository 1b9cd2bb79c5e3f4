"""Harmonic frequencies of formaldehyde at MP2/aug-cc-pVTZ, by PySCF: the reference of row A3.

    python benchmarks/accuracy/h2co_frequencies.py --data DIR --out h2co_mp2_frequencies.json

Needs PySCF (pip install pyscf). The level is that of ch2o_mp2_avtz_3601.npz of Käser et al.
(doi:10.1021/acs.jctc.1c00249; in DIR/vpt2-tl): frozen core, spherical functions; energy and
forces of the lowest frame are compared first. The geometry is relaxed to 1e-5 eV/Å with
analytic gradients and the Hessian is their central difference with 0.005 Å.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS
from pyscf import gto, mp, scf

from tlpot.dynamics import harmonic_modes

STEP = 0.005
FREE_ATOMS = {1: -0.499821176024, 6: -37.759560677467, 8: -74.959294141352}
"""Hartree, as in the note that comes with the data."""


class MP2(Calculator):
    """Frozen-core MP2 energies and analytic forces."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Runs PySCF."""
        super().calculate(atoms, properties, system_changes)
        geometry = list(zip(atoms.symbols, atoms.positions.tolist(), strict=True))
        molecule = gto.M(atom=geometry, basis="aug-cc-pvtz", verbose=0, max_memory=12000)
        field = scf.RHF(molecule).run(conv_tol=1e-11)
        method = mp.MP2(field, frozen=int(np.sum(atoms.numbers > 2))).run()
        gradient = method.nuc_grad_method().kernel()
        self.results = {
            "energy": method.e_tot * units.Hartree,
            "forces": -gradient * units.Hartree / units.Bohr,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, default=Path("h2co_mp2_frequencies.json"))
    options = parser.parse_args()
    frames = np.load(Path(options.data) / "vpt2-tl" / "ch2o_mp2_avtz_3601.npz")
    lowest = int(np.argmin(frames["E"]))
    numbers = frames["Z"][lowest][:4]
    atoms = Atoms(numbers, frames["R"][lowest][:4], calculator=MP2())
    zero = sum(FREE_ATOMS[int(z)] for z in numbers) * units.Hartree
    energy = atoms.get_potential_energy() - zero - frames["E"][lowest]
    forces = atoms.get_forces() - frames["F"][lowest][:4]
    print(f"frame {lowest}, PySCF minus the data: energy {1e3 * energy:.3f} meV,", end=" ")
    print(f"largest force component {1e3 * np.abs(forces).max():.3f} meV/Å", flush=True)
    BFGS(atoms).run(fmax=2e-4, steps=40)
    hessian = np.zeros((12, 12))
    start = atoms.positions.copy()
    for k in range(9):  # the rows of the last atom follow, because a translation costs nothing
        pair = []
        for sign in (1, -1):
            atoms.positions = start
            atoms.positions[k // 3, k % 3] += sign * STEP
            pair.append(atoms.get_forces().ravel())
        hessian[k] = (pair[1] - pair[0]) / (2 * STEP)
        print(f"displacement {k + 1} of 9", flush=True)
    hessian[9:] = -hessian[:9].reshape(3, 3, 12).sum(axis=0)
    atoms.positions = start
    hessian = 0.5 * (hessian + hessian.T)
    modes = harmonic_modes(atoms, hessian)
    found = {
        "method": "frozen-core MP2/aug-cc-pVTZ, PySCF, central differences of analytic gradients",
        "symbols": list(atoms.symbols),
        "positions_angstrom": start.tolist(),
        "hessian_ev_per_angstrom2": hessian.tolist(),
        "frequencies_per_cm": modes.wavenumbers.tolist(),
    }
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(found["frequencies_per_cm"])


if __name__ == "__main__":
    main()
