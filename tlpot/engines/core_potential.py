"""Effective core potentials that belong to basis sets, as PySCF has them.

A basis set that was made for a core potential describes valence electrons only: without the
potential its energies are meaningless, and no program complains.
"""

from __future__ import annotations

import functools
import itertools
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ase.data import chemical_symbols

from tlpot.errors import ConfigError

LAST_ALL_ELECTRON = 36
"""Beyond krypton the core is relativistic, which only a core potential brings in here."""

_LAST = 103
_STEEPEST = 1.2
"""The steepest s function of an all-electron set has an exponent of at least 1.79 Z² a.u.
(STO-3G of lithium); that of a set for core potentials has mostly far less."""

_SIBLINGS = (
    (re.compile(r"(ccecp(?:he|reg|28|36)?)(?:aug)?(?:ccpv[dtq56]z)?"), r"\1", True),
    (re.compile(r"bfd(?:v[dtq5]z|pp)?"), "bfd", True),
    (re.compile(r"(?:aug)?ccpw?c?v([dtq5])zpp"), r"ccpv\1zpp", True),
    (re.compile(r"def2mtzvpp?"), "def2-tzvp", False),
)
"""Sets whose potential PySCF has under another name, and whether all their elements need it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorePotential:
    """The core potentials of a basis set.

    Attributes:
        name: under which PySCF has them.
        electrons: how many electrons each replaces, by symbol.
        for_all: whether the set is useless without one for any element.
    """

    name: str
    electrons: Mapping[str, int]
    for_all: bool

    @property
    def light(self) -> bool:
        """Whether elements up to krypton have one."""
        return any(s in self.electrons for s in chemical_symbols[1 : LAST_ALL_ELECTRON + 1])

    @property
    def definition(self) -> dict[str, Any]:
        """Name and electrons replaced, as plain JSON."""
        known = [s for s in chemical_symbols[1:] if s in self.electrons]
        runs = []
        for n, run in itertools.groupby(known, key=self.electrons.__getitem__):
            symbols = list(run)
            first, last = symbols[0], symbols[-1]
            runs.append(f"{n} of {first}" + (f" to {last}" if last != first else ""))
        return {"name": self.name, "electrons": runs}


@functools.lru_cache(maxsize=64)
def core_potential(basis: str) -> CorePotential | None:
    """Returns the core potentials of a basis set, None where PySCF has none for it.

    Args:
        basis: as PySCF knows it.
    """
    from pyscf import gto

    plain = _plain(basis)
    name, for_all = basis, bool(re.search(r"zpp(nr)?$", plain))
    for pattern, other, all_need_it in _SIBLINGS:
        match = pattern.fullmatch(plain)
        if match is not None:
            name, for_all = match.expand(other), all_need_it
    electrons: dict[str, int] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PySCF advertises another package
        for symbol in chemical_symbols[1 : _LAST + 1]:
            try:
                found = gto.basis.load_ecp(name, symbol)
            except Exception:  # PySCF raises five kinds of errors for what it does not have
                continue
            if found:
                electrons[symbol] = int(found[0])
    if not electrons and not for_all:
        return None
    return CorePotential(name=name, electrons=MappingProxyType(electrons), for_all=for_all)


def only_heavy(name: str, definition: Mapping[str, Any]) -> bool:
    """Whether an entry of a definition is a core potential of elements beyond krypton only.

    Labels from before core potentials were used have no such elements, so that they agree.
    """
    if name != "core_potential":
        return False
    found = core_potential(str(definition["basis"]))
    return found is not None and not found.light


def ecp_of(basis: str, symbols: set[str]) -> dict[str, Any]:
    """Returns the core potentials of elements as PySCF's molecule takes them.

    Args:
        basis: as PySCF knows it.
        symbols: of the elements.
    """
    from pyscf import gto

    found = core_potential(basis)
    if found is None:
        return {}
    return {s: gto.basis.load_ecp(found.name, s) for s in sorted(symbols & found.electrons.keys())}


def has_any_element(basis: str) -> bool:
    """Whether PySCF has a basis set, for whatever element."""
    return any(_load(basis, symbol) for symbol in chemical_symbols[1 : _LAST + 1])


def check_element(basis: str, z: int) -> None:
    """Checks that a basis set can be used for an element, with the potential that it needs.

    Args:
        basis: as PySCF knows it.
        z: atomic number.

    Raises:
        ConfigError: the set does not have the element, or PySCF has no core potential for a
            set or an element that needs one.
    """
    symbol = chemical_symbols[z]
    shells = _load(basis, symbol)
    if not shells:
        raise ConfigError(
            f"PySCF's basis set {basis} does not have {symbol}; take another, or leave these "
            "structures out"
        )
    potential = core_potential(basis)
    if potential is not None and symbol in potential.electrons:
        return
    lacking = potential is not None and potential.for_all
    if lacking or (z > 2 and _steepest(shells) < _STEEPEST * z**2):
        raise ConfigError(
            f"the basis set {basis} was made for a core potential of {symbol} that PySCF does not "
            "have under this name, and all-electron energies in it are wrong; take an "
            "all-electron set, or one with its potential such as def2-svp, ccecp-cc-pvdz or "
            "lanl2dz"
        )
    if z > LAST_ALL_ELECTRON:
        raise ConfigError(
            f"{symbol} needs an effective core potential, and PySCF has none for the basis set "
            f"{basis}; take a set with one, such as def2-svp, or leave these structures out"
        )


def _load(basis: str, symbol: str) -> Any:
    from pyscf import gto

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return gto.basis.load(basis, symbol)
        except Exception:  # as above
            return None


def _steepest(shells: Any) -> float:
    """The largest exponent of the s functions, in PySCF's own form of a basis set."""
    rows = [row for shell in shells if shell[0] == 0 for row in shell[1:] if isinstance(row, list)]
    return max((float(row[0]) for row in rows), default=0.0)


def _plain(basis: str) -> str:
    return basis.lower().replace("-", "").replace("_", "").replace(" ", "")
