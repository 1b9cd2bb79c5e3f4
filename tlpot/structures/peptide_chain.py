"""A peptide in the making, built residue by residue from the N terminus."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms

from tlpot.numbers import Floats, Ints
from tlpot.structures.side_chains import CHARGES, RING_BONDS, SIDE_CHAINS

_TORSION = re.compile(r"(chi\d)?([+-]?\d+(?:\.\d+)?)?")
_HYDROGEN = {"N": 1.02}


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """One atom in internal coordinates.

    Attributes:
        name: of the atom.
        references: the atom that it is bound to, the one of the angle, the one of the torsion.
        length: of the bond, Å.
        angle: degrees.
        chi: which side-chain torsion its own follows, from 0 on; None for a fixed one.
        torsion: degrees; added to χ if there is one.
    """

    name: str
    references: tuple[str, str, str]
    length: float
    angle: float
    chi: int | None
    torsion: float


def place(
    references: tuple[Floats, Floats, Floats], length: float, angle: float, torsion: float
) -> Floats:
    """The position of an atom from three others, by the natural extension reference frame.

    DOI 10.1002/jcc.20237. The torsion has the sign of IUPAC.

    The references are bound, of the angle and of the torsion, [3] each, Å; angles are in degrees.
    """
    bound, middle, end = references
    along = bound - middle
    along = along / np.linalg.norm(along)
    normal = np.cross(middle - end, along)
    normal = normal / np.linalg.norm(normal)
    theta, phi = math.radians(angle), math.radians(torsion)
    inward = np.cross(normal, along)
    offset: Floats = length * (
        -math.cos(theta) * along
        + math.sin(theta) * math.cos(phi) * inward
        + math.sin(theta) * math.sin(phi) * normal
    )
    return bound + offset


def parse(table: str) -> tuple[Placement, ...]:
    """Reads a table of `tlpot.structures.side_chains`; heavy atoms come first, as needed."""
    found = [placement for line in table.splitlines() for placement in _line(line)]
    return tuple(sorted(found, key=lambda placement: placement.name.startswith("H")))


def angle_of(placement: Placement, chi: Mapping[int, float]) -> float:
    """The torsion of an atom for given χ, degrees, by number from 0 on."""
    return placement.torsion + (0.0 if placement.chi is None else chi[placement.chi])


def _line(line: str) -> list[Placement]:
    name, *rest = line.split()
    references = (rest[0], rest[1], rest[2])
    chi, torsion = _torsion(rest[-1])
    steps: tuple[float, ...]
    if name.endswith("*"):
        ends, steps, angle = "123", (0.0, 120.0, 240.0), 109.5
    elif name.endswith("="):
        ends, steps, angle = "23", (120.0, -120.0), 109.0
    else:
        ends, steps, angle = "", (0.0,), float(rest[4])
    length = _HYDROGEN.get(rest[0][0], 1.09) if ends else float(rest[3])
    stem = name[:-1] if ends else name
    return [
        Placement(
            name=stem + end,
            references=references,
            length=length,
            angle=angle,
            chi=chi,
            torsion=torsion + step,
        )
        for end, step in zip(ends or ("",), steps, strict=True)
    ]


def _torsion(text: str) -> tuple[int | None, float]:
    match = _TORSION.fullmatch(text)
    if match is None:
        raise AssertionError(f"not a torsion: {text}")
    chi, number = match.groups()
    return (None if chi is None else int(chi[3:]) - 1), float(number or 0.0)


# Engh and Huber, doi:10.1107/S0108767391001071
_N_CA = {"GLY": 1.451, "PRO": 1.466}
_CA_C = {"GLY": 1.516}
_C_N = {"PRO": 1.341}
_N_CA_C = {"GLY": 112.5, "PRO": 111.8}
_C_N_CA = {"GLY": 120.6, "PRO": 122.6}
_CA_C_N = 116.2
_CA_C_O = 120.6
_C_O = 1.231


class PeptideChain:
    """Grows a chain and its side chains; `atoms` is the result.

    Args:
        names: residues with protonation states.
        phi: per residue, degrees.
        psi: per residue, degrees.
        omega: per peptide bond, those of the caps included, degrees.
        chi: per residue, degrees.
        n_cap: ACE, NH3+ or NH2.
        c_cap: NME, COO-, COOH or NH2.
    """

    def __init__(
        self,
        names: Sequence[str],
        phi: Sequence[float],
        psi: Sequence[float],
        omega: Sequence[float],
        chi: Sequence[Mapping[int, float]],
        n_cap: str,
        c_cap: str,
    ) -> None:
        self.charge = sum(CHARGES.get(name, 0) for name in names)
        self.charge += (n_cap == "NH3+") - (c_cap == "COO-")
        self._labels: list[tuple[str, str, int]] = []
        self._positions: list[Floats] = []
        self._bonds: list[tuple[int, int]] = []
        self._last: dict[str, int] = {}
        self._residue = ("", 0)
        bonds = iter(omega)
        torsion = 180.0  # to the oxygen of an acetyl
        if n_cap == "ACE":
            self._acetyl()
        for index, name in enumerate(names):
            self._amino_acid(name, phi[index], psi[index], torsion, bonds, chi[index])
            if index == 0 and n_cap != "ACE":
                self._amine(name, phi[index], charged=n_cap == "NH3+")
            torsion = psi[index]
        if c_cap in ("COO-", "COOH"):
            self._carboxyl(torsion, acid=c_cap == "COOH")
        else:
            self._amide(torsion, bonds, methyl=c_cap == "NME")

    def atoms(self) -> Atoms:
        """The structure, in the order of a PDB file, centred at the origin."""
        order = sorted(
            range(len(self._labels)),
            key=lambda i: (self._labels[i][2], self._labels[i][0].startswith("H")),
        )
        positions = np.array(self._positions)[order]
        names, residues, numbers = zip(*(self._labels[i] for i in order), strict=True)
        atoms = Atoms([name[0] for name in names], positions - positions.mean(axis=0))
        atoms.set_array("atomtypes", np.array(names))
        atoms.set_array("residuenames", np.array(residues))
        atoms.set_array("residuenumbers", np.array(numbers))
        atoms.info["charge"] = self.charge
        self._order = np.argsort(order)
        return atoms

    def bonds(self) -> Ints:
        """Bonds between the atoms of `atoms`, [n_bonds, 2], the smaller index first, sorted."""
        pairs = np.sort(self._order[np.array(self._bonds)], axis=1)
        return np.unique(pairs, axis=0).astype(np.int64)

    def _start(self, name: str) -> None:
        self._before = self._last
        self._residue = (name, self._residue[1] + 1)
        self._last = {}

    def _put(self, name: str, position: Floats, bound: str | None = None) -> None:
        self._last[name] = len(self._positions)
        self._labels.append((name, *self._residue))
        self._positions.append(position)
        if bound is not None:
            self._bonds.append((self._index(bound), self._last[name]))

    def _add(self, name: str, references: str, length: float, angle: float, torsion: float) -> None:
        """Places an atom by three others; ``-C`` is the C of the residue before."""
        bound, middle, end = references.split()
        at = (self._at(bound), self._at(middle), self._at(end))
        self._put(name, place(at, length, angle, torsion), bound)

    def _index(self, name: str) -> int:
        return self._before[name[1:]] if name.startswith("-") else self._last[name]

    def _at(self, name: str) -> Floats:
        return self._positions[self._index(name)]

    def _acetyl(self) -> None:
        self._start("ACE")
        self._put("CH3", np.zeros(3))
        self._put("C", np.array([1.525, 0.0, 0.0]), "CH3")
        angle = math.radians(_CA_C_O)
        self._put(
            "O", self._at("C") + _C_O * np.array([-math.cos(angle), math.sin(angle), 0.0]), "C"
        )
        for name, torsion in (("H1", 0.0), ("H2", 120.0), ("H3", 240.0)):
            self._add(name, "CH3 C O", 1.09, 109.5, torsion)

    def _amino_acid(self, name: str, phi: float, psi: float, torsion: float,
                    omega: Iterator[float], chi: Mapping[int, float]) -> None:  # fmt: skip
        n_ca, ca_c = _N_CA.get(name, 1.458), _CA_C.get(name, 1.525)
        bend = _N_CA_C.get(name, 111.2)
        if self._positions:
            self._join(name, "CA", n_ca, _C_N_CA.get(name, 121.7), torsion, omega)
            self._add("C", "CA N -C", ca_c, bend, phi)
            if name != "PRO":
                self._add("H", "N CA C", 1.01, 119.0, phi + 180.0)
        else:
            self._start(name)
            self._put("N", np.zeros(3))
            self._put("CA", np.array([n_ca, 0.0, 0.0]), "N")
            angle = math.radians(bend)
            corner = ca_c * np.array([-math.cos(angle), math.sin(angle), 0.0])
            self._put("C", self._at("CA") + corner, "CA")
        self._add("O", "C CA N", _C_O, _CA_C_O, psi + 180.0)
        glycine = name == "GLY"
        self._add("HA2" if glycine else "HA", "CA N C", 1.09, 108.5, 118.5)
        if glycine:
            self._add("HA3", "CA N C", 1.09, 108.5, -118.5)
        for placement in side_chain(name):
            references = " ".join(placement.references)
            torsion = angle_of(placement, chi)
            self._add(placement.name, references, placement.length, placement.angle, torsion)
        for one, other in RING_BONDS.get(name, ()):
            self._bonds.append((self._last[one], self._last[other]))

    def _join(self, residue: str, alpha: str, n_alpha: float, bend: float, torsion: float,
              omega: Iterator[float]) -> None:  # fmt: skip
        """Begins a residue that a peptide bond joins to the one before: its N and the atom on N."""
        self._start(residue)
        capped = "CH3" in self._before
        middle, end = ("-CH3", "-O") if capped else ("-CA", "-N")
        self._add("N", f"-C {middle} {end}", _C_N.get(residue, 1.329), _CA_C_N, torsion)
        self._add(alpha, f"N -C {middle}", n_alpha, bend, next(omega))

    def _amine(self, name: str, phi: float, *, charged: bool) -> None:
        """Hydrogens of a free N terminus."""
        if name == "PRO":
            corners = np.array([self._at(each) for each in ("CD", "N", "CA", "C")])
            start = float(Atoms("X4", corners).get_dihedral(0, 1, 2, 3))
            sites = {"H2": 120.0, "H3": -120.0} if charged else {"H": 120.0}
        else:
            start = phi + 180.0
            sites = {"H1": 0.0, "H2": 120.0, "H3": -120.0} if charged else {"H": 0.0, "H2": 120.0}
        for each, step in sites.items():
            self._add(each, "N CA C", 1.02, 109.5, start + step)

    def _carboxyl(self, psi: float, *, acid: bool) -> None:
        length, angle = (1.33, 113.0) if acid else (1.25, 116.5)
        self._add("OXT", "C CA N", length, angle, psi)
        if acid:
            self._add("HXT", "OXT C CA", 0.97, 107.5, 180.0)

    def _amide(self, psi: float, omega: Iterator[float], *, methyl: bool) -> None:
        if methyl:
            self._join("NME", "C", 1.45, 121.7, psi, omega)
            self._add("H", "N C -C", 1.01, 119.0, 180.0)
            for name, torsion in (("H1", 60.0), ("H2", 180.0), ("H3", 300.0)):
                self._add(name, "C N -C", 1.09, 109.5, torsion)
        else:
            self._join("NH2", "HN1", 1.01, 119.5, psi, omega)
            self._add("HN2", "N -C HN1", 1.01, 119.5, 180.0)


@cache
def side_chain(name: str) -> tuple[Placement, ...]:
    """How the atoms of a side chain, named with its protonation state, are placed, in order."""
    return parse(SIDE_CHAINS[name])
