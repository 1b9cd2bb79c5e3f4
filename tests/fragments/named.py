"""A topology from atom and residue names: an independent check on what is perceived from bonds."""

import numpy as np
from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list

from tlpot.topology import Chain, Residue, Topology, Unit

CHARGES = {"ASP": -1, "GLU": -1, "LYS": 1, "ARG": 1, "HIP": 1, "CYM": -1, "TYM": -1}
BACKBONE = {
    "amino": {"N", "H", "H1", "H2", "H3"},
    "alpha": {"CA", "HA", "HA2", "HA3", "CH3", "HH31", "HH32", "HH33"},
    "carbonyl": {"C", "O", "OXT", "HXT"},
}


def named_topology(atoms: Atoms) -> Topology:
    """For one chain as `build_peptide` makes it, capped by ACE and NME."""
    names = atoms.arrays["atomtypes"]
    numbers = atoms.arrays["residuenumbers"]
    residues, units = [], []
    for k, number in enumerate(sorted(set(numbers))):
        inside = np.flatnonzero(numbers == number)
        name = str(atoms.arrays["residuenames"][inside[0]])
        cap = name in ("ACE", "NME")
        own: dict[str, int] = {}
        for kind in ("amino", "alpha", "side", "carbonyl"):
            if kind == "side":
                rest = set().union(*BACKBONE.values())
                chosen = [] if cap else [i for i in inside if names[i] not in rest]
            else:
                chosen = [i for i in inside if names[i] in BACKBONE[kind]]
            if name == "ACE" and kind == "alpha":
                chosen = [i for i in inside if names[i] not in ("C", "O")]
            if name == "NME":
                nitrogen = {"amino": [i for i in inside if names[i] in ("N", "H")]}
                nitrogen["alpha"] = [i for i in inside if i not in nitrogen["amino"]]
                chosen = nitrogen.get(kind, [])
            if name == "ACE" and kind in ("amino", "side"):
                chosen = []
            if chosen:
                own[kind] = len(units)
                charge = CHARGES.get(name, 0) if kind == "side" else 0
                units.append(
                    Unit(
                        kind=kind,
                        atoms=tuple(int(i) for i in chosen),
                        charge=charge,
                        residues=(k,),
                    )
                )
        residues.append(
            Residue(
                name=name,
                label=None,
                kind={"ACE": "n-cap", "NME": "c-cap"}.get(name, "amino"),
                amino=own.get("amino"),
                alpha=own.get("alpha"),
                side=own.get("side"),
                carbonyl=own.get("carbonyl"),
                units=tuple(own.values()),
            )
        )
    i, j = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.15))
    bonds = np.unique(np.sort(np.stack([i, j], 1), axis=1), axis=0).astype(np.int64)
    return Topology(
        atomic_numbers=atoms.numbers.astype(np.int64),
        bonds=bonds,
        units=tuple(units),
        residues=tuple(residues),
        chains=(Chain(residues=tuple(range(len(residues)))),),
    )
