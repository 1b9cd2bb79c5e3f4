"""How numbers are written for a reader: three digits, without an exponent where it can be."""

from __future__ import annotations


def short(value: float, *, sign: bool = False) -> str:
    """Returns such as ``0.0312``, ``31.2``, ``1,390``, ``2.1e-10``; with its `sign` if wanted."""
    plus = "+" if sign else ""
    return f"{value:{plus},.0f}" if 100 <= abs(value) < 1e7 else f"{value:{plus}.3g}"
