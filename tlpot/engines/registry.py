"""Engines by name: one grammar and one registry of everything that computes energies.

A name is ``KIND`` or ``KIND:TARGET``, and settings may follow as words: ``gfn2-xtb``,
``gfn2-xtb max_iterations=2000``, ``pyscf:wb97x/6-31g*``, ``ase:ase.calculators.emt:EMT(k=1)``,
``env:~/envs/so3/bin/python ase:MODULE:CLASS``, ``torch:FILE``, ``model:FILE@LEVEL``. A new kind is
a line in `KINDS` and a module with a function ``make_engine``.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tlpot.config import with_overrides
from tlpot.engines.engine import Engine, NumericalForces, RenamedEngine
from tlpot.engines.setting_files import file_states
from tlpot.errors import ConfigError, nearest
from tlpot.levels import total_level
from tlpot.models import named_file

_SETTING = re.compile(r"\s+([A-Za-z_][\w.]*=\S*)$")
_CALL = re.compile(r"(?P<target>[^(]*)\((?P<settings>.*)\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineName:
    """A name, taken apart.

    Attributes:
        kind: one of `KINDS`.
        target: what follows the colon, without level and settings; empty for kinds without.
        level: after the ``@`` of a model.
        settings: that are part of the name.
        python: of an ``env:`` engine.
    """

    kind: str
    target: str = ""
    level: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    python: str | None = None

    @property
    def text(self) -> str:
        """The name without level and settings."""
        if self.python is not None:
            return f"{self.kind}:{self.python} ase:{self.target}"
        return f"{self.kind}:{self.target}" if self.target else self.kind

    @property
    def module(self) -> str:
        """Of an ``ase:`` or ``env:`` engine."""
        return self.target.partition(":")[0]

    @property
    def attribute(self) -> str:
        """The class of an ``ase:`` or ``env:`` engine."""
        return self.target.partition(":")[2]

    @property
    def class_name(self) -> str | None:
        """Of an ``ase:`` engine, in lower case; such an engine has no level of theory itself."""
        return self.attribute.lower() if self.kind == "ase" else None


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


def _importable(text: str) -> EngineName:
    """``MODULE:CLASS(key=value, ...)``."""
    name = _called(text)
    if not name.module or not name.attribute:
        raise ConfigError(
            f"engine 'ase:{text}' is not of the form ase:MODULE:CLASS, such as "
            "ase:ase.calculators.psi4:Psi4"
        )
    return name


def _elsewhere(text: str) -> EngineName:
    """``PYTHON ase:MODULE:CLASS(key=value, ...)``."""
    python, found, target = text.partition(" ase:")
    if not found or not python.strip():
        raise ConfigError(
            f"engine 'env:{text}' is not of the form env:PYTHON ase:MODULE:CLASS, such as "
            "env:~/envs/so3/bin/python ase:so3krates_torch.calculator.so3:SO3LRCalculator"
        )
    return replace(_importable(target), python=python.strip())


KINDS: Mapping[str, EngineKind] = {
    "gfn1-xtb": EngineKind(
        form="gfn1-xtb", summary="GFN1-xTB by tblite", module="tlpot.engines.xtb"
    ),
    "gfn2-xtb": EngineKind(
        form="gfn2-xtb", summary="GFN2-xTB by tblite", module="tlpot.engines.xtb"
    ),
    "mmff94": EngineKind(
        form="mmff94", summary="the force field MMFF94 by RDKit", module="tlpot.engines.mmff"
    ),
    "pyscf": EngineKind(
        form="pyscf:METHOD/BASIS",
        summary="Hartree-Fock, density functionals, 3c composites, double hybrids, MP2, "
        "coupled cluster",
        module="tlpot.engines.pyscf",
    ),
    "ase": EngineKind(
        form="ase:MODULE:CLASS(KEY=VALUE)", summary="any ASE calculator",
        module="tlpot.engines.ase", split=_importable,
    ),
    "env": EngineKind(
        form="env:PYTHON ase:MODULE:CLASS(KEY=VALUE)",
        summary="an ASE calculator in the environment of another Python",
        module="tlpot.engines.ase", split=_elsewhere,
    ),
    "torch": EngineKind(
        form="torch:FILE(KEY=VALUE)", summary="a TorchScript model, such as AIMNet2",
        module="tlpot.engines.torch_script", split=_called,
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
    name, words = text.strip(), list[str]()
    while found := _SETTING.search(name):
        rest = name[: found.start()]
        if rest.count("(") > rest.count(")"):  # it stands in the brackets of a class
            break
        name, words = rest, [found[1], *words]
    settings = with_overrides({}, words)
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
    return replace(parts, kind=kind, settings={**parts.settings, **settings})


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


ForceChoice = Literal["auto", "no", "analytic", "numerical"]
FORCE_CHOICES: tuple[ForceChoice, ...] = ("auto", "no", "analytic", "numerical")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSpec:
    """An engine as plain data, from which every worker makes its own.

    Attributes:
        name: such as ``gfn2-xtb`` or ``pyscf:wb97x/6-31g*``, see `parse_engine`.
        settings: of the engine, beside those in the name; what is left out has its default.
        level: a name for the level of theory, where the engine's own will not do.
        forces: ``auto`` for analytic ones where they exist, ``no``, ``analytic`` to insist, or
            ``numerical`` for central differences of energies (6 n_atoms of them).
        stress: whether structures that are periodic in three directions get a stress with their
            forces, where the engine has one.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    level: str | None = None
    forces: ForceChoice = "auto"
    stress: bool = field(default=True, repr=False)

    def __post_init__(self) -> None:
        if self.forces not in FORCE_CHOICES:
            raise ConfigError(f"forces is {self.forces!r}{nearest(self.forces, FORCE_CHOICES)}")

    @property
    def parsed(self) -> EngineName:
        """The name taken apart, with all settings.

        Raises:
            ConfigError: no such engine, or a setting that is given twice.
        """
        found = parse_engine(self.name)
        twice = sorted(found.settings.keys() & self.settings.keys())
        if twice:
            raise ConfigError(f"engine {self.name} is told {', '.join(twice)} twice; say it once")
        return replace(found, settings={**found.settings, **self.settings})


def make_engine(spec: EngineSpec) -> Engine:
    """Makes an engine, or returns the one of this process.

    Raises:
        ConfigError: no such engine, method, basis set or setting (the nearest is offered), or
            forces were asked for that do not exist.
        MissingExtraError: its program is not installed.
    """
    name = spec.parsed
    text = json.dumps(asdict(name), sort_keys=True)
    return _made(text, spec.level, spec.forces, _version(name))


def forget_engines() -> None:
    """Has engines made anew: one that was interrupted may be in no state to go on from."""
    _made.cache_clear()


def _version(name: EngineName) -> tuple[tuple[int, int], ...]:
    """What tells that the files behind a name are others."""
    files: list[Path] = []
    if name.kind == "model":
        from tlpot.models import library_file

        files = [library_file(name.target)]
    elif name.kind == "torch":
        described = str(name.settings.get("description") or f"{name.target}.yaml")
        files = [Path(name.target).expanduser(), Path(described).expanduser()]
    elif name.kind == "env":  # in this process each structure has a new calculator
        return tuple(file_states(name.settings).values())
    states = [file.stat() for file in files if file.is_file()]
    return tuple((state.st_mtime_ns, state.st_size) for state in states)


@functools.lru_cache(maxsize=8)
def _made(
    text: str, label: str | None, forces: ForceChoice, version: tuple[tuple[int, int], ...]
) -> Engine:
    name = EngineName(**json.loads(text))
    if label is not None:
        label = total_level(label, "labelling")
    engine: Engine = importlib.import_module(KINDS[name.kind].module).make_engine(name, label)
    if label is not None and engine.level != label:
        engine = RenamedEngine(engine, label)
    if forces == "numerical":
        return NumericalForces(engine)
    if forces == "analytic" and not engine.has_forces:
        raise ConfigError(
            f"{name.text} has no analytic forces here: of PySCF's methods HF, density functionals, "
            "MP2, CCSD and CCSD(T) have them (the last three with density_fitting=false), and so "
            "have GFN1-xTB, GFN2-xTB and most tlpot models. Take forces=no (energies only), or "
            "forces=numerical (central differences, 6 energies for each atom)"
        )
    return engine
