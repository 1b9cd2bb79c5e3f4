"""Fine-tuning end to end, on real labels."""

import json

import h5py
import numpy as np
import pytest
import torch
from ase.build import molecule
from parents import every_parent, lone_energies
from shipped_levels import CC, DFT

from tlpot.data import make_split, open_dataset
from tlpot.energy import evaluate
from tlpot.errors import (
    ConfigError,
    DataError,
    ModelFileError,
    OutputError,
    UnknownElementError,
    UnknownLevelError,
)
from tlpot.graph import build_graph
from tlpot.jobs import finetune, finetune_config, prepare_finetune
from tlpot.models import content_hash, load
from tlpot.system import System

pytestmark = pytest.mark.train


def run(settings, **changes):
    return finetune(finetune_config({**settings, **changes}), show=False)


@every_parent
def test_full_finetuning_saves_a_model_that_knows_its_origin(settings, parent):
    outcome = run(settings)
    model = load(settings["output"], device="cpu")
    assert model.levels == (CC,)
    assert model.card.parent == content_hash(parent)
    assert model.card.recipe["strategy"] == {"name": "full"}
    assert model.card.recipe["training"]["learning_rate"] == 2e-3
    assert model.card.dataset["split"]["train"] == 24
    assert model.card.metrics["test"][CC]["energy_mae"] == outcome.end.overall["energy_mae"]
    first, *_, best = sorted(outcome.training.history, key=lambda h: -h["loss"])
    assert best["loss"] < first["loss"]


@every_parent
def test_head_leaves_the_parents_level_bit_for_bit(settings, parent):
    run(settings, strategy="head")
    before, after = load(parent, device="cpu"), load(settings["output"], device="cpu")
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], before.cutoff)
    assert after.levels == (DFT, CC)
    for level in (DFT,):
        a, b = (evaluate(p.at(level), graph) for p in (before, after))
        assert torch.equal(a.energy, b.energy)
        assert torch.equal(a.forces, b.forces)
    with torch.no_grad():
        assert evaluate(after.at(CC), graph).energy != evaluate(after.at(DFT), graph).energy


@every_parent
def test_step_zero_has_the_parents_forces_and_right_totals(settings, parent):
    prepared = prepare_finetune(finetune_config(settings), device="cpu")
    start_potential = prepared.job.potential
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], start_potential.cutoff)
    start = evaluate(start_potential.at(CC), graph)
    pretrained = evaluate(load(parent, device="cpu").at(DFT), graph)
    assert torch.equal(start.forces, pretrained.forces)
    assert not torch.equal(start.energy, pretrained.energy)
    for words in ("error at step 0", "shift", "24 frames", "weights that move", CC):
        assert words in prepared.report


def test_reference_energies_do_not_see_validation_or_test_frames(settings):
    found = []
    for test in (["methanol"], ["methanol", "propane"]):
        split = {**settings["split"], "test": test, "seed": 1, "train": None}
        config = finetune_config({**settings, "split": split})
        found.append(prepare_finetune(config, device="cpu").job.potential.references(CC))
    assert found[0] != found[1]


@every_parent
def test_one_composition_moves_only_what_it_identifies(settings, data_file, parent, tmp_path):
    path = tmp_path / "methanol.h5"
    with h5py.File(data_file) as source, h5py.File(path, "w") as target:
        for key, value in source.attrs.items():
            target.attrs[key] = value
        source.copy("methanol", target)
    data = {"files": [str(path)]}
    split = {"by": "random", "validation": 8}
    config = finetune_config({**settings, "data": data, "split": split, "level": "gfn2-xtb"})
    prepared = prepare_finetune(config, device="cpu")
    assert "H, C, O cannot be told apart" in prepared.report
    given = prepared.job.dataset.levels["gfn2-xtb"].isolated_atoms
    found = free_atoms(prepared.job.potential, "gfn2-xtb")
    moved = {z: found[z] - given[z] for z in (1, 6, 8)}
    # methanol; the smallest shifts in units of Z^(7/3)
    assert moved[1] == pytest.approx(4 * moved[6] * 6 ** (-14 / 3), abs=SINGLE)
    assert moved[8] == pytest.approx(moved[6] * (8 / 6) ** (14 / 3), rel=1e-4)
    assert found[7] == pytest.approx(given[7], abs=SINGLE)


SINGLE = 1e-4
"""eV; atoms by themselves have a hundred in the imported network, which is in single precision."""


def free_atoms(potential, level):
    """Energies of atoms by themselves, in their ground states where the model reads them."""
    spins = {1: 2, 6: 3, 7: 4, 8: 3} if potential.uses_charge else None
    alone = lone_energies(potential, level, spins)
    return {z: e0 + alone[z] for z, e0 in potential.references(level).items()}


@every_parent
@pytest.mark.parametrize("name", ["full", "scratch", "lora", "multihead"])
def test_isolated_atoms_are_as_given_at_step_zero(settings, name):
    changed = {**settings, "references": "isolated", "strategy": name}
    job = prepare_finetune(finetune_config(changed), device="cpu").job
    given = job.dataset.levels[CC].isolated_atoms
    exact = job.potential.architecture.isolated_at_reference
    for z, energy in free_atoms(job.potential, CC).items():
        assert energy == pytest.approx(given[z], abs=1e-9 if exact else SINGLE)


@pytest.mark.train
@pytest.mark.parametrize("parent", ["mace-omol"], indirect=True)
@pytest.mark.parametrize("name", ["frozen-ridge", "frozen-gp", "frozen-forest"])
def test_terms_that_move_free_atoms_are_refused(settings, name):
    changed = {**settings, "references": "isolated", "strategy": name, "training": {}}
    with pytest.raises(ConfigError, match=r"references=isolated does not go with .* use ref"):
        prepare_finetune(finetune_config(changed), device="cpu")


@every_parent
@pytest.mark.parametrize("method", ["isolated", "parent"])
def test_other_reference_energies(settings, parent, method):
    job = prepare_finetune(finetune_config({**settings, "references": method}), device="cpu").job
    if method == "isolated":
        given = job.dataset.levels[CC].isolated_atoms
        beyond = job.potential.at(CC).beyond_references()
        expected = {z: given[z] - beyond[z] for z in job.potential.elements}
    else:
        expected = load(parent, device="cpu").references(DFT)
    assert job.potential.references(CC) == pytest.approx(expected, abs=1e-9, rel=0)


def test_same_seed_same_weights(settings, tmp_path):
    run(settings)
    first = load(settings["output"], device="cpu").state_dict()
    other = run({**settings, "output": str(tmp_path / "again.safetensors")})
    for key, tensor in other.potential.state_dict().items():
        assert torch.equal(tensor, first[key]), key


def test_resume_wants_the_same_settings(settings):
    run(settings)
    changed = {**settings, "training": {**settings["training"], "epochs": 5}}
    with pytest.raises(ConfigError, match="another training"):
        finetune(finetune_config(changed), resume=True, show=False)


def test_a_refused_resume_changes_nothing(settings, tmp_path):
    with pytest.raises(DataError, match="nothing to resume"):
        finetune(finetune_config(settings), resume=True, show=False)
    assert not (tmp_path / "model.run").exists()


def test_resume_notices_other_frames(settings):
    run(settings)
    other = {**settings, "split": {**settings["split"], "seed": 5}}
    with pytest.raises(ConfigError, match="another training"):
        finetune(finetune_config(other), resume=True, show=False)


def test_an_interrupted_run_is_not_lost_by_forgetting_resume(settings, tmp_path):
    run(settings)
    (tmp_path / "model.run" / "report.json").unlink()  # as after Ctrl-C
    with pytest.raises(ConfigError, match="--resume continues it"):
        run(settings)
    finetune(finetune_config(settings), overwrite=True, show=False)


def test_a_finished_model_is_replaced_only_when_asked(settings, tmp_path):
    run(settings)
    model = tmp_path / "model.safetensors"
    before = model.read_bytes()
    report = (tmp_path / "model.run" / "report.json").stat().st_mtime_ns
    other = {**settings, "training": {**settings["training"], "seed": 7}}
    with pytest.raises(OutputError, match=r"model.safetensors exists; replace it with --overwrite"):
        run(other)
    assert model.read_bytes() == before
    assert (tmp_path / "model.run" / "report.json").stat().st_mtime_ns == report
    finetune(finetune_config(settings), resume=True, show=False)  # its own run
    finetune(finetune_config(other), overwrite=True, show=False)
    assert model.read_bytes() != before


def test_a_model_that_nothing_was_trained_for_is_replaced_only_when_asked(settings, tmp_path):
    shift = {**settings, "strategy": "shift", "training": {}}
    (tmp_path / "model.safetensors").write_text("another model")
    for resume in (False, True):
        with pytest.raises(OutputError, match="exists; replace it with --overwrite"):
            finetune(finetune_config(shift), resume=resume, show=False)
    finetune(finetune_config(shift), overwrite=True, show=False)
    assert CC in load(tmp_path / "model.safetensors", device="cpu").levels


def test_resuming_with_another_strategy_names_the_strategy_first(settings):
    run(settings)
    with pytest.raises(ConfigError, match=r"training: strategy.name was 'full', is 'lora'; str"):
        finetune(finetune_config({**settings, "strategy": "lora"}), resume=True, show=False)


def test_the_parent_cannot_be_overwritten(settings, parent):
    with pytest.raises(OutputError, match="is the parent itself"):
        run(settings, output=str(parent))


def test_a_stored_split_loses_only_frames_without_the_label(settings, data_file, tmp_path):
    split = make_split(open_dataset(data_file), by="random", validation=30, test=30)
    split.save(tmp_path / "split.json")
    config = finetune_config({**settings, "split": {"file": str(tmp_path / "split.json")}})
    job = prepare_finetune(config, device="cpu").job
    assert 0 < len(job.split.train) < len(split.train)
    assert job.dataset.labelled(CC)[job.split.test].all()


def test_the_source_level_decides_even_if_the_target_is_there(settings, tmp_path):
    run(settings, strategy="head")
    again = {**settings, "parent": settings["output"], "output": str(tmp_path / "b.safetensors")}
    for source in (DFT, CC):
        job = prepare_finetune(finetune_config({**again, "source": source}), device="cpu").job
        two = load(settings["output"], device="cpu")
        expected = two.head(source).readout.state_dict()
        for key, tensor in job.potential.head(CC).readout.state_dict().items():
            assert torch.equal(tensor, expected[key])


def test_files_beside_the_model(settings, tmp_path):
    run(settings)
    folder = tmp_path / "model.run"
    assert {"config.yaml", "metrics.jsonl", "split.json", "report.json", "parity.png"} <= {
        p.name for p in folder.iterdir()
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert np.isfinite(lines[-1]["loss"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"level": "ccsd(t)/cbs"}, UnknownLevelError, r"did you mean 'ccsd\(t\)/cbs\(dt\)'"),
        ({"strategy": "ful"}, ConfigError, "did you mean 'full'"),
        ({"stratgy": "full"}, ConfigError, "did you mean 'strategy'"),
        ({"training": {"epoch": 3}}, ConfigError, "did you mean 'epochs'"),
        ({"training": {"plateau_patience": 3}}, ConfigError, "does not apply"),
        ({"parent": "nowhere.safetensors"}, ModelFileError, "no file"),
        ({"output": "/nowhere/model.safetensors"}, OutputError, "does not exist"),
        ({"output": "model.pt"}, OutputError, r"end in \.safetensors"),
        ({"source": "pbe"}, UnknownLevelError, "no level 'pbe'"),
        ({"split": {"test": ["benzene"]}}, DataError, "benzene"),
        ({"split": {"validation": 0.0}}, DataError, "no validation frames"),
        ({"training": {"loss": {"energy": 0}}}, ConfigError, "the labels are energy"),
        (
            {"anchor": 0, "training": {"loss": {"energy_end": 9}}},
            ConfigError,
            "the labels are energy only",
        ),
        ({"training": {"schedule": "constant", "floor": 0.1}}, ConfigError, "floor does not"),
        ({"data": {"files": ["nowhere.h5"]}}, DataError, "nowhere.h5"),
    ],
)
def test_mistakes_are_found_before_any_update(settings, changes, error, message):
    with pytest.raises(error, match=message):
        run(settings, **changes)


def test_a_parent_that_does_not_know_an_element(settings, tmp_path):
    path = tmp_path / "hf.xyz"
    path.write_text("2\nenergy=-2700.0\nH 0 0 0\nF 0 0 0.92\n" * 4)
    data = {"files": [str(path)], "level": CC}
    with pytest.raises(UnknownElementError, match="F, which the parent"):
        run(settings, data=data, split={"by": "random", "validation": 1})
