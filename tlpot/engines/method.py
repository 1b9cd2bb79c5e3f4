"""METHOD/BASIS, or a 3c composite, as PySCF is to compute it."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.engines.core_potential import has_any_element
from tlpot.engines.dispersion import Dispersion
from tlpot.errors import ConfigError, MissingExtraError
from tlpot.levels import canonical_level


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
"""By level: density functionals with the basis set and the corrections made for it.

B97-3c: a refitted B97 in def2-mTZVP, D3(BJ) with three-body terms, and a correction of bonds too
long in that set (SRB). r2SCAN-3c: r2SCAN in def2-mTZVPP, D4 with a steeper scaling by charge, and a
counterpoise correction. ωB97X-3c: ωB97X-V without VV10 in vDZP, whose contracted functions go with
core potentials from boron on, and D4; the set was made to need no counterpoise correction, and its
fitting set, made for all electrons, serves for the valence, see benchmarks/labelling/composites.py.

As they were defined, beyond krypton def2-mTZVP and def2-mTZVPP have the core potentials of def2.
"""


Family = Literal["hf", "dft", "double hybrid", "mp2", "ccsd", "ccsd(t)", "cbs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """A double hybrid: E = E_KS[xc] + os E_PT2,os + ss E_PT2,ss + dispersion.

    Attributes:
        xc: the hybrid whose orbitals are used, as PySCF writes it.
        opposite_spin: factor of the opposite-spin part of the second-order correlation.
        same_spin: factor of the same-spin part.
        dispersion: D3(BJ) parameters, or the name under which s-dftd3 has them.
        doi: where it was published.
    """

    xc: str
    opposite_spin: float
    same_spin: float
    dispersion: Mapping[str, float] | str
    doi: str


_DSD = "10.1002/jcc.23391"
DOUBLE_HYBRIDS: Mapping[str, Mixture] = {
    "b2plyp": Mixture(
        xc="0.53*HF + 0.47*B88, 0.73*LYP", opposite_spin=0.27, same_spin=0.27,
        dispersion="b2plyp", doi="10.1063/1.2148954",
    ),
    "b2gp-plyp": Mixture(
        xc="0.65*HF + 0.35*B88, 0.64*LYP", opposite_spin=0.36, same_spin=0.36,
        dispersion="b2gpplyp", doi="10.1021/jp801805p",
    ),
    "dsd-blyp-d3bj": Mixture(
        xc="0.71*HF + 0.29*B88, 0.54*LYP", opposite_spin=0.47, same_spin=0.40,
        dispersion={"s6": 0.57, "s8": 0.0, "a1": 0.0, "a2": 5.4}, doi=_DSD,
    ),
    "dsd-pbep86-d3bj": Mixture(
        xc="0.69*HF + 0.31*PBE, 0.44*P86", opposite_spin=0.52, same_spin=0.22,
        dispersion={"s6": 0.48, "s8": 0.0, "a1": 0.0, "a2": 5.6}, doi=_DSD,
    ),
    "dsd-pbepbe-d3bj": Mixture(
        xc="0.68*HF + 0.32*PBE, 0.49*PBE", opposite_spin=0.55, same_spin=0.13,
        dispersion={"s6": 0.78, "s8": 0.0, "a1": 0.0, "a2": 6.1}, doi=_DSD,
    ),
}  # fmt: skip
"""The DSD family was fitted together with its dispersion (frozen core), so it has no bare form."""

_WAVE_FUNCTION: Mapping[str, Family] = {
    "hf": "hf", "mp2": "mp2", "ccsd": "ccsd", "ccsd(t)": "ccsd(t)",
}  # fmt: skip
_DISPERSIONS = ("d3bj", "d4")
_INSTEAD_OF_VV10 = {"wb97x": "wb97x_v", "wb97m": "wb97m_v", "b97m": "b97m_v"}
"""D3 and D4 were fitted to these without VV10 (doi:10.1021/acs.jctc.8b00842), not to the
functionals of 2008 and before that bear the shorter names."""

_LIMIT = re.compile(r"cbs\((d|t)(t|q)\)")
_CARDINAL = {"d": 2, "t": 3, "q": 4}


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """What PySCF is to compute.

    Attributes:
        name: canonical ``method/basis``, or the name of a 3c composite.
        family: which kind of calculation.
        basis: of the main calculation; of the larger one in an extrapolation to the limit.
        xc: the functional as PySCF writes it, None for a wave function.
        without_vv10: whether the functional's own non-local correlation is left out.
        dispersion: added to the energy.
        mixture: of a double hybrid.
        cardinals: of the two basis sets of an extrapolation.
        composite: of which functional, basis set and dispersion are part.
    """

    name: str
    family: Family
    basis: str
    xc: str | None = None
    without_vv10: bool = False
    dispersion: Dispersion | None = None
    mixture: Mixture | None = None
    cardinals: tuple[int, int] | None = None
    composite: Composite3c | None = None

    @property
    def corrections(self) -> list[Dispersion | Counterpoise]:
        """What is added to the energy, from the geometry and the charge alone."""
        counterpoise = None if self.composite is None else self.composite.counterpoise
        return [each for each in (self.dispersion, counterpoise) if each is not None]


def parse_method(text: str) -> Method:
    """Reads ``METHOD/BASIS``, or the name of a 3c composite.

    Raises:
        ConfigError: no such method, basis set or dispersion correction of it; the nearest name
            is offered.
        MissingExtraError: PySCF, or the dispersion program, is not installed.
    """
    name = canonical_level(text)
    method, slash, basis = name.partition("/")
    if method in COMPOSITES_3C:
        return _composite_3c(method, basis)
    if not slash or not method or not basis:
        raise ConfigError(
            f"engine 'pyscf:{text}' is not of the form pyscf:METHOD/BASIS, such as "
            f"pyscf:wb97x/6-31g*, nor one of {', '.join(COMPOSITES_3C)}"
            f"{_suggestion(method, COMPOSITES_3C)}"
        )
    if basis.startswith("cbs"):
        return _basis_set_limit(name, method, basis)
    _check_basis(basis)
    if method in DOUBLE_HYBRIDS or method.removesuffix("-d3bj") in DOUBLE_HYBRIDS:
        return _double_hybrid(name, method, basis)
    bare, kind = method, ""
    for suffix in _DISPERSIONS:
        if method.endswith(f"-{suffix}"):
            bare, kind = method.removesuffix(f"-{suffix}"), suffix
    family = _WAVE_FUNCTION.get(bare, "dft")
    if kind and family not in ("hf", "dft"):
        raise ConfigError(f"{method}: there is no {kind} correction for {bare}; use {bare}/{basis}")
    xc = None
    without_vv10 = bool(kind) and bare in _INSTEAD_OF_VV10
    if family == "dft":
        xc = _INSTEAD_OF_VV10[bare] if without_vv10 else bare
        _check_functional(xc, method)
    return Method(
        name=name,
        family=family,
        basis=basis,
        xc=xc,
        without_vv10=without_vv10,
        dispersion=Dispersion.named(kind, bare) if kind else None,
    )


def _double_hybrid(name: str, method: str, basis: str) -> Method:
    mixture = DOUBLE_HYBRIDS.get(method) or DOUBLE_HYBRIDS[method.removesuffix("-d3bj")]
    dispersion = None
    if method.endswith("-d3bj"):
        parameters = mixture.dispersion
        if isinstance(parameters, str):
            dispersion = Dispersion.named("d3bj", parameters)
        else:
            dispersion = Dispersion.of(parameters)
    return Method(
        name=name,
        family="double hybrid",
        basis=basis,
        xc=mixture.xc,
        dispersion=dispersion,
        mixture=mixture,
    )


def _composite_3c(name: str, basis: str) -> Method:
    composite = COMPOSITES_3C[name]
    if basis:
        raise ConfigError(
            f"{name} has its own basis set, {composite.basis}; name the engine pyscf:{name}"
        )
    composite.check_installed(name)
    _check_basis(composite.basis)
    return Method(
        name=name,
        family="dft",
        basis=composite.basis,
        xc=composite.xc,
        without_vv10=True,
        dispersion=composite.fitted_dispersion(),
        composite=composite,
    )


def _basis_set_limit(name: str, method: str, basis: str) -> Method:
    match = _LIMIT.fullmatch(basis)
    if method != "ccsd(t)" or match is None or match[1] == match[2]:
        raise ConfigError(
            f"there is no composite {name!r}; valid: ccsd(t)/cbs(dt) from cc-pVDZ and cc-pVTZ, "
            "ccsd(t)/cbs(tq) from cc-pVTZ and cc-pVQZ"
        )
    cardinals = _CARDINAL[match[1]], _CARDINAL[match[2]]
    if cardinals == (2, 4):
        raise ConfigError("cbs(dq) leaves out a basis set; valid: cbs(dt), cbs(tq)")
    return Method(name=name, family="cbs", basis=f"cc-pv{match[2]}z", cardinals=cardinals)


def _check_functional(xc: str, method: str) -> None:
    try:
        from pyscf.dft import libxc
    except ImportError as error:
        raise MissingExtraError("pyscf", "pyscf", "engine pyscf:") from error
    if re.search(r"[-_](d|d2|d3|3c)$", xc) or xc == "cf22d":
        raise ConfigError(
            f"{method}: libxc has the functional without the dispersion in its name, so its "
            "energies would be another method's; use FUNCTIONAL-d3bj or FUNCTIONAL-d4"
        )
    try:
        if libxc.is_nlc(xc) or libxc.xc_type(xc) in ("LDA", "GGA", "MGGA"):
            return
    except (KeyError, ValueError):
        pass
    names = [*_WAVE_FUNCTION, *DOUBLE_HYBRIDS]
    known = [*libxc.XC_CODES, *libxc.XC_ALIAS, *_COMMON]
    names += [_LIBXC_PREFIX.sub("", name.lower()) for name in known if isinstance(name, str)]
    names += [f"{name}-{kind}" for name in _COMMON for kind in _DISPERSIONS]
    raise ConfigError(
        f"unknown method {method!r}{_suggestion(method, names)}; valid: "
        f"{', '.join([*_WAVE_FUNCTION, *DOUBLE_HYBRIDS])}, or a functional of libxc such as "
        f"{', '.join(_COMMON)}, with or without -d3bj or -d4"
    )


_LIBXC_PREFIX = re.compile(r"^(hyb_)?(lda|gga|mgga)_(xc|x|c|k)_")
_COMMON = ("pbe", "pbe0", "b3lyp", "wb97x", "wb97m-v", "m06-2x", "r2scan")


def _check_basis(basis: str) -> None:
    try:
        from pyscf.gto.basis import ALIAS
    except ImportError as error:
        raise MissingExtraError("pyscf", "pyscf", "engine pyscf:") from error
    # PySCF's own names have no hyphens
    plain = basis.replace("-", "").replace("_", "")
    if plain.startswith("gth"):
        raise ConfigError(
            f"the basis set {basis!r} is for the GTH pseudopotentials of periodic programs, which "
            "this engine does not set up; take an all-electron set, or one with a core potential "
            "such as ccecp-cc-pvdz"
        )
    if not has_any_element(basis):
        near = difflib.get_close_matches(plain, list(ALIAS), n=1, cutoff=0.6)
        hint = f"; did you mean {_HYPHENATED.get(near[0], near[0])!r}?" if near else ""
        raise ConfigError(
            f"PySCF has no basis set {basis!r}{hint} (def2-svp, def2-tzvpp, cc-pvtz, 6-31g*, "
            "aug-cc-pvdz, ... are some that it has)"
        )


_HYPHENATED = {
    name.replace("-", ""): name
    for name in (
        "def2-svp", "def2-svpd", "def2-tzvp", "def2-tzvpp", "def2-tzvpd", "def2-tzvppd",
        "def2-qzvp", "def2-qzvpp", "cc-pvdz", "cc-pvtz", "cc-pvqz", "aug-cc-pvdz", "aug-cc-pvtz",
        "aug-cc-pvqz", "sto-3g", "3-21g", "6-31g", "6-31g*", "6-31g**", "6-31+g*", "6-311g",
        "6-311g*", "6-311g**", "6-311+g**",
    )
}  # fmt: skip


def _suggestion(name: str, names: Iterable[str]) -> str:
    match = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else ""
