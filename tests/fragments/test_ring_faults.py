"""Rings of the backbone that were taken for caps, or cut so that their caps met."""

import numpy as np
import pytest
from sketch import sketch

from tlpot.fragments import choose_scheme
from tlpot.fragments.fragment import Cutter
from tlpot.topology import perceive_topology

CHROMOPHORE = (  # of green fluorescent protein, between two glycines
    "CH3C(=O)NHCH2C(=O)NHCH(CH3)C%1=NC(=CHC%2=CHCH=C(OH)CH=CH%2)C(=O)N%1CH2C(=O)NHCH2C(=O)NHCH3"
)
IMIDE = "CH3C(=O)NHCH2C(=O)NHCH%1CH2C(=O)N(C%1(=O))CH2C(=O)NHCH2C(=O)NHCH3"
"""Aspartimide, as between Asp and Gly of aged proteins."""
TETRAPEPTIDE = "NH%1CH2C(=O)NHCH2C(=O)NHCH2C(=O)NHCH2C%1(=O)"


@pytest.mark.fault
@pytest.mark.parametrize("line", [CHROMOPHORE, IMIDE])
def test_every_atom_is_in_one_unit(line):
    """A ring on a backbone nitrogen counted as its cap, whose atoms were in several units."""
    atoms = sketch(line)
    topology = perceive_topology(atoms)
    assert sorted(a for unit in topology.units for a in unit.atoms) == list(range(len(atoms)))
    assert topology.charge == 0


@pytest.mark.fault
@pytest.mark.parametrize("line", [IMIDE, TETRAPEPTIDE])
def test_no_caps_face_each_other_in_small_rings(line):
    """Filled gaps left pairs of caps 0.7 Å apart that replaced the same carbon."""
    atoms = sketch(line)
    cutter = Cutter(perceive_topology(atoms))
    expansion = choose_scheme("mfcc_mbe2", inner=0.5, outer=99.0).expand(cutter, atoms.positions)
    for units in expansion.sets:
        fragment = cutter.cut(units)
        if len(fragment.host) > 1:
            caps = fragment.atoms(atoms.positions)[len(fragment.real) :]
            distances = caps.get_all_distances() + 9.0 * np.eye(len(caps))
            assert distances.min() > 1.4
