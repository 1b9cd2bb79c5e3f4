"""Numbers of things in messages: ``1 frame``, ``2 frames``, ``1,000 molecules``."""

from __future__ import annotations


def counted(n: int, noun: str, plural: str = "") -> str:
    """Returns a number with its noun in the right form.

    Args:
        n: how many.
        noun: in the singular.
        plural: where that is not the noun with an s, or an -ies for a -y after a consonant.
    """
    if n == 1:
        return f"1 {noun}"
    regular = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    return f"{n:,} {plural or regular}"
