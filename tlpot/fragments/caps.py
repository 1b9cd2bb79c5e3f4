"""Hydrogen atoms that close the bonds a fragment cuts, at a fixed ratio of the bond.

A cap sits at r_host + g (r_gone − r_host) with g = d(X–H) / d(X–Y): linear in the positions of
the real atoms, so forces and strain follow from it exactly, as in ONIOM link atoms
(Dapprich et al., doi:10.1016/S0166-1280(98)00475-8).
"""

from __future__ import annotations

from ase.data import chemical_symbols

from tlpot.errors import GeometryError

_TO_HYDROGEN = {1: 0.74, 6: 1.09, 7: 1.01, 8: 0.96, 14: 1.48, 15: 1.42, 16: 1.34, 34: 1.46}
_SINGLE = {
    (6, 6): 1.53,
    (6, 7): 1.46,
    (6, 8): 1.43,
    (6, 16): 1.82,
    (7, 7): 1.45,
    (7, 8): 1.40,
    (6, 15): 1.84,
    (8, 15): 1.61,
    (16, 16): 2.05,
    (6, 14): 1.86,
    (6, 34): 1.95,
}
_AMIDE = 1.335


def cap_ratio(host: int, gone: int, *, amide: bool = False) -> float:
    """Returns g for a cap on an atom of element `host` towards one of element `gone`.

    Args:
        host: atomic number of the atom that stays.
        gone: atomic number of the atom that the cap replaces.
        amide: the bond is the C–N bond of an amide, which is shorter.

    Raises:
        GeometryError: no fragment may end at such a bond.
    """
    length = _SINGLE.get((min(host, gone), max(host, gone)))
    if amide and {host, gone} == {6, 7}:
        length = _AMIDE
    if length is None or host not in _TO_HYDROGEN:
        raise GeometryError(
            f"no hydrogen cap is known for a cut between elements {host} and {gone}; bonds that "
            "may be cut are single bonds of C, N, O, Si, P, S and Se. Keep the two atoms in one "
            "unit"
        )
    return _TO_HYDROGEN[host] / length


def ratio_table() -> dict[str, float]:
    """Returns g by bond, host first, such as ``C-N``; that of an amide is ``C-N amide``."""
    table = {
        f"{chemical_symbols[host]}-{chemical_symbols[gone]}": cap_ratio(host, gone)
        for pair in _SINGLE
        for host, gone in (pair, pair[::-1])
    }
    for host, gone in ((6, 7), (7, 6)):
        bond = f"{chemical_symbols[host]}-{chemical_symbols[gone]} amide"
        table[bond] = cap_ratio(host, gone, amide=True)
    return dict(sorted(table.items()))
