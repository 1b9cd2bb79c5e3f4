"""Disulfide bridges of a peptide that is built: torsions that close the rings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import vdw_radii

from tlpot.errors import ConfigError
from tlpot.numbers import Floats

LENGTH, ANGLE, TORSION = 2.04, 104.0, 90.0
"""S-S in Å, C-S-S and the size of C-S-S-C in degrees, usual in proteins
(doi:10.1016/0022-2836(81)90515-5)."""

_REGIONS = ((-65.0, -40.0), (-75.0, 145.0), (-120.0, 130.0), (-85.0, 75.0))
"""φ and ψ to begin with: α, polyproline, β and γ turns."""
_GLYCINE = (*_REGIONS, (60.0, 35.0), (80.0, -170.0))
_STARTS = 40
_CLOSE = 0.75
"""Times the sum of van der Waals radii: nearer is in the way."""
_ENOUGH = 0.25
"""Largest residual of a ring that is closed: 0.025 Å, 2.5° and 6° off, overlaps of 0.1 Å."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Torsions:
    """The torsions of a peptide, degrees, by residue.

    Attributes:
        phi: φ.
        psi: ψ.
        chi: χ by number from 0 on.
    """

    phi: Sequence[float]
    psi: Sequence[float]
    chi: Sequence[Mapping[int, float]]


def close_bridges(
    build: Callable[[Torsions], Atoms],
    names: Sequence[str],
    given: Torsions,
    bridges: Sequence[tuple[int, int]],
    *,
    free: Mapping[str, Sequence[bool]],
    first: int,
) -> Torsions:
    """Looks for torsions with which the sulfur atoms of each bridge are a bond apart.

    The free φ and ψ from one cysteine to the other move, and χ1 of both, from several starts in the
    usual regions of the Ramachandran map, until the bridges are closed and nothing is in the way.

    Args:
        build: makes the peptide.
        names: of the residues.
        given: what does not move, and what there was before.
        bridges: pairs of indices of residues.
        free: under ``phi`` and ``psi``, which of them may move.
        first: number of the first residue in the atoms.

    Raises:
        ConfigError: there are none among the starts.
    """
    from scipy.optimize import least_squares  # a third of the start-up of what imports this room

    inside = sorted({k for i, j in bridges for k in range(i, j + 1)})
    moving = [(kind, k) for kind in ("phi", "psi") for k in inside if free[kind][k]]
    moving += [("chi", k) for pair in bridges for k in pair]
    rng = np.random.default_rng(0)

    def torsions(x: Floats) -> Torsions:
        phi, psi, chi = list(given.phi), list(given.psi), [dict(one) for one in given.chi]
        for (kind, k), angle in zip(moving, x.tolist(), strict=True):
            if kind == "chi":
                chi[k][0] = angle
            else:
                (phi if kind == "phi" else psi)[k] = angle
        return Torsions(phi=phi, psi=psi, chi=chi)

    def residuals(x: Floats, start: Floats) -> Floats:
        atoms = build(torsions(x))
        away = 0.02 * (x - start) / 60.0  # nearer to usual torsions where the ring leaves a choice
        return np.concatenate(
            [_strain(atoms, bridges, first), _overlaps(atoms, bridges, first), away]
        )

    best = np.inf
    for trial in range(_STARTS):
        drawn = {k: _region(names[k], trial, rng) for k in inside}
        start = np.array(
            [
                float(rng.choice([-65.0, 180.0, 60.0]))
                if kind == "chi"
                else drawn[k][0 if kind == "phi" else 1]
                for kind, k in moving
            ]
        )
        found = least_squares(residuals, start, args=(start,), diff_step=1e-4, max_nfev=40)
        worst = float(np.abs(found.fun[: -len(start)]).max())
        if worst < _ENOUGH:
            return torsions((found.x + 180.0) % 360.0 - 180.0)
        best = min(best, worst)
    chain = "-".join(names).replace("CYM", "CYS")
    raise ConfigError(
        f"disulfides={list(bridges)}: no torsions of {chain} close these bridges without "
        f"clashes in {_STARTS} attempts; move the cysteines further apart, leave phi and psi free "
        "there, or start from a structure"
    )


def _region(name: str, trial: int, rng: np.random.Generator) -> tuple[float, float]:
    regions = _GLYCINE if name == "GLY" else _REGIONS
    chosen = regions[rng.integers(len(regions))] if trial else regions[0]
    spread = rng.normal(scale=15.0, size=2)
    return chosen[0] + spread[0], chosen[1] + spread[1]


def _strain(atoms: Atoms, bridges: Sequence[tuple[int, int]], first: int) -> Floats:
    """Returns what is off of each bridge, in 0.1 Å, 10° and 25°."""
    numbers, names = atoms.arrays["residuenumbers"], atoms.arrays["atomtypes"]
    found = []
    for i, j in bridges:
        beta, sulfur, other, far = (
            int(np.flatnonzero((numbers == first + k) & (names == name))[0])
            for k, name in ((i, "CB"), (i, "SG"), (j, "SG"), (j, "CB"))
        )
        torsion = abs((atoms.get_dihedral(beta, sulfur, other, far) + 180.0) % 360.0 - 180.0)
        found += [
            (atoms.get_distance(sulfur, other) - LENGTH) / 0.1,
            (atoms.get_angle(beta, sulfur, other) - ANGLE) / 10.0,
            (atoms.get_angle(sulfur, other, far) - ANGLE) / 10.0,
            (torsion - TORSION) / 25.0,
        ]
    return np.array(found)


def _overlaps(atoms: Atoms, bridges: Sequence[tuple[int, int]], first: int) -> Floats:
    """Returns how far atoms of residues that are no neighbours are too close, in 0.4 Å."""
    numbers = atoms.arrays["residuenumbers"]
    radii = np.nan_to_num(vdw_radii[atoms.numbers], nan=2.0) * _CLOSE
    i, j = np.triu_indices(len(atoms), 1)
    apart = numbers[j] - numbers[i] > 1
    bound = {(first + a, first + b) for a, b in bridges}
    side = ~np.isin(atoms.arrays["atomtypes"], ("N", "H", "CA", "HA", "C", "O"))
    bonded = np.array([pair in bound for pair in zip(numbers[i], numbers[j], strict=True)])
    apart &= ~(bonded & side[i] & side[j])
    i, j = i[apart], j[apart]
    gaps = np.linalg.norm(atoms.positions[j] - atoms.positions[i], axis=1)
    overlap = np.maximum(radii[i] + radii[j] - gaps, 0.0)
    # one number for each atom, so that there are few
    return np.sqrt(np.bincount(i, overlap**2, len(atoms))) / 0.4
