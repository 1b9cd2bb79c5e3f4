"""Model files: bit-exact round trips, and refusal of everything else."""

import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from ase.build import molecule

from tlpot.energy import evaluate
from tlpot.errors import ModelFileError, OutputError
from tlpot.graph import build_graph
from tlpot.models import ModelCard, Potential, content_hash, describe, load, preset, save
from tlpot.models.model_file import FORMAT
from tlpot.system import System

E0 = {"low": {1: -13.6, 8: -2040.1}, "high": {1: -13.5, 8: -2041.7}}


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def potential(request):
    potential = Potential.create(preset("tiny", (1, 8), zbl=True), E0, dtype=request.param)
    potential.card = ModelCard(name="a test model", licence="MIT", metrics={"mae": 1.5})
    return potential


@pytest.fixture
def graph():
    return build_graph([System.from_atoms(molecule("H2O"))], 4.5)


def test_round_trip_is_exact(potential, graph, tmp_path):
    digest = save(potential, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors", device="cpu")
    for level in potential.levels:
        before, after = (evaluate(p.at(level), graph) for p in (potential, loaded))
        assert torch.equal(before.energy, after.energy)
        assert torch.equal(before.forces, after.forces)
        assert loaded.references(level) == potential.references(level)
    assert loaded.dtype == potential.dtype
    assert loaded.card.name == "a test model"
    assert content_hash(tmp_path / "model.safetensors") == digest
    assert describe(tmp_path / "model.safetensors")["levels"] == ["low", "high"]


@pytest.mark.parametrize(
    ("card", "implied"),
    [
        (ModelCard(), False),
        (ModelCard(charges="ignored"), True),
        (ModelCard(recipe={"data": {"charges": "ignore"}}), True),  # of before the field
        (ModelCard(recipe={"data": {"charges": "read"}}), False),
    ],
)
def test_the_card_says_whether_charges_were_ignored(potential, tmp_path, card, implied):
    potential.card = card
    save(potential, tmp_path / "m.safetensors")
    assert load(tmp_path / "m.safetensors", device="cpu").at("low").implies_charges == implied
    # older versions know no such field, and can read a file without it
    written = describe(tmp_path / "m.safetensors")["card"]
    assert ("charges" in written) == bool(card.charges)


def test_saving_twice_gives_the_same_bytes(potential, tmp_path):
    first = save(potential, tmp_path / "a.safetensors")
    again = save(load(tmp_path / "a.safetensors", device="cpu"), tmp_path / "b.safetensors")
    assert first == again


def rewrite(path, change):
    """Changes the JSON metadata of a model file."""
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as handle:
        metadata = json.loads(handle.metadata()[FORMAT])
    change(metadata, tensors)
    safetensors.torch.save_file(tensors, path, {FORMAT: json.dumps(metadata)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, t: m.update(format_version=99), "format version 99"),
        (lambda m, t: m.update(coupling_fingerprint="x"), "Clebsch"),
        (lambda m, t: m.update(format_version=-1), "format version -1"),
        (lambda m, t: m.clear(), "damaged"),
        (lambda m, t: m["architecture"].update(n_layers=1), "unknown weights"),
        (lambda m, t: m["architecture"].update(n_basis=5), "has shape"),
        (lambda m, t: m["architecture"].update(cutof=5), "did you mean 'cutoff'"),
        (lambda m, t: m.pop("architecture"), "damaged"),
        (lambda m, t: t["backbone.species"].fill_(float("nan")), "NaN"),
        (lambda m, t: t.pop("backbone.species"), "lacks weights"),
    ],
)
def test_wrong_files_are_refused(potential, tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    save(potential, path)
    rewrite(path, change)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_truncated_foreign_and_missing_files_are_refused(potential, tmp_path):
    path = tmp_path / "model.safetensors"
    save(potential, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="damaged"):
        load(path)
    path.write_bytes(b"not a model")
    with pytest.raises(ModelFileError, match="not a safetensors file"):
        load(path)
    safetensors.torch.save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ModelFileError, match="not written by tlpot"):
        load(path)
    with pytest.raises(ModelFileError, match="no file"):
        load(tmp_path / "absent.safetensors")
    with pytest.raises(ModelFileError, match="no shipped model"):
        load("tlpot-tin")


def test_a_full_disk_leaves_the_old_file(potential, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save(potential, path)
    before = path.read_bytes()

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    potential.card = replace(potential.card, name="newer")
    with pytest.raises(OutputError, match="No space left"):
        save(potential, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
