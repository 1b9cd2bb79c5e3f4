"""D3 and D4 dispersion, through s-dftd3 and dftd4: of a method's label, and as an energy model.

S. Grimme et al., doi:10.1002/jcc.21759 (D3 with Becke-Johnson damping, without three-body terms
unless it was fitted with them); E. Caldeweyher et al., doi:10.1063/1.5090222 (D4, with them).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tlpot.engines.registry import EngineKind, parse_engine
from tlpot.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from tlpot.models import CalculatorModel

_PROGRAMS = {"d3bj": "dftd3", "d4": "dftd4"}
_DOI = {"d3bj": "10.1002/jcc.21759", "d4": "10.1063/1.5090222"}
_CHARGE_SCALING = ("ga", "gc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Dispersion:
    """A correction with its parameters.

    Attributes:
        kind: ``d3bj`` or ``d4``.
        method: under which the program has the parameters; None where they are given.
        parameters: s6, s8, a1 and a2 (Bohr) where they are given, with s9 of the three-body terms
            (of D3: 0 where it is left out) and, of D4, ga and gc of the scaling by charge.
    """

    kind: str
    method: str | None = None
    parameters: Mapping[str, float] | None = None

    @classmethod
    def named(cls, kind: str, method: str) -> Dispersion:
        """Returns the correction fitted to a method.

        Raises:
            ConfigError: the program has no parameters for it.
            MissingExtraError: the program is not installed.
        """
        found = cls(kind=kind, method=method)
        try:
            found._damping()
        except RuntimeError as error:
            raise ConfigError(
                f"{_PROGRAMS[kind]} has no {kind} parameters for {method!r} "
                f"({str(error).strip()}); use {method} without -{kind}"
            ) from error
        return found

    @classmethod
    def of(cls, parameters: Mapping[str, float], kind: str = "d3bj") -> Dispersion:
        """Returns a correction with given parameters.

        Raises:
            MissingExtraError: the program is not installed.
        """
        found = cls(kind=kind, parameters=dict(parameters))
        found._damping()
        return found

    @property
    def definition(self) -> Mapping[str, Any]:
        """Kind, parameters and program."""
        program = _PROGRAMS[self.kind]
        return {
            "kind": self.kind,
            "parameters": self.method if self.parameters is None else dict(self.parameters),
            "three_body": self.kind == "d4" or bool((self.parameters or {}).get("s9")),
            "program": f"{program} {version(program)}",
        }

    @property
    def reference(self) -> str:
        """DOI."""
        return f"doi:{_DOI[self.kind]}"

    def compute(
        self, numbers: NDArray[np.int64], positions: NDArray[np.float64], charge: int, grad: bool
    ) -> tuple[float, NDArray[np.float64] | None]:
        """Returns the energy in Hartree and its gradient in Hartree/Bohr, [n_atoms, 3].

        Args:
            numbers: [n_atoms].
            positions: [n_atoms, 3], Bohr.
            charge: e; D4 depends on it.
            grad: whether to compute the gradient.
        """
        interface = self._interface()
        if self.kind == "d4":
            given = self.parameters or {}
            scaling = {name: given[name] for name in _CHARGE_SCALING if name in given}
            model = interface.DispersionModel(numbers, positions, charge=float(charge), **scaling)
        else:
            model = interface.DispersionModel(numbers, positions)
        found = model.get_dispersion(self._damping(), grad=grad)
        return float(found["energy"]), np.array(found["gradient"]) if grad else None

    def _interface(self) -> Any:
        try:
            if self.kind == "d4":
                import dftd4.interface

                return dftd4.interface
            import dftd3.interface
        except ImportError as error:
            package = _PROGRAMS[self.kind]
            raise MissingExtraError(package, "pyscf", f"dispersion {self.kind}") from error
        return dftd3.interface

    def _damping(self) -> Any:
        interface = self._interface()
        kind = interface.DampingParam if self.kind == "d4" else interface.RationalDampingParam
        three_body = self.kind == "d4"
        if self.parameters is None:
            return kind(method=self.method, atm=three_body)
        given = {k: v for k, v in self.parameters.items() if k not in _CHARGE_SCALING}
        return kind(**{"s9": float(three_body), **given})


DISPERSIONS: Mapping[str, EngineKind] = {
    kind: EngineKind(form=f"{kind}:FUNCTIONAL", summary=summary, module=module)
    for kind, summary, module in (
        ("d3bj", "D3 with Becke-Johnson damping", "dftd3.ase"),
        ("d3zero", "D3 with zero damping", "dftd3.ase"),
        ("d4", "D4", "dftd4.ase"),
    )
}
"""Corrections that are added to the energy of a whole structure; their modules have ASE's."""


def dispersion_model(name: str) -> CalculatorModel:
    """Returns a dispersion correction as an energy model.

    It is analytic and cheap, so the whole structure has it, free of any error of fragments.

    Args:
        name: ``KIND:FUNCTIONAL``, such as ``d3bj:b3lyp`` or ``d4:wb97x``.

    Raises:
        ConfigError: no such kind, or a functional without parameters.
        MissingExtraError: the package is not installed.
    """
    from tlpot.models import CalculatorModel  # loads torch, which labels by PySCF do without

    found = parse_engine(name.lower(), kinds=DISPERSIONS)
    path = DISPERSIONS[found.kind].module
    package = path.partition(".")[0]
    try:
        module = importlib.import_module(path)
    except ImportError as error:
        raise MissingExtraError(package, "dispersion", f"dispersion={name!r}") from error
    settings = {"method": found.target}
    if found.kind != "d4":
        settings["damping"] = found.kind
    try:
        made = getattr(module, package.upper())(**settings)
        Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], calculator=made).get_potential_energy()
    except Exception as error:
        raise ConfigError(
            f"{package} has no parameters for {found.target!r} ({error}); see its list of "
            "functionals"
        ) from error
    return CalculatorModel(made)
