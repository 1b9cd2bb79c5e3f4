"""tlpot ensemble and tlpot calibrate, on toy members: the shipped model with noisy weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tlpot.cli import main
from tlpot.data import Split, make_split, open_dataset
from tlpot.jobs.seen_frames import held_out_hash
from tlpot.models import LIBRARY, Ensemble, ModelCard, load, load_potential, save

pytestmark = pytest.mark.train

DATA = str(LIBRARY / "tlpot-qm.h5")
DFT = "wb97x/6-31g*"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three members and a split of some of the shipped frames."""
    folder = tmp_path_factory.mktemp("members")
    for seed in range(3):
        member = load_potential("tlpot-tiny", device="cpu")
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in member.parameters():
                weight += 1e-3 * torch.randn(weight.shape, generator=generator)
        member.card = ModelCard(name=f"noise {seed}", licence="CC0-1.0")
        save(member, folder / f"m{seed}.safetensors")
    dataset = open_dataset([DATA], level=DFT)
    make_split(dataset, by="random", validation=60, test=40, seed=0).save(folder / "split.json")
    return folder


@pytest.fixture
def members(folder):
    return [str(folder / f"m{seed}.safetensors") for seed in range(3)]


def calibrated(folder, *arguments):
    return [*arguments, DATA, "--level", DFT, "--split", str(folder / "split.json"),
            "--device", "cpu"]  # fmt: skip


def test_an_ensemble_is_made_calibrated_and_evaluated(folder, members, tmp_path, capsys):
    plain, scaled = str(tmp_path / "plain.safetensors"), str(tmp_path / "scaled.safetensors")
    assert main(["ensemble", *members, "-o", plain, "--device", "cpu"]) == 0
    assert "not calibrated" in capsys.readouterr().out
    picture, numbers = tmp_path / "picture.png", tmp_path / "numbers.json"
    command = calibrated(folder, "calibrate", plain)
    assert main([*command, "-o", scaled, "--plot", str(picture), "--json", str(numbers)]) == 0
    out = capsys.readouterr().out
    assert "from 60 frames" in out
    assert "judged on 40 test frames" in out
    assert picture.stat().st_size > 10_000
    found = json.loads(numbers.read_text())
    assert found["n_forces"] > 500
    model = load(scaled, device="cpu")
    assert isinstance(model, Ensemble)
    assert model.at(DFT).calibration.factor == found["factor"]
    assert model.at(DFT).calibration.force_factor == found["force_factor"] != found["factor"]
    assert found["n_force_frames"] == 60
    assert model.card.metrics["uncertainty"][DFT]["n_frames"] == 60
    assert main(["info", scaled]) == 0
    out = capsys.readouterr().out
    assert f"{DFT} (calibrated on 60 frames)" in out
    assert "noise 2" in out
    split = str(folder / "split.json")
    evaluated = ["evaluate", scaled, DATA, "--level", DFT, "--split", split, "--device", "cpu"]
    assert main(evaluated) == 0
    assert "40 frames" in capsys.readouterr().out


def test_making_and_calibrating_at_once_gives_the_same_file(folder, members, tmp_path):
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    plain = str(tmp_path / "plain.safetensors")
    command = ["ensemble", *members, "-o", str(first), "--calibrate"]
    assert main(calibrated(folder, *command)) == 0
    assert main(["ensemble", *members, "-o", plain, "--level", DFT, "--device", "cpu"]) == 0
    assert main([*calibrated(folder, "calibrate", plain), "-o", str(again)]) == 0
    assert first.read_bytes() == again.read_bytes()


def test_a_single_model_gets_a_last_layer_uncertainty(folder, members, tmp_path, capsys):
    output = tmp_path / "model.safetensors"
    assert main([*calibrated(folder, "calibrate", members[0]), "-o", str(output)]) == 0
    assert "from 60 frames" in capsys.readouterr().out
    assert load(output, device="cpu").at(DFT).has_uncertainty
    # what calibrated once can be calibrated again
    second = tmp_path / "second.safetensors"
    assert main([*calibrated(folder, "calibrate", str(output)), "-o", str(second)]) == 0
    assert second.read_bytes() == output.read_bytes()
    calibration = load(output, device="cpu").at(DFT).calibration
    assert calibration.force_factor == calibration.factor


def test_the_forces_of_a_last_layer_are_calibrated_on_demand(folder, members, tmp_path, capsys):
    small = folder / "small.json"
    dataset = open_dataset([DATA], level=DFT)
    make_split(dataset, by="random", validation=12, test=0, seed=0).save(small)
    output = tmp_path / "model.safetensors"
    command = ["calibrate", members[0], DATA, "--level", DFT, "--split", str(small)]
    assert main([*command, "--device", "cpu", "--forces", "-o", str(output)]) == 0
    assert "one component of each of 12 frames" in capsys.readouterr().out
    calibration = load(output, device="cpu").at(DFT).calibration
    assert calibration.n_force_frames == 12


def refused(capsys, arguments, *messages):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    for message in messages:
        assert message in error


def test_mistakes_are_refused(folder, members, tmp_path, capsys):
    output = ["-o", str(tmp_path / "o.safetensors"), "--device", "cpu"]
    refused(capsys, ["ensemble", members[0], *output], "two potentials or more")
    refused(capsys, ["ensemble", members[0], members[0], *output], "have the same weights")
    refused(capsys, ["ensemble", *members, "-o", members[0]], "only copy")
    refused(capsys, ["ensemble", *members, *output, "--plot", "x.png"], "--plot does not apply")
    refused(capsys, ["ensemble", *members, *output, "--level", "mp2"], "no level 'mp2'")
    plain = str(tmp_path / "plain.safetensors")
    assert main(["ensemble", *members, "-o", plain, "--device", "cpu"]) == 0
    refused(
        capsys, [*calibrated(folder, "calibrate", plain), *output[:2], "--forces"],
        "does not apply to an ensemble",
    )  # fmt: skip
    refused(
        capsys, ["calibrate", members[0], DATA, "--level", "ccsd(t)/cbs(dt)", "--forces", *output],
        "no level",
    )  # fmt: skip
    refused(
        capsys, ["calibrate", members[0], DATA, "--level", DFT, *output],
        "give the split of its training",
    )  # fmt: skip
    refused(
        capsys, ["calibrate", "tlpot-tiny", DATA, "--level", DFT, *output],
        "is what 'tlpot-tiny' was trained on",
    )  # fmt: skip
    refused(
        capsys, [*calibrated(folder, "calibrate", "tlpot-tiny"), *output[:2]],
        "is not the one that 'tlpot-tiny' was trained with", "validation 60",
    )  # fmt: skip
    refused(
        capsys, [*calibrated(folder, "calibrate", members[0]), *output[:2], "--coverage", "0.999"],
        "needs at least 999 calibration frames; there are 60",
    )  # fmt: skip
    assert not (tmp_path / "o.safetensors").exists()


def test_ensembles_cannot_be_fine_tuned(members, tmp_path, capsys):
    plain = str(tmp_path / "plain.safetensors")
    assert main(["ensemble", *members, "-o", plain, "--device", "cpu"]) == 0
    capsys.readouterr()
    command = ["finetune", plain, DATA, "--level", "ccsd(t)/cbs(dt)"]
    refused(
        capsys,
        [*command, "-o", str(tmp_path / "o.safetensors"), "--device", "cpu"],
        "expected a single potential",
    )


def test_a_model_that_is_there_is_replaced_only_when_asked(folder, members, tmp_path, capsys):
    output = tmp_path / "o.safetensors"
    output.write_text("another model")
    ensemble = ["ensemble", *members, "-o", str(output), "--device", "cpu"]
    message = f"the model file {output} exists; replace it with --overwrite"
    refused(capsys, ensemble, message)
    calibrate = [*calibrated(folder, "calibrate", members[0]), "-o", str(output)]
    refused(capsys, calibrate, message)
    assert output.read_text() == "another model"
    assert main([*ensemble, "--overwrite"]) == 0
    assert isinstance(load(output, device="cpu"), Ensemble)
    assert main([*calibrate, "--overwrite"]) == 0
    assert load(output, device="cpu").at(DFT).has_uncertainty


def recorded(folder, tmp_path, **changes):
    """A member whose card tells of its split."""
    member = load_potential(folder / f"m{len(list(tmp_path.iterdir()))}.safetensors", device="cpu")
    split = {"by": "random", "seed": 0, "train": 50, "validation": 60, "test": 40} | changes
    content_hash = split.pop("content_hash", "abc")
    card = {"file": "x.h5", "content_hash": content_hash, "split": split}
    member.card = replace(member.card, dataset=card)
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
    save(member, path)
    return str(path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "split seed 0 and 1. Frames"),
        ({"by": "molecule", "test": 41}, "split by random and molecule; test frames 40 and 41."),
        ({"content_hash": "def"}, "data with SHA-256 abc and def."),
        ({"held_out": "222"}, "frames held out, hash 111 and 222."),
    ],
)
def test_members_of_other_splits_are_not_joined(folder, tmp_path, capsys, changes, named):
    one = recorded(folder, tmp_path, held_out="111")
    other = recorded(folder, tmp_path, **{"train": 30, "held_out": "111", **changes})
    command = ["ensemble", one, other, "-o", str(tmp_path / "o.safetensors"), "--device", "cpu"]
    refused(capsys, command, f"{one} and {other} were trained with different splits: {named}")
    assert not (tmp_path / "o.safetensors").exists()


def test_members_of_other_subsets_are_joined_and_those_without_a_record_named(
    folder, members, tmp_path, capsys
):
    one, other = recorded(folder, tmp_path), recorded(folder, tmp_path, train=30, held_out="1")
    command = ["-o", str(tmp_path / "o.safetensors"), "--device", "cpu"]
    assert main(["ensemble", one, other, *command]) == 0
    assert "warning" not in capsys.readouterr().err
    assert main(["ensemble", one, other, members[2], *command, "--overwrite"]) == 0
    assert f"warning: {members[2]}: the card does not say" in capsys.readouterr().err


@pytest.mark.fault
def test_another_fold_of_as_many_frames_is_not_the_split_of_the_training(folder, tmp_path, capsys):
    """Folds made by hand agree in name, seed and sizes, and hold out what was trained on."""
    dataset = open_dataset([DATA], level=DFT)
    folds = np.array_split(np.random.default_rng(0).permutation(300), 5)
    files, splits = [], []
    for k in range(2):
        held = np.sort(folds[k])
        rest = np.setdiff1d(np.arange(300), held)
        splits.append(
            Split(train=rest, validation=held, test=held[:0], by="fold", seed=0,
                  content_hash=dataset.content_hash)
        )  # fmt: skip
    said = {"by": "fold", "seed": 0, "validation": 60, "test": 0,
            "held_out": held_out_hash(splits[0])}  # fmt: skip
    files = [
        recorded(folder, tmp_path, content_hash=dataset.content_hash, **said, train=240 - k)
        for k in range(2)
    ]
    for k, expected in ((0, 0), (1, 2)):
        splits[k].save(tmp_path / f"fold{k}.json")
        command = ["ensemble", *files, "-o", str(tmp_path / f"o{k}.safetensors"), "--level", DFT]
        command += ["--calibrate", DATA, "--split", str(tmp_path / f"fold{k}.json")]
        assert main([*command, "--device", "cpu"]) == expected
    assert "trained with (other frames)" in capsys.readouterr().err
