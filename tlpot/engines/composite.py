"""CCSD(T) at the basis-set limit, put together as for ANI-1ccx.

E = E_HF(∞) + E_MP2(∞) + [E_CCSD(T) − E_MP2](small basis), with correlation energies of valence
electrons; E_HF(∞) from E(X) = E(∞) + A exp(−1.63 X) (A. Halkier et al.,
doi:10.1016/S0009-2614(99)00179-7) and E_MP2(∞) from E(X) = E(∞) + B X⁻³ (A. Halkier et al.,
doi:10.1016/S0009-2614(98)00111-0). J. S. Smith et al., doi:10.1038/s41467-019-10827-4, take
local CCSD(T); here it is canonical. The larger basis set is computed with density fitting.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TextIO

from tlpot.engines.mean_field import (
    Numerics,
    coupled_cluster,
    mean_field,
    molecule,
    n_frozen,
    second_order,
)
from tlpot.engines.method import Method
from tlpot.system import System

REFERENCES = (
    "doi:10.1038/s41467-019-10827-4",
    "doi:10.1016/S0009-2614(99)00179-7",
    "doi:10.1016/S0009-2614(98)00111-0",
)
_EXPONENT = 1.63
_NAMES = {2: "cc-pvdz", 3: "cc-pvtz", 4: "cc-pvqz"}


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
