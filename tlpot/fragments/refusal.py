"""Messages about atoms that cannot be understood: which, what surrounds them, what to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import GeometryError
from tlpot.fragments.elements import symbol

SHOWN = 10


def atom_name(index: int, numbers: NDArray[np.int64], labels: Sequence[str] | None) -> str:
    """Returns ``12 N (A/ALA 3)``: index, element, and what the file calls its residue."""
    name = f"{index} {symbol(int(numbers[index]))}"
    return f"{name} ({labels[index]})" if labels is not None and labels[index] else name


def refusal(what: str, lines: Sequence[str], remedy: str) -> GeometryError:
    """Returns an error with the first ten of `lines` and the number of the rest."""
    shown = [f"  {line}" for line in lines[:SHOWN]]
    if len(lines) > SHOWN:
        shown.append(f"  ... and {len(lines) - SHOWN} more")
    return GeometryError("\n".join([f"{what}:", *shown, remedy]))
