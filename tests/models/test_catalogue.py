"""The catalogue of models, from the headers of their files."""

import pytest

from tlpot.errors import ConfigError, ModelFileError
from tlpot.models import (
    CorrectionInfo,
    Ensemble,
    LinearCorrection,
    ModelCard,
    Potential,
    Query,
    catalogue,
    library_names,
    load,
    parse_elements,
    preset,
    save,
)


@pytest.fixture
def folder(tmp_path):
    water = Potential.create(preset("tiny", (1, 8)), {"pbe/dz": {1: 0.0, 8: 0.0}})
    water.card = ModelCard(
        name="water", licence="not stated", parent_licence="CC-BY-4.0", description="for water"
    )
    info = CorrectionInfo(kind="linear", blocks=("layer 1",))
    water.head("pbe/dz").corrections.append(LinearCorrection(info, 2, 32))
    save(water, tmp_path / "water.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nonsense")
    return tmp_path


def test_what_ships_is_listed_with_its_true_size():
    entries = catalogue()
    assert [entry.source for entry in entries] == library_names()
    for entry in entries:
        model = load(entry.source, device="cpu")
        assert entry.n_weights == sum(p.numel() for p in model.parameters())
        assert entry.elements == model.elements
        assert entry.levels == model.levels


def test_a_folder_is_added_with_what_cannot_be_used(folder):
    broken, water = catalogue([folder], [])
    assert "not a safetensors file" in broken.problem
    assert water.name == "water"
    assert water.symbols == "H O"
    model = load(water.source, device="cpu")
    assert water.n_weights == sum(p.numel() for p in model.parameters())


def test_a_model_is_listed_once(folder):
    assert len(catalogue([folder, folder], [str(folder / "water.safetensors")])) == 2


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, True),
        ({"elements": (1,)}, True),
        ({"elements": (1, 6)}, False),
        ({"level": "PBE"}, True),
        ({"level": "ccsd"}, False),
        ({"licence": "cc-by"}, True),
        ({"licence": "MIT"}, False),
        ({"max_weights": 100}, False),
        ({"max_weights": 10**6, "elements": (8,), "level": "pbe/dz"}, True),
    ],
)
def test_queries(folder, query, found):
    broken, water = catalogue([folder], [])
    assert Query(**query).accepts(water) is found
    assert not Query(**query).accepts(broken)


def test_mistakes(tmp_path):
    assert parse_elements("C, H,O,H") == (1, 6, 8)
    with pytest.raises(ConfigError, match="'Ca1' is no element"):
        parse_elements("Ca1")
    with pytest.raises(ModelFileError, match="no folder"):
        catalogue([tmp_path / "nowhere"])
    with pytest.raises(ModelFileError, match="did you mean 'tlpot-tiny'"):
        catalogue([], ["tlpot-tin"])


@pytest.mark.fault
def test_an_ensemble_is_listed_as_no_parent(tmp_path):
    """It was said that it cannot be used."""
    members = [
        Potential.create(preset("tiny", (1, 8)), {"a": {1: 0.0, 8: 0.0}}, seed=seed)
        for seed in (0, 1)
    ]
    save(Ensemble(members), tmp_path / "ensemble.safetensors")
    (entry,) = catalogue([tmp_path], [])
    assert "an ensemble, which cannot be fine-tuned" in entry.no_parent
    assert not entry.problem
    assert entry.elements == (1, 8)
    assert entry.levels == ("a",)
    assert Query().accepts(entry)
