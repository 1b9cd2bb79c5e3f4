"""The choice of a strategy never pays for one kind of label with another."""

import pytest
from shipped_levels import DFT

from tlpot.jobs import choose_strategy, finetune_config, trial_errors
from tlpot.jobs import strategy_choice as automatic
from tlpot.models import LIBRARY

pytestmark = pytest.mark.train

ENERGY, FORCES = "energy_per_atom_mae", "forces_mae"


@pytest.fixture
def choose(tmp_path, monkeypatch):
    """Chooses by errors that are given: (energies, forces) of each strategy, each fold."""

    def choose(**errors):
        def trial(config, trial, dataset, split, parts, k, folder):
            pair = errors[config.strategy.replace("-", "_")]
            scatter = 1 + 0.01 * k
            return {ENERGY: pair[0] * scatter, FORCES: pair[1] * scatter**2}

        monkeypatch.setattr(automatic, "_errors", trial)
        names = [name for name in errors if name != "shift"]
        settings = {
            "parent": "tlpot-tiny",
            "data": {"files": [str(LIBRARY / "tlpot-qm.h5")]},
            "level": DFT,
            "output": str(tmp_path / "model.safetensors"),
            "split": {"by": "random", "test": ["methanol"], "validation": 8, "train": 24},
            "strategy": {"name": "auto", "candidates": names},
        }
        return choose_strategy(finetune_config(settings), trial_errors)

    return choose


@pytest.mark.fault
@pytest.mark.parametrize("pair", [(30.0, 10.0), (2.0, 110.0)])
def test_no_kind_of_label_pays_for_another(choose, pair):
    """Shift is at 20 meV and 100 meV/Å; a fifth of the one does not make up for the other."""
    choice = choose(shift=(20.0, 100.0), full=pair)
    assert choice.name == "shift"
    assert "nothing beats" in choice.reason
    assert "worse" in choice.table()


@pytest.mark.fault
def test_what_is_worse_in_one_kind_leaves_the_choice_to_the_others(choose):
    choice = choose(shift=(20.0, 100.0), head=(15.0, 80.0), full=(21.0, 5.0))
    assert choice.name == "head"


@pytest.mark.fault
def test_it_says_so_when_nothing_beats_the_shift(choose):
    choice = choose(shift=(20.0, 100.0), head=(25.0, 100.0), full=(40.0, 130.0))
    assert choice.name == "shift"
    assert "nothing beats" in choice.table()
    choice = choose(shift=(20.0, 100.0), head=(19.99, 99.99))
    assert choice.name in ("shift", "head")


def test_what_is_better_in_every_kind_is_chosen(choose):
    choice = choose(shift=(20.0, 100.0), head=(15.0, 80.0), full=(5.0, 20.0))
    assert choice.name == "full"
    assert choice.kinds["full"]["energies"] == pytest.approx(0.25)
    assert choice.kinds["full"]["forces"] == pytest.approx(0.2)


def test_a_shift_without_error_cannot_be_beaten(choose):
    assert choose(shift=(0.0, 100.0), full=(0.1, 20.0)).name == "shift"
