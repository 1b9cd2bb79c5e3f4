"""Nothing jumps when an atom crosses the cutoff, and so dynamics conserve the energy."""

from dataclasses import dataclass

import numpy as np
import pytest
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from battery import ELEMENTS, compute, water
from toys import ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.energy import EnergyModel, hessian
from tlpot.graph import build_graph
from tlpot.system import System


def visited(distance: float) -> Atoms:
    """A molecule, and an oxygen at some distance from its carbon, further from its hydrogen."""
    away = np.array([0.0, 0.6, 0.8])
    return Atoms("CHO", positions=[[0, 0, 0], -1.1 * away, distance * away])


@pytest.mark.parametrize("layout", ["padded", "sorted"])
def test_energy_force_and_force_constant_are_continuous_at_the_cutoff(model, layout):
    def jump(gap):
        sides = []
        for distance in (model.cutoff - gap, model.cutoff + gap):
            atoms = visited(distance)
            graph = build_graph([System.from_atoms(atoms)], model.cutoff, layout=layout)
            linked = ((graph.center == 0) & (graph.neighbor == 2)).any()
            assert bool(linked) == (distance < model.cutoff)
            found = compute(model, atoms, layout=layout)
            sides.append((found.energy, found.forces, hessian(model, graph)))
        return [float((a - b).abs().max()) for a, b in zip(*sides, strict=True)]

    wide, narrow = jump(1e-2), jump(1e-3)
    assert wide[2] > 1e-9  # the crossing is felt
    for before, after in zip(wide, narrow, strict=True):
        assert after < 0.3 * before or after < 1e-9


@dataclass(frozen=True, kw_only=True)
class Held:
    """A random model, which would tear a molecule apart, weakened beside a toy that holds it."""

    model: EnergyModel
    weight: float
    holder: ToyModel = ToyModel()  # noqa: RUF009
    elements: tuple[int, ...] = ELEMENTS
    uses_charge: bool = False

    @property
    def cutoff(self):
        return max(self.model.cutoff, self.holder.cutoff)

    def atomic_energies(self, graph):
        return self.holder.atomic_energies(graph) + self.weight * self.model.atomic_energies(graph)


def energy_errors(model, timestep):
    """Largest deviation of the total energy from the first one in 15 fs at 300 K, eV."""
    atoms = water()
    widths = np.sqrt(atoms.get_masses() * units.kB * 300.0)
    atoms.set_momenta(widths[:, None] * np.random.default_rng(0).standard_normal((3, 3)))
    atoms.calc = TLPotCalculator(model, skin=0.1)
    total = []
    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    dynamics.attach(lambda: total.append(atoms.get_total_energy()))
    dynamics.run(round(15.0 / timestep))
    return np.abs(np.array(total) - total[0]).max()


def test_the_energy_error_of_dynamics_is_of_second_order(model):
    """Velocity Verlet errs by O(Δt²) if the forces are the derivative of the energy; any other
    error stays as the step shrinks. So half the step must leave a quarter of it.
    """
    weight = 0.1 / float(compute(model, water()).forces.abs().max())
    held = Held(model=model, weight=weight)
    coarse, fine = (energy_errors(held, timestep) for timestep in (0.5, 0.25))
    assert coarse < 0.05
    assert 3.5 < coarse / fine < 4.5
