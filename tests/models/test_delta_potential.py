"""The sum of a potential and a difference: energies, derivatives, symmetries and its file."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from ase import Atoms
from ase.build import molecule

from tlpot.energy import EnergyModel, evaluate
from tlpot.errors import (
    ConfigError,
    GeometryError,
    ModelFileError,
    UnknownElementError,
    UnknownLevelError,
)
from tlpot.graph import build_graph
from tlpot.models import (
    DELTA_FORMAT,
    DeltaPotential,
    LastLayerRigidity,
    ModelCard,
    Potential,
    TrainedModel,
    content_hash,
    describe,
    from_bytes,
    load,
    load_potential,
    preset,
    to_bytes,
    uncertain,
)
from tlpot.models import save as save_model
from tlpot.system import System

E0 = {1: -13.6, 6: -1030.0, 8: -2040.1}
SHIFT = {1: 0.25, 6: -0.5, 8: 1.0}
DIFFERENCE = "high - low"
SMALL = "4x0e+4x1o"


def make(low_cutoff, delta_cutoff, dtype=torch.float64, **changes):
    low = preset("tiny", (1, 6, 8), hidden_irreps=SMALL, cutoff=low_cutoff, zbl=True)
    delta = preset("tiny", (1, 6, 8), hidden_irreps=SMALL, cutoff=delta_cutoff, **changes)
    return DeltaPotential(
        Potential.create(low, {"low": E0}, seed=1, dtype=dtype),
        Potential.create(delta, {DIFFERENCE: SHIFT}, seed=2, dtype=dtype, scale=0.3),
    )


@pytest.fixture(params=[(4.5, 3.0), (3.0, 4.5)], ids=["long low", "long difference"])
def model(request):
    return make(*request.param)


def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    return atoms


def found(model, atoms, **options):
    graph = build_graph([System.from_atoms(atoms)], model.cutoff, layout=model.layout)
    return evaluate(model, graph, **options)


@pytest.mark.parametrize("layout", ["sorted", "padded"])
def test_the_sum_is_that_of_separate_evaluations(model, layout):
    """One graph of the larger range serves both: pairs beyond its own range give a part nothing."""
    total = model.at("high")
    assert isinstance(total, EnergyModel)
    assert model.cutoff == total.cutoff == 4.5
    system = System.from_atoms(ethanol())
    together = evaluate(total, build_graph([system], total.cutoff, layout=layout))
    low, delta = (
        evaluate(part.at(), build_graph([system], part.cutoff, layout=layout))
        for part in (model.low, model.delta)
    )
    torch.testing.assert_close(together.energy, low.energy + delta.energy, rtol=0, atol=1e-9)
    torch.testing.assert_close(together.forces, low.forces + delta.forces, rtol=0, atol=1e-9)
    assert delta.forces.abs().max() > 1e-2


def test_forces_are_derivatives_also_at_the_smaller_cutoff(model):
    atoms = Atoms("CHO", positions=[[0, 0, 0], [1.1, 0, 0], [-0.6, 2.9391, 0]])  # r_CO = 3.0 Å
    assert atoms.get_distance(0, 2) == pytest.approx(3.0, abs=1e-3)
    for structure in (ethanol(), atoms):
        forces = found(model.at(), structure).forces.numpy()
        numerical = np.zeros_like(forces)
        for k in range(len(structure)):
            for axis in range(3):
                energies = []
                for step in (1e-4, -1e-4):
                    moved = structure.copy()
                    moved.positions[k, axis] += step
                    energies.append(found(model.at(), moved).energy.item())
                numerical[k, axis] = -(energies[0] - energies[1]) / 2e-4
        np.testing.assert_allclose(forces, numerical, rtol=0, atol=1e-6)


def test_energies_follow_the_structure(model):
    atoms = ethanol()
    before = found(model.at(), atoms)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    order = np.random.default_rng(0).permutation(len(atoms))
    moved = atoms[order]
    moved.positions = moved.positions @ turn + [3.0, -2.0, 1.0]
    after = found(model.at(), moved)
    torch.testing.assert_close(after.energy, before.energy, rtol=0, atol=1e-9)
    expected = before.forces[torch.from_numpy(order)] @ torch.from_numpy(turn)
    torch.testing.assert_close(after.forces, expected, rtol=0, atol=1e-9)


def test_free_atoms_have_the_reference_energy_of_the_sum(model):
    assert model.levels == ("high",)
    assert model.references("HIGH") == {z: E0[z] + SHIFT[z] for z in E0}
    for z, energy in model.references("high").items():
        assert found(model.at(), Atoms([z], [[0, 0, 0]])).energy.item() == pytest.approx(energy)
    with pytest.raises(UnknownLevelError, match="no level 'low'"):
        model.at("low")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip_is_exact(tmp_path, dtype):
    model = make(4.5, 3.0, dtype)
    model.card = ModelCard(name="a sum", licence="MIT")
    model.low.card = ModelCard(name="the low part")
    path = tmp_path / "sum.safetensors"
    digest = save_model(model, path)
    loaded = load(path, device="cpu")
    assert isinstance(loaded, DeltaPotential)
    for a, b in ((loaded, model), (copy.deepcopy(loaded), model)):
        x, y = (found(p.at("high"), ethanol()) for p in (a, b))
        assert torch.equal(x.energy, y.energy)
        assert torch.equal(x.forces, y.forces)
    assert (loaded.card.name, loaded.low.card.name) == ("a sum", "the low part")
    assert loaded.dtype == dtype
    assert content_hash(path) == digest == save_model(loaded, tmp_path / "again.safetensors")
    assert describe(path)["levels"] == ["high"]
    assert set(describe(path)["parts"]) == {"low", "delta"}


def test_precision_and_parameters(model):
    n = sum(p.numel() for p in model.parameters())
    parts = (model.low, model.delta)
    assert n == sum(p.numel() for part in parts for p in part.parameters())
    single = copy.deepcopy(model).to(torch.float32)
    assert single.dtype == torch.float32
    assert found(single.at(), ethanol()).energy.item() == pytest.approx(
        found(model.at(), ethanol()).energy.item(), abs=1e-3
    )
    assert load_as(model, torch.float32).dtype == torch.float32


def load_as(model, dtype):
    return from_bytes(to_bytes(model), dtype=dtype)


def rewrite(path, change):
    """Changes the JSON metadata of a model file."""
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as handle:
        metadata = json.loads(handle.metadata()[DELTA_FORMAT])
    change(metadata, tensors)
    safetensors.torch.save_file(tensors, path, {DELTA_FORMAT: json.dumps(metadata)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, t: m.update(format_version=3), "format version 3"),
        (lambda m, t: m.update(coupling_fingerprint="x"), "Clebsch"),
        (lambda m, t: m.clear(), "damaged"),
        (lambda m, t: m.pop("parts"), "damaged"),
        (lambda m, t: m["parts"].pop("low"), "damaged: 'low'"),
        (lambda m, t: m["parts"]["delta"].pop("architecture"), "damaged"),
        (lambda m, t: m["parts"]["delta"]["architecture"].update(cutof=5), "did you mean 'cutoff'"),
        (lambda m, t: m["parts"]["delta"].update(levels=["high - pbe"]), "cannot be added"),
        (lambda m, t: m["parts"]["delta"].update(levels=["high"]), "cannot be added"),
        (lambda m, t: m.update(levels=["pbe"]), "its parts give"),
        (lambda m, t: t["delta.backbone.species"].fill_(float("nan")), "delta: weight .* NaN"),
        (lambda m, t: t.pop("low.backbone.species"), "low lacks weights"),
        (lambda m, t: t.update({"stray": torch.zeros(1)}), "unknown weights .'stray'"),
    ],
)
def test_wrong_files_are_refused(tmp_path, change, message):
    path = tmp_path / "sum.safetensors"
    save_model(make(4.5, 3.0), path)
    rewrite(path, change)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_sum_is_a_trained_model_but_no_single_potential(tmp_path):
    model = make(4.5, 3.0)
    assert isinstance(model, TrainedModel)
    path = tmp_path / "sum.safetensors"
    save_model(model, path)
    with pytest.raises(ModelFileError, match="holds DeltaPotential, expected a single potential"):
        load_potential(path)


def test_an_uncertainty_of_a_part_is_not_one_of_the_sum():
    one = make(4.5, 3.0)
    n = len(one.low.head("low").readout.last_weights())
    low = one.low.with_rigidity("low", LastLayerRigidity(torch.eye(n, dtype=torch.float64)))
    model = DeltaPotential(low, one.delta)
    assert uncertain(low.at()) is not None
    assert uncertain(model.at()) is None
    assert uncertain(model.low.at()) is None
    assert model.delta is one.delta
    assert to_bytes(model) == to_bytes(one)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "sum.safetensors"
    save_model(make(4.5, 3.0), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="damaged"):
        load(path)


def test_parts_that_do_not_belong_together():
    one = make(4.5, 3.0)
    with pytest.raises(ConfigError, match="cannot be added"):
        DeltaPotential(one.delta, one.low)
    with pytest.raises(ConfigError, match="one level each"):
        DeltaPotential(one.low.with_level("high", E0), one.delta)
    with pytest.raises(ConfigError, match="dtype"):
        DeltaPotential(copy.deepcopy(one.low).to(torch.float32), one.delta)
    other = Potential.create(preset("tiny", (7,), hidden_irreps=SMALL), {DIFFERENCE: {7: 0.0}})
    with pytest.raises(ConfigError, match="no element in common"):
        DeltaPotential(one.low, other)


def test_elements_and_charges_are_those_that_both_parts_know():
    low = make(4.5, 3.0).low
    sizes = preset("tiny", (1, 7, 8), hidden_irreps=SMALL, charge_spin=True)
    delta = Potential.create(sizes, {DIFFERENCE: {1: 0.0, 7: 0.0, 8: 0.0}}, dtype=torch.float64)
    model = DeltaPotential(low, delta)
    assert model.elements == (1, 8)
    assert model.at().uses_charge
    for atoms in (molecule("NH3"), molecule("CH4")):
        with pytest.raises(UnknownElementError, match="does not know"):
            found(model.at(), atoms)
    charged = replace(System.from_atoms(molecule("H2O")), charge=1)
    with pytest.raises(GeometryError, match="neutral singlets"):
        evaluate(model.at(), build_graph([charged], model.cutoff))


@pytest.mark.fault
@pytest.mark.parametrize("reads", [None, "low", "delta"])
def test_a_sum_whose_training_ignored_charges_tells_each_part_what_it_reads(reads):
    """Refused by the difference, whose card says nothing; the part that reads them was told 0."""
    made = make(4.5, 3.0)
    parts = {"low": made.low, "delta": made.delta}
    if reads is not None:
        sizes = replace(parts[reads].architecture, charge_spin=True)
        level = {parts[reads].levels[0]: parts[reads].references(parts[reads].levels[0])}
        parts[reads] = Potential.create(sizes, level, dtype=torch.float64, scale=0.3)
        torch.nn.init.normal_(parts[reads].backbone.charge_spin)
    model = DeltaPotential(**parts)
    model.card = ModelCard(charges="ignored")
    ion = replace(System.from_atoms(ethanol()), charge=2)
    neutral = replace(ion, charge=0)
    expected = 0.0
    for name, part in parts.items():
        graph = build_graph([ion if name == reads else neutral], part.cutoff)
        expected += float(evaluate(part.at(), graph, forces=False).energy)
    found = evaluate(model.at(), build_graph([ion], model.cutoff), forces=False)
    assert float(found.energy) == pytest.approx(expected, abs=1e-9)
    assert model.at().uses_charge == (reads is not None)
    if reads is not None:
        model.card = ModelCard()
        with pytest.raises(GeometryError, match="neutral singlets"):
            evaluate(model.at(), build_graph([ion], model.cutoff))
