"""Cells, charges and multiplicities that a file holds and its description does not name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Problem
from tlpot.data.spec import DataSpec
from tlpot.data.store import Store
from tlpot.total_charge import named_state

_CELLS = {
    "cell", "lattice", "latticevectors", "unitcell", "box", "boxvectors", "cellvectors", "pbc",
}  # fmt: skip
_NEUTRAL = {"charge": 0.0, "spin": 1.0}
"""What frames are taken for where nothing is read."""
_WORDS = {
    "charge": ("charge", "a charge", "neutral"),
    "spin": ("spin", "a multiplicity", "singlets"),
    "cell": ("cell", "a cell", "not periodic"),
    "pbc": ("pbc", "periodic directions", "not periodic"),
}
"""Quantity, what the key looks like, and what frames are without it."""
_SECTIONS = 64
"""That are looked into, spread over the file."""


def unread_state(store: Store, spec: DataSpec, unread: Collection[str]) -> list[Problem]:
    """Reports what would make frames periodic, charged or open shells and is not read.

    Args:
        store: the file's columns.
        spec: what they mean.
        unread: arrays of the file that the description does not mention.
    """
    found = []
    without_cell = spec.cell is None or (spec.container == "extxyz" and _in_vacuum(store))
    for key in sorted({*unread} - {*spec.unread}):
        state = named_state(key)
        if state is not None and state not in spec.named and getattr(spec, state) is None:
            stated = state == "charge" and spec.charge_smiles is not None
            others = (values != _NEUTRAL[state] for values in _of_frames(store, key))
            if not stated and any(other.any() for other in others):
                found.append(_problem(key, *_WORDS[state]))
        elif _squeezed(key) in _CELLS and without_cell:
            words = _WORDS["pbc" if _squeezed(key) == "pbc" else "cell"]
            found.append(_problem(key, *words, lattice=spec.container == "extxyz"))
    return found


def _squeezed(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())


def _in_vacuum(store: Store) -> bool:
    there = [k for k, section in enumerate(store.sections) if "cell" in section.shapes]
    return not any(store.read(k, "cell").any() for k in there[:_SECTIONS])


def _problem(key: str, quantity: str, what: str, taken: str, *, lattice: bool = False) -> Problem:
    return Problem(
        severity="warning",
        what=f"{key!r} is not read, although it looks like {what}, and frames are taken for "
        f"{taken}; "
        + (
            'if it is, write it as Lattice="ax ay az bx by bz cx cy cz" and pbc="T T T"'
            if lattice
            else f"name it if it is (keys={{{quantity!r}: {key!r}}}, --keys {quantity}={key}, or "
            "in a description)"
        ),
    )


def _of_frames(store: Store, key: str) -> Iterator[NDArray[np.float64]]:
    """Yields arrays of one number, or of one for each frame; others say nothing of a frame."""
    there = [k for k, section in enumerate(store.sections) if key in section.shapes]
    for k in there[:: max(1, len(there) // _SECTIONS)]:
        shape = store.sections[k].shapes[key]
        if len(shape) < 2 or shape[1:] == (1,):
            stored = store.read(k, key)
            if stored.dtype.kind in "iuf":
                yield stored[np.isfinite(stored)].astype(np.float64)
