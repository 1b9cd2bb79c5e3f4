"""The Fisher information against its definition on a model small enough for it."""

import pytest
import torch

from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.transfer.fisher import ENERGY_NOISE, FORCE_NOISE, fisher_information


def test_fisher_is_the_mean_square_sensitivity(situation):
    potential, index = situation.parent, situation.split.train[:1]
    name = "heads.0.readout.mlp.layers.1.weight"
    weights = dict(potential.named_parameters())
    weight = weights[name].requires_grad_(True)
    other = "heads.0.readout.linears.0.weight"
    weights[other].requires_grad_(True)
    (frame,) = situation.dataset.read(index)
    graph = build_graph([frame.system], potential.cutoff, layout=potential.layout)
    found = evaluate(potential.at("low"), graph, create_graph=True)
    outputs = [found.energy / graph.n_atoms / ENERGY_NOISE, *(found.forces.flatten() / FORCE_NOISE)]
    expected = {
        n: sum(
            torch.autograd.grad(y.sum(), w, retain_graph=True)[0].double().square() for y in outputs
        )
        for n, w in ((name, weight), (other, weights[other]))
    }
    mean = torch.cat([f.flatten() for f in expected.values()]).mean()
    estimate = fisher_information(
        potential, "low", situation.dataset, index, names=[name, other], samples=3000, seed=1
    )
    for key, exact in expected.items():
        large = exact > 0.3 * mean
        ratio = (estimate[key].double() / (exact / mean))[large]
        assert ratio.mean().item() == pytest.approx(1.0, abs=0.1)
        assert ratio.std().item() < 0.2
    potential.requires_grad_(False)
