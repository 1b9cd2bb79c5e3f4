"""Weights and alignment while a network is trained, towards structures without labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write
from toy_crystals import SPEC as TOY

import tlpot
from tlpot.cli import main
from tlpot.data import Loader, open_dataset
from tlpot.errors import ConfigError, UnknownElementError
from tlpot.evaluation import predict
from tlpot.jobs import finetune_config, prepare_finetune
from tlpot.models import load_potential
from tlpot.training import LossSettings
from tlpot.training.loss import batch_loss
from tlpot.transfer.adaptation import _discrepancy, coral, kernel_distance

pytest.importorskip("sklearn")
pytestmark = pytest.mark.train

GAPS = {level: TOY["levels"][level] for level in ("gap@cheap", "gap@dear")}
SPEC = {**TOY, "levels": GAPS}
NETWORK = {
    "cutoff": 4.5, "hidden_irreps": "8x0e", "l_max": 1, "correlation": 2, "n_species": 2,
    "readout_hidden": 8,
}  # fmt: skip
SPLIT = {"by": "random", "validation": 10, "test": 10}


def crystals(name, stretches, dear):
    frames = []
    for stretch in stretches:
        atoms = bulk(name, "rocksalt", a=5.2 + stretch)
        atoms.info["cheap"] = 2.0 + stretch + 0.5 * (name == "NaCl")
        if dear is not None:
            atoms.info["dear"] = dear(stretch)
        frames.append(atoms)
    return frames


def wave(stretch):
    return 3.0 * np.sin(4.0 * stretch) + 2.0 + 4.0 * stretch


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Fluorides with labels, chlorides that the model is for, and a parent that knows both."""
    folder = tmp_path_factory.mktemp("shift")
    rng = np.random.default_rng(0)
    draw = lambda n: rng.uniform(-0.4, 0.5, n)  # noqa: E731
    frames = {
        "all": [*crystals("NaF", draw(80), wave), *crystals("NaCl", draw(60), None)],
        "source": crystals("NaF", draw(80), wave),
        "target": crystals("NaCl", draw(60), wave),
    }
    frames["bare"] = [
        Atoms(a.numbers, a.positions, cell=a.cell, pbc=True) for a in frames["target"]
    ]
    for name, found in frames.items():
        write(folder / f"{name}.xyz", found, format="extxyz")
    (folder / "toy.yaml").write_text(yaml.safe_dump(SPEC))
    tlpot.train(
        config={"data": files(folder, "all"), "split": SPLIT, "model": NETWORK},
        level="gap@cheap", epochs=20, output=folder / "parent.safetensors", progress=False,
    )  # fmt: skip
    return folder


def files(folder, name):
    return {"files": [str(folder / f"{name}.xyz")], "spec": str(folder / "toy.yaml")}


def tuned(folder, output, *, adapt=None, name="full", more=None, split=SPLIT, **training):
    chosen = {"name": name, **({} if adapt is None else {"adapt": adapt}), **(more or {})}
    return tlpot.finetune(
        folder / "parent.safetensors",
        config={"data": files(folder, "source"), "split": split}, level="gap@dear",
        strategy=chosen, training={"epochs": 60, "batch_size": 8, **training}, output=output,
        overwrite=True, progress=False,
    )  # fmt: skip


def target_error(folder, model):
    data = open_dataset(folder / "target.xyz", folder / "toy.yaml")
    return tlpot.evaluate(model, data, level="gap@dear").errors.overall["property_mae"]


def towards(folder, **settings):
    return {"files": [str(folder / "bare.xyz")], **settings}


@pytest.fixture(scope="module")
def plain_error(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("plain") / "m.safetensors"
    tuned(made, output)
    return target_error(made, output)


@pytest.mark.parametrize("align", ["coral", "mmd"])
def test_aligned_features_carry_over_to_other_elements(made, tmp_path, plain_error, align):
    """The property knows nothing of the anion, and no label says so."""
    output = tmp_path / "m.safetensors"
    found = tuned(made, output, adapt=towards(made, weights=False, align=align))
    assert target_error(made, output) < 0.8 * plain_error
    said = found.adaptation
    assert said["discrepancy_after"] < 0.3 * said["discrepancy"]
    assert "effective_structures" not in said
    assert "domains told apart after" in str(found)
    assert found.as_json()["adaptation"] == dict(said)
    assert load_potential(output).card.metrics["adaptation"] == pytest.approx(dict(said))


def test_a_strong_alignment_learns_nothing_else(made, tmp_path):
    ends = [
        tuned(made, tmp_path / "m.safetensors", epochs=20,
              adapt=towards(made, weights=False, align="mmd", strength=strength))
        for strength in (0.01, 1000.0)
    ]  # fmt: skip
    errors = [found.end.overall["property_mae"] for found in ends]
    assert errors[1] > 2.0 * errors[0]


def test_weights_are_what_an_error_counts(made, tmp_path):
    """The sums of the loss, by hand: errors of frames that are like the target count more."""
    config = finetune_config(
        {
            "parent": str(made / "parent.safetensors"), "data": files(made, "source"),
            "level": "gap@dear", "split": SPLIT, "output": str(tmp_path / "m.safetensors"),
            "strategy": {"name": "full", "adapt": towards(made)},
        }
    )  # fmt: skip
    job = prepare_finetune(config, device="cpu").job
    train, validation = job.split.train, job.split.validation
    for part in (train, validation):
        assert job.weights[part].mean() == pytest.approx(1.0)
        assert job.weights[part].std() > 0.01
    np.testing.assert_array_equal(job.weights[job.split.test], 1.0)
    loader = Loader(
        job.dataset, train, levels=job.levels, cutoff=job.potential.cutoff, batch_size=len(train),
        layout=job.potential.layout, shuffle=False,
    )  # fmt: skip
    settings = LossSettings()
    for kind in ("huber", "mse"):
        settings = LossSettings(kind=kind)
        loader.weights = job.weights
        (batch,) = loader.batches(0)
        loader.weights = None
        expected = 0.0
        for k, frame in enumerate(train):
            single = Loader(
                job.dataset, [frame], levels=job.levels, cutoff=job.potential.cutoff, batch_size=1,
                layout=job.potential.layout, shuffle=False,
            )  # fmt: skip
            (one,) = single.batches(0)
            alone = batch_loss(job.potential, one, job.levels, settings, training=True)
            expected += job.weights[train[k]] * float(alone.sums[0, 0].detach())
        found = batch_loss(job.potential, batch, job.levels, settings, training=True)
        assert float(found.sums[0, 0].detach()) == pytest.approx(expected, rel=1e-5)
        assert float(found.counts[0, 0]) == len(train)
    judged = batch_loss(job.potential, batch, job.levels, settings, training=False).metrics
    seen = predict(job.potential.at("gap@dear"), job.dataset, train, "gap@dear")
    errors = np.abs(np.diff(seen.energy, axis=1)[:, 0])[np.argsort(seen.indices)]
    errors = errors[np.argsort(np.argsort(train))]
    weighted = float((job.weights[train] * errors).mean())
    assert judged["gap@dear"].table()["property_mae"] == pytest.approx(weighted, rel=1e-5)


def test_weights_mend_a_bias_for_a_readout_that_cannot_be_right_everywhere(made, tmp_path):
    """Labels of many short and few long crystals, for a use on long ones."""
    rng = np.random.default_rng(0)
    bend = lambda stretch: 8.0 * (stretch + 0.3) ** 2  # noqa: E731
    biased = np.concatenate([rng.uniform(-0.4, 0.1, 100), rng.uniform(0.1, 0.5, 40)])
    write(tmp_path / "source.xyz", crystals("NaF", biased, bend), format="extxyz")
    there = crystals("NaF", rng.uniform(0.1, 0.5, 60), bend)
    write(tmp_path / "bare.xyz", there, format="extxyz")
    write(tmp_path / "target.xyz", there, format="extxyz")
    for name in ("toy.yaml", "parent.safetensors"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    errors = {}
    for name, adapt in (("plain", None), ("weights", towards(tmp_path))):
        output = tmp_path / f"{name}.safetensors"
        found = tuned(
            tmp_path,
            output,
            adapt=adapt,
            name="head",
            split={**SPLIT, "validation": 30},
            epochs=120,
        )
        errors[name] = target_error(tmp_path, output)
    assert found.adaptation["effective_structures"] < 100
    assert errors["weights"] < 0.9 * errors["plain"], errors


def test_a_run_that_was_stopped_ends_as_one_that_was_not(made, tmp_path, monkeypatch):
    from tlpot.training.loop import _Run

    adapt = towards(made, align="mmd")
    whole = tuned(made, tmp_path / "whole.safetensors", adapt=adapt, epochs=4)
    update = _Run.update
    calls = []

    def stop(run, done):
        update(run, done)
        calls.append(done)
        if len(calls) == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(_Run, "update", stop)
    output = tmp_path / "parts.safetensors"
    with pytest.raises(KeyboardInterrupt):
        tuned(made, output, adapt=adapt, epochs=4, checkpoint_every=5)
    monkeypatch.setattr(_Run, "update", update)
    parts = tlpot.finetune(
        made / "parent.safetensors",
        config={"data": files(made, "source"), "split": SPLIT}, level="gap@dear",
        strategy={"name": "full", "adapt": adapt},
        training={"epochs": 4, "batch_size": 8, "checkpoint_every": 5}, output=output, resume=True,
        progress=False,
    )  # fmt: skip
    for key, value in whole.potential.state_dict().items():
        if not isinstance(value, torch.Tensor):
            continue
        torch.testing.assert_close(parts.potential.state_dict()[key], value, rtol=0, atol=0)
    assert parts.adaptation == pytest.approx(dict(whole.adaptation))


def test_distances_are_zero_of_the_same_rows_and_grow_with_the_shift():
    rows = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for distance in (coral, kernel_distance):
        assert float(distance(rows, rows)) == pytest.approx(0.0, abs=1e-12)
        near, far = (float(distance(rows, rows + shift)) for shift in (0.2, 1.0))
        assert 0 < near < far
    free = rows.clone().requires_grad_(True)
    for fixed in (coral, lambda x, y: _discrepancy(x, y, 2.0)):
        assert torch.autograd.gradcheck(lambda x, d=fixed: d(x, rows[:20] + 0.5), free)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("name", "settings", "why"),
    [
        ("head", {"align": "coral"}, "features do not move"),
        ("shift", {}, "does not apply to shift"),
        ("multihead", {}, "does not apply to multihead"),
        ("delta", {}, "does not apply to delta"),
    ],
)
def test_strategies_that_cannot_be_adapted_say_so(made, tmp_path, name, settings, why):
    with pytest.raises(ConfigError, match=why):
        tlpot.finetune(
            made / "parent.safetensors", level="gap@dear", output=tmp_path / "m.safetensors",
            config={"data": files(made, "source"), "split": SPLIT}, progress=False,
            strategy={"name": name, "adapt": towards(made, **settings)},
        )  # fmt: skip
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.fault
def test_levels_of_energies_are_not_adapted(data_file, tmp_path, capsys):
    output = str(tmp_path / "m.safetensors")
    command = ["finetune", "tlpot-tiny", str(data_file), "--level", "ccsd(t)/cbs(dt)", "-o", output]
    command += [f"strategy.adapt.files=[{data_file}]"]
    assert main(command) == 2
    assert "scalar properties" in capsys.readouterr().err
    assert not Path(tmp_path / "m.safetensors").exists()


@pytest.mark.fault
def test_what_is_said_of_the_target_domain_is_true(made, tmp_path):
    """Structures of one kind have no spread of their own, and are told apart all the same."""
    alike = crystals("NaCl", [0.1] * 12, wave)
    write(tmp_path / "alike.xyz", alike, format="extxyz")
    adapt = {"files": [str(tmp_path / "alike.xyz")], "weights": False, "align": "mmd"}
    found = tuned(made, tmp_path / "m.safetensors", adapt=adapt, epochs=1)
    assert found.adaptation["discrepancy"] > 0.1


@pytest.mark.fault
def test_candidates_need_no_labels_whatever_describes_them(made, tmp_path):
    bare = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=True)
            for a in crystals("NaCl", np.linspace(-0.3, 0.4, 12), None)]  # fmt: skip
    write(tmp_path / "bare.xyz", bare, format="extxyz")
    adapt = {"files": [str(tmp_path / "bare.xyz")], "spec": str(made / "toy.yaml")}
    tuned(made, tmp_path / "m.safetensors", adapt=adapt, epochs=1)


@pytest.mark.fault
def test_elements_of_the_target_domain_are_named_with_their_file(made, tmp_path):
    write(tmp_path / "other.xyz", [bulk("KCl", "rocksalt", a=6.3)] * 8, format="extxyz")
    with pytest.raises(UnknownElementError, match=r"other\.xyz: .* does not know K"):
        tuned(made, tmp_path / "m.safetensors", adapt={"files": [str(tmp_path / "other.xyz")]})


@pytest.mark.fault
def test_too_few_structures_are_told_with_their_files(made, tmp_path):
    """No file was named, and too few training frames were refused after the training."""
    write(tmp_path / "few.xyz", crystals("NaCl", [0.0, 0.1, 0.2], None), format="extxyz")
    adapt, output = {"files": [str(tmp_path / "few.xyz")]}, tmp_path / "m.safetensors"
    with pytest.raises(ConfigError, match=r"few\.xyz\): 3 structures .*source\.xyz"):
        tuned(made, output, adapt=adapt)
    with pytest.raises(ConfigError, match=r"few\.xyz\): 3 structures .*source\.xyz"):
        tlpot.finetune(
            made / "parent.safetensors", config={"data": files(made, "source"), "split": SPLIT},
            level="gap@dear", strategy={"name": "frozen-ridge", "adapt": adapt}, output=output,
            progress=False,
        )  # fmt: skip
    with pytest.raises(ConfigError, match=r"bare\.xyz\): 60 .*4 training frames"):
        tuned(made, output, adapt=towards(made), split={**SPLIT, "validation": 66})
    assert not (output.with_suffix(".run") / "metrics.jsonl").exists()
