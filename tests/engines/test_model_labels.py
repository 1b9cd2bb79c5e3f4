"""Labels by a model carry its name, wherever they go."""

import pytest
from ase.build import molecule

from tlpot.data import open_dataset
from tlpot.engines import EngineSpec, make_engine
from tlpot.errors import ConfigError
from tlpot.labelling import label


@pytest.mark.fault
def test_labels_by_a_model_never_have_the_name_of_a_level_of_theory(tmp_path):
    label(molecule("H2O"), "model:tlpot-tiny@wb97x/6-31g*", tmp_path / "a.h5", show=False)
    dataset = open_dataset(tmp_path / "a.h5")
    assert list(dataset.levels) == ["tlpot-tiny"]
    assert "wb97x/6-31g*" in dataset.levels["tlpot-tiny"].definition


@pytest.mark.fault
@pytest.mark.parametrize("name", ["wb97x/6-31g*", "wB97X / 6-31G*", "pbe/def2-svp", "PBE-D3BJ"])
def test_another_name_may_not_be_that_of_a_method(name):
    with pytest.raises(ConfigError, match="level of theory"):
        make_engine(EngineSpec(name="model:tlpot-tiny", level=name))


def test_another_name_is_taken():
    assert make_engine(EngineSpec(name="model:tlpot-tiny", level="Mine")).level == "mine"


@pytest.mark.fault
@pytest.mark.parametrize(
    ("card", "expected"), [("", "m"), ("my model / b - c", "my-model-b-c"), ("PBE", "model-pbe")]
)
def test_the_name_is_that_of_the_card_or_the_file(tmp_path, card, expected):
    from dataclasses import replace

    from tlpot.models import load, save

    model = load("tlpot-tiny", device="cpu")
    model.card = replace(model.card, name=card)
    save(model, tmp_path / "m.safetensors")
    engine = make_engine(EngineSpec(name=f"model:{tmp_path / 'm.safetensors'}"))
    assert engine.level == expected
