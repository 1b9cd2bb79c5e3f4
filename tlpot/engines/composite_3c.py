"""3c composites: a density functional with the basis set and the corrections made for it.

B97-3c (J. G. Brandenburg et al., doi:10.1063/1.5012601): a refitted B97 in def2-mTZVP, D3(BJ) with
three-body terms, and a correction of bonds too long in that set (SRB). r2SCAN-3c (S. Grimme et al.,
doi:10.1063/5.0040021): r2SCAN in def2-mTZVPP, D4 with a steeper scaling by charge, and a
counterpoise correction. ωB97X-3c (M. Müller, A. Hansen and S. Grimme, doi:10.1063/5.0133026):
ωB97X-V without VV10 in vDZP, whose contracted functions go with core potentials from boron on, and
D4; the set was made to need no counterpoise correction.

As they were defined, beyond krypton def2-mTZVP and def2-mTZVPP have the core potentials of def2.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.engines.dispersion import Dispersion
from tlpot.errors import ConfigError, MissingExtraError


@dataclass(frozen=True, kw_only=True, slots=True)
class Counterpoise:
    """A geometric counterpoise or short-range bond correction, by s-dftd3.

    H. Kruse and S. Grimme, doi:10.1063/1.3700154.

    Attributes:
        kind: ``gcp`` or ``srb``.
        method: under which s-dftd3 has the parameters.
    """

    kind: str
    method: str

    @property
    def definition(self) -> Mapping[str, Any]:
        """Kind, parameters and program."""
        return {
            "kind": self.kind,
            "parameters": self.method,
            "program": f"dftd3 {version('dftd3')}",
        }

    @property
    def reference(self) -> str:
        """DOI."""
        return "doi:10.1063/1.3700154"

    def compute(
        self, numbers: NDArray[np.int64], positions: NDArray[np.float64], charge: int, grad: bool
    ) -> tuple[float, NDArray[np.float64] | None]:
        """Returns the energy in Hartree and its gradient in Hartree/Bohr, see `Dispersion`."""
        correction = self.program()(numbers, positions, method=self.method)
        found = correction.get_counterpoise(grad=grad)
        return float(found["energy"]), np.array(found["gradient"]) if grad else None

    def program(self) -> Any:
        """Returns the class of s-dftd3 that computes it.

        Raises:
            MissingExtraError: it is not installed, or a version before these corrections.
        """
        try:
            from dftd3.interface import GeometricCounterpoise
        except ImportError as error:
            raise MissingExtraError(
                "dftd3 1.3 or later", "pyscf", f"the correction {self.kind} of {self.method}"
            ) from error
        return GeometricCounterpoise


@dataclass(frozen=True, kw_only=True, slots=True)
class Composite3c:
    """A functional with the basis set and the corrections that were made for it.

    Attributes:
        xc: the functional as PySCF writes it, without non-local correlation of its own.
        basis: its set, as PySCF knows it.
        auxiliary_basis: for fitting its integrals.
        dispersion: kind and parameters.
        counterpoise: what else is added to the energy.
        references: DOIs of the composite and of the functional.
        from_exchange: whether PySCF takes the set from basis_set_exchange.
        lanthanides: whether the set has core potentials for these.
    """

    xc: str
    basis: str
    auxiliary_basis: str
    dispersion: tuple[str, Mapping[str, float]]
    counterpoise: Counterpoise | None = None
    references: tuple[str, ...]
    from_exchange: bool = False
    lanthanides: bool = False

    @property
    def definition(self) -> dict[str, Any]:
        """What is special to it, as plain JSON."""
        found: dict[str, Any] = {}
        if self.from_exchange:
            found["basis_source"] = f"basis_set_exchange {version('basis_set_exchange')}"
        if self.counterpoise is not None:
            found["counterpoise"] = self.counterpoise.definition
        return found

    def fitted_dispersion(self) -> Dispersion:
        """Returns the dispersion correction that is part of it.

        Raises:
            MissingExtraError: the program is not installed.
        """
        kind, parameters = self.dispersion
        return Dispersion.of(parameters, kind=kind)

    def check_installed(self, name: str) -> None:
        """Checks that PySCF is there, and where basis set and counterpoise correction come from.

        Raises:
            MissingExtraError: one of them is not installed.
        """
        for package, extra, wanted in (
            ("pyscf", "pyscf", True),
            ("basis_set_exchange", "bse", self.from_exchange),
        ):
            if wanted and importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, extra, f"engine pyscf:{name}")
        if self.counterpoise is not None:
            self.counterpoise.program()

    def check_element(self, z: int, name: str) -> None:
        """Checks that it is defined for an element, beyond the check of its basis set.

        Raises:
            ConfigError: it is not.
        """
        if 57 <= z <= 71 and not self.lanthanides:
            raise ConfigError(
                f"{name} is not set up for {chemical_symbols[z]}: for most lanthanides no core "
                f"potentials go with {self.basis}; take wb97x-3c, or leave these structures out"
            )


COMPOSITES_3C: Mapping[str, Composite3c] = {
    "b97-3c": Composite3c(
        xc="gga_xc_b97_3c", basis="def2-mtzvp", auxiliary_basis="def2-universal-jfit",
        dispersion=("d3bj", {"s6": 1.0, "s8": 1.5, "s9": 1.0, "a1": 0.37, "a2": 4.1}),
        counterpoise=Counterpoise(kind="srb", method="b973c"),
        references=("doi:10.1063/1.5012601",),
    ),
    "r2scan-3c": Composite3c(
        xc="r2scan", basis="def2-mtzvpp", auxiliary_basis="def2-universal-jfit",
        dispersion=(
            "d4", {"s6": 1.0, "s8": 0.0, "s9": 2.0, "a1": 0.42, "a2": 5.65, "ga": 2.0, "gc": 1.0},
        ),
        counterpoise=Counterpoise(kind="gcp", method="r2scan3c"),
        references=("doi:10.1063/5.0040021", "doi:10.1021/acs.jpclett.0c02405"),
    ),
    "wb97x-3c": Composite3c(
        xc="wb97x_v", basis="Grimme vDZP", auxiliary_basis="def2-universal-jkfit",
        dispersion=("d4", {"s6": 1.0, "s8": 0.0, "s9": 1.0, "a1": 0.2464, "a2": 4.737}),
        references=("doi:10.1063/5.0133026", "doi:10.1039/C3CP54374A"),
        from_exchange=True, lanthanides=True,
    ),
}  # fmt: skip
"""By level. The last one's fitting set was made for all electrons, and serves for the valence, see
benchmarks/labelling/composites.py."""
