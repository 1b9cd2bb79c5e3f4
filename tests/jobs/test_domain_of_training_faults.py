"""What a training or fine-tuning tells its model about its frames."""

import warnings

import numpy as np
import pytest
from ase.build import molecule
from shipped_levels import CC, DFT

from tlpot.calculators import TLPotCalculator
from tlpot.cli import main
from tlpot.jobs import finetune, finetune_config
from tlpot.models import load

pytestmark = pytest.mark.train
FAR = "C6H6"


def domain(model, name, level):
    atoms = molecule(name)
    if name == FAR:
        atoms.positions *= 0.75  # a toy knows little; this it knows not to be like it
    atoms.calc = TLPotCalculator(model, level=level, device="cpu")
    atoms.get_potential_energy()
    return atoms.calc.results.get("domain", np.nan)


@pytest.mark.fault
def test_a_trained_model_knows_its_molecules_from_others(parent):
    assert domain(parent, "H2O", DFT) > 0.05
    assert domain(parent, FAR, DFT) < 0.05


@pytest.mark.fault
def test_fine_tuning_of_all_weights_replaces_the_domain(settings):
    finetune(finetune_config({**settings, "strategy": "full"}), show=False)
    assert 0.05 < domain(settings["output"], "CH3OH", CC) <= 1.0
    model = load(settings["output"])
    assert model.head(CC).domain.n_frames == 24


@pytest.mark.fault
def test_a_level_that_is_kept_keeps_its_domain(settings, parent):
    idle = {key: value for key, value in settings.items() if key != "training"}
    finetune(finetune_config({**idle, "strategy": "shift"}), show=False)
    model = load(settings["output"])
    assert model.head(DFT).domain.n_frames == 150
    assert model.head(CC).domain.n_frames == 24
    assert domain(settings["output"], FAR, DFT) == domain(parent, FAR, DFT) < 0.05


@pytest.mark.fault
def test_a_sum_has_the_smaller_domain_of_its_parts(settings):
    finetune(finetune_config({**settings, "strategy": "delta"}), show=False)
    model = load(settings["output"])
    assert model.low.head(DFT).domain.n_frames == 150
    assert model.delta.head(model.delta.levels[0]).domain.n_frames == 24
    assert domain(settings["output"], FAR, CC) < 0.05


@pytest.mark.fault
@pytest.mark.parametrize("strategy", ["shift", "head"])
def test_what_the_parent_knew_is_inside_where_its_network_stays(strategy, settings, parent):
    kept = {k: v for k, v in settings.items() if k != "training" or strategy != "shift"}
    finetune(finetune_config({**kept, "strategy": strategy}), show=False)
    for name in ("H2O", "NH3", "CH3CH2OH"):
        assert domain(settings["output"], name, CC) >= domain(parent, name, DFT) > 0.05
    assert domain(settings["output"], "CH3OH", CC) > 0.05
    assert "150 of the parent" in load(settings["output"]).card.metrics.get("domain", "")


@pytest.mark.fault
def test_a_network_that_moved_speaks_of_its_last_training_and_says_so(settings):
    finetune(finetune_config({**settings, "strategy": "full"}), show=False)
    model = load(settings["output"])
    assert "of this training only" in model.card.metrics.get("domain", "")
    assert model.head(CC).domain.inherited is None


@pytest.mark.fault
def test_info_says_of_few_frames_that_they_calibrate_nothing(settings, parent, capsys):
    finetune(finetune_config({**settings, "strategy": "head"}), show=False)
    capsys.readouterr()
    for file, few in ((settings["output"], True), (str(parent), False)):
        assert main(["info", file]) == 0
        (line,) = [x for x in capsys.readouterr().out.splitlines() if x.split()[:1] == ["domain"]]
        assert ("24 training frames, or 150 of the parent" in line) == few
        assert ("fewer than 100 warn of elements" in line) == few


def test_an_inherited_domain_is_inherited_again(settings, tmp_path):
    finetune(finetune_config({**settings, "strategy": "head"}), show=False)
    again = {**settings, "parent": settings["output"], "output": str(tmp_path / "b.safetensors")}
    again["source"] = CC
    finetune(finetune_config({**again, "strategy": "head"}), show=False)
    parts = load(again["output"]).head(CC).domain.parts
    assert [part.n_frames for part in parts] == [24, 24, 150]


def test_elements_of_the_parent_are_no_reason_to_warn(settings):
    finetune(finetune_config({**settings, "strategy": "head"}), show=False)
    own = load(settings["output"]).head(CC).domain
    trained = sum(part.content.atoms for part in own.parts)
    assert (trained > 0).sum() >= (own.content.atoms > 0).sum()
    atoms = molecule("NH3")
    atoms.calc = TLPotCalculator(settings["output"], level=CC, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()
