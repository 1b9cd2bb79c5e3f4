"""The Fisher information against its definition on a model small enough for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from transfer_levels import LEVEL, LOW

from tlpot.data import Frame
from tlpot.energy import evaluate
from tlpot.errors import ConfigError, TLPotError
from tlpot.graph import build_graph, segment_sum
from tlpot.models import LIBRARY
from tlpot.system import System
from tlpot.transfer import anchors as ewc_module
from tlpot.transfer import strategy
from tlpot.transfer.anchors import ENERGY_NOISE, FORCE_NOISE, fisher_information

DFT = "wb97x/6-31g*"


def test_fisher_is_the_mean_square_sensitivity(context):
    potential, index = context.parent, context.split.train[:1]
    name = "heads.0.readout.mlp.layers.1.weight"
    weights = dict(potential.named_parameters())
    other = "heads.0.readout.linears.0.weight"
    if other not in weights:  # only the last layer is read
        name, other = "heads.0.readout.mlp.layers.2.weight", "heads.0.readout.mlp.layers.0.weight"
    weight = weights[name].requires_grad_(True)
    weights[other].requires_grad_(True)
    (frame,) = context.dataset.read(index)
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
        potential, "low", context.dataset, index, names=[name, other], samples=600, seed=1
    )
    for key, exact in expected.items():
        large = exact > 0.3 * mean
        ratio = (estimate[key].double() / (exact / mean))[large]
        assert ratio.mean().item() == pytest.approx(1.0, abs=0.1)
        assert ratio.std().item() < 0.2
    potential.requires_grad_(False)


WIDTHS = (0.5, 1.0, 2.0)


class LinearModel(torch.nn.Module):
    """E = Σ_k θ_k Σ_pairs exp(−w_k r²), linear in θ: the Fisher information is known on paper."""

    cutoff, layout, device = 5.0, "sorted", torch.device("cpu")
    elements, dtype, uses_charge = (1,), torch.float64, False

    def __init__(self):
        super().__init__()
        self.theta = torch.nn.Parameter(torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64))

    def at(self, level):
        return self

    def atomic_energies(self, graph):
        squares = (graph.edge_vectors().double() ** 2).sum(dim=1)
        terms = torch.exp(-torch.tensor(WIDTHS, dtype=torch.float64) * squares[:, None])
        return 0.5 * segment_sum(terms, graph.center, graph.n_atoms) @ self.theta


class Dimers:
    """Frames of two atoms at some distances."""

    def __init__(self, distances):
        self.distances = distances

    def read(self, indices, levels=None):
        frames = []
        for k in indices:
            r = np.array([[0.0, 0.0, 0.0], [self.distances[k], 0.0, 0.0]])
            system = System.from_atoms(Atoms("H2", r))
            frames.append(Frame(system=system, labels={}, group="H2", name="H2"))
        return frames


def on_paper(distances, forces):
    """Σ over frames of (∂y/∂θ_k / σ)²: half of exp(−w r²) an atom, ±2 w r exp(−w r²) twice."""
    r, w = np.array(distances)[:, None], np.array(WIDTHS)
    value = np.exp(-w * r**2)
    total = (0.5 * value / ENERGY_NOISE) ** 2
    if forces:
        total = total + 2 * (2 * w * r * value / FORCE_NOISE) ** 2
    total = total.sum(axis=0)
    return total / total.mean()


def test_fisher_of_a_linear_model_is_known_on_paper():
    distances = [0.8, 1.0, 1.3]
    settings = {"names": ["theta"], "seed": 0}
    for forces, samples, tolerance in ((False, 1, 1e-12), (True, 2000, 0.05)):
        found = fisher_information(
            LinearModel(), "any", Dimers(distances), np.arange(3),
            samples=samples, forces=forces, **settings,
        )["theta"]  # fmt: skip
        assert found.numpy() == pytest.approx(on_paper(distances, forces), rel=tolerance)


def test_fisher_of_a_linear_model_does_not_depend_on_its_weights():
    a, b = LinearModel(), LinearModel()
    with torch.no_grad():
        b.theta.mul_(-7.0)
    same = {"names": ["theta"], "samples": 3, "seed": 2}
    found = [fisher_information(m, "any", Dimers([0.9]), np.arange(1), **same) for m in (a, b)]
    assert torch.allclose(found[0]["theta"], found[1]["theta"], rtol=1e-12)


@pytest.fixture
def asked(monkeypatch):
    """What the Fisher information is asked for."""
    calls = []

    def record(potential, level, dataset, indices, *, names, samples, seed, forces=True):
        calls.append((dataset, indices, forces))
        weights = dict(potential.named_parameters())
        return {name: torch.ones_like(weights[name]) for name in names}

    monkeypatch.setattr(ewc_module, "fisher_information", record)
    return calls


def test_ewc_takes_the_geometries_of_the_source_data(context, asked):
    files = [str(LIBRARY / "tlpot-qm.h5")]
    learned = replace(context, source=DFT, parent=context.parent.with_level(DFT, LOW, parent="low"))
    chosen = strategy({"name": "ewc", "files": files, "frames": 16})
    chosen.penalty(chosen.start(learned, LOW), learned)
    ((dataset, indices, forces),) = asked
    assert dataset is not context.dataset
    assert len(dataset) > len(indices) == 16
    assert len(set(indices.tolist()) - set(context.split.train.tolist())) > 0
    assert dataset.labelled(DFT)[indices].all()
    assert forces
    chosen = strategy({"name": "ewc", "frames": 16})
    chosen.penalty(chosen.start(learned, LOW), learned)
    assert asked[1][0] is context.dataset
    assert set(asked[1][1].tolist()) <= set(context.split.train.tolist())


def test_ewc_counts_no_forces_where_the_source_data_has_none(context, asked):
    learned = replace(
        context, source=LEVEL, parent=context.parent.with_level(LEVEL, LOW, parent="low")
    )
    chosen = strategy({"name": "ewc", "files": [str(LIBRARY / "tlpot-qm.h5")]})
    chosen.penalty(chosen.start(learned, LOW), learned)
    assert [call[2] for call in asked] == [False]


def test_ewc_refuses_source_data_of_another_level(context):
    chosen = strategy({"name": "ewc", "files": [str(LIBRARY / "tlpot-qm.h5")]})
    with pytest.raises(TLPotError, match="low"):
        chosen.penalty(chosen.start(context, LOW), context)
    with pytest.raises(ConfigError, match="spec does not apply without files"):
        strategy({"name": "ewc", "spec": "ani1x"})
