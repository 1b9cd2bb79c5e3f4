"""Arrays of numbers, and how numbers are written: three digits where they can be, or a noun."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def result_fault(found: Mapping[str, Any], n_atoms: int) -> str | None:
    """Returns what is wrong with a program's results for one structure; None if nothing is.

    An array of another shape would be spread over all atoms wherever it is written to theirs.

    Args:
        found: by name; of ``energy`` (a number), ``forces`` ([n_atoms, 3]) and ``stress`` ([3, 3]
            or 6 values) shapes are looked at, of all whether they are finite.
        n_atoms: of the structure.
    """
    shapes: dict[str, list[tuple[int, ...]]] = {"forces": [(n_atoms, 3)], "stress": [(3, 3), (6,)]}
    for name, value in found.items():
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):  # a ragged list, a text
            return f"{name} that is no array of numbers"
        if name == "energy" and array.size != 1:
            return f"energy of shape {array.shape}, expected one number"
        if name in shapes and array.shape not in shapes[name]:
            return f"{name} of shape {array.shape}, expected {shapes[name][0]}"
        if not np.isfinite(array).all():
            return f"{name} that is NaN or infinite"
    return None


def mae(errors: NDArray[np.floating[Any]]) -> float:
    """Returns the mean absolute error; NaN of none."""
    return float(np.abs(errors).mean()) if errors.size else math.nan


def rmse(errors: NDArray[np.floating[Any]]) -> float:
    """Returns the root mean square error; NaN of none."""
    return float(np.sqrt(np.square(errors).mean())) if errors.size else math.nan


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


def short(value: float, *, sign: bool = False) -> str:
    """Returns such as ``0.0312``, ``31.2``, ``1,390``, ``2.1e-10``; with its `sign` if wanted."""
    plus = "+" if sign else ""
    return f"{value:{plus},.0f}" if 100 <= abs(value) < 1e7 else f"{value:{plus}.3g}"


def number(value: float) -> str:
    """Returns a number as it is printed in a page; a dash if it is not defined."""
    return short(value).replace("-", "−") if math.isfinite(value) else "–"


def signed(value: float) -> str:
    """Returns a number with its sign, see `number`."""
    return short(value, sign=True).replace("-", "−") if math.isfinite(value) else "–"


def duration(seconds: float) -> str:
    """Returns such as ``12.3 s``, ``4.1 min`` or ``2.5 h``; a dash if it is not defined."""
    if not math.isfinite(seconds):
        return "–"
    for most, factor, unit in ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (172800.0, 3600.0, "h")):
        if seconds < most:
            return f"{short(seconds / factor)} {unit}"
    return f"{short(seconds / 86400.0)} d"
