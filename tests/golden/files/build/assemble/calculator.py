from tlpot import FragmentCalculator
atoms.calc = FragmentCalculator(atoms, 'build/assemble/model.safetensors', 'mfcc', level='gfn2-xtb')
atoms.get_potential_energy(), atoms.get_forces()
