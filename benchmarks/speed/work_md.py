"""Steps of ASE's velocity Verlet with one program, in its own environment; see nanoseconds.py.

The settings are the name of a program (`calculator`), a structure and its charge. On the line
``force`` the seconds of a force call are printed, on ``step`` those of a step, both of the
processor, which others on the machine do not count in.
"""

import json
import logging
import sys
import time
import warnings

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

warnings.filterwarnings("ignore")
logging.disable(logging.INFO)
TIMESTEP = 0.5 * units.fs


class Nothing(Calculator):
    """No forces: what is left is ASE's own time."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        """Remembers the atoms, as calculators do."""
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def calculator(program, atoms, threads):
    """Returns the calculator of a program.

    ``nothing``, ``gfn2-xtb``, ``gfnff``, ``torchani`` (one network of ANI-2x shape), ``mace``
    (MACE-OFF23 small's shape), ``symmetrix FILE.json``, or for tlpot ``MODEL LEVEL [SCHEME]``.
    Weights of ``torchani`` and ``mace`` are random.
    """
    if program == "nothing":
        return Nothing()
    if program == "gfnff":
        from gfnff import GFNFF

        return GFNFF()
    if program.startswith("symmetrix "):
        from symmetrix import Symmetrix

        return Symmetrix(program.split()[1], use_kokkos=False)
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if program == "torchani":
        from worker import ani2x

        return ani2x().ase()
    if program == "mace":
        return mace()
    from tlpot.calculators import FragmentCalculator, TLPotCalculator, named_calculator

    if program == "gfn2-xtb":
        return named_calculator(program)
    model, level, *scheme = program.split()
    if scheme:
        return FragmentCalculator(atoms, model, scheme[0], level=level)
    return TLPotCalculator(model, level=level)


def mace():
    """A network of the shape of MACE-OFF23 small (doi:10.1021/jacs.4c07099)."""
    import torch
    from e3nn import o3
    from mace import modules
    from mace.calculators import MACECalculator

    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=4.5,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=4,
        hidden_irreps=o3.Irreps("96x0e"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(4),
        avg_num_neighbors=15.0,
        atomic_numbers=[1, 6, 7, 8],
        correlation=3,
        radial_type="bessel",
        atomic_inter_scale=0.1,
        atomic_inter_shift=0.0,
    )
    return MACECalculator(models=[model], device="cpu", default_dtype="float32")


def main():
    """Answers orders."""
    settings = json.loads(sys.argv[1])
    found = read(settings["structure"], "0")
    atoms = Atoms(found.numbers, found.positions)
    if settings["charge"] and settings["program"] == "gfn2-xtb":
        atoms.info["charge"] = settings["charge"]
    if settings["program"].startswith("symmetrix "):
        atoms.center(vacuum=20.0)  # its search for neighbours wants a cell, periodic or not
    start = atoms.positions.copy()
    atoms.calc = calculator(settings["program"], atoms, settings["threads"])
    dynamics = VelocityVerlet(atoms, TIMESTEP)

    def begin():
        atoms.positions = start
        rng = np.random.default_rng(0)
        MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=rng)
        atoms.get_forces()

    begin()
    spent = []
    for _ in range(3):
        began = time.process_time()
        dynamics.run(1)
        spent.append(time.process_time() - began)
    # some 0.3 s, and few enough that random weights carry no atom away
    n_steps = int(np.clip(0.3 / min(spent), 1, 20))
    print(">", json.dumps({"atoms": len(atoms), "steps": n_steps}), flush=True)
    rng = np.random.default_rng(1)
    for line in sys.stdin:
        begin()
        dynamics.run(1)  # what came before has emptied the caches
        began = time.process_time()
        if line.strip() == "step":
            dynamics.run(n_steps)
        else:
            for _ in range(n_steps):
                atoms.positions += rng.normal(0, 2e-3, start.shape)
                atoms.get_forces()
        print(">", (time.process_time() - began) / n_steps, flush=True)


main()
