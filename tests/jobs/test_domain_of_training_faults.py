"""What a training or fine-tuning tells its model about its frames."""

import numpy as np
import pytest
from ase.build import molecule
from shipped_levels import CC, DFT

from tlpot.calculators import TLPotCalculator
from tlpot.jobs import finetune, finetune_config
from tlpot.models import load

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
