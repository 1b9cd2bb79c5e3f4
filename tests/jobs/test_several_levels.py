"""Replay, multihead and the force anchor end to end."""

import json

import h5py
import numpy as np
import pytest
import torch
from ase.build import molecule
from needs import needs
from parents import every_parent
from shipped_levels import CC, DFT

from tlpot.energy import evaluate
from tlpot.errors import ConfigError, DataError, UnknownLevelError
from tlpot.evaluation import predict
from tlpot.graph import build_graph
from tlpot.jobs import finetune, finetune_config, prepare_finetune
from tlpot.models import load
from tlpot.system import System

pytestmark = pytest.mark.train

JOINT = {"name": "multihead", "levels": [DFT]}


def prepare(settings, **changes):
    return prepare_finetune(finetune_config({**settings, **changes}), device="cpu")


def run(settings, **changes):
    return finetune(finetune_config({**settings, **changes}), show=False)


def drift(model, parent):
    """Mean force difference from the parent on a molecule of the test set."""
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], 4.5)
    new = evaluate(load(model, device="cpu").at(CC), graph).forces
    return (new - evaluate(load(parent, device="cpu").at(DFT), graph).forces).abs().mean().item()


def source_error(history):
    return [entry[DFT]["forces_mae"] for entry in history]


@every_parent
def test_pseudo_labels_are_the_parents_and_its_level_is_watched(settings):
    prepared = prepare(settings, strategy="replay")
    job = prepared.job
    assert job.levels == (CC, DFT)
    assert job.potential.levels == (DFT, CC)
    outcome = run(settings, strategy="replay")
    errors = source_error(outcome.training.history)
    assert len(errors) == 4
    assert errors[0] < 1e-3
    assert errors[1] > errors[0]
    assert load(settings["output"], device="cpu").levels == (DFT, CC)


def test_the_weight_of_replay_holds_the_old_level(settings):
    more = {**settings["training"], "epochs": 8}
    ends = [
        source_error(
            run(
                settings, training=more, strategy={"name": "replay", "weight": w},
                output=settings["output"].replace("model", f"model{w}"),
            ).training.history
        )[-1]
        for w in (1e-3, 30.0)
    ]  # fmt: skip
    assert ends[1] < 0.5 * ends[0]


@every_parent
def test_replay_of_source_data(settings, data_file):
    strategy = {"name": "replay", "files": [str(data_file)], "frames": 400, "share": 0.2}
    prepared = prepare(settings, strategy=strategy)
    job = prepared.job
    assert len(job.split.train) == 24
    assert len(job.others) == 400
    assert job.n_others == 96
    assert "96 in an epoch" in prepared.report
    assert "epochs of 15 batches" in prepared.report
    assert job.dataset.labelled(DFT, "forces")[job.others].all()
    outcome = run(settings, strategy=strategy, training={**settings["training"], "epochs": 1})
    assert outcome.potential.levels == (DFT, CC)


@every_parent
def test_multihead_learns_all_levels_and_keeps_held_out_frames_out(settings):
    job = prepare(settings, strategy=JOINT).job
    assert job.levels == (CC, DFT)
    seen = np.concatenate([job.split.train, job.others])
    held = np.concatenate([job.given.validation, job.given.test])
    assert len(np.unique(seen)) == len(seen)
    assert not np.isin(seen, held).any()
    groups = np.array(job.dataset.group_names)[job.dataset.group_idx]
    assert "methanol" not in set(groups[seen])
    assert job.dataset.labelled(CC)[job.split.train].all()
    assert len(job.others) > job.n_others == 24
    outcome = run(settings, strategy=JOINT, training={**settings["training"], "epochs": 1})
    assert outcome.training.history[0][CC]["energy_mae"] > 0
    assert outcome.potential.levels == (CC, DFT)


@every_parent
def test_a_level_new_to_the_parent_gets_reference_energies_and_a_readout(settings):
    strategy = {"name": "multihead", "levels": ["gfn2-xtb"], "weight": 0.5}
    job = prepare(settings, strategy=strategy).job
    assert job.potential.levels == (CC, "gfn2-xtb")
    assert job.plan.level_weights == {"gfn2-xtb": 0.5}
    # GFN2-xTB counts valence electrons only, so its energies are far from the others
    assert job.potential.references("gfn2-xtb")[8] > -150 > job.potential.references(CC)[8]
    outcome = run(settings, strategy=strategy, training={**settings["training"], "epochs": 1})
    assert outcome.training.history[0]["gfn2-xtb"]["energy_per_atom_mae"] < 1000


@pytest.mark.fault
def test_other_levels_are_fitted_to_what_the_parent_leaves_over(settings):
    """E0 of a second level came from totals, with the parent's energy on top: off by 1 eV."""
    job = prepare(
        settings, parent="tlpot-peptides-tiny", source="aimnet2",
        strategy={"name": "multihead", "levels": [DFT]},
    ).job  # fmt: skip
    frames = job.others[:40]
    found = predict(job.potential.at(DFT), job.dataset, frames, DFT, device="cpu", forces=False)
    error = (found.energy[:, 1] - found.energy[:, 0]) / found.sizes
    assert np.abs(error).mean() < 0.06
    # elements without labels were at zero, so that a sulfide was off by 10 keV and not refused
    parent = load("tlpot-peptides-tiny", device="cpu")
    for level in job.potential.levels:
        assert job.potential.references(level)[16] == parent.references("aimnet2")[16]
        assert "least squares" in job.card.references[level]


@pytest.mark.fault
def test_energies_from_a_property_start_from_the_composition(settings):
    """E0 took off what the parent said of the gap: step 0 was off by 17 eV, other E0 were gaps."""
    joint = {"name": "multihead", "levels": [DFT]}
    for strategy in ("full", joint):
        job = prepare(settings, parent="tlpot-gap-pbe", source=None, strategy=strategy).job
        frames = job.split.train
        for level in job.levels:
            found = predict(
                job.potential.at(level), job.dataset, frames, level, device="cpu", forces=False
            )
            error = (found.energy[:, 1] - found.energy[:, 0]) / found.sizes
            assert np.nanmean(np.abs(error)) < 0.3
            assert np.isnan(job.potential.references(level)[16])
            assert "free atoms" in job.card.references[level]
            assert "the parent's" not in job.card.references[level]


@pytest.mark.fault
def test_the_report_of_a_fine_tuning_from_a_property(settings):
    """The command ended with an error of the property's missing forces after the training."""
    report = {"md_steps": 0, "frames": 4}
    outcome = run(
        settings, parent="tlpot-gap-pbe", source=None, strategy="head", report=report,
        training={"epochs": 1},
    )  # fmt: skip
    assert "no forces" in outcome.report.skipped["drift"]
    assert "no forces" in outcome.report.skipped["forgetting"]
    assert outcome.report.dimers is not None


@pytest.mark.parametrize(
    ("strategy", "error", "message"),
    [
        ({"name": "replay", "frames": 3}, ConfigError, "frames does not apply without files"),
        ({"name": "replay", "weight": 0}, ConfigError, "expected a positive number"),
        ({"name": "multihead", "levels": ["mp3"]}, UnknownLevelError, "no level 'mp3'"),
        ({"name": "multihead", "levels": [CC]}, ConfigError, "learned anyway"),
    ],
)
def test_wrong_settings(settings, strategy, error, message):
    with pytest.raises(error, match=message):
        prepare(settings, strategy=strategy)


def test_too_many_frames(settings, data_file):
    strategy = {"name": "replay", "files": [str(data_file)], "frames": 10**6}
    with pytest.raises(DataError, match=r"but .* has .* frames"):
        prepare(settings, strategy=strategy)


def test_multihead_needs_another_level(settings, data_file, tmp_path):
    path = tmp_path / "one_level.h5"
    path.write_bytes(data_file.read_bytes())
    with h5py.File(path, "r+") as file:
        levels = json.loads(file.attrs["levels"])
        file.attrs["levels"] = json.dumps({k: v for k, v in levels.items() if v == CC})
        del file.attrs["isolated_atoms"]
        for group in file.values():
            for key in set(group) - {"atomic_numbers", "coordinates", "ccsd(t)_cbs.energy"}:
                del group[key]
    with pytest.raises(ConfigError, match="use 'replay'"):
        prepare(settings, data={"files": [str(path)]}, strategy="multihead")


def test_energies_alone_are_anchored_to_the_parents_forces(settings, parent):
    more = {**settings["training"], "epochs": 30, "learning_rate": 5e-4}
    moved = []
    for weight in (0.0, 30.0):
        output = settings["output"].replace("model", f"model{weight}")
        run(settings, anchor=weight, training=more, output=output)
        moved.append(drift(output, parent))
    assert 0 < moved[1] < 0.7 * moved[0]


def test_the_anchor_is_said_and_seen_in_training_frames_only(settings):
    prepared = prepare(settings)
    job = prepared.job
    assert "the parent's forces" in prepared.report
    assert job.dataset.labelled(CC, "forces")[job.split.train].all()
    assert not job.dataset.labelled(CC, "forces")[job.split.validation].any()
    assert not job.dataset.labelled(CC, "forces")[job.split.test].any()
    assert "the parent's forces" not in prepare(settings, anchor=0.0).report
    assert "the parent's forces" not in prepare(settings, strategy="scratch").report


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anchor": -1.0}, "anchor is -1.0"),
        ({"anchor": 1.0, "strategy": "scratch"}, "strategy is 'scratch'"),
        ({"anchor": 1.0, "level": DFT}, "labels include forces"),
    ],
)
def test_the_anchor_is_refused_where_it_does_not_apply(settings, changes, message):
    with pytest.raises(ConfigError, match=message):
        prepare(settings, **changes)


@every_parent
def test_step_zero_of_replay_is_the_parent(settings, parent):
    start = prepare(settings, strategy="replay").job.potential
    old = load(parent, device="cpu")
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], old.cutoff)
    before = evaluate(old.at(DFT), graph)
    assert torch.equal(evaluate(start.at(DFT), graph).energy, before.energy)
    assert torch.equal(evaluate(start.at(CC), graph).forces, before.forces)


def test_a_parent_without_forces_cannot_be_an_anchor(settings, tmp_path):
    needs("sklearn")
    forest = {**settings, "strategy": {"name": "frozen-forest", "trees": 2}, "training": {}}
    stump = str(tmp_path / "forest.safetensors")
    run(forest, output=stump)
    again = {**settings, "parent": stump, "source": CC}
    assert "the parent's forces" not in prepare(again).report
    with pytest.raises(ConfigError, match="the parent has energies only"):
        prepare(again, anchor=0.1)


@pytest.mark.parametrize("name", ["shift", "frozen-ridge"])
def test_what_trains_nothing_has_no_anchor(settings, name):
    still = {**settings, "strategy": name, "training": {}}
    assert "the parent's forces" not in prepare(still).report
    with pytest.raises(ConfigError, match=f"strategy is '{name}'"):
        prepare(still, anchor=0.1)
