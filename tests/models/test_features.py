"""Features by block, and corrections that read them."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from ase.build import molecule

from tlpot.calculators import TLPotCalculator
from tlpot.energy import evaluate
from tlpot.errors import ConfigError, ModelFileError, UnknownElementError
from tlpot.graph import build_graph
from tlpot.models import (
    CorrectionInfo,
    LinearCorrection,
    Potential,
    atomic_features,
    check_blocks,
    feature_blocks,
    from_bytes,
    load,
    preset,
    save,
    to_bytes,
)
from tlpot.models.model_file import FORMAT
from tlpot.system import System

E0 = {1: -13.6, 6: -1030.0, 8: -2040.1}


@pytest.fixture
def potential():
    return Potential.create(preset("tiny", (1, 6, 8)), {"low": E0, "high": E0}, scale=0.5)


@pytest.fixture
def graph():
    return build_graph([System.from_atoms(molecule("CH3OH"))], 4.5)


@pytest.fixture
def corrected(potential):
    info = CorrectionInfo(kind="linear", blocks=("layer 2", "readout"), fit={"frames": 3})
    weights = np.random.default_rng(0).normal(size=(3, 48))
    potential.head("high").corrections.append(LinearCorrection.fitted(info, weights))
    return potential


def test_the_readout_is_linear_in_the_features(potential, graph):
    """E_i − E0 = scale · (w_1·layer 1 + w_2·readout): the features are what the energy is of."""
    model = potential.at("low")
    readout = potential.head("low").readout
    parts = [atomic_features(model, graph, [b]) for b in ("layer 1", "readout")]
    layers = [readout.linears[0], readout.mlp.layers[-1]]
    expected = sum(layer(x.float()) for layer, x in zip(layers, parts, strict=True))[:, 0] * 0.5
    e0 = torch.tensor([E0[z] for z in graph.atomic_numbers.tolist()], dtype=torch.float64)
    torch.testing.assert_close(model.atomic_energies(graph) - e0, expected.double(), atol=1e-6,
                               rtol=1e-5)  # fmt: skip


def test_features_are_invariant_and_zero_for_a_free_atom(potential, graph):
    model = potential.double().at("low")
    blocks = tuple(feature_blocks(potential.architecture))
    atoms = molecule("CH3OH")
    before = atomic_features(model, graph, blocks)
    atoms.rotate(50, (1, 2, 3))
    turned = build_graph([System.from_atoms(atoms[::-1])], 4.5)
    torch.testing.assert_close(atomic_features(model, turned, blocks).flip(0), before)
    free = build_graph([System.from_atoms(molecule("O"))], 4.5)
    free_spin = free.spin.fill_(1)
    assert free_spin.eq(1).all()
    assert not atomic_features(model, free, blocks).any()


def test_blocks(potential):
    a = potential.architecture
    assert feature_blocks(a) == {"layer 1": 32, "layer 2": 32, "readout": 16}
    assert check_blocks((), a) == ("layer 1", "layer 2")
    assert check_blocks(("readout",), a) == ("readout",)
    with pytest.raises(ConfigError, match="did you mean 'layer 1'"):
        check_blocks(("layr 1",), a)
    with pytest.raises(ConfigError, match="named twice"):
        check_blocks(("layer 1", "layer 1"), a)


def test_unknown_elements_are_refused(potential):
    graph = build_graph([System.from_atoms(molecule("NH3"))], 4.5)
    with pytest.raises(UnknownElementError, match="does not know N"):
        atomic_features(potential.at("low"), graph, ["layer 1"])


def test_a_correction_changes_its_level_alone(corrected, graph):
    found = {level: evaluate(corrected.at(level), graph) for level in corrected.levels}
    plain = from_bytes(to_bytes(corrected.only("low")))
    before = evaluate(plain.at("low"), graph)
    assert torch.equal(found["low"].energy, before.energy)
    assert torch.equal(found["low"].forces, before.forces)
    inherited = corrected.with_level("third", E0, parent="high")
    assert torch.equal(evaluate(inherited.at("third"), graph).forces, found["high"].forces)
    assert not torch.equal(found["high"].energy, found["low"].energy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_correction_survives_the_file_bit_for_bit(corrected, graph, tmp_path, dtype):
    path = tmp_path / "model.safetensors"
    save(corrected.to(dtype), path)
    loaded = load(path, device="cpu")
    a, b = (evaluate(p.at("high"), graph) for p in (corrected, loaded))
    assert torch.equal(a.energy, b.energy)
    assert torch.equal(a.forces, b.forces)
    (correction,) = loaded.corrections("high")
    assert correction.info == corrected.corrections("high")[0].info
    atoms = molecule("CH3OH")
    atoms.calc = TLPotCalculator(path, level="high", device="cpu")
    assert atoms.get_potential_energy() == pytest.approx(a.energy.item(), abs=1e-6)


def test_a_file_without_corrections_says_nothing_of_them(potential):
    assert b"correction" not in to_bytes(potential)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "lineer"}, "did you mean 'linear'"),
        ({"blocks": ["layer 9"]}, "layer 9"),
        ({"blocks": ["layer 2"]}, "has shape"),
        ({"colour": "red"}, "unknown key"),
    ],
)
def test_damaged_descriptions_are_refused(corrected, tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    save(corrected, path)
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as handle:
        metadata = json.loads(handle.metadata()[FORMAT])
    metadata["corrections"]["high"][0].update(change)
    safetensors.torch.save_file(tensors, path, {FORMAT: json.dumps(metadata)})
    with pytest.raises(ModelFileError, match=message):
        load(path)
