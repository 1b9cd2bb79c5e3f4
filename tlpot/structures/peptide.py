"""Peptides from a sequence, with all hydrogens, by internal coordinates."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import vdw_radii

from tlpot.bond_thresholds import BONDED, RADII
from tlpot.errors import ConfigError, TLPotWarning, nearest
from tlpot.neighbors import neighbor_list
from tlpot.numbers import Floats, Ints
from tlpot.structures.peptide_chain import PeptideChain, Placement, angle_of, place, side_chain
from tlpot.structures.side_chains import ONE_LETTER, ROTAMERS, SIDE_CHAINS, Torsions, close_bridges
from tlpot.system import System

_CLOSE = 0.72
"""Times the sum of van der Waals radii."""
_SWEEPS = 5
_TURNS = (0.0, 120.0, -120.0)


def pack(
    atoms: Atoms,
    placements: Sequence[tuple[Placement, ...]],
    chi: Sequence[Mapping[int, float]],
    movable: Sequence[bool],
    first: int,
) -> list[dict[int, float]]:
    """Looks for rotamers without clashes, residue by residue, where there are any.

    A residue whose side chain is not closer to other residues than 0.72 times the sum of van
    der Waals radii stays as it is. Others try χ1 to χ3 in steps of 120° from where they are,
    against all the rest of the peptide, and take what is least in the way; a few sweeps.

    `chi` are degrees by residue, the first of which has the number `first`.

    Returns:
        χ of each residue.
    """
    found = [dict(angles) for angles in chi]
    numbers, names = atoms.arrays["residuenumbers"], atoms.arrays["atomtypes"]
    positions = atoms.positions.copy()
    radii = np.nan_to_num(vdw_radii[atoms.numbers], nan=2.0) * _CLOSE
    own = [np.flatnonzero(numbers == first + k) for k in range(len(found))]
    at = [{str(names[i]): int(i) for i in rows} for rows in own]
    for _ in range(_SWEEPS):
        changed = False
        for k, angles in enumerate(found):
            if not movable[k] or not angles:
                continue
            rows = np.array([at[k][p.name] for p in placements[k] if p.name != "CB"])
            others = numbers != first + k
            near = _Surroundings(positions[others], radii[others], radii[rows])
            labels = [str(names[i]) for i in rows]
            backbone = {name: positions[at[k][name]] for name in ("N", "CA", "C")}
            best = near.overlap(positions[rows])
            if best == 0.0:
                continue
            for turns in product(_TURNS, repeat=min(len(angles), 3)):
                tried = dict(angles)
                for number, turn in enumerate(turns):
                    tried[number] += turn
                placed = _placed(placements[k], tried, backbone)
                side = np.array([placed[label] for label in labels])
                score = near.overlap(side)
                if score < best - 1e-9:
                    best, found[k], changed = score, tried, True
                    positions[rows] = side
                if best == 0.0:
                    break
        if not changed:
            break
    return found


class _Surroundings:
    """All atoms that a side chain may be in the way of."""

    def __init__(self, positions: Floats, radii: Floats, own: Floats) -> None:
        self._positions = positions
        self._reach = own[:, None] + radii

    def overlap(self, side: Floats) -> float:
        """Sum of squared overlaps, Å²."""
        gaps = np.linalg.norm(side[:, None] - self._positions, axis=2)
        return float((np.maximum(self._reach - gaps, 0.0) ** 2).sum())


def _placed(
    placements: Sequence[Placement], chi: Mapping[int, float], backbone: Mapping[str, Floats]
) -> dict[str, Floats]:
    placed = dict(backbone)
    for each in placements:
        one, two, three = (placed[name] for name in each.references)
        placed[each.name] = place((one, two, three), each.length, each.angle, angle_of(each, chi))
    return placed


NCap = Literal["ACE", "NH3+", "NH2"]
CCap = Literal["NME", "COO-", "COOH", "NH2"]
Angles = float | Sequence[float | None]
Conformation = Literal["extended", "helix", "strand", "ppii"]

N_CAPS = ("ACE", "NH3+", "NH2")
C_CAPS = ("NME", "COO-", "COOH", "NH2")
CONFORMATIONS: dict[str, tuple[float, float]] = {
    "extended": (-150.0, 150.0),
    "helix": (-57.0, -47.0),
    "strand": (-120.0, 130.0),
    "ppii": (-75.0, 145.0),
}
"""φ and ψ in degrees."""

PROLINE_PHI = -70.0
_PROLINE_RANGE = (-110.0, -35.0)


def build_peptide(
    sequence: str | Sequence[str],
    *,
    phi: Angles | None = None,
    psi: Angles | None = None,
    omega: Angles = 180.0,
    chi: Mapping[int, Sequence[float | None]] | None = None,
    n_cap: NCap | None = "ACE",
    c_cap: CCap | None = "NME",
    conformation: Conformation | None = None,
    disulfides: Sequence[tuple[int, int]] = (),
) -> Atoms:
    """Builds a peptide of L amino acids with ideal bond lengths and angles.

    Side chains are in a common rotamer each; those that would come too close to other residues
    take another one, unless their χ are given. Not every conformation has room for every
    sequence: proline pushes into the turn of a helix before it, for example. Where φ and ψ are
    not given, a contact as short as a bond is warned of.

    Args:
        sequence: one-letter codes (``"AAK"``), or a list of names with the protonation state in
            them (``["ALA", "HIP"]``). HIS and H are HIE. An empty sequence with both caps is
            N-methylacetamide, the cap fragment.
        phi: φ in degrees, one for all residues or one each; None in a list is that of the
            conformation. The ring of proline keeps its φ at -70° unless a list says otherwise.
        psi: ψ in degrees, likewise.
        omega: ω in degrees, one for all or one for each peptide bond from the N terminus on,
            those of the caps included; None in a list is 180°.
        chi: side-chain torsions χ1, χ2, ... in degrees by index of the residue (from 0 on, caps
            not counted); None in a list, and what a short list leaves out, is the default;
            a residue that is named here keeps its rotamer.
            Torsions about C-O, C-S and C-N bonds to hydrogens count as χ.
        n_cap: acetyl, a charged or a neutral amine; None is neutral.
        c_cap: N-methylamide, carboxylate, carboxylic acid or amide; None is the neutral acid.
        conformation: where ``phi`` and ``psi`` are not given; None is extended.
        disulfides: pairs of indices of cysteines (from 0 on, caps not counted) that are bound by
            their sulfur atoms. Residues from one to the other then take φ, ψ and, of the
            cysteines, χ1 that close the ring, where these are not given.

    Returns:
        Atoms in the order of a PDB file with arrays ``atomtypes`` (atom names of the PDB),
        ``residuenames`` and ``residuenumbers`` (from 1 on, caps counted), and the total charge
        in ``info["charge"]``, e.

    Raises:
        ConfigError: an unknown residue, cap or conformation, a list of the wrong length, a
            torsion that the residue does not have, φ of proline out of reach of its ring,
            disulfides that are none or cannot be closed.
    """
    names = residue_names(sequence)
    n_cap, c_cap = n_cap or "NH2", c_cap or "COOH"
    _known("n_cap", n_cap, N_CAPS)
    _known("c_cap", c_cap, C_CAPS)
    if not names and (n_cap, c_cap) != ("ACE", "NME"):
        raise ConfigError(
            f"an empty sequence between {n_cap} and {c_cap}; without residues only ACE and NME "
            "make a molecule"
        )
    if conformation is not None:
        _known("conformation", conformation, CONFORMATIONS)
        if phi is not None and psi is not None:
            raise ConfigError(
                f"conformation={conformation!r} has no effect beside phi and psi: leave one out"
            )
    defaults = CONFORMATIONS[conformation or "extended"]
    n_bonds = max(len(names) - 1, 0) + (n_cap == "ACE") + (c_cap in ("NME", "NH2"))
    if not names:
        n_bonds = 1
    omegas = _spread("omega", omega, n_bonds, 180.0)
    phis = _spread("phi", phi, len(names), defaults[0])
    psis = _spread("psi", psi, len(names), defaults[1])
    if not isinstance(phi, Sequence):
        phis = [PROLINE_PHI if name == "PRO" else a for name, a in zip(names, phis, strict=True)]
    else:
        phis = [
            PROLINE_PHI if name == "PRO" and given is None else angle
            for name, angle, given in zip(names, phis, phi, strict=True)
        ]
    for index, (name, angle) in enumerate(zip(names, phis, strict=True)):
        if name == "PRO" and not _PROLINE_RANGE[0] <= angle <= _PROLINE_RANGE[1]:
            raise ConfigError(
                f"residue {index} is PRO with phi={angle:g}; its ring allows "
                f"{_PROLINE_RANGE[0]:g} to {_PROLINE_RANGE[1]:g}"
            )
    bridges = _bridges(names, disulfides)
    bound = {k for pair in bridges for k in pair}
    # thiolates, whose charges and names are put right at the end
    names = tuple("CYM" if k in bound else name for k, name in enumerate(names))
    rotamers = _rotamers(names, chi or {})
    first = 1 + (n_cap == "ACE")
    if bridges:
        closed = close_bridges(
            lambda at: PeptideChain(names, at.phi, at.psi, omegas, at.chi, n_cap, c_cap).atoms(),
            names,
            Torsions(phi=phis, psi=psis, chi=rotamers),
            bridges,
            free={
                "phi": [n != "PRO" and _is_free(phi, k) for k, n in enumerate(names)],
                "psi": [_is_free(psi, k) for k in range(len(names))],
            },
            first=first,
        )
        phis, psis = list(closed.phi), list(closed.psi)
        rotamers = [dict(angles) for angles in closed.chi]
    chain = PeptideChain(names, phis, psis, omegas, rotamers, n_cap, c_cap)
    atoms = chain.atoms()
    movable = [
        name != "PRO" and k not in (chi or {}) and k not in bound for k, name in enumerate(names)
    ]
    packed = pack(atoms, [side_chain(n) for n in names], rotamers, movable, first)
    if packed != rotamers:
        chain = PeptideChain(names, phis, psis, omegas, packed, n_cap, c_cap)
        atoms = chain.atoms()
    if phi is None and psi is None and not bridges:
        _warn_of_contacts(atoms, chain.bonds(), conformation or "extended")
    if bridges:
        residues = atoms.arrays["residuenames"]
        residues[np.isin(atoms.arrays["residuenumbers"] - first, sorted(bound))] = "CYX"
        atoms.info["charge"] += len(bound)
    return atoms


def capped_residues(*, states: bool = False) -> dict[str, Atoms]:
    """The fragments of ITLFF: 20 capped residues ACE-X-NME and the cap ACE-NME, extended.

    DOI 10.1093/bib/bbab590. Histidine is HIE; acids, lysine and arginine are charged.

    With `states` in the other protonation states, too.

    Returns:
        By name: ``ACE-ALA-NME``, ..., ``ACE-NME``.
    """
    names = sorted(SIDE_CHAINS if states else set(ONE_LETTER.values()))
    fragments = {f"ACE-{name}-NME": build_peptide([name]) for name in names}
    return fragments | {"ACE-NME": build_peptide("")}


def residue_names(sequence: str | Sequence[str]) -> tuple[str, ...]:
    """The names, with protonation states, of a sequence as `build_peptide` takes it.

    Raises:
        ConfigError: a letter or name that is none.
    """
    if isinstance(sequence, str):
        for index, letter in enumerate(sequence):
            if letter not in ONE_LETTER:
                raise ConfigError(
                    f"letter {index} of the sequence is {letter!r}, not one of "
                    f"{''.join(sorted(ONE_LETTER))}; give names of three letters as a list"
                )
        return tuple(ONE_LETTER[letter] for letter in sequence)
    names = tuple("HIE" if name == "HIS" else name for name in sequence)
    for index, name in enumerate(names):
        if name not in SIDE_CHAINS:
            raise ConfigError(f"residue {index} is {name!r}{nearest(name, SIDE_CHAINS)}")
    return names


def _bridges(names: Sequence[str], disulfides: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found = [(min(pair), max(pair)) for pair in disulfides]
    seen = [k for pair in found for k in pair]
    for k in seen:
        if not 0 <= k < len(names) or names[k] != "CYS":
            what = names[k] if 0 <= k < len(names) else "no residue of the sequence"
            raise ConfigError(f"disulfides names residue {k}, which is {what}; it must be CYS")
    if len(set(seen)) < len(seen):
        raise ConfigError(f"disulfides={list(disulfides)} has a cysteine in two bridges")
    return found


def _is_free(given: Angles | None, index: int) -> bool:
    return given is None or (isinstance(given, Sequence) and given[index] is None)


def _known(key: str, value: str, valid: Sequence[str] | Mapping[str, object]) -> None:
    if value not in valid:
        raise ConfigError(f"{key}={value!r}{nearest(value, valid)}")


def _spread(key: str, given: Angles | None, count: int, default: float) -> list[float]:
    if given is None:
        return [default] * count
    if not isinstance(given, Sequence):
        return [float(given)] * count
    if len(given) != count:
        raise ConfigError(f"{key} has {len(given)} angles, the peptide {count}")
    return [default if angle is None else float(angle) for angle in given]


def _rotamers(
    names: Sequence[str], chi: Mapping[int, Sequence[float | None]]
) -> list[dict[int, float]]:
    rotamers = [dict(enumerate(ROTAMERS.get(name, ()))) for name in names]
    for index, angles in chi.items():
        if not 0 <= index < len(names):
            raise ConfigError(f"chi of residue {index}; the sequence has {len(names)}, from 0 on")
        if len(angles) > len(rotamers[index]):
            raise ConfigError(
                f"residue {index} ({names[index]}) has {len(rotamers[index])} side-chain "
                f"torsions, {len(angles)} were given"
            )
        if names[index] == "PRO" and any(angle is not None for angle in angles):
            raise ConfigError(f"residue {index} is PRO, whose torsions its ring fixes")
        rotamers[index] |= {n: float(a) for n, a in enumerate(angles) if a is not None}
    return rotamers


def _warn_of_contacts(atoms: Atoms, bonds: Ints, conformation: str) -> None:
    radii = BONDED * RADII[atoms.numbers]
    found = neighbor_list(System.from_atoms(atoms), 2.0 * float(radii.max()))
    i, j = found.center, found.neighbor
    lengths = np.linalg.norm(atoms.positions[j] - atoms.positions[i], axis=1)
    short = np.stack([i, j], axis=1)[(i < j) & (lengths < radii[i] + radii[j])].tolist()
    meant = set(map(tuple, bonds.tolist()))
    extra = sorted(tuple(pair) for pair in short if tuple(pair) not in meant)
    if extra:
        names = [
            f"{atoms.arrays['residuenames'][k]} {atoms.arrays['residuenumbers'][k]} "
            f"{atoms.arrays['atomtypes'][k]}"
            for k in extra[0]
        ]
        warnings.warn(
            f"the sequence has no room as {conformation}: {names[0]} and {names[1]} are "
            f"{atoms.get_distance(*extra[0]):.2f} Å apart ({len(extra)} such contacts); give "
            "phi and psi of your own, or another conformation",
            TLPotWarning,
            stacklevel=3,
        )
