"""Converged mean fields and correlated energies from PySCF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TextIO

from ase.data import chemical_symbols
from ase.units import Bohr

from tlpot.labelling.core_potential import ecp_of
from tlpot.labelling.engine import LabelError, check_electrons
from tlpot.labelling.method import Method
from tlpot.system import System

VV10_GRID = 1
"""Level of the grid of non-local correlation, whose cost grows with its square."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Numerics:
    """Settings after the defaults of the method were filled in, see `PySCFSettings`."""

    density_fitting: bool
    auxiliary_basis: str | None
    frozen_core: bool
    cartesian: bool
    grid: int
    grid_response: bool
    scf_convergence: float
    max_cycles: int
    memory: int


def molecule(system: System, basis: str, cartesian: bool, memory: int, log: TextIO) -> Any:
    """Returns PySCF's molecule, with the core potentials that belong to the basis set.

    Raises:
        LabelError: periodic, or charge and multiplicity do not fit.
    """
    from pyscf import gto

    if system.pbc.any():
        raise LabelError(
            "the structure is periodic, and this engine is for molecules; set pbc=False if it "
            "is one in a box"
        )
    check_electrons(system)
    mol = gto.Mole()
    mol.atom = [
        (int(z), tuple(r))
        for z, r in zip(system.atomic_numbers, system.positions / Bohr, strict=True)
    ]
    mol.unit, mol.basis, mol.cart = "Bohr", basis, cartesian
    mol.ecp = ecp_of(basis, {chemical_symbols[z] for z in system.atomic_numbers.tolist()})
    mol.charge, mol.spin, mol.max_memory = system.charge, system.spin - 1, memory
    mol.verbose, mol.stdout = 4, log
    return mol.build(dump_input=False, parse_arg=False)


def mean_field(mol: Any, method: Method, numerics: Numerics) -> Any:
    """Returns a converged mean field: restricted for singlets, else unrestricted.

    Raises:
        LabelError: no convergence, by second-order steps neither.
    """
    from pyscf import dft, scf

    restricted = mol.spin == 0
    if method.xc is None:
        field = scf.RHF(mol) if restricted else scf.UHF(mol)
    else:
        field = dft.RKS(mol) if restricted else dft.UKS(mol)
        field.xc = method.xc
        field.grids.level, field.nlcgrids.level = numerics.grid, VV10_GRID
        if method.without_vv10:
            field.nlc = False
    if numerics.density_fitting:
        field = field.density_fit(auxbasis=numerics.auxiliary_basis)
    field.conv_tol, field.max_cycle = numerics.scf_convergence, numerics.max_cycles
    field.chkfile = None
    field.kernel()
    if field.converged:
        return field
    mol.stdout.write("not converged; second-order steps from here\n")
    again = field.newton()
    again.kernel(mo_coeff=field.mo_coeff, mo_occ=field.mo_occ)
    if not again.converged:
        raise LabelError(
            f"the SCF did not converge in {numerics.max_cycles} cycles, nor by second-order steps"
        )
    # gradients and correlation want the plain object
    field.mo_coeff, field.mo_energy, field.mo_occ = again.mo_coeff, again.mo_energy, again.mo_occ
    field.e_tot, field.converged = again.e_tot, True
    return field


def n_frozen(mol: Any, frozen_core: bool) -> int:
    """Returns the number of core orbitals that correlation leaves out."""
    if not frozen_core:
        return 0
    from pyscf.data.elements import chemcore

    return int(chemcore(mol))


def second_order(field: Any, frozen: int) -> Any:
    """Returns a converged MP2 calculation; fitted integrals where the mean field has them."""
    from pyscf import mp

    calculation = mp.MP2(field, frozen=frozen)
    calculation.kernel()
    return calculation


def coupled_cluster(field: Any, frozen: int) -> Any:
    """Returns a converged CCSD calculation.

    Raises:
        LabelError: no convergence.
    """
    from pyscf import cc

    calculation = cc.CCSD(field, frozen=frozen)
    calculation.kernel()
    if not calculation.converged:
        raise LabelError(f"CCSD did not converge in {calculation.max_cycle} iterations")
    return calculation
