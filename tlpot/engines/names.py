"""The grammar of names of everything that computes energies: one parser for all of tlpot.

A name is ``KIND`` or ``KIND:TARGET``, and settings may follow as words: ``gfn2-xtb``,
``gfn2-xtb max_iterations=2000``, ``pyscf:wb97x/6-31g*``, ``ase:ase.calculators.emt:EMT(k=1)``,
``model:FILE@LEVEL``. A new kind is a line in `KINDS` and a module with a function ``make_engine``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlpot.config import with_overrides
from tlpot.errors import ConfigError
from tlpot.models import named_file

_SETTING = re.compile(r"[A-Za-z_][\w.]*=\S*")
_CALL = re.compile(r"(?P<target>[^(]*)\((?P<settings>.*)\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineName:
    """A name, taken apart.

    Attributes:
        kind: one of `KINDS`.
        target: what follows the colon, without level and settings; empty for kinds without.
        level: after the ``@`` of a model.
        settings: that are part of the name.
    """

    kind: str
    target: str = ""
    level: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The name without level and settings."""
        return f"{self.kind}:{self.target}" if self.target else self.kind


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineKind:
    """One kind of engine.

    Attributes:
        form: how its names are written.
        summary: what it is.
        module: has ``make_engine(name: EngineName, label: str | None) -> Engine``; it is imported
            where it is used, for it may load torch or PySCF.
        split: takes the target apart.
    """

    form: str
    summary: str
    module: str
    split: Callable[[str], EngineName] = lambda target: EngineName(kind="", target=target)


def _at_level(text: str) -> EngineName:
    """``FILE@LEVEL``, unless there is a file of the whole name."""
    path, at, level = text.partition("@")
    if at and not Path(text).is_file():
        if not level.strip():
            raise ConfigError(f"engine model:{text}: no level of theory stands behind the @")
        return EngineName(kind="", target=path, level=level)
    return EngineName(kind="", target=text)


def _called(text: str) -> EngineName:
    """``MODULE:CLASS(key=value, ...)``, values as YAML; brackets hold commas together."""
    match = _CALL.fullmatch(text)
    if match is None:
        return EngineName(kind="", target=text)
    words = re.split(r",(?![^\[{(]*[\]})])", match["settings"])
    settings = with_overrides({}, [word.strip() for word in words if word.strip()])
    return EngineName(kind="", target=match["target"], settings=settings)


KINDS: Mapping[str, EngineKind] = {
    "gfn1-xtb": EngineKind(
        form="gfn1-xtb", summary="GFN1-xTB by tblite", module="tlpot.engines.xtb"
    ),
    "gfn2-xtb": EngineKind(
        form="gfn2-xtb", summary="GFN2-xTB by tblite", module="tlpot.engines.xtb"
    ),
    "pyscf": EngineKind(
        form="pyscf:METHOD/BASIS",
        summary="Hartree-Fock, density functionals, double hybrids, MP2, coupled cluster",
        module="tlpot.engines.pyscf",
    ),
    "ase": EngineKind(
        form="ase:MODULE:CLASS(KEY=VALUE)", summary="any ASE calculator",
        module="tlpot.engines.ase", split=_called,
    ),
    "model": EngineKind(
        form="model:FILE[@LEVEL]", summary="a tlpot model", module="tlpot.engines.model",
        split=_at_level,
    ),
}  # fmt: skip
"""Every kind, by the first word of its names."""


def parse_engine(
    text: str, *, kinds: Mapping[str, EngineKind] = KINDS, bare_models: bool = False
) -> EngineName:
    """Takes the name of an engine apart.

    Args:
        text: the name, with settings after spaces or without.
        kinds: those that may be named.
        bare_models: whether the file or name of a model may stand without ``model:``.

    Raises:
        ConfigError: no such kind (the nearest is offered), or a setting that cannot be read.
    """
    words = text.split()
    n_settings = 0
    while n_settings < len(words) - 1 and _SETTING.fullmatch(words[-1 - n_settings]):
        n_settings += 1
    name = text.strip()
    settings: dict[str, Any] = {}
    if n_settings:
        settings = with_overrides({}, words[-n_settings:])
        name = name.rsplit(maxsplit=n_settings)[0]
    first, _, target = name.partition(":")
    kind = first.lower()
    if kind not in kinds or bool(target) != (":" in kinds[kind].form):
        if not bare_models or _misspelt(name):
            raise ConfigError(f"unknown engine {name!r}{_nearest_form(kind, kinds)}")
        kind, target = "model", name
    parts = kinds[kind].split(target)
    twice = sorted(parts.settings.keys() & settings.keys())
    if twice:
        raise ConfigError(f"engine {name} is told {', '.join(twice)} twice; say it once")
    return EngineName(
        kind=kind,
        target=parts.target,
        level=parts.level,
        settings={**parts.settings, **settings},
    )


def _nearest_form(kind: str, kinds: Mapping[str, EngineKind]) -> str:
    close = difflib.get_close_matches(kind.partition(" ")[0], kinds, n=1, cutoff=0.6)
    forms = ", ".join(sorted(each.form for each in kinds.values()))
    if close:
        return f"; did you mean {kinds[close[0]].form!r}? (valid: {forms})"
    return f"; valid: {forms}"


def _misspelt(name: str) -> bool:
    """Whether it is meant for an engine rather than for a model."""
    first, colon, _ = name.partition(":")
    path = name.partition("@")[0]
    if Path(path).exists() or path.endswith(".safetensors") or named_file(path) is not None:
        return False
    close = difflib.get_close_matches(first.lower(), KINDS, n=1, cutoff=0.75)
    return bool(close) and (bool(colon) or close[0] not in ("ase", "model", "pyscf"))
