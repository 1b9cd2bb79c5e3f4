"""Every strategy end to end, through the pipeline and the model file."""

import json
import shutil
from pathlib import Path

import h5py
import pytest
import torch
from ase.build import molecule
from needs import needs
from parents import every_parent
from shipped_levels import CC, DFT

from tlpot.energy import evaluate
from tlpot.errors import ConfigError
from tlpot.graph import build_graph
from tlpot.jobs import finetune, finetune_config, prepare_finetune
from tlpot.models import load, parameter_blocks
from tlpot.system import System
from tlpot.transfer import STRATEGY_NAMES, strategy

pytestmark = pytest.mark.train


def configured(settings, name, **training):
    chosen = strategy(name)
    section = {} if chosen.defaults is None else {**settings["training"], **training}
    return finetune_config({**settings, "strategy": name, "training": section})


@every_parent
@pytest.mark.parametrize("name", STRATEGY_NAMES)
def test_each_strategy_saves_a_model_no_worse_than_its_start(settings, name):
    config = configured(settings, name)
    outcome = finetune(config, show=False)
    model = load(settings["output"], device="cpu")
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], model.cutoff)
    found, expected = (
        evaluate(p.at(CC), graph, forces=False).energy for p in (model, outcome.potential)
    )
    assert torch.equal(found, expected)
    assert model.card.recipe["strategy"]["name"] == name
    assert CC in set(model.card.references) <= set(model.levels)
    if name == "multihead":
        assert set(model.levels) > {DFT, CC}
    else:
        assert model.levels == ((DFT, CC) if strategy(name).keeps_levels else (CC,))
    history = outcome.training.history
    learned = not model.card.origin  # imported parents are random
    if strategy(name).defaults is None:
        assert history == []
        still = outcome.end.overall == outcome.start.overall
        # to a random network the test molecule may be too far from all others for a process
        assert still == (name == "shift") or (not learned and name == "frozen-gp")
        assert len(model.corrections(CC)) == (name != "shift")
    else:
        if strategy(name).inherits:
            assert outcome.training.best_score <= 1.0
        if learned and name in ("full", "lora", "l2sp", "ewc", "head"):
            assert outcome.training.best_score < 1.0
    assert json.loads((config.output.with_suffix(".run") / "report.json").read_text())


def test_a_model_without_forces_has_a_report_that_says_so(settings):
    needs("sklearn")
    parts = ["calibration", "drift", "forgetting", "dimers", "md"]
    forest = {**settings, "report": {"parts": parts, "md_steps": 4}}
    outcome = finetune(configured(forest, "frozen-forest"), show=False)
    written = (Path(settings["output"]).with_suffix(".run") / "report.txt").read_text()
    for part in parts[1:]:
        assert f"{part}: the model has energies only" in written
    assert outcome.end.overall


@every_parent
@pytest.mark.parametrize("name", ["gradual", "lora", "ewc"])
def test_a_killed_run_resumes_to_the_same_weights(settings, tmp_path, name, monkeypatch):
    whole = finetune(configured(settings, name), show=False).potential

    from tlpot.training import loop

    settings = {**settings, "output": str(tmp_path / "again.safetensors")}
    epoch = loop._Run.epoch
    calls = []

    def killed(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("killed")
        return epoch(self, *arguments)

    monkeypatch.setattr(loop._Run, "epoch", killed)
    with pytest.raises(RuntimeError, match="killed"):
        finetune(configured(settings, name), show=False)
    monkeypatch.undo()
    resumed = finetune(configured(settings, name), resume=True, show=False).potential
    for (key, a), (_, b) in zip(whole.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(a, b), key


def test_held_weights_move_only_after_their_release(settings):
    config = configured({**settings, "training": {**settings["training"], "ema": 0.0}}, "gradual",
                        epochs=1)  # fmt: skip
    before = dict(prepare_finetune(config, device="cpu").job.potential.named_parameters())
    outcome = finetune(config, show=False)
    after = dict(outcome.potential.named_parameters())
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    if outcome.training.best_epoch:
        assert moved
        assert all(".readout." in name for name in moved)


def test_training_settings_do_not_apply_where_nothing_is_trained(settings):
    with pytest.raises(ConfigError, match=r"'shift' trains nothing, so training\.batch_size"):
        finetune_config({**settings, "strategy": "shift"})


@pytest.mark.parametrize("section", [3, ["full"]])
def test_a_strategy_is_a_name_or_a_section(settings, section):
    with pytest.raises(ConfigError, match="a name or a section"):
        finetune_config({**settings, "strategy": section})


def test_settings_of_another_strategy_are_refused(settings):
    with pytest.raises(ConfigError, match="strategy full: unknown key 'rank'"):
        finetune_config({**settings, "strategy": {"name": "full", "rank": 4}})


@every_parent
@pytest.mark.parametrize(
    ("strategy", "fixed"),
    [
        (
            {"name": "freeze", "fixed": ["embedding", "interaction 1"]},
            ("embedding", "interaction 1"),
        ),
        ({"name": "discriminative", "factors": {"product 1": 0.0}}, ("product 1",)),
        ({"name": "head"}, ("embedding", "interaction 1", "product 1", "interaction 2")),
    ],
)
def test_what_is_fixed_is_bitwise_unchanged(settings, parent, strategy, fixed):
    outcome = finetune(finetune_config({**settings, "strategy": strategy}), show=False)
    before, after = load(parent, device="cpu"), load(settings["output"], device="cpu")
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    source, target = parameter_blocks(before, DFT), parameter_blocks(after, CC)
    changed = {
        block
        for block, names in source.items()
        for a, b in zip(names, target[block], strict=True)
        if not torch.equal(old[a], new[b])
    }
    assert not changed & set(fixed)
    assert bool(changed) == (outcome.training.best_epoch > 0)
    assert changed or before.card.origin  # a random parent may find nothing better than itself


@pytest.fixture
def interrupted(settings, tmp_path, monkeypatch):
    """The settings of a run that was killed after an epoch, in a folder with all its files."""
    from tlpot.training import loop

    folder = tmp_path / "here"
    folder.mkdir()
    for path in (settings["parent"], settings["data"]["files"][0]):
        shutil.copy(path, folder)
    epoch, calls = loop._Run.epoch, []

    def killed(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return epoch(self, *arguments)

    given = inside(settings, folder)
    monkeypatch.setattr(loop._Run, "epoch", killed)
    with pytest.raises(RuntimeError, match="killed"):
        finetune(configured(given, given["strategy"]), show=False)
    monkeypatch.undo()
    return folder


def inside(settings, folder):
    data = str(folder / Path(settings["data"]["files"][0]).name)
    return {
        **settings,
        "parent": str(folder / Path(settings["parent"]).name),
        "data": {**settings["data"], "files": [data]},
        "strategy": {"name": "ewc", "files": [data], "frames": 4},
        "output": str(folder / "model.safetensors"),
        "name": folder.name,
    }


def test_an_interrupted_run_goes_on_where_its_files_have_moved(settings, interrupted, tmp_path):
    there = interrupted.rename(tmp_path / "there")
    given = inside(settings, there)
    config = configured(given, given["strategy"])
    found = finetune(config, resume=True, show=False)
    assert len(found.training.history) == 1 + config.training["epochs"]
    assert found.potential.card.name == "there"


def test_an_interrupted_run_does_not_go_on_with_other_source_data(settings, interrupted):
    given = inside(settings, interrupted)
    other = interrupted / "other.h5"
    other.write_bytes(Path(given["data"]["files"][0]).read_bytes())
    with h5py.File(other, "r+") as handle:
        handle.attrs["changed"] = True
    chosen = {**given["strategy"], "files": [str(other)]}
    with pytest.raises(ConfigError, match=r"another training: strategy.files"):
        finetune(configured({**given, "strategy": chosen}, chosen), resume=True, show=False)
