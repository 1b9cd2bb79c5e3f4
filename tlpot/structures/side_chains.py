"""Side chains of the amino acids in internal coordinates, and the bridges between them."""

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


_HYDROXYL = "0.97 108.5"
_AMIDE = "1.01 119.5"

_METHYLENE = "CB CA N C 1.530 110.4 -122.6\nHB= CB CA N chi1"
_BRANCHED = "CB CA N C 1.540 111.5 -123.5"

_ASP = f"{_METHYLENE}\nCG CB CA N 1.516 112.6 chi1"
_GLU_STEM = f"""{_METHYLENE}
CG CB CA N 1.520 114.1 chi1
HG= CG CB CA chi2"""
_GLU = f"{_GLU_STEM}\nCD CG CB CA 1.516 112.6 chi2"

_LYS = f"""{_METHYLENE}
CG CB CA N 1.520 114.1 chi1
HG= CG CB CA chi2
CD CG CB CA 1.520 111.3 chi2
HD= CD CG CB chi3
CE CD CG CB 1.520 111.3 chi3
HE= CE CD CG chi4"""

_RING = f"""{_METHYLENE}
CG CB CA N 1.507 113.8 chi1
CD1 CG CB CA 1.386 120.7 chi2
CD2 CG CB CA 1.386 120.7 chi2+180
CE1 CD1 CG CB 1.385 120.9 180
CE2 CD2 CG CB 1.385 120.9 180
CZ CE1 CD1 CG 1.385 119.8 0
HD1 CD1 CG CB 1.085 119.5 0
HD2 CD2 CG CB 1.085 119.5 0
HE1 CE1 CD1 CG 1.085 120.0 180
HE2 CE2 CD2 CG 1.085 120.0 180"""

_QUINOID = _RING.replace(" CG CB 1.385 120.9 180", " CG CB 1.375 121.5 180").replace(
    "CZ CE1 CD1 CG 1.385 119.8 0", "CZ CE1 CD1 CG 1.425 121.6 0"
)

_CYS = f"{_METHYLENE}\nSG CB CA N 1.808 114.4 chi1"

_IMIDAZOLE = f"""{_METHYLENE}
CG CB CA N 1.497 113.8 chi1
HD2 CD2 CG CB 1.08 126.5 0
HE1 CE1 ND1 CG 1.08 125.5 180"""
_HD1 = "HD1 ND1 CG CB 1.01 126.0 0"
_HE2 = "HE2 NE2 CD2 CG 1.01 126.0 180"

SIDE_CHAINS: dict[str, str] = {
    "GLY": "",
    "ALA": "CB CA N C 1.521 110.4 -122.6\nHB* CB CA N 60",
    "SER": f"{_METHYLENE}\nOG CB CA N 1.417 111.1 chi1\nHG OG CB CA {_HYDROXYL} chi2",
    "CYS": f"{_CYS}\nHG SG CB CA 1.34 96.5 chi2",
    "CYM": _CYS,
    "THR": f"""{_BRANCHED}
OG1 CB CA N 1.433 109.6 chi1
CG2 CB CA N 1.521 110.5 chi1-120
HB CB CA N 1.09 108.5 chi1+120
HG1 OG1 CB CA {_HYDROXYL} chi2
HG2* CG2 CB CA 60""",
    "VAL": f"""{_BRANCHED}
CG1 CB CA N 1.521 110.5 chi1
CG2 CB CA N 1.521 110.5 chi1+122
HB CB CA N 1.09 108.0 chi1-119
HG1* CG1 CB CA 60
HG2* CG2 CB CA 60""",
    "ILE": f"""{_BRANCHED}
CG1 CB CA N 1.530 110.4 chi1
CG2 CB CA N 1.521 110.5 chi1-122
HB CB CA N 1.09 108.0 chi1+119
CD1 CG1 CB CA 1.513 113.8 chi2
HG1= CG1 CB CA chi2
HG2* CG2 CB CA 60
HD1* CD1 CG1 CB 60""",
    "LEU": f"""{_METHYLENE}
CG CB CA N 1.530 116.3 chi1
CD1 CG CB CA 1.521 110.7 chi2
CD2 CG CB CA 1.521 110.7 chi2+122
HG CG CB CA 1.09 108.0 chi2-119
HD1* CD1 CG CB 60
HD2* CD2 CG CB 60""",
    "MET": f"""{_METHYLENE}
CG CB CA N 1.520 114.1 chi1
HG= CG CB CA chi2
SD CG CB CA 1.803 112.7 chi2
CE SD CG CB 1.791 100.9 chi3
HE* CE SD CG 60""",
    "PRO": """CB CA N C 1.530 103.1 -118.2
CG CB CA N 1.500 104.5 chi1
CD CG CB CA 1.510 104.3 chi2
HB= CB CA N chi1
HG= CG CB CA chi2
HD= CD CG CB chi3""",
    "PHE": f"{_RING}\nHZ CZ CE1 CD1 1.085 120.0 180",
    "TYR": f"{_RING}\nOH CZ CE1 CD1 1.376 119.9 180\nHH OH CZ CE1 0.97 109.5 chi3",
    "TYM": f"{_QUINOID}\nOH CZ CE1 CD1 1.270 122.3 180",
    "TRP": f"""{_METHYLENE}
CG CB CA N 1.498 113.6 chi1
CD1 CG CB CA 1.365 126.9 chi2
CD2 CG CB CA 1.433 126.8 chi2+180
NE1 CD1 CG CB 1.374 110.2 180
CE2 CD2 CG CB 1.409 107.2 180
CE3 CD2 CG CB 1.398 133.9 0
CZ2 CE2 CD2 CG 1.394 122.4 180
CZ3 CE3 CD2 CG 1.382 118.6 180
CH2 CZ2 CE2 CD2 1.375 117.5 0
HD1 CD1 CG CB 1.08 125.0 0
HE1 NE1 CD1 CG 1.01 125.5 180
HE3 CE3 CD2 CG 1.085 120.7 0
HZ2 CZ2 CE2 CD2 1.085 121.2 180
HZ3 CZ3 CE3 CD2 1.085 119.5 180
HH2 CH2 CZ2 CE2 1.085 119.3 180""",
    "HID": f"""{_IMIDAZOLE}
ND1 CG CB CA 1.378 122.7 chi2
CD2 CG CB CA 1.362 132.0 chi2+180
CE1 ND1 CG CB 1.350 107.6 180
NE2 CD2 CG CB 1.378 110.0 180
{_HD1}""",
    "HIE": f"""{_IMIDAZOLE}
ND1 CG CB CA 1.380 121.4 chi2
CD2 CG CB CA 1.362 129.0 chi2+180
CE1 ND1 CG CB 1.320 105.8 180
NE2 CD2 CG CB 1.374 105.8 180
{_HE2}""",
    "HIP": f"""{_IMIDAZOLE}
ND1 CG CB CA 1.378 122.7 chi2
CD2 CG CB CA 1.360 131.0 chi2+180
CE1 ND1 CG CB 1.330 109.0 180
NE2 CD2 CG CB 1.374 107.0 180
{_HD1}
{_HE2}""",
    "ASN": f"""{_ASP}
OD1 CG CB CA 1.231 120.8 chi2
ND2 CG CB CA 1.328 116.4 chi2+180
HD21 ND2 CG CB {_AMIDE} 180
HD22 ND2 CG CB {_AMIDE} 0""",
    "GLN": f"""{_GLU}
OE1 CD CG CB 1.231 120.8 chi3
NE2 CD CG CB 1.328 116.4 chi3+180
HE21 NE2 CD CG {_AMIDE} 180
HE22 NE2 CD CG {_AMIDE} 0""",
    "ASP": f"""{_METHYLENE}
CG CB CA N 1.555 112.6 chi1
OD1 CG CB CA 1.245 116.5 chi2
OD2 CG CB CA 1.245 116.5 chi2+180""",
    "ASH": f"""{_ASP}
OD1 CG CB CA 1.208 124.0 chi2
OD2 CG CB CA 1.330 113.0 chi2+180
HD2 OD2 CG CB {_HYDROXYL} chi3""",
    "GLU": f"""{_GLU_STEM}
CD CG CB CA 1.565 112.6 chi2
OE1 CD CG CB 1.245 116.5 chi3
OE2 CD CG CB 1.245 116.5 chi3+180""",
    "GLH": f"""{_GLU}
OE1 CD CG CB 1.208 124.0 chi3
OE2 CD CG CB 1.330 113.0 chi3+180
HE2 OE2 CD CG {_HYDROXYL} chi4""",
    "LYS": f"{_LYS}\nNZ CE CD CG 1.489 111.9 chi4\nHZ* NZ CE CD chi5",
    "LYN": f"{_LYS}\nNZ CE CD CG 1.465 111.9 chi4\nHZ= NZ CE CD chi5",
    "ARG": f"""{_METHYLENE}
CG CB CA N 1.520 114.1 chi1
HG= CG CB CA chi2
CD CG CB CA 1.520 111.3 chi2
HD= CD CG CB chi3
NE CD CG CB 1.460 112.0 chi3
CZ NE CD CG 1.329 124.2 chi4
NH1 CZ NE CD 1.326 120.0 chi5
NH2 CZ NE CD 1.326 119.9 chi5+180
HE NE CD CG 1.01 117.5 chi4+180
HH11 NH1 CZ NE {_AMIDE} 0
HH12 NH1 CZ NE {_AMIDE} 180
HH21 NH2 CZ NE {_AMIDE} 0
HH22 NH2 CZ NE {_AMIDE} 180""",
}
"""Lines per residue; hydrogens of the backbone are not in them."""

ROTAMERS: dict[str, tuple[float, ...]] = {
    "SER": (62.0, 180.0),
    "CYS": (-65.0, 180.0),
    "CYM": (-65.0,),
    "THR": (62.0, 180.0),
    "VAL": (175.0,),
    "ILE": (-65.0, 170.0),
    "LEU": (-65.0, 175.0),
    "MET": (-65.0, 180.0, 180.0),
    "PRO": (29.0, -36.0, 28.0),
    "PHE": (-65.0, -85.0),
    "TYR": (-65.0, -85.0, 180.0),
    "TYM": (-65.0, -85.0),
    "TRP": (-65.0, 95.0),
    "HID": (-65.0, -70.0),
    "HIE": (-65.0, -70.0),
    "HIP": (-65.0, -70.0),
    "ASN": (-65.0, -20.0),
    "GLN": (-65.0, 180.0, -25.0),
    "ASP": (-70.0, -15.0),
    "ASH": (-70.0, -15.0, 180.0),
    "GLU": (-65.0, 180.0, -10.0),
    "GLH": (-65.0, 180.0, -10.0, 180.0),
    "LYS": (-65.0, 180.0, 180.0, 180.0, 60.0),
    "LYN": (-65.0, 180.0, 180.0, 180.0, 180.0),
    "ARG": (-65.0, 180.0, 180.0, 180.0, 0.0),
}
"""Default χ in degrees, a common rotamer each; torsions of O-H, S-H and N-H are counted in."""

CHARGES: dict[str, int] = {"ARG": 1, "LYS": 1, "HIP": 1, "ASP": -1, "GLU": -1, "CYM": -1, "TYM": -1}
"""Formal charge of a side chain, e; 0 where it is not named."""

RING_BONDS: dict[str, tuple[tuple[str, str], ...]] = {
    "PRO": (("CD", "N"),),
    "PHE": (("CE2", "CZ"),),
    "TYR": (("CE2", "CZ"),),
    "TYM": (("CE2", "CZ"),),
    "TRP": (("NE1", "CE2"), ("CZ3", "CH2")),
    "HID": (("CE1", "NE2"),),
    "HIE": (("CE1", "NE2"),),
    "HIP": (("CE1", "NE2"),),
}
"""Bonds that close rings, which no line of `SIDE_CHAINS` has."""

ONE_LETTER: dict[str, str] = {
    "A": "ALA", "R": "ARG", "N": "ASN", "D": "ASP", "C": "CYS", "Q": "GLN", "E": "GLU",
    "G": "GLY", "H": "HIE", "I": "ILE", "L": "LEU", "K": "LYS", "M": "MET", "F": "PHE",
    "P": "PRO", "S": "SER", "T": "THR", "W": "TRP", "Y": "TYR", "V": "VAL",
}  # fmt: skip
"""One letter to the state built for it: that of pH 7, histidine with its proton on Nε."""
