"""More labels of the level that the parent has learned: a normal case for every strategy."""

import numpy as np
import pytest
from needs import needs
from shipped_levels import DFT

from tlpot.data import open_dataset
from tlpot.evaluation import predict
from tlpot.jobs import finetune, finetune_config, prepare_finetune
from tlpot.models import load_potential
from tlpot.transfer import STRATEGY_NAMES, strategy

pytestmark = pytest.mark.train


def own_level(settings, name):
    section = {} if strategy(name).defaults is None else settings["training"]
    chosen = {"name": name}
    if name == "multihead":
        chosen["levels"] = ["gfn2-xtb"]
    return finetune_config({**settings, "level": DFT, "strategy": chosen, "training": section})


RIGHT_BEFORE = (
    "replay", "delta", "frozen-ridge", "frozen-gp", "frozen-forest", "scratch", "shift", "reinit"
)  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.control) if name in RIGHT_BEFORE else name
        for name in STRATEGY_NAMES
    ],
)
def test_every_strategy_extends_a_model_with_labels_of_its_own_level(settings, name):
    if name == "frozen-forest":
        needs("sklearn")
    outcome = finetune(own_level(settings, name), show=False)
    parent = load_potential(settings["parent"], device="cpu")
    dataset = open_dataset(settings["data"]["files"][0])
    test = np.flatnonzero(
        [dataset.group_names[k] == "methanol" for k in dataset.group_idx] & dataset.labelled(DFT)
    )
    found = predict(parent.at(DFT), dataset, test, DFT)
    of_parent = 1e3 * np.abs(found.energy[:, 1] - found.energy[:, 0]).mean()
    assert of_parent > 1.0
    if strategy(name).inherits and strategy(name).defaults is not None and name != "delta":
        assert outcome.start.overall["energy_mae"] == pytest.approx(of_parent, rel=1e-6)
    assert DFT in outcome.potential.levels


@pytest.mark.fault
def test_replay_learns_the_labels_and_not_the_predictions_in_their_place(settings):
    config = own_level(settings, "replay")
    job = prepare_finetune(config).job
    given = open_dataset(settings["data"]["files"][0]).read(job.split.train[:5], [DFT])
    learned = job.dataset.read(job.split.train[:5], [DFT])
    for before, after in zip(given, learned, strict=True):
        assert after.labels[DFT].energy == before.labels[DFT].energy
        assert np.array_equal(after.labels[DFT].forces, before.labels[DFT].forces)
    assert job.levels == (DFT,)
