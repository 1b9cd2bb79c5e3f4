"""Recognising structures that occur twice."""

from __future__ import annotations

import hashlib

import numpy as np

from tlpot.system import System

PRECISION = 1e-5
"""Å; coordinates that round to the same multiples of this are the same."""


def fingerprint(system: System, precision: float = PRECISION) -> bytes:
    """Returns a hash of elements, positions, cell, charge and multiplicity.

    Structures that are rotated, shifted or list their atoms in another order differ.

    Args:
        system: the structure.
        precision: of positions and cell, Å.
    """
    parts = (
        system.atomic_numbers.astype(np.int64),
        np.rint(system.positions / precision) + 0.0,  # + 0.0 turns -0.0 into 0.0
        np.rint(system.cell / precision) + 0.0,
        system.pbc.astype(np.int8),
        np.array([system.charge, system.spin]),
    )
    return hashlib.blake2b(b"".join(part.tobytes() for part in parts), digest_size=16).digest()
