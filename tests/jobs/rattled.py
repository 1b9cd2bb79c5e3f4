"""Rattled molecules with energies and forces that nothing computed."""

from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator


def rattled(n=24, shift=0.0):
    """Water, methane and ammonia in turn, the energies shifted by `shift` eV."""
    found = []
    for k in range(n):
        atoms = molecule(("H2O", "CH4", "NH3")[k % 3])
        atoms.rattle(0.05, seed=k)
        energy = -30.0 * len(atoms) - 0.1 * k + shift
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=0.1 * atoms.positions)
        found.append(atoms)
    return found
