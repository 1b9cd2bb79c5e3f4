"""Other programs that run simulations with the potentials of tlpot."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.simulation.batch import BatchEvaluator
    from tlpot.simulation.ipi import RingPolymer, write_ipi_input
    from tlpot.simulation.lammps import LAMMPSForce, start_lammps
    from tlpot.simulation.openmm import OpenMMPotential
    from tlpot.simulation.openmm_function import PotentialFunction, Region
    from tlpot.simulation.torch_sim import TorchSimModel

__getattr__ = lazy_exports(__name__)
