"""From which distance two atoms are bonded, and from which a bond is broken.

Unless it says Å, a threshold counts sums of two covalent radii. Thresholds differ where they mean
different things: perceiving needs the elements apart, a bond that is known may stretch far before
it counts as broken, and a new one is seen only well inside.
"""

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

RADII: NDArray[np.float64] = np.asarray(covalent_radii, dtype=np.float64)
"""Covalent radii by atomic number, Å (doi:10.1039/b801115j)."""

BONDED = 1.25
"""Nearer atoms are bonded, where elements do not matter and for two heavy atoms; F2 has 1.24."""
CARBON_REACH = 1.2
"""Two carbons, for the sake of those that face each other in a small cage, only this near."""
HYDROGEN_REACH = 1.3
"""A hydrogen and a heavy atom; of several the nearest has it."""
METAL_REACH = 1.25
"""A metal and an atom of its first shell."""
ORGANOMETALLIC_REACH = 1.15
"""Carbon counts as a ligand of a metal only this near: a carboxylate's carbon is no donor."""
METALLIC_REACH = 1.1
"""Two metal atoms without ligands are no ions within this."""

NETWORK_REACH = 1.4
"""Atoms of a crystal at any strain are nearer to some other; hydrogen bonds have 1.6 and more."""

BROKEN = 1.6
"""A bond that is longer is broken: than this many times its length at the start of a run, or, where
no start is known, than this many sums of radii."""
FORMED = 1.05
"""Atoms that were not bonded are, once they are nearer; hydrogen bonds end above."""
RELAXED_BROKEN = 1.5
"""Sums of radii; a bond that is longer after a relaxation is lost: wide enough for bonds that were
stretched to begin with."""
RELAXED_FORMED = 1.15
"""Atoms that are nearer after a relaxation, and were not bonded, are; a short hydrogen bond has
1.4."""
OVERLAP = 0.65
"""Nearer atoms are in the same place; N2 and C2H2 have 0.77."""
SHARED = 0.1
"""A hydrogen whose distances to two atoms differ by less has no owner."""

CLASH = 0.65
"""Sums of van der Waals radii, not covalent ones, that atoms beyond three bonds keep apart."""
CARBONYL_REACH = 1.6
"""Å; an oxygen this near to a backbone's carbonyl carbon is bound to it, whatever its name."""
PEPTIDE_REACH = 2.0
"""Å; a longer C-N distance between neighbours in a protein file is a chain break."""

REPULSION_REACH = 0.75
"""Where the nuclear repulsion ends. At the bond length the jump of its third derivative would be
where molecules live, and energy would drift."""
