"""Errors on fragments before and after a transfer, as numbers, on the page and as text."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from ase.units import kcal, mol

from tlpot.cli import main
from tlpot.data import open_dataset
from tlpot.errors import ConfigError, DataError
from tlpot.evaluation import predict
from tlpot.jobs import finetune, finetune_config
from tlpot.models import LIBRARY, load, save
from tlpot.reports import (
    ForceFieldModels,
    ForceFieldReport,
    LabelledFragments,
    error_text,
    examine_force_field,
    measure_stage,
    write_report,
)

pytestmark = pytest.mark.train

LOW, HIGH, XTB = "wb97x/6-31g*", "ccsd(t)/cbs(dt)", "gfn2-xtb"
NAMES = ("methanol", "water", "formaldehyde", "ethane")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four molecules of the shipped data."""
    path = tmp_path_factory.mktemp("tables") / "four.h5"
    with h5py.File(LIBRARY / "tlpot-qm.h5") as source, h5py.File(path, "w") as target:
        for key, value in source.attrs.items():
            target.attrs[key] = value
        for name in NAMES:
            source.copy(name, target)
    return open_dataset([path])


@pytest.fixture(scope="module")
def shifted(data, tmp_path_factory):
    """A transfer that moves reference energies only, and its outcome."""
    output = tmp_path_factory.mktemp("shift") / "shift.safetensors"
    config = finetune_config(
        {
            "parent": "tlpot-tiny", "data": {"files": [str(data.path)]}, "level": XTB,
            "strategy": "shift", "output": str(output),
            "split": {"by": "random", "validation": 5, "test": 12},
        }
    )  # fmt: skip
    return output, finetune(config, device="cpu", show=False), config.split.divide(data, XTB)


@pytest.fixture(scope="module")
def before(data, shifted):
    split = shifted[2]
    return measure_stage(
        load("tlpot-tiny", device="cpu").at(LOW),
        LabelledFragments(dataset=data, indices=split.test, part="test frames", train=split.train),
        title="before transfer",
        model="tiny",
        model_level=LOW,
        label_level=XTB,
        shift_on=split.train,
    )


def test_the_parent_before_the_transfer_is_the_first_step_of_the_transfer(before, shifted):
    """The E0 shift is that of fine-tuning: total energies are those of its model at step 0."""
    start = shifted[1].start.overall
    assert before.same_zero
    assert before.total.energy_rmse == pytest.approx(start["energy_per_atom_rmse"], rel=1e-3)
    assert before.total.energy_mae == pytest.approx(start["energy_per_atom_mae"], rel=1e-3)
    assert before.total.force_rmse == pytest.approx(start["forces_rmse"], rel=1e-3)
    assert before.shift.n_frames == len(shifted[2].train)


def test_a_shift_moves_no_relative_energy_and_no_force(before, data, shifted):
    split = shifted[2]
    plain = measure_stage(
        load("tlpot-tiny", device="cpu").at(LOW),
        LabelledFragments(dataset=data, indices=split.test, part="test frames"),
        title="t",
        model="tiny",
        model_level=LOW,
        label_level=XTB,
    )
    assert not plain.same_zero
    assert plain.total.energy_rmse > 100 * before.total.energy_rmse
    assert plain.total.relative_rmse == pytest.approx(before.total.relative_rmse, rel=1e-6)
    assert plain.total.force_rmse == before.total.force_rmse


def test_every_figure_is_what_its_name_says(data, shifted):
    split = shifted[2]
    model = load(shifted[0], device="cpu").at(XTB)
    stage = measure_stage(
        model,
        LabelledFragments(dataset=data, indices=split.test, part="test frames", train=split.train),
        title="after",
        model="m",
        model_level=XTB,
        label_level=XTB,
    )
    found = predict(model, data, split.test, XTB)
    whole = 1e3 * (found.energy[:, 1] - found.energy[:, 0])
    force = 1e3 * (found.forces[..., 1] - found.forces[..., 0]).ravel()
    unit = 1e3 * kcal / mol
    total = stage.total
    assert total.kind == "holistic"
    assert total.energy_rmse_kcal == pytest.approx(np.sqrt(np.mean(whole**2)) / unit)
    assert total.energy_mae_kcal == pytest.approx(np.abs(whole).mean() / unit)
    assert total.energy_mae == pytest.approx(np.abs(whole / found.sizes).mean())
    assert total.force_rmse_kcal == pytest.approx(np.sqrt(np.mean(force**2)) / unit)
    assert total.force_mae_kcal == pytest.approx(np.abs(force).mean() / unit)
    names = list(data.group_names)
    for row in stage.rows:
        group = names.index(row.kind)
        assert row.n_train == int((data.group_idx[split.train] == group).sum())
        assert row.n_frames == int((data.group_idx[split.test] == group).sum())
    assert total.n_train == sum(row.n_train for row in stage.rows) == len(split.train)


def test_the_text_has_the_numbers_of_the_json(before):
    text = error_text([before.as_json()])
    first, *lines = text.splitlines()
    assert first.startswith(f"before transfer: tiny at {LOW}, E0 fitted to ")
    holistic = next(line for line in lines if line.strip().startswith("holistic")).split()
    assert holistic[1:3] == [str(before.total.n_train), str(before.total.n_frames)]
    assert float(holistic[3].replace(",", "")) == pytest.approx(before.total.energy_rmse, rel=5e-3)
    assert float(holistic[-1].replace(",", "")) == pytest.approx(
        before.total.force_mae_kcal, rel=5e-3
    )
    kinds = [line.split()[0] for line in lines if line.startswith("  ") and "RMSE" not in line]
    assert kinds[1:] == [row.kind for row in before.rows] + ["holistic"]


def test_totals_of_two_zeros_are_dashes(before):
    text = error_text([replace(before, shift=None).as_json()])
    row = next(line for line in text.splitlines() if line.strip().startswith("holistic")).split()
    assert row[3:7] == ["–"] * 4
    assert row[7] != "–"


def test_kinds_of_a_build_lose_their_hash_where_they_still_differ(before):
    rows = tuple(
        replace(row, kind=kind)
        for row, kind in zip(
            before.rows, ("A.0123456789", "B.0123456789", "B.9876543210", "data.h5"), strict=True
        )
    )
    text = error_text([replace(before, rows=rows).as_json()])
    names = [line.split()[0] for line in text.splitlines() if line.startswith("  ")][2:]
    assert names == ["A", "B.0123456789", "B.9876543210", "data.h5", "holistic"]


def test_stages_of_other_frames_have_tables_of_their_own(before, tmp_path):
    fewer = replace(before, rows=before.rows[:2], title="fewer")
    found = ForceFieldReport(title="t", stages=(before, replace(before, title="after"), fewer))
    text = write_report(tmp_path, found).page.read_text(encoding="utf-8")
    heads = [part.split("</th>")[0].rpartition(">")[2] for part in text.split('"group" ')[1:]]
    assert (
        heads
        == [f"{title}: {LOW}" for title in ("before transfer", "after") * 2] + [f"fewer: {LOW}"] * 2
    )


@pytest.fixture(scope="module")
def two_heads(shifted, tmp_path_factory):
    """A file with the parent's head beside the new one, as head, replay and multihead leave it."""
    model = load(shifted[0], device="cpu")
    assert set(model.levels) == {LOW, XTB}
    return shifted[0]


def test_a_head_of_the_same_file_is_what_it_was_before(two_heads, data, shifted, tmp_path, capsys):
    split = two_heads.with_suffix(".run") / "split.json"
    out = tmp_path / "out"
    arguments = ["report", str(two_heads), "--data", str(data.path), "--level", XTB, "--source",
                 LOW, "--split", str(split), "-o", str(out), "--device", "cpu"]  # fmt: skip
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    stages = json.loads((out / "force_field.json").read_text())["errors"]
    first, second, other = stages
    assert [s["title"] for s in stages] == [
        "before transfer (head of the model)", "after transfer", "model, other head",
    ]  # fmt: skip
    assert (first["model_level"], first["label_level"]) == (LOW, XTB)
    # nothing but reference energies has moved
    for key in ("energy_rmse", "force_rmse"):
        assert first["holistic"][key] == pytest.approx(second["holistic"][key], rel=1e-3)
    assert second["holistic"]["n_train"] == len(shifted[2].train)
    assert first["holistic"]["n_train"] is None
    assert other["holistic"]["n_train"] is None
    assert "holistic" in printed
    assert f"E0 fitted to {len(shifted[2].train)} labels" in printed


def test_a_head_is_not_before_itself(two_heads):
    with pytest.raises(ConfigError, match="are both gfn2-xtb"):
        examine_force_field(
            ForceFieldModels(model=two_heads, level=XTB, parent_level=XTB), device="cpu"
        )


def test_a_source_needs_labels(two_heads, tmp_path, capsys):
    arguments = ["report", str(two_heads), "--source", LOW, "--cost", "x.h5", "-o", str(tmp_path)]
    assert main(arguments) == 2
    assert "--source goes with --data" in capsys.readouterr().err


def test_a_parent_and_its_own_labels_are_reported(data, shifted, tmp_path):
    child = load("tlpot-tiny", device="cpu").with_level(
        HIGH, load("tlpot-tiny", device="cpu").references(LOW), parent=LOW
    )
    save(child.only(HIGH), tmp_path / "child.safetensors")
    found = examine_force_field(
        ForceFieldModels(model=tmp_path / "child.safetensors", parent="tlpot-tiny"),
        device="cpu",
        fragments=LabelledFragments(dataset=data),
    )
    titles = [(s.title, s.label_level, s.same_zero) for s in found.stages]
    assert titles == [
        ("parent, own level", LOW, True), ("before transfer", HIGH, True),
        ("after transfer", HIGH, True),
    ]  # fmt: skip
    assert np.isnan(found.stages[1].total.force_rmse)  # these labels are energies


@pytest.mark.fault
def test_validation_frames_stand_in_where_a_split_has_no_test_frames(data, shifted, tmp_path):
    split = replace(shifted[2], test=np.arange(0))
    split.save(tmp_path / "split.json")
    opened = LabelledFragments.open(data, split=tmp_path / "split.json")
    assert opened.part == "validation frames"
    np.testing.assert_array_equal(opened.chosen, split.validation)
    replace(split, train=np.arange(0)).save(tmp_path / "none.json")
    with pytest.raises(DataError, match="no train frames"):
        LabelledFragments.open(data, split=tmp_path / "none.json", part="train")
