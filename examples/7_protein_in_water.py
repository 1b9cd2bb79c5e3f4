"""A peptide in water with OpenMM: fragments of a trained model inside, a force field around.

Needs the extra ``openmm``. The peptide interacts with the water as in ff14SB and TIP3P.
"""

import tempfile
from pathlib import Path

import openmm as mm
import torch
from openmm import app, unit
from openmmml import MLPotential

from tlpot.structures import build_peptide

torch.set_num_threads(1)  # OpenMM has threads of its own
folder = Path(tempfile.mkdtemp())

build_peptide("AGA", conformation="helix").write(folder / "peptide.pdb")  # or a file of yours
pdb = app.PDBFile(str(folder / "peptide.pdb"))
field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
modeller = app.Modeller(pdb.topology, pdb.positions)
modeller.addSolvent(field, padding=0.6 * unit.nanometer, neutralize=True)
region = [atom.index for atom in modeller.topology.atoms() if atom.residue.chain.index == 0]

# hydrogens are heavier, as bonds in the region are free: 1 fs instead of 0.5
classical = field.createSystem(
    modeller.topology,
    nonbondedMethod=app.PME,
    nonbondedCutoff=0.7 * unit.nanometer,
    hydrogenMass=3 * unit.amu,
)
start = app.Simulation(modeller.topology, classical, mm.VerletIntegrator(0.001))
start.context.setPositions(modeller.positions)
start.minimizeEnergy(maxIterations=100)

potential = MLPotential(
    "tlpot", model="tlpot-fragments", level="pbe-d3bj/def2-svp", scheme="mfcc_mbe2"
)
system = potential.createMixedSystem(modeller.topology, classical, region)
integrator = mm.LangevinMiddleIntegrator(300, 1 / unit.picosecond, 1 * unit.femtosecond)
simulation = app.Simulation(modeller.topology, system, integrator)
simulation.context.setPositions(start.context.getState(positions=True).getPositions())
simulation.context.setVelocitiesToTemperature(300, 1)
simulation.reporters.append(app.DCDReporter(str(folder / "run.dcd"), 5))
log = app.StateDataReporter(
    str(folder / "run.csv"), 5, step=True, potentialEnergy=True, temperature=True, speed=True
)
simulation.reporters.append(log)
simulation.step(20)
print(f"{modeller.topology.getNumAtoms()} atoms, {len(region)} of them by fragments")
print((folder / "run.csv").read_text())
