"""Programs that work on any ASE calculator, as docs/programs.md has them: NEB, Sella, phonopy."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from needs import needs
from toys import ToyModel

from tlpot.calculators import TLPotCalculator

pytestmark = pytest.mark.external


@pytest.fixture
def methanol():
    """Relaxed, with the dihedral H-C-O-H of its minimum."""
    atoms = molecule("CH3OH")
    atoms.calc = TLPotCalculator("tlpot-tiny", dtype="float64")
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=100)
    return atoms


def turned(atoms: Atoms, angle: float) -> Atoms:
    """The hydroxyl group turned about the C-O bond."""
    found = atoms.copy()
    hydrogens = [k for k in range(len(atoms)) if atoms.numbers[k] == 1]
    carbon, oxygen = (int(np.flatnonzero(atoms.numbers == z)[0]) for z in (6, 8))
    lengths = {k: atoms.get_distance(k, oxygen) for k in hydrogens}
    mine = min(lengths, key=lengths.__getitem__)
    other = next(k for k in hydrogens if k != mine)
    found.rotate_dihedral(other, carbon, oxygen, mine, angle, indices=[mine])
    return found


def test_a_path_over_the_barrier_of_a_rotation(methanol):
    """A third of a turn leads to the same minimum, and half of that to the barrier."""
    calc = methanol.calc
    images = [turned(methanol, angle) for angle in np.linspace(0.0, 120.0, 5)]
    images[-1].calc = calc
    BFGS(images[-1], logfile=None).run(fmax=0.01, steps=100)
    for image in images:
        image.calc = calc
    path = NEB(images, method="improvedtangent", allow_shared_calculator=True)
    FIRE(path, logfile=None).run(fmax=0.1, steps=10)
    energies = [image.get_potential_energy() for image in images]
    assert 0.01 < max(energies) - energies[0] < 0.2
    assert int(np.argmax(energies)) == 2


def test_a_saddle_point(methanol):
    sella = needs("sella")
    start = turned(methanol, 55.0)
    start.calc = methanol.calc
    search = sella.Sella(start, order=1, internal=False, logfile=None)
    search.run(fmax=0.02, steps=60)
    assert np.abs(start.get_forces()).max() < 0.02
    curvatures = np.linalg.eigvalsh(start.calc.get_hessian(start))
    assert curvatures[0] < -0.1


def test_force_constants_of_a_crystal():
    """phonopy's from displaced supercells are the Hessian of the supercell."""
    phonopy = needs("phonopy")
    structures = needs("phonopy.structure.atoms")
    cell = bulk("Cu", a=3.2)
    unit = structures.PhonopyAtoms(
        symbols=cell.get_chemical_symbols(), cell=cell.cell.array, positions=cell.positions
    )
    phonon = phonopy.Phonopy(unit, supercell_matrix=np.diag([2, 2, 2]), primitive_matrix="P")
    phonon.generate_displacements(distance=1e-3)
    forces = []
    for displaced in phonon.supercells_with_displacements:
        atoms = Atoms(displaced.symbols, displaced.positions, cell=displaced.cell, pbc=True)
        atoms.calc = TLPotCalculator(ToyModel())
        forces.append(atoms.get_forces())
    phonon.forces = forces
    phonon.produce_force_constants()
    whole = phonon.supercell
    atoms = Atoms(whole.symbols, whole.positions, cell=whole.cell, pbc=True)
    hessian = TLPotCalculator(ToyModel()).get_hessian(atoms)
    n = len(atoms)
    expected = hessian.reshape(n, 3, n, 3).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(phonon.force_constants, expected, atol=1e-3 * np.abs(expected).max())
