"""Fragments are singlets: what cannot be one is refused, and what may not be one is warned of."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from tlpot.errors import GeometryError, TLPotWarning
from tlpot.fragments.fragment import Fragment
from tlpot.fragments.fragment_type import fragment_name
from tlpot.topology import OPEN_SHELLS, Topology, assumed_charges, symbol

_REMEDY = (
    "fragments have no other multiplicity. Leave the ion out, or take the whole structure (scheme "
    "direct for energies) with its multiplicity 2S + 1 in atoms.info['spin']"
)


def check_closed_shells(topology: Topology, fragments: Iterable[Fragment]) -> None:
    """Checks that fragments can be singlets, and warns of those with ions that often are not.

    Args:
        topology: of the structure.
        fragments: of it.

    Raises:
        GeometryError: one has an odd number of electrons; it is named, with its charge.
    """
    doubtful: dict[int, str] = {}
    for fragment in fragments:
        metals = sorted(OPEN_SHELLS.intersection(fragment.atomic_numbers.tolist()))
        electrons = int(fragment.atomic_numbers.sum()) - fragment.charge
        if electrons % 2:
            assumed = assumed_charges(metals)
            raise GeometryError(
                f"the fragment {fragment_name(topology, fragment.units)} has charge "
                f"{fragment.charge:+d}{f' ({assumed})' if assumed else ''} and {electrons} "
                f"electrons, which are no singlet, and {_REMEDY}"
            )
        for metal in metals:
            doubtful.setdefault(metal, fragment_name(topology, fragment.units))
    if doubtful:
        metal, name = next(iter(doubtful.items()))
        words = ", ".join(symbol(z) for z in doubtful)
        warnings.warn(
            f"fragments with {words}, such as {name}, are taken for singlets "
            f"({assumed_charges([metal])}), which such ions often are not; {_REMEDY}",
            TLPotWarning,
            stacklevel=3,
        )
