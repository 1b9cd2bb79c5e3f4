"""Other programs that run simulations with the potentials of tlpot."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.interfaces.batch import BatchEvaluator
    from tlpot.interfaces.ipi import RingPolymer, write_ipi_input
    from tlpot.interfaces.lammps import LAMMPSForce, start_lammps
    from tlpot.interfaces.openmm import OpenMMPotential
    from tlpot.interfaces.openmm_function import PotentialFunction, Region
    from tlpot.interfaces.torch_sim import TorchSimModel

__getattr__ = lazy_exports(__name__)
