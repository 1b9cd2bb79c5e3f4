"""Every way to compute the same network gives the same numbers."""

import importlib.util

import pytest
import torch
from ase.build import molecule
from battery import compute

from tlpot.models import Potential, preset


@pytest.mark.parametrize("name", ["tiny", "small", "medium"])
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=["double", "single"]
)
def test_all_paths_agree(name, dtype, bound):
    """Energy, forces and the gradient of a force loss."""
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.05, seed=1)
    found = []
    paths = [("torch", "padded"), ("torch", "sorted"), ("auto", "sorted")]
    if importlib.util.find_spec("torch_scatter") is not None:
        paths.append(("torch_scatter", "sorted"))
    for kernels, layout in paths:
        potential = Potential.create(
            preset(name, (1, 6, 7, 8)), {"toy": dict.fromkeys((1, 6, 7, 8), 0.0)},
            dtype=dtype, kernels=kernels,
        )  # fmt: skip
        properties = compute(potential.at(), atoms, layout=layout, create_graph=True)
        loss = properties.energy.square().sum() + 10 * properties.forces.square().sum()
        weights = list(potential.parameters())
        gradients = torch.autograd.grad(loss, weights)
        whole = torch.cat([g.flatten() for g in gradients])
        found.append((properties.energies.detach(), properties.forces.detach(), whole))
        again = compute(potential.at(), atoms, layout=layout)
        torch.testing.assert_close(again.forces, found[-1][1], rtol=10 * bound, atol=bound)
    for other in found[1:]:
        for a, b in zip(other, found[0], strict=True):
            assert float((a - b).norm() / b.norm()) < bound
