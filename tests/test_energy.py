"""The derivative engine in the situations that would make it silently wrong."""

import pytest
import torch
from ase.build import bulk, molecule
from toys import ToyModel

from tlpot.energy import evaluate, hessian
from tlpot.errors import ConfigError, GeometryError
from tlpot.graph import build_graph
from tlpot.system import System


def graph(*atoms):
    return build_graph([System.from_atoms(a) for a in atoms], ToyModel().cutoff)


def test_derivatives_do_not_depend_on_the_callers_grad_mode():
    water = graph(molecule("H2O"))
    forces, second = evaluate(ToyModel(), water).forces, hessian(ToyModel(), water)
    assert forces.any()
    with torch.no_grad():
        assert torch.equal(evaluate(ToyModel(), water).forces, forces)
        assert torch.equal(hessian(ToyModel(), water), second)
    with torch.inference_mode():
        assert torch.equal(evaluate(ToyModel(), water).forces, forces)


def test_a_model_that_detaches_is_refused_instead_of_giving_zero_forces():
    class Detached(ToyModel):
        def atomic_energies(self, graph):
            return super().atomic_energies(graph).detach()

    with pytest.raises(ConfigError, match="cannot be differentiated"):
        evaluate(Detached(), graph(molecule("H2O")))


def test_molecules_beside_crystals_have_no_stress():
    copper, water = bulk("Cu"), molecule("H2O")
    both = evaluate(ToyModel(), graph(copper, water), stress=True)
    alone = evaluate(ToyModel(), graph(copper), stress=True)
    torch.testing.assert_close(both.stress[0], alone.stress[0])
    assert not both.stress[1].any()
    with pytest.raises(GeometryError, match="three lattice vectors"):
        evaluate(ToyModel(), graph(water), stress=True)
