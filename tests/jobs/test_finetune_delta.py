"""Delta learning end to end: training, files, errors and resumption, on real labels."""

import json

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.emt import EMT
from parents import every_parent
from shipped_levels import CC, DFT

from tlpot.calculators import DeltaCalculator, TLPotCalculator
from tlpot.data import open_dataset
from tlpot.energy import evaluate
from tlpot.errors import ConfigError, DataError, ModelFileError, UnknownLevelError
from tlpot.evaluation import error_report, predict
from tlpot.graph import build_graph
from tlpot.jobs import finetune, finetune_config, prepare_finetune
from tlpot.models import DeltaPotential, Potential, content_hash, load
from tlpot.system import System

pytestmark = pytest.mark.train

XTB = "gfn2-xtb"
TINY = {"hidden_irreps": "8x0e+8x1o", "radial_hidden": [], "n_species": 4, "readout_hidden": 4}


@pytest.fixture
def settings(settings):
    return {
        **settings,
        "strategy": {"name": "delta", "model": TINY},
        "training": {**settings["training"], "epochs": 8},
    }


def with_low(settings, low):
    return {**settings, "strategy": {**settings["strategy"], "low": low}}


@every_parent
def test_the_sum_is_saved_whole_and_its_errors_are_those_of_the_difference(settings, parent):
    outcome = finetune(finetune_config(settings), show=False)
    assert outcome.training.best_score < 1.0
    model = load(settings["output"], device="cpu")
    assert isinstance(model, DeltaPotential)
    assert model.levels == (CC,)
    assert model.card.parent == content_hash(parent)
    assert model.card.recipe["strategy"]["low"] == "parent"
    assert model.card.metrics["test"][CC]["energy_mae"] == outcome.end.overall["energy_mae"]
    assert "for the difference least squares" in model.card.references[CC]
    assert model.low.levels == (DFT,)

    dataset = open_dataset(settings["data"]["files"][0])
    split = json.loads((settings_run(settings) / "split.json").read_text())
    assert split["content_hash"] == model.card.dataset["content_hash"] == dataset.content_hash
    again = error_report(predict(model.at(CC), dataset, split["test"], CC))
    assert again.overall == outcome.end.overall
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], model.cutoff, layout=model.layout)
    saved, trained = (evaluate(m.at(CC), graph) for m in (model, outcome.potential))
    assert torch.equal(saved.energy, trained.energy)
    assert torch.equal(saved.forces, trained.forces)
    atoms = molecule("CH3OH")
    atoms.calc = TLPotCalculator(settings["output"], device="cpu")
    fixed = evaluate(model.requires_grad_(False).at(CC), graph).energy.item()  # as there
    assert atoms.get_potential_energy() == pytest.approx(fixed, abs=1e-5)


@every_parent
def test_before_training_the_errors_are_those_of_the_parent_with_fitted_references(settings):
    """The difference, the sum and the strategy that only shifts say the same, in three ways."""
    job = prepare_finetune(finetune_config(settings), device="cpu").job
    config = finetune_config({**settings, "strategy": "shift", "training": {}})
    shifted = prepare_finetune(config, device="cpu").job
    test = job.split.test
    (level,) = job.levels
    found = [
        error_report(predict(model, data, test, name)).overall["energy_mae"]
        for model, data, name in (
            (job.potential.at(level), job.dataset, level),
            (job.finish(job.potential).at(CC), job.dataset, CC),
            (shifted.potential.at(CC), shifted.dataset, CC),
        )
    ]
    assert found[0] > 1.0
    assert found[1:] == pytest.approx([found[0]] * 2, rel=1e-3)


def settings_run(settings):
    return finetune_config(settings).output.with_suffix(".run")


def test_a_difference_from_a_level_of_the_dataset(settings, tmp_path):
    outcome = finetune(finetune_config(with_low(settings, XTB)), show=False)
    level = f"{CC} - {XTB}"
    model = load(settings["output"], device="cpu")
    assert isinstance(model, Potential)
    assert model.levels == (level,)
    assert f"to be added to {XTB}" in model.card.description
    assert model.card.metrics["test"][level]["energy_mae"] == outcome.end.overall["energy_mae"]
    with pytest.raises(ConfigError, match="DeltaCalculator"):
        TLPotCalculator(settings["output"])
    atoms = molecule("CH3OH")
    atoms.calc = DeltaCalculator(low=EMT(), delta=settings["output"])  # a toy in GFN2-xTB's place
    assert np.isfinite(atoms.get_forces()).all()
    onwards = {**settings, "parent": settings["output"], "output": str(tmp_path / "b.safetensors")}
    with pytest.raises(ConfigError, match="gives the difference"):
        prepare_finetune(finetune_config(onwards))


def test_forces_are_learned_where_both_levels_have_them(settings):
    config = finetune_config({**with_low(settings, XTB), "level": DFT})
    prepared = prepare_finetune(config, device="cpu")
    assert f"level {DFT} - {XTB}: energy, forces" in prepared.report
    outcome = finetune(config, show=False)
    assert outcome.end.overall["forces_mae"] < outcome.start.overall["forces_mae"]


def test_the_report_says_what_is_learned(settings):
    report = prepare_finetune(finetune_config(settings), device="cpu").report
    for words in (f"level {CC} - {DFT}: energy\n", "error at step 0", "those of the difference"):
        assert words in report


def test_where_there_are_no_forces_those_of_the_difference_are_held_at_zero(settings):
    prepared = prepare_finetune(finetune_config({**settings, "anchor": 0.1}), device="cpu")
    assert "the low level's forces" in prepared.report
    job = prepared.job
    frames = job.dataset.read(job.split.train, [f"{CC} - {DFT}"])
    for frame in frames:
        forces = frame.labels[f"{CC} - {DFT}"].forces
        assert forces.shape == frame.system.positions.shape
        assert not forces.any()
    assert job.settings.loss.forces == 0.1
    free = prepare_finetune(finetune_config({**settings, "anchor": 0.0}), device="cpu")
    assert "the low level's forces" not in free.report
    assert free.job.dataset.levels[f"{CC} - {DFT}"].kinds == {"energy"}


def test_references_start_from_zero_or_from_the_free_atoms_of_both_levels(settings):
    job = prepare_finetune(finetune_config(settings), device="cpu").job
    levels = open_dataset(settings["data"]["files"][0]).levels
    high, low = (levels[level].isolated_atoms for level in (CC, DFT))
    given = job.dataset.levels[job.levels[0]].isolated_atoms
    assert given == {z: high[z] - low[z] for z in high}
    isolated = prepare_finetune(finetune_config({**settings, "references": "isolated"})).job
    assert isolated.potential.references(isolated.levels[0]) == given
    with pytest.raises(ConfigError, match="references=parent does not apply"):
        prepare_finetune(finetune_config({**settings, "references": "parent"}))


def test_a_parent_of_another_level_gets_a_zero_prior(settings, parent, tmp_path):
    """A level that the dataset does not know has no free atoms there."""
    from tlpot.models import save

    model = load(parent, device="cpu")
    other = model.with_level("pbe/def2-svp", model.references(DFT)).only("pbe/def2-svp")
    save(other, tmp_path / "other.safetensors")
    config = finetune_config({**settings, "parent": str(tmp_path / "other.safetensors")})
    prepared = prepare_finetune(config, device="cpu")
    assert "starting from zero" in prepared.report
    assert max(map(abs, prepared.job.potential.references(f"{CC} - pbe/def2-svp").values())) < 20.0


@pytest.mark.parametrize("low", ["parent", XTB])
def test_a_killed_run_resumes_to_the_same_weights(settings, tmp_path, monkeypatch, low):
    settings = with_low(settings, low)
    whole = finetune(finetune_config(settings), show=False).potential

    from tlpot.training import loop

    settings = {**settings, "output": str(tmp_path / "again.safetensors")}
    epoch, calls = loop._Run.epoch, []

    def killed(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("killed")
        return epoch(self, *arguments)

    monkeypatch.setattr(loop._Run, "epoch", killed)
    with pytest.raises(RuntimeError, match="killed"):
        finetune(finetune_config(settings), show=False)
    monkeypatch.undo()
    resumed = finetune(finetune_config(settings), resume=True, show=False).potential
    for (key, a), (_, b) in zip(whole.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(a, b), key


def test_a_sum_is_no_parent(settings, tmp_path):
    finetune(finetune_config(settings), show=False)
    again = {**settings, "parent": settings["output"], "output": str(tmp_path / "b.safetensors")}
    with pytest.raises(ModelFileError, match="holds DeltaPotential, expected a single potential"):
        prepare_finetune(finetune_config({**again, "strategy": "full"}))


@pytest.mark.parametrize(
    ("low", "error", "message"),
    [
        ("gfn3-xtb", UnknownLevelError, f"did you mean '{XTB}'.*wb97x"),
        (CC, DataError, "the same as the high one"),
    ],
)
def test_mistakes_are_found_before_any_update(settings, tmp_path, low, error, message):
    with pytest.raises(error, match=message):
        finetune(finetune_config(with_low(settings, low)), show=False)
    assert not settings_run(settings).exists()


@pytest.mark.fault
def test_a_low_level_of_the_data_needs_no_level_of_the_parent(settings, tmp_path):
    """A parent of several levels had to be told which, of which nothing is used."""
    strategy = {"name": "delta", "low": "gfn2-xtb"}
    given = {**settings, "parent": "tlpot-peptides-tiny", "source": None, "strategy": strategy}
    job = prepare_finetune(finetune_config(given), device="cpu").job
    assert job.potential.levels == (f"{CC} - gfn2-xtb",)
    with pytest.raises(UnknownLevelError, match="source"):
        prepare_finetune(finetune_config({**given, "strategy": "delta"}), device="cpu")
    with pytest.raises(UnknownLevelError, match="no level 'pm7'"):
        prepare_finetune(finetune_config({**given, "source": "pm7"}), device="cpu")
