"""Whatever kills a build, the same command ends where it would have, and repeats nothing."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from build_settings import EPOCHS, SETTINGS, build, counts, settings, watch
from needs import needs
from safetensors.torch import load_file

from tlpot.data import open_dataset
from tlpot.errors import DataError
from tlpot.jobs import fitting

pytestmark = pytest.mark.train

needs("tblite")

KILLS = [("epoch", 2), ("label", 30), ("moment", 3)]
"""In the pretraining, the expensive labels, and the dynamics of a round."""


def killed(folder, log, kind, number):
    script = Path(__file__).with_name("build_settings.py")
    arguments = [sys.executable, str(script), str(folder), str(log), kind, str(number), "{}"]
    return subprocess.run(arguments, capture_output=True, text=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    log = folder / "log"
    undo = watch(log)
    try:
        worked, records = build(settings(folder / "out"))
    finally:
        undo()
    return folder / "out", worked, records, counts(log)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    log = folder / "log"
    last = []
    for attempt, (kind, number) in enumerate(KILLS):
        here, there = folder / str(attempt), folder / str(attempt + 1)
        done = killed(here / "out", log, kind, number)
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
        begun = list((here / "out").glob("*/begun.json"))
        assert len(begun) == 1
        last.append(begun[0].parent.name)
        here.rename(there)  # a build goes on wherever its folder is
    folder = there
    assert last == ["pretrain", "high", "round-1-explore"]
    undo = watch(log)
    try:
        worked, records = build(settings(folder / "out"))
    finally:
        undo()
    return folder / "out", worked, records, counts(log)


def test_a_killed_build_repeats_no_label_no_epoch_and_no_step(uninterrupted, resumed):
    assert resumed[3] == uninterrupted[3]
    assert uninterrupted[3]["epoch"] == EPOCHS["pretrain"] + 2 * EPOCHS["finetune"]


def test_a_killed_build_goes_on_with_the_stage_that_was_killed(resumed):
    assert resumed[1][0] == "round-1-explore"
    assert "pretrain" not in resumed[1]


def test_a_killed_build_ends_with_the_same_force_field(uninterrupted, resumed):
    one, other = (
        load_file(run[0] / "assemble" / "model.safetensors") for run in (uninterrupted, resumed)
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_killed_build_ends_with_the_same_errors(uninterrupted, resumed):
    one, other = (run[2]["report"].facts["errors"] for run in (uninterrupted, resumed))
    assert one == other


def test_a_checkpoint_of_an_older_version_is_trained_anew(resumed, tmp_path, monkeypatch):
    from tlpot.training import loop

    def killed(*args, **kwargs):
        write(*args, **kwargs)
        raise KeyboardInterrupt

    folder = tmp_path / "out"
    shutil.copytree(resumed[0], folder)
    longer = {**SETTINGS["finetune"], "training": {"epochs": 3, "batch_size": 8}}
    given, write = settings(folder, finetune=longer), loop.write_checkpoint
    monkeypatch.setattr(loop, "write_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        build(given, until="finetune")
    monkeypatch.undo()
    identity = fitting._identity
    monkeypatch.setattr(fitting, "_identity", lambda *args: {**identity(*args), "version": 2})
    log = tmp_path / "log"
    undo = watch(log)
    try:
        assert build(given, until="finetune")[0] == ["finetune"]
    finally:
        undo()
    assert counts(log)["epoch"] == 3


def test_nothing_is_done_twice(resumed):
    assert build(settings(resumed[0]))[0] == []


def test_the_report_says_what_was_made(resumed):
    folder, _, records, _ = resumed
    report = json.loads((folder / "report" / "force_field.json").read_text())
    assert [(e["title"], e["model_level"], e["label_level"]) for e in report["errors"]] == [
        ("pretrained", "gfn1-xtb", "gfn1-xtb"),
        ("before transfer", "gfn1-xtb", "gfn2-xtb"),
        ("after transfer", "gfn2-xtb", "gfn2-xtb"),
        ("after transfer, low head", "gfn1-xtb", "gfn1-xtb"),
    ]
    assert "<html" in (folder / "report" / "force_field.html").read_text()
    labels = {row["level"]: row["n_energies"] for row in report["data"]}
    assert labels == {"gfn1-xtb": 22 + 2 + 2, "gfn2-xtb": 20 + 2}  # with the cut and the round's
    assert records["high"].facts["gfn2-xtb"]["labels"] == 20
    assert records["round-1-explore"].facts["chosen"] == 2
    parts = report["assembly"][0]["parts"]
    whole, model, scheme = (
        parts[name]["energy_by_frame"][0]
        for name in ("model − whole QM", "model − fragment QM", "fragment QM − whole QM")
    )
    assert whole == pytest.approx(model + scheme)
    assert scheme == pytest.approx(0.0, abs=1e-3)  # one residue is its own only fragment


def test_geometries_that_the_pretraining_left_out_come_first_in_the_test(uninterrupted):
    folder = uninterrupted[0]
    low = json.loads((folder / "pretrain" / "model.run" / "split.json").read_text())
    high = json.loads((folder / "finetune" / "split.json").read_text())
    # the frames of the expensive labels are those of the cheap ones, in the same order
    chosen = set(high["train"]) | set(high["validation"]) | set(high["test"])
    assert (len(chosen), len(high["test"]), len(high["validation"])) == (20, 3, 10)
    left = chosen & ({*low["test"], *low["validation"]})
    seen = len(set(high["test"]) & set(low["train"]))
    assert seen == max(0, 3 - len(left))
    if len(left) > 3:
        assert left <= {*high["test"], *high["validation"]}
    report = json.loads((folder / "report" / "force_field.json").read_text())
    said = f", {seen} of 3 pretrained on" if seen else ""
    assert [e["part"] for e in report["errors"]] == ["test frames", *[f"test frames{said}"] * 3]


def test_the_printed_snippet_runs(resumed):
    from tlpot.structures import build_peptide

    folder, _, records, _ = resumed
    text = records["assemble"].facts["snippet"]
    assert str(folder) in text
    scope = {"atoms": build_peptide("G")}
    exec(text, scope)
    assert scope["atoms"].get_forces().shape == (19, 3)


def test_a_learning_curve_asked_for_later_is_all_that_is_made(resumed):
    given = settings(resumed[0], curve={"sizes": [3, 6]})
    worked, records = build(given)
    assert worked == ["curve", "report"]
    assert records["curve"].facts == {"points": 4}
    report = json.loads((resumed[0] / "report" / "force_field.json").read_text())
    series = report["learning_curve"]["series"]
    assert [each["label"] for each in series] == ["multihead", "scratch"]
    assert [[point["size"] for point in each["points"]] for each in series] == [[3, 6], [3, 6]]
    assert "curve" not in report["skipped"]
    assert build(given)[0] == []


def test_a_longer_learning_curve_measures_only_the_points_that_are_new(resumed, tmp_path):
    build(settings(resumed[0], curve={"sizes": [3, 6]}), until="curve")
    points = resumed[0] / "curve" / "points"
    before = {path.name: path.stat().st_mtime_ns for path in points.iterdir()}
    log = tmp_path / "log"
    undo = watch(log)
    try:
        worked, _ = build(settings(resumed[0], curve={"sizes": [3, 5, 6]}), until="curve")
    finally:
        undo()
    assert worked == ["curve"]
    after = {path.name: path.stat().st_mtime_ns for path in points.iterdir()}
    assert (len(before), len(after)) == (4, 6)
    assert before.items() <= after.items()
    assert counts(log)["epoch"] == 2 * EPOCHS["finetune"]


def test_a_learning_curve_with_failed_points_is_not_done_and_says_why(resumed, monkeypatch):
    import tlpot.learning_curves.curve as curve

    def failing(task):
        if task.size == 4:
            raise DataError("the training diverged")
        return measured(task)

    measured = curve.run_point
    given = settings(resumed[0], curve={"sizes": [3, 4]})
    monkeypatch.setattr(curve, "run_point", failing)
    message = (
        r"2 of 4 points.* multihead with 4 labels and seed 0: DataError: the training diverged"
    )
    for _ in range(2):
        with pytest.raises(DataError, match=message):
            build(given, until="curve")
    monkeypatch.setattr(curve, "run_point", measured)
    worked, records = build(given, until="curve")
    assert (worked, records["curve"].facts) == (["curve"], {"points": 4})


def test_a_budget_reruns_only_what_depends_on_it(resumed, tmp_path):
    folder = resumed[0]
    log = tmp_path / "log"
    more = settings(folder, high={"engine": "gfn2-xtb", "budget": 21}, active={"rounds": 0})
    undo = watch(log)
    try:
        worked, _ = build(more, until="assemble")
    finally:
        undo()
    assert worked == ["select", "high", "finetune", "assemble"]
    # one new label, and those of the error budget at other geometries
    assert counts(log)["label"] <= 1 + 2
    worked, _ = build({**more, "assemble": {**more["assemble"], "seed": 1}}, until="assemble")
    assert worked == ["assemble"]


def test_labels_that_are_no_longer_chosen_are_kept_and_not_used(resumed, tmp_path):
    folder, log = resumed[0], tmp_path / "log"
    undo = watch(log)
    try:
        for budget in (21, 20):
            given = settings(folder, high={"engine": "gfn2-xtb", "budget": budget})
            _, records = build(given, until="high")
            assert records["high"].facts["gfn2-xtb"]["labels"] == budget
            labels = open_dataset(folder / "high" / "labels.h5")
            assert labels.labelled("gfn2-xtb").sum() == budget
    finally:
        undo()
    assert counts(log)["label"] <= 1


def test_a_file_that_was_changed_is_made_again(resumed):
    folder = resumed[0]
    given = settings(folder)
    build(given, until="high")
    chosen = folder / "select" / "chosen.json"
    chosen.write_text(chosen.read_text() + " ")
    assert build(given, until="high")[0] == [
        "select"
    ]  # it comes out as it was, so nothing else is touched
