"""Protons that leave their atom in vacuum, as those of salt bridges do."""

import numpy as np
import pytest
from ase import Atoms
from spring_molecule import Springs

from tlpot.calculators import CalculatorFactory
from tlpot.data import open_dataset
from tlpot.errors import TLPotWarning
from tlpot.sampling import SamplingSettings, SamplingTarget, sample
from tlpot.topology import MolecularGraph

STIFFNESS = 3.0


def pair(proton: float) -> Atoms:
    """Ammonium and formate; `proton` is how far that between them is from the nitrogen, Å."""
    angles = np.radians([90.0, 210.0, 330.0])
    ammonia = [(-0.35, 0.97 * np.cos(a), 0.97 * np.sin(a)) for a in angles]
    acid = [(2.65, 0.0, 0.0), (3.3, 1.07, 0.0), (4.5, 0.9, 0.0), (2.75, 2.02, 0.0)]
    where = [(0.0, 0.0, 0.0), (proton, 0.0, 0.0), *ammonia, *acid]
    return Atoms("NHHHHOCOH", where, info={"charge": 0})


def to_the_acid(atoms: Atoms) -> Springs:
    """Pulls the proton to the acid, wherever it is."""
    engine = Springs(pair(1.65), STIFFNESS)
    engine.others = engine.others[(engine.others > 1).any(axis=1)]  # no wall at its nitrogen
    engine.pairs = np.concatenate([engine.pairs, [[0, 5]] * 8])  # which keeps its distance
    engine.rest = np.append(engine.rest, [2.65] * 8)
    return engine


@pytest.mark.fault
def test_a_salt_bridge_is_sampled_as_it_is(tmp_path):
    """One ended a sampling, and a build of a protein with it, as its bonds change in vacuum."""
    given = pair(1.04)
    out = tmp_path / "s.h5"
    factory = CalculatorFactory(factory=to_the_acid, level="toy")
    settings = SamplingSettings(
        budget=4, pool=2.0, methods=("md",), temperatures=(100.0,), interval=5, window=9.0
    )
    with pytest.warns(TLPotWarning, match="1 proton would leave"):
        (found,) = sample(
            [SamplingTarget(name="bridge", atoms=given)], out, settings, factory, progress=False
        )
    assert {c.method for c in found.chosen} == {"md", "relaxed"}
    assert not found.atoms.constraints
    bonds = MolecularGraph(given)
    for frame in open_dataset(out).read(range(4)):
        atoms = Atoms(given.numbers, frame.system.positions, calculator=to_the_acid(given))
        assert bonds.intact(atoms)
        assert frame.labels["toy"].energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        np.testing.assert_allclose(frame.labels["toy"].forces, atoms.get_forces(), atol=1e-6)
