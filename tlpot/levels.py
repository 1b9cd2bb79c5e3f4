"""Names of levels of theory: ``method/basis`` or ``method``, lower case, no spaces.

The difference of two levels is called ``high - low``, with spaces, which no method has in its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tlpot.errors import ConfigError, UnknownLevelError, nearest

_MINUS = " - "


def canonical_level(name: str) -> str:
    """Returns the canonical spelling: ``"wB97X/6-31G*"`` becomes ``"wb97x/6-31g*"``.

    Raises:
        ConfigError: an empty name, or what is neither one level nor the difference of two.
    """
    parts = [_spelled(part) for part in re.split(r"(?:^|\s+)-(?:\s+|$)", name.strip())]
    if not all(parts) or len(parts) > 2:
        what = repr(name) if name.strip() else "empty"
        raise ConfigError(
            f"the level of theory is {what}; expected a name such as 'ccsd(t)/cbs', or "
            "'high - low' for the difference of two"
        )
    return _MINUS.join(parts)


def total_level(name: str, purpose: str) -> str:
    """Returns the canonical spelling of a level whose energies are totals.

    Args:
        name: of the level.
        purpose: what it is for, to begin the message with.

    Raises:
        ConfigError: see `canonical_level`, or a difference of two levels.
    """
    level = canonical_level(name)
    if _MINUS in level:
        raise ConfigError(
            f"{purpose} needs a level of total energies, and {name!r} is the name of a difference "
            "of two levels; leave out the spaces if that minus belongs to the method"
        )
    return level


def part_of_level(text: str) -> str:
    """Returns a part of a level's name as `canonical_level` spells it, to look for."""
    return _MINUS.join(_spelled(part) for part in text.split(_MINUS))


def _spelled(part: str) -> str:
    return "".join(part.lower().replace("ω", "w").split())


def difference_level(high: str, low: str) -> str:
    """Returns the name of the difference of two levels.

    Raises:
        ConfigError: one is a difference itself, see `canonical_level`.
    """
    return f"{total_level(high, 'a difference')}{_MINUS}{total_level(low, 'a difference')}"


def difference_parts(level: str) -> tuple[str, str] | None:
    """Returns the high and the low level of a difference, or None for an ordinary level."""
    high, minus, low = canonical_level(level).partition(_MINUS)
    return (high, low) if minus else None


def level_words(levels: str | Iterable[str]) -> str:
    """Returns the name of a level, or those of several, for a sentence."""
    return levels if isinstance(levels, str) else " or ".join(levels)


def choose_levels(
    asked: str | Iterable[str] | None, available: Iterable[str], where: str
) -> tuple[str, ...]:
    """Returns one or several levels to use; see `choose_level`.

    Raises:
        ConfigError: a level is named twice, or none is.
    """
    if asked is None or isinstance(asked, str):
        return (choose_level(asked, available, where),)
    known = list(available)
    chosen = tuple(choose_level(level, known, where) for level in asked)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ConfigError(f"level={list(asked)} must name one or several levels, each once")
    return chosen


def choose_level(
    asked: str | None, available: Iterable[str], where: str, *, option: str = "level"
) -> str:
    """Returns the level to use, which may be left out only when there is exactly one.

    Args:
        asked: what the user asked for, or None.
        available: the levels that exist in `where`.
        where: the model or file, for the message.
        option: what the choice is called where the user makes it.

    Raises:
        UnknownLevelError: no such level, or none was named and there are several.
        ConfigError: no name of a level, see `canonical_level`.
    """
    levels = list(available)
    if asked is None:
        if len(levels) == 1:
            return levels[0]
        raise UnknownLevelError(
            f"{where} has {len(levels)} levels of theory ({', '.join(levels) or 'none'}); "
            f"name one with {option}=... (--{option} on the command line)"
        )
    level = canonical_level(asked)
    if level not in levels:
        raise UnknownLevelError(f"{where} has no level {asked!r}{nearest(level, levels)}")
    return level
