"""PySCF as an engine."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TextIO

import numpy as np
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from tlpot.config import parse
from tlpot.data import Labels
from tlpot.engines.core_potential import check_element, core_potential
from tlpot.engines.engine import LabelError
from tlpot.engines.mean_field import (
    COMPOSITE_REFERENCES,
    VV10_GRID,
    Numerics,
    composite_energy,
    coupled_cluster,
    mean_field,
    molecule,
    n_frozen,
    pair_energies,
    second_order,
)
from tlpot.engines.method import Family, Method, parse_method
from tlpot.engines.registry import EngineName
from tlpot.errors import ConfigError
from tlpot.system import System

_CORRELATED: tuple[Family, ...] = ("double hybrid", "mp2", "ccsd", "ccsd(t)")
_CARTESIAN = re.compile(r"(3-21|4-31|6-31)\+*g.*")
"""Pople's double-zeta sets were made with six Cartesian d functions, all others with five."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PySCFSettings:
    """Settings of PySCF; None takes the default of the method.

    Attributes:
        density_fitting: fitted Coulomb and exchange integrals (default: for HF, density
            functionals and double hybrids, in basis sets without core potentials up to krypton;
            for those with them there are no fitting sets; 3c composites have theirs).
        auxiliary_basis: for fitting; the default is PySCF's JK set for the basis.
        frozen_core: whether correlation leaves the core out (default: it does).
        cartesian: Cartesian d functions (default: for 3-21G, 4-31G, 6-31G and what is derived
            from them).
        grid: PySCF's level of the integration grid, 0 to 9 (default 3).
        grid_response: derivatives of the grid's weights in the forces, without which they are
            not quite the derivative of the energy (default: yes).
        scf_convergence: Hartree.
        max_cycles: of the SCF, before second-order steps are tried.
        memory: MB that PySCF may take.
    """

    density_fitting: bool | None = None
    auxiliary_basis: str | None = None
    frozen_core: bool | None = None
    cartesian: bool | None = None
    grid: int | None = None
    grid_response: bool | None = None
    scf_convergence: float = 1e-9
    max_cycles: int = 100
    memory: int = 4000

    def __post_init__(self) -> None:
        if self.grid is not None and not 0 <= self.grid <= 9:
            raise ConfigError(f"grid is {self.grid}, expected 0 to 9")
        if not 0 < self.scf_convergence < 1e-3:
            raise ConfigError(
                f"scf_convergence is {self.scf_convergence} Hartree, expected something like 1e-9"
            )
        if self.max_cycles < 1 or self.memory < 100:
            raise ConfigError("max_cycles must be 1 or more and memory 100 (MB) or more")


def make_engine(name: EngineName, label: str | None) -> PySCFEngine:
    """Makes the engine of a name, see `tlpot.engines.registry`."""
    return PySCFEngine(name.target, parse(PySCFSettings, name.settings, f"engine {name.text}"))


class PySCFEngine:
    """A method in a basis set.

    Args:
        name: ``METHOD/BASIS``, or a 3c composite.
        settings: of PySCF.

    Raises:
        ConfigError: no such method or basis set, or a setting that does not apply to it.
        MissingExtraError: PySCF or a dispersion program is not installed.
    """

    def __init__(self, name: str, settings: PySCFSettings) -> None:
        self._method = parse_method(name)
        self._numerics = _resolve(self._method, settings)
        family = self._method.family
        self.has_forces = family in ("hf", "dft") or (
            family in ("mp2", "ccsd", "ccsd(t)") and not self._numerics.density_fitting
        )

    @property
    def level(self) -> str:
        """Method and basis set, or the composite's name."""
        return self._method.name

    @property
    def definition(self) -> Mapping[str, Any]:
        """Every setting that applies, with its value, and programs and versions."""
        method, numerics = self._method, self._numerics
        found: dict[str, Any] = {
            "engine": f"pyscf:{method.name}",
            "program": f"PySCF {version('pyscf')}",
            "scf_convergence_hartree": numerics.scf_convergence,
            "reference": "restricted for singlets, else unrestricted",
        }
        references: list[str] = []
        if method.family == "cbs":
            assert method.cardinals is not None
            small, large = (f"cc-pv{'?0dtq'[x]}z" for x in method.cardinals)
            found |= {
                "formula": f"HF/CBS + MP2/CBS + [CCSD(T) - MP2]/{small}; HF: exp(-1.63 X), "
                f"MP2: X^-3 from {small} and {large}",
                "density_fitting": {small: False, large: True},
                "auxiliary_basis": "PySCF's JK set",
                "frozen_core": True,
                "cartesian": False,
            }
            return found | {"references": list(COMPOSITE_REFERENCES)}
        found |= {
            "basis": method.basis,
            "cartesian": numerics.cartesian,
            "density_fitting": numerics.density_fitting,
        }
        potential = core_potential(method.basis)
        if potential is not None:
            found["core_potential"] = potential.definition
        if numerics.density_fitting:
            found["auxiliary_basis"] = numerics.auxiliary_basis or "PySCF's JK set"
        if method.xc is not None:
            from pyscf.dft import libxc

            found |= {
                "functional": method.xc,
                "libxc": str(getattr(libxc, "__version__", "unknown")),
                "vv10": bool(libxc.is_nlc(method.xc)) and not method.without_vv10,
                "grid": numerics.grid,
                "grid_response": numerics.grid_response,
            }
            if found["vv10"]:
                found["vv10_grid"] = VV10_GRID
        if method.family in _CORRELATED:
            found["frozen_core"] = numerics.frozen_core
        if method.mixture is not None:
            found["second_order"] = {
                "opposite_spin": method.mixture.opposite_spin,
                "same_spin": method.mixture.same_spin,
            }
            references.append(f"doi:{method.mixture.doi}")
        if method.composite is not None:
            found |= method.composite.definition
            references += method.composite.references
        if method.dispersion is not None:
            found["dispersion"] = method.dispersion.definition
        references += [correction.reference for correction in method.corrections]
        return found | {"references": references}

    def check(self, elements: Sequence[int], *, periodic: bool) -> None:
        """Checks that the basis set has the elements, and the core potentials that they need.

        Raises:
            ConfigError: it does not, or a composite is not defined for them.
        """
        composite = self._method.composite
        names = [self._method.basis]
        if self._method.cardinals is not None:
            names = [f"cc-pv{'?0dtq'[x]}z" for x in self._method.cardinals]
        for z in elements:
            if composite is not None:
                composite.check_element(z, self._method.name)
            for basis in names:
                check_element(basis, z)

    def compute(self, system: System, *, forces: bool, log: TextIO) -> Labels:
        """Computes the labels.

        Raises:
            LabelError: periodic, a multiplicity that does not fit, or no convergence.
        """
        with contextlib.redirect_stderr(log):  # where PySCF repeats its warnings
            if self._method.family == "cbs":
                energy = composite_energy(system, self._method, self._numerics, log)
                return Labels(energy=energy * Hartree)
            energy, gradient = self._compute(system, forces, log)
        for correction in self._method.corrections:
            extra, slope = correction.compute(
                system.atomic_numbers, system.positions / Bohr, system.charge, forces
            )
            energy += extra
            if gradient is not None and slope is not None:
                gradient = gradient + slope
        return Labels(
            energy=energy * Hartree,
            forces=None if gradient is None else -gradient * (Hartree / Bohr),
        )

    def use_threads(self, n: int | None) -> int:
        """Sets PySCF's threads."""
        from pyscf import lib

        return int(lib.num_threads(n) if n is not None else lib.num_threads())

    def _compute(
        self, system: System, forces: bool, log: TextIO
    ) -> tuple[float, NDArray[np.float64] | None]:
        """Energy in Hartree and gradient in Hartree/Bohr, without corrections."""
        method, numerics = self._method, self._numerics
        if forces and method.family == "ccsd(t)" and system.spin != 1:
            raise LabelError(
                "PySCF's gradient of unrestricted CCSD(T) is not the derivative of its energy "
                "(it misses differences by 0.05 eV/Å in OH/STO-3G); take forces=no or numerical"
            )
        mol = molecule(system, method.basis, numerics.cartesian, numerics.memory, log)
        field = mean_field(mol, method, numerics)
        frozen = n_frozen(mol, numerics.frozen_core)
        if method.family in ("hf", "dft"):
            gradient = None
            if forces:
                derivative = field.nuc_grad_method()
                if method.family == "dft":
                    derivative.grid_response = numerics.grid_response
                gradient = np.array(derivative.kernel())
            return float(field.e_tot), gradient
        if method.mixture is not None:
            pairs = pair_energies(field, frozen)
            return (
                float(field.e_tot)
                + method.mixture.opposite_spin * pairs.opposite_spin
                + method.mixture.same_spin * pairs.same_spin
            ), None
        if method.family == "mp2":
            second = second_order(field, frozen)
            gradient = np.array(second.nuc_grad_method().kernel()) if forces else None
            return float(second.e_tot), gradient
        cluster = coupled_cluster(field, frozen)
        energy = float(cluster.e_tot)
        if method.family == "ccsd":
            gradient = np.array(cluster.nuc_grad_method().kernel()) if forces else None
            return energy, gradient
        energy += float(cluster.ccsd_t())
        return energy, _triples_gradient(cluster) if forces else None


def _triples_gradient(cluster: Any) -> NDArray[np.float64]:
    from pyscf.cc import ccsd_t_lambda_slow
    from pyscf.grad import ccsd_t

    eris = cluster.ao2mo()
    converged, l1, l2 = ccsd_t_lambda_slow.kernel(cluster, eris, cluster.t1, cluster.t2)
    if not converged:
        raise LabelError("the Λ equations of CCSD(T) did not converge")
    return np.array(ccsd_t.Gradients(cluster).kernel(cluster.t1, cluster.t2, l1, l2, eris))


def _resolve(method: Method, settings: PySCFSettings) -> Numerics:
    """Fills in the defaults of the method.

    Raises:
        ConfigError: a setting that does not apply.
    """
    family, composite = method.family, method.composite
    with_grid = method.xc is not None
    correlated = family in _CORRELATED
    potential = None if family == "cbs" else core_potential(method.basis)
    fitting = family in ("hf", "dft", "double hybrid") and not (potential and potential.light)
    fitting = fitting or composite is not None
    if settings.density_fitting is not None:
        fitting = settings.density_fitting
    applies = {
        "grid": with_grid,
        "grid_response": family == "dft",
        "frozen_core": correlated,
        "density_fitting": family != "cbs",
        "auxiliary_basis": fitting and family != "cbs",
        "cartesian": family != "cbs" and composite is None,
    }
    for name, use in applies.items():
        if getattr(settings, name) is not None and not use:
            raise ConfigError(f"the setting {name} does not apply to {method.name}; leave it out")
    auxiliary_basis = settings.auxiliary_basis
    if auxiliary_basis is None and composite is not None:
        auxiliary_basis = composite.auxiliary_basis
    cartesian = settings.cartesian
    if cartesian is None:
        cartesian = _CARTESIAN.fullmatch(method.basis) is not None
    return Numerics(
        density_fitting=fitting,
        auxiliary_basis=auxiliary_basis,
        frozen_core=correlated and settings.frozen_core is not False,
        cartesian=cartesian,
        grid=3 if settings.grid is None else settings.grid,
        grid_response=family == "dft" and settings.grid_response is not False,
        scf_convergence=settings.scf_convergence,
        max_cycles=settings.max_cycles,
        memory=settings.memory,
    )
