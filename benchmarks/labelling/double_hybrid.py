"""DSD-BLYP-D3BJ of ACE-GLY-NME: the engine against a sum by hand of PySCF's parts.

By hand: Kohn-Sham with the hybrid, PySCF's native RI-MP2 with its spin factors on those orbitals,
and s-dftd3. Usage: python benchmarks/labelling/double_hybrid.py [--basis def2-svp]
"""

from __future__ import annotations

import argparse
import io
import time

import dftd3.interface
import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree
from pyscf import dft, gto
from pyscf.mp.dfmp2_native import DFRMP2

from tlpot.engines import EngineSpec, make_engine
from tlpot.system import System

CAPPED_GLYCINE = Atoms(
    "CH3CONHCH2CONHCH3",
    [
        [0.153, -0.155, 0.018], [-0.776, 0.406, 0.044], [0.208, -0.808, 0.885],
        [0.174, -0.766, -0.882], [1.32, 0.809, 0.014], [1.206, 2.017, 0.009],
        [2.525, 0.201, 0.013], [2.631, -0.806, 0.026], [3.768, 0.927, -0.004],
        [3.833, 1.596, 0.863], [3.836, 1.546, -0.908], [4.91, -0.083, 0.026],
        [4.712, -1.281, 0.053], [6.138, 0.468, 0.024], [6.238, 1.468, -0.026],
        [7.331, -0.351, 0.031], [8.208, 0.284, 0.111], [7.299, -1.038, 0.878],
        [7.388, -0.945, -0.883],
    ],
)  # fmt: skip
"""Extended, relaxed with GFN2-xTB."""


def by_hand(basis: str) -> float:
    atoms = CAPPED_GLYCINE
    mol = gto.M(
        atom=list(zip(atoms.numbers.tolist(), atoms.positions / Bohr, strict=True)),
        unit="Bohr", basis=basis, verbose=0,
    )  # fmt: skip
    field = dft.RKS(mol).density_fit()
    field.xc, field.conv_tol = "HF*0.71 + B88*0.29, LYP*0.54", 1e-10
    field.kernel()
    second = DFRMP2(
        field, frozen=int(np.sum(atoms.numbers > 2)), auxbasis=field.with_df.auxmol.basis
    )
    second.ps, second.pt = 0.47, 0.40
    second.kernel()
    damping = dftd3.interface.RationalDampingParam(s6=0.57, s8=0.0, s9=0.0, a1=0.0, a2=5.4)
    model = dftd3.interface.DispersionModel(atoms.numbers, atoms.positions / Bohr)
    dispersion = float(model.get_dispersion(damping, grad=False)["energy"])
    print(f"Kohn-Sham {field.e_tot:.8f}, PT2 {second.e_corr:.8f}, D3BJ {dispersion:.8f} Hartree")
    return float(field.e_tot + second.e_corr + dispersion)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--basis", default="def2-svp")
    basis = parser.parse_args().basis
    engine = make_engine(EngineSpec(name=f"pyscf:dsd-blyp-d3bj/{basis}"))
    start = time.perf_counter()
    system = System.from_atoms(CAPPED_GLYCINE)
    found = engine.compute(system, forces=False, log=io.StringIO()).energy / Hartree
    print(f"engine  {found:.8f} Hartree, {time.perf_counter() - start:.0f} s")
    known = by_hand(basis)
    print(f"by hand {known:.8f} Hartree, difference {found - known:.1e}")


if __name__ == "__main__":
    main()
