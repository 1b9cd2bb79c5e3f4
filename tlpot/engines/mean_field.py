"""Converged mean fields and correlated energies from PySCF, by spin.

PySCF's MP2 builds the Fock operator of Hartree-Fock anew; a double hybrid wants the orbital
energies of Kohn-Sham (doi:10.1063/1.2148954), hence the sums here. With n = (ia|jb) and
D = ε_i + ε_j − ε_a − ε_b, the opposite-spin part is Σ n²/D over α, β pairs and the same-spin
part ½ Σ n (n − (ib|ja))/D over αα and ββ pairs (doi:10.1063/1.1569242).

CCSD(T) at the basis-set limit is put together as for ANI-1ccx:
E = E_HF(∞) + E_MP2(∞) + [E_CCSD(T) − E_MP2](small basis), with correlation energies of valence
electrons; E_HF(∞) from E(X) = E(∞) + A exp(−1.63 X) (A. Halkier et al.,
doi:10.1016/S0009-2614(99)00179-7) and E_MP2(∞) from E(X) = E(∞) + B X⁻³ (A. Halkier et al.,
doi:10.1016/S0009-2614(98)00111-0). J. S. Smith et al., doi:10.1038/s41467-019-10827-4, take
local CCSD(T); here it is canonical. The larger basis set is computed with density fitting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TextIO

import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr
from numpy.typing import NDArray

from tlpot.engines.core_potential import ecp_of
from tlpot.engines.engine import LabelError, check_electrons
from tlpot.engines.method import Method
from tlpot.system import System

COMPOSITE_REFERENCES = (
    "doi:10.1038/s41467-019-10827-4",
    "doi:10.1016/S0009-2614(99)00179-7",
    "doi:10.1016/S0009-2614(98)00111-0",
)
_EXPONENT = 1.63
_NAMES = {2: "cc-pvdz", 3: "cc-pvtz", 4: "cc-pvqz"}
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


Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class PairEnergies:
    """Second-order correlation energy, Hartree.

    Attributes:
        opposite_spin: of electrons of unlike spin.
        same_spin: of electrons of like spin.
    """

    opposite_spin: float
    same_spin: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spin:
    """Orbitals of one spin: [n_ao, n_occ], [n_ao, n_vir] and their energies."""

    occ: Array
    vir: Array
    e_occ: Array
    e_vir: Array


def pair_energies(mean_field: Any, n_frozen: int) -> PairEnergies:
    """Computes the second-order energy from a converged mean field.

    Args:
        mean_field: of PySCF, restricted or unrestricted, with or without density fitting.
        n_frozen: core orbitals (of each spin) that are left out.
    """
    restricted = mean_field.mo_coeff[0].ndim == 1
    if restricted:
        spins = [_spin(mean_field.mo_coeff, mean_field.mo_energy, mean_field.mo_occ, n_frozen)]
    else:
        spins = [
            _spin(mean_field.mo_coeff[s], mean_field.mo_energy[s], mean_field.mo_occ[s], n_frozen)
            for s in (0, 1)
        ]
    repulsion = _Repulsion(mean_field, spins)
    if restricted:
        opposite, exchange = _sums(repulsion, spins, 0, 0)
        return PairEnergies(opposite_spin=opposite, same_spin=opposite - exchange)
    opposite, _ = _sums(repulsion, spins, 0, 1)
    same = 0.0
    for s in (0, 1):
        direct, exchange = _sums(repulsion, spins, s, s)
        same += 0.5 * (direct - exchange)
    return PairEnergies(opposite_spin=opposite, same_spin=same)


def _spin(coefficients: Array, energies: Array, occupation: Array, n_frozen: int) -> _Spin:
    occupied = np.flatnonzero(occupation > 0)[n_frozen:]
    empty = np.flatnonzero(occupation == 0)
    return _Spin(
        occ=coefficients[:, occupied],
        vir=coefficients[:, empty],
        e_occ=energies[occupied],
        e_vir=energies[empty],
    )


def _sums(repulsion: _Repulsion, spins: list[_Spin], s: int, t: int) -> tuple[float, float]:
    """Σ (ia|jb)²/D and, for like spins, Σ (ia|jb)(ib|ja)/D; one occupied orbital at a time."""
    one, two = spins[s], spins[t]
    direct = exchange = 0.0
    for i in range(one.occ.shape[1]):
        n = repulsion.row(s, t, i)  # [a, j, b]
        gap = (
            one.e_occ[i]
            + two.e_occ[None, :, None]
            - one.e_vir[:, None, None]
            - two.e_vir[None, None, :]
        )
        amplitudes = n / gap
        direct += float(np.vdot(amplitudes, n))
        if s == t:
            exchange += float(np.vdot(amplitudes, n.transpose(2, 1, 0)))
    return direct, exchange


class _Repulsion:
    """(ia|jb) by rows of i: from fitted three-index integrals, or exact ones."""

    def __init__(self, mean_field: Any, spins: list[_Spin]) -> None:
        fit = getattr(mean_field, "with_df", None)
        self._spins, self._mol = spins, mean_field.mol
        self._fitted = None if fit is None else [_fitted(fit, spin) for spin in spins]
        self._exact: dict[tuple[int, int], Array] = {}

    def row(self, s: int, t: int, i: int) -> Array:
        if self._fitted is not None:
            return np.tensordot(self._fitted[s][:, i], self._fitted[t], axes=(0, 0))
        if (s, t) not in self._exact:
            self._exact[s, t] = self._transform(s, t)
        return self._exact[s, t][i]

    def _transform(self, s: int, t: int) -> Array:
        from pyscf import ao2mo

        one, two = self._spins[s], self._spins[t]
        shape = (one.occ.shape[1], one.vir.shape[1], two.occ.shape[1], two.vir.shape[1])
        if 0 in shape:
            return np.zeros(shape)
        orbitals = (one.occ, one.vir, two.occ, two.vir)
        exact: Array = ao2mo.general(self._mol, orbitals, compact=False)
        return exact.reshape(shape)


def _fitted(fit: Any, spin: _Spin) -> Array:
    """Three-index integrals (L|ia), [n_aux, n_occ, n_vir]."""
    from pyscf import lib

    blocks = []
    for packed in fit.loop():
        block = lib.unpack_tril(packed)  # [n, n_ao, n_ao]
        blocks.append(np.matmul(np.matmul(spin.occ.T, block), spin.vir))
    return np.concatenate(blocks)


def composite_energy(system: System, method: Method, numerics: Numerics, log: TextIO) -> float:
    """Returns the composite energy, Hartree.

    Raises:
        LabelError: a part did not converge.
    """
    assert method.cardinals is not None
    small, large = method.cardinals
    exact = replace(numerics, density_fitting=False)
    mol = molecule(system, _NAMES[small], False, numerics.memory, log)
    frozen = n_frozen(mol, frozen_core=True)
    field = mean_field(mol, method, exact)
    hf_small = float(field.e_tot)
    mp2_small = float(second_order(field, frozen).e_corr)
    cluster = coupled_cluster(field, frozen)
    correction = float(cluster.e_corr) + float(cluster.ccsd_t()) - mp2_small
    mol = molecule(system, _NAMES[large], False, numerics.memory, log)
    field = mean_field(mol, method, replace(numerics, density_fitting=True))
    mp2_large = float(second_order(field, frozen).e_corr)
    hf = hf_limit(hf_small, float(field.e_tot), small, large)
    return hf + mp2_limit(mp2_small, mp2_large, small, large) + correction


def hf_limit(small: float, large: float, x: int, y: int) -> float:
    """Returns the Hartree-Fock energy at the limit from cardinal numbers x < y."""
    ratio = math.exp(-_EXPONENT * (y - x))
    return (large - small * ratio) / (1 - ratio)


def mp2_limit(small: float, large: float, x: int, y: int) -> float:
    """Returns the correlation energy at the limit from cardinal numbers x < y."""
    return (y**3 * large - x**3 * small) / (y**3 - x**3)
