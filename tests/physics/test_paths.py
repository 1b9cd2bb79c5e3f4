"""Every way to compute the same network gives the same numbers."""

import importlib.util

import pytest
import torch
from ase.build import molecule

from tlpot.energy import evaluate
from tlpot.graph import Layout, build_graph
from tlpot.models import Potential, preset
from tlpot.system import System

REFERENCES = {"toy": dict.fromkeys((1, 6, 7, 8), 0.0)}


def paths() -> list[tuple[str, str]]:
    found = [("torch", "padded"), ("torch", "sorted"), ("auto", "sorted"), ("auto", "padded")]
    if importlib.util.find_spec("torch_scatter") is not None:
        found.append(("torch_scatter", "sorted"))
    return found


@pytest.fixture(scope="module")
def mixture() -> list[System]:
    """Enough pairs for several padded blocks."""
    names = ("CH3CONH2", "C6H6", "trans-butane", "C2H6CHOH", "H2O", "CH3CH2NH2", "C5H5N")
    structures = []
    for seed, name in enumerate(names):
        atoms = molecule(name)
        atoms.rattle(0.05, seed=seed)
        structures.append(System.from_atoms(atoms))
    return structures


def outcome(potential: Potential, systems: list[System], layout: Layout) -> list[torch.Tensor]:
    """Energies, forces and the gradient of a force loss, in double precision."""
    graph = build_graph(systems, potential.cutoff, layout=layout)
    found = evaluate(potential.at(), graph, create_graph=True)
    loss = found.energy.square().sum() + 10 * found.forces.square().sum()
    gradients = torch.autograd.grad(loss, list(potential.parameters()))
    again = evaluate(potential.at(), graph)
    close = 1e-11 if potential.backbone.species.dtype == torch.float64 else 2e-5
    torch.testing.assert_close(again.forces, found.forces, rtol=close, atol=close)
    whole = torch.cat([g.flatten() for g in gradients])
    return [t.detach().double() for t in (found.energies, found.forces, whole)]


@pytest.mark.parametrize("name", ["tiny", "small", "medium"])
def test_all_paths_agree(name, mixture):
    """With one of them in double precision, so that rounding is not counted twice."""

    def network(kernels: str) -> Potential:
        architecture = preset(name, (1, 6, 7, 8))
        # rounded weights for both precisions
        return Potential.create(architecture, REFERENCES, dtype=torch.float32, kernels=kernels)

    expected = outcome(network("torch").to(torch.float64), mixture, "sorted")
    assert len(build_graph(mixture, 4.5, layout="padded").blocks.sizes) > 1
    for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        for kernels, layout in paths():
            if (dtype, kernels, layout) == (torch.float64, "torch", "sorted"):
                continue  # that is what is expected
            found = outcome(network(kernels).to(dtype), mixture, layout)
            for a, b in zip(found, expected, strict=True):
                assert float((a - b).norm() / b.norm()) < bound, (dtype, kernels, layout)
