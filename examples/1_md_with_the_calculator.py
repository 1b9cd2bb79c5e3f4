"""Molecular dynamics with ASE in ten lines; `tlpot md` does the same with logs and pictures."""

from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin

from tlpot.calculators import TLPotCalculator

atoms = molecule("CH3CH2OH")
atoms.calc = TLPotCalculator("tlpot-tiny")
dynamics = Langevin(atoms, 0.5 * units.fs, temperature_K=300, friction=0.02 / units.fs, fixcm=False)
for _ in range(5):
    dynamics.run(100)
    print(f"{atoms.get_potential_energy():.3f} eV, {atoms.get_temperature():.0f} K")
