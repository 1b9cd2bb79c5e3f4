"""One structure with its labels, level of theory by level of theory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.system import System


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """What one level of theory says about one structure.

    Attributes:
        energy: total energy, eV; NaN where absent.
        forces: [n_atoms, 3], eV/Å; None where absent.
        stress: [3, 3], eV/Å³, positive when tensile; None where absent.
    """

    energy: float = float("nan")
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One structure of a dataset.

    Attributes:
        system: geometry, charge, multiplicity.
        labels: labels by canonical level of theory; absent levels are not listed.
        group: the molecule (HDF5 group, file, or formula) that the frame belongs to.
        name: where it stands, for messages: ``data.h5:/methanol[12]``.
        damaged: what is wrong with labels of the file that are neither finite nor NaN throughout,
            and so are not among the `labels`.
    """

    system: System
    labels: Mapping[str, Labels]
    group: str
    name: str
    damaged: tuple[str, ...] = ()
