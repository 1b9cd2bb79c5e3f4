"""What a fragment scheme is, a rule that lists fragments and their signs; and schemes by name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tlpot.config import parse, to_mapping
from tlpot.errors import ConfigError, nearest
from tlpot.fragments.expansion import Expansion
from tlpot.fragments.fragment import Cutter
from tlpot.fragments.schemes.mfcc import GMFCC, MFCC, Dimers
from tlpot.fragments.schemes.sphere import Sphere
from tlpot.numbers import Floats
from tlpot.topology import Lattice


class Scheme(Protocol):
    """A frozen dataclass; its fields are its settings.

    Attributes:
        name: as users write it.
        summary: one line for tables.
        smooth: the energy is twice differentiable in the positions; otherwise the list of
            fragments is hard, and the energy jumps where it changes.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    smooth: ClassVar[bool]

    @property
    def reach(self) -> float | None:
        """Distance at which atoms decide about fragments, Å; None if positions do not matter."""
        ...

    def expand(
        self,
        cutter: Cutter,
        positions: Floats,
        *,
        skin: float = 0.0,
        lattice: Lattice | None = None,
    ) -> Expansion:
        """Lists the fragments.

        Args:
            cutter: of the structure.
            positions: [n_atoms, 3], Å.
            skin: Å; pair terms that begin this much beyond the reach are listed too (their
                weight is 0), so that the list stays good while atoms move by half of it.
            lattice: of a periodic structure, in which molecules are whole; None in vacuum.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Direct:
    """No fragments: exact for the model and the cheapest, if it has seen what a protein holds."""

    name: ClassVar[str] = "direct"
    summary: ClassVar[str] = "the whole structure at once (right for a local model)"
    smooth: ClassVar[bool] = True

    @property
    def reach(self) -> None:
        """Positions do not matter."""
        return

    def expand(
        self,
        cutter: Cutter,
        positions: Floats,
        *,
        skin: float = 0.0,
        lattice: Lattice | None = None,
    ) -> Expansion:
        """Lists the one fragment, see `Scheme`."""
        return Expansion.fixed({frozenset(range(len(cutter.topology.units))): 1})


SCHEMES: dict[str, type] = {kind.name: kind for kind in (Direct, MFCC, Dimers, GMFCC, Sphere)}
"""Classes by name; ``mfcc2``, ``mfcc3``, ... are ``mfcc`` with that size."""

AI2BMD = "ai2bmd"
"""Name of ``mfcc`` with AMBER terms between atoms that share no fragment. A scheme has no charges,
so only what assembles one structure takes it."""

DEFAULT_SCHEME = "mfcc_mbe2"
"""Wherever fragments are asked for and no scheme is named."""


def is_ai2bmd(scheme: str | Scheme) -> bool:
    """Whether a name is `AI2BMD`."""
    return isinstance(scheme, str) and scheme.lower() == AI2BMD


def choose_scheme(scheme: str | Scheme, **settings: Any) -> Scheme:
    """Returns the scheme of a name, with settings of its fields, or a scheme as it is.

    Raises:
        ConfigError: no such scheme or setting, or a value that makes no sense.
    """
    if not isinstance(scheme, str):
        if settings:
            raise ConfigError(
                f"settings {', '.join(settings)} go with the name of a scheme; a "
                f"{type(scheme).__name__} has its own"
            )
        return scheme
    name = scheme.lower()
    if name == AI2BMD:
        raise ConfigError(
            f"{scheme} is scheme mfcc with AMBER charges, which belong to one structure; it is a "
            "name for FragmentCalculator, tlpot fragment, tlpot md and tlpot report. Use mfcc here"
        )
    sized = re.fullmatch(r"mfcc(\d+)", name)
    if sized:
        if "size" in settings:
            raise ConfigError(f"{scheme} says the size already; leave size out, or write mfcc")
        name, settings = "mfcc", {**settings, "size": int(sized[1])}
    if name not in SCHEMES:
        names = [*SCHEMES, "mfcc2", AI2BMD]
        raise ConfigError(f"no fragment scheme {scheme!r}{nearest(name, names)}")
    kind = SCHEMES[name]
    known = [field.name for field in dataclasses.fields(kind)]
    for key in settings:
        if key not in known:
            raise ConfigError(f"scheme {name} has no setting {key!r}{nearest(key, known)}")
    return kind(**settings)


def parse_scheme(setting: str | Scheme | Mapping[str, Any]) -> Scheme:
    """Returns a scheme as a configuration names it.

    Args:
        setting: a name, a scheme as it is, or a mapping with ``name`` and fields of that scheme,
            whose values are read as those of a YAML file.

    Raises:
        ConfigError: no such scheme or setting, or a value that makes no sense.
    """
    if not isinstance(setting, Mapping):
        return choose_scheme(setting)
    settings = dict(setting)
    if "name" not in settings:
        raise ConfigError("scheme needs the key 'name', such as {name: mfcc_mbe2, outer: 5}")
    name = str(settings.pop("name"))
    scheme = choose_scheme(name)
    choose_scheme(name, **{key: getattr(scheme, key, None) for key in settings})
    return parse(type(scheme), {**to_mapping(scheme), **settings}, f"scheme {name}")
