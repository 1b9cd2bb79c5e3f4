"""Names of levels of theory: ``method/basis`` or ``method``, lower case, no spaces.

The difference of two levels is called ``high - low``, with spaces, which no method has in its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tlpot.errors import UnknownLevelError, nearest

_MINUS = " - "


def canonical_level(name: str) -> str:
    """Returns the canonical spelling: ``"wB97X/6-31G*"`` becomes ``"wb97x/6-31g*"``."""
    parts = re.split(r"\s+-\s+", name.strip())
    return _MINUS.join("".join(part.lower().replace("ω", "w").split()) for part in parts)


def difference_level(high: str, low: str) -> str:
    """Returns the name of the difference of two levels."""
    return f"{canonical_level(high)}{_MINUS}{canonical_level(low)}"


def difference_parts(level: str) -> tuple[str, str] | None:
    """Returns the high and the low level of a difference, or None for an ordinary level."""
    high, minus, low = canonical_level(level).partition(_MINUS)
    return (high, low) if minus else None


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
