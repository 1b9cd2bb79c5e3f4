"""Engines by name."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from tlpot.config import parse
from tlpot.engines.engine import Engine, EngineSpec
from tlpot.engines.numerical import NumericalForces
from tlpot.errors import ConfigError, nearest
from tlpot.levels import total_level

ENGINES: Mapping[str, str] = {
    "gfn1-xtb": "GFN1-xTB by tblite",
    "gfn2-xtb": "GFN2-xTB by tblite",
    "pyscf:METHOD/BASIS": "Hartree-Fock, density functionals, double hybrids, MP2, coupled cluster",
    "ase:MODULE:CLASS": "any ASE calculator",
    "model:PATH[@LEVEL]": "a tlpot model",
}
"""Names and what they stand for."""


def make_engine(spec: EngineSpec) -> Engine:
    """Makes an engine, or returns the one of this process.

    Raises:
        ConfigError: no such engine, method, basis set or setting (the nearest is offered), or
            forces were asked for that do not exist.
        MissingExtraError: its program is not installed.
    """
    return _cached(spec.as_text(), _version(spec.name))


def _version(name: str) -> tuple[int, int] | None:
    """What tells that the file behind a name is another one."""
    kind, colon, rest = name.partition(":")
    if not colon or kind.lower() != "model":
        return None
    from tlpot.models import library_file

    status = library_file(rest.partition("@")[0]).stat()
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=8)
def _cached(text: str, version: tuple[int, int] | None) -> Engine:
    name, settings, level, forces = json.loads(text)
    if level is not None:
        level = total_level(level, "labelling")
    engine = _make(name, settings, level)
    if level is not None and engine.level != level:
        engine = _Renamed(engine, level)
    if forces == "numerical":
        return NumericalForces(engine)
    if forces == "analytic" and not engine.has_forces:
        raise ConfigError(
            f"{name} has no analytic forces here: of PySCF's methods HF, density functionals, MP2, "
            "CCSD and CCSD(T) have them (the last three with density_fitting=false), and so have "
            "GFN1-xTB, GFN2-xTB and most tlpot models. Take forces=no (energies only), or "
            "forces=numerical (central differences, 6 energies for each atom)"
        )
    return engine


def _make(name: str, settings: Mapping[str, Any], level: str | None) -> Engine:
    # every engine module is imported only where it is used: they load torch or PySCF
    kind, colon, rest = name.partition(":")
    kind = kind.lower()
    where = f"engine {name}"
    if not colon and kind in ("gfn1-xtb", "gfn2-xtb"):
        from tlpot.engines.xtb import XTBEngine, XTBSettings

        return XTBEngine(kind, parse(XTBSettings, settings, where))
    if colon and kind == "pyscf":
        from tlpot.engines.pyscf import PySCFEngine, PySCFSettings

        return PySCFEngine(rest, parse(PySCFSettings, settings, where))
    if colon and kind == "ase":
        from tlpot.engines.ase import ASEEngine

        return ASEEngine(rest, settings, level)
    if colon and kind == "model":
        from tlpot.engines.model import ModelEngine, ModelSettings

        return ModelEngine(rest, parse(ModelSettings, settings, where), level)
    raise ConfigError(f"unknown engine {name!r}{nearest(name.lower(), ENGINES)}")


class _Renamed:
    """An engine under another name of its level."""

    def __init__(self, engine: Engine, level: str) -> None:
        self._engine, self._level = engine, level

    @property
    def level(self) -> str:
        return self._level

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)
