"""What a learning curve may say: nothing of labels where more updates would have helped."""

import json
import re
import shlex
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic_curves import full, scratch, synthetic_curve, synthetic_series

import tlpot
from tlpot.cli import main
from tlpot.errors import ConfigError, DataError
from tlpot.labelling.journal import InUseError
from tlpot.learning_curves import analyse, curve_figure
from tlpot.learning_curves import tasks as curve_point
from tlpot.models import LIBRARY, Potential, preset, save

CC = "ccsd(t)/cbs(dt)"
ERRORS = {
    "scratch": lambda n: 1000 * n**-2.0 + 20,  # tends to 20 meV, which full is below
    "full": lambda n: 40 * n**-0.9 + 1,
    "shift": lambda n: 30.0,
}


def outcome(config, *, fall, kinds):
    """What a fine-tuning would return: errors of a known law, and its course of validations."""
    name, size, seed = config.name.rsplit(" ", 2)
    error = ERRORS[name](int(size)) * (1 + 0.01 * (int(seed) % 2))
    end = {f"{kind}_{e}": error for kind in kinds for e in ("mae", "rmse")}
    rows = []
    for k in range(21 if name != "shift" else 0):
        # flat until four fifths of the updates, and then steadily down by the given share
        late = max(0.0, (k / 20 - 0.8) / 0.2)
        factor = (1 - fall.get(name, 0.0)) ** late
        table = {q: factor * e for q, e in end.items()}
        rows.append({"epoch": k, "step": 3 * k, "loss": 1.0, CC: {"n_energies": 4.0, **table}})
    card = SimpleNamespace(dataset={"split": {}})
    return SimpleNamespace(
        training=SimpleNamespace(interrupted=False, history=rows, best_epoch=20, seconds=1.0),
        start=SimpleNamespace(overall=dict.fromkeys(end, 50.0)),
        end=SimpleNamespace(overall=end, by_molecule={}),
        baselines=(),
        potential=SimpleNamespace(card=card, device="cpu"),
    )


@pytest.fixture
def measure(tmp_path, monkeypatch, capsys):
    """`tlpot curve` with trainings that are made up; returns what it prints."""

    def measure(
        *, fall=None, strategies=("scratch", "full"), sizes=(8, 12, 16, 24), kinds=("energy",)
    ):
        monkeypatch.setattr(
            curve_point, "finetune",
            lambda config, **_: outcome(config, fall=fall or {}, kinds=kinds),
        )  # fmt: skip
        arguments = [
            "curve", "tlpot-tiny", str(LIBRARY / "tlpot-qm.h5"), "split.by=random",
            "split.test=[methanol]", "split.validation=4", "--level", CC, "--strategies",
            *strategies, "--sizes", *map(str, sizes), "--seeds", "2", "--updates", "60",
            "-o", str(tmp_path / "c"),
        ]  # fmt: skip
        assert main(arguments) == 0
        return capsys.readouterr().out

    return measure


def claims(text):
    return re.findall(r"never reaches|worth -?\d+ extra|more than \d+ extra|beat scratch", text)


def row(text, label):
    return next(line for line in text.splitlines() if line.split()[:1] == [label])


def test_a_baseline_that_was_trained_long_enough_carries_the_claim(measure):
    text = measure()
    assert claims(text)
    assert "under-trained" not in text
    assert "*" not in row(text, "scratch")


@pytest.mark.fault
def test_nothing_is_claimed_of_an_under_trained_baseline(measure, tmp_path):
    text = measure(fall={"scratch": 0.2})
    assert not claims(text)
    assert "scratch is under-trained" in text
    assert "--updates 120" in text
    # the points are marked in the table, the record and the laws, those of the other are not
    assert row(text, "scratch").count("*") == 4
    assert "*" not in row(text, "full")
    content = json.loads((tmp_path / "c" / "laws.json").read_text())
    training = content["energy_mae"]["training"]
    assert training["scratch"]["under-trained"] == [8, 12, 16, 24]
    assert training["full"]["under-trained"] == []
    assert content["energy_mae"]["worth"] == {}
    record = json.loads((tmp_path / "c" / "curve.json").read_text())
    falls = [p["late_fall"]["energy_mae"] for s in record["series"] for p in s["points"]]
    assert falls == pytest.approx([0.2] * 8 + [0.0] * 8, abs=0.01)
    point = json.loads(next((tmp_path / "c" / "points").iterdir()).read_text())
    assert len(point["validation"]["energy_mae"]) == len(point["validation"]["step"]) == 21


@pytest.mark.fault
def test_an_under_trained_transfer_is_worth_that_much_at_least(measure):
    text = measure(fall={"full": 0.2})
    assert claims(text)
    assert text.count("perhaps more: it is under-trained") == 4
    assert "*" in row(text, "full")


def test_a_fall_of_four_per_cent_is_none(measure):
    assert claims(measure(fall={"scratch": 0.04}))


@pytest.mark.fault
def test_a_record_without_the_course_of_the_training_carries_no_claim(measure, tmp_path, capsys):
    measure()
    path = tmp_path / "c" / "curve.json"
    record = json.loads(path.read_text())
    record["format_version"] = 1
    record.pop("n_train", None)
    for series in record["series"]:
        for point in series["points"]:
            for key in ("updates", "late_fall"):
                point.pop(key, None)
    path.write_text(json.dumps(record))
    assert main(["plan", str(tmp_path / "c"), "--fit-up-to", "1000"]) == 0
    text = capsys.readouterr().out
    assert not claims(text)
    assert text.count("is not known") == 1
    assert main(["plan", str(tmp_path / "c"), "--cost-ratio", "10", "--target", "0.5meV"]) == 0
    text = capsys.readouterr().out
    assert "never, by its law" not in text
    assert text.count("is not known") == 1


@pytest.mark.fault
def test_a_plan_does_not_say_never_of_an_under_trained_strategy(measure, tmp_path, capsys):
    measure(fall={"scratch": 0.3})
    assert main(["plan", str(tmp_path / "c"), "--cost-ratio", "10", "--target", "6meV"]) == 0
    text = capsys.readouterr().out
    assert "never" not in row(text, "scratch:")
    assert "scratch is under-trained" in text
    assert "--updates 120" in text


@pytest.fixture
def uneven():
    """Two seeds whose errors are a factor of a hundred apart."""
    series = synthetic_series("full", full, seeds=2)
    points = tuple(
        replace(p, end={"energy_mae": 10.0 if p.seed == 0 else 1000.0}) for p in series.points
    )
    return synthetic_curve(replace(series, points=points))


@pytest.mark.fault
def test_the_mean_of_the_table_is_that_of_the_law(uneven):
    text = analyse(uneven, "energy_mae").text()
    assert "505" not in row(text, "full")
    assert row(text, "full").split()[1] == "100"
    assert "geometric mean" in text


@pytest.mark.fault
def test_the_mean_of_the_picture_is_that_of_the_law(uneven):
    (axes,) = curve_figure({"energy_mae": analyse(uneven, "energy_mae")}).axes
    drawn = axes.containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, 100.0)


@pytest.fixture
def failing(measure, tmp_path, monkeypatch, capsys):
    """`tlpot curve` where points of 8 labels and seed 0 fail; returns what it prints."""

    def failing(*errors, strategies=("full",)):
        def broken(config, **_):
            for error, name in zip(errors, strategies, strict=True):
                if config.name == f"{name} 8 0":
                    raise error
            return outcome(config, fall={}, kinds=("energy",))

        monkeypatch.setattr(curve_point, "finetune", broken)
        arguments = [
            "curve", "tlpot-tiny", str(LIBRARY / "tlpot-qm.h5"), "split.by=random",
            "split.test=[methanol]", "split.validation=4", "--level", CC, "--strategies",
            *strategies, "--sizes", "8", "12", "--seeds", "2", "--updates", "60",
            "-o", str(tmp_path / "f"),
        ]  # fmt: skip
        assert main(arguments) == 2
        return capsys.readouterr()

    return failing


@pytest.mark.fault
@pytest.mark.parametrize("error", [DataError("all are 0"), ConfigError("no strength")])
def test_what_must_fail_again_is_not_advised_to_be_tried_again(failing, tmp_path, error):
    shown = failing(error)
    assert f"failed: full, 8 labels, seed 0: {type(error).__name__}: {error}" in shown.out
    last = shown.err.splitlines()[-1]
    assert "1 point failed" in last
    assert "the same subset of labels would fail again in these:" in last
    assert "--sizes" in last
    assert "tries" not in last
    (failure,) = json.loads((tmp_path / "f" / "curve.json").read_text())["failures"]
    assert failure["recurs"] is True


@pytest.mark.fault
@pytest.mark.parametrize(
    "error", [OSError("stale file handle"), RuntimeError("killed"), InUseError("in use by another")]
)
def test_what_may_pass_is_tried_again(failing, error):
    last = failing(error).err.splitlines()[-1]
    assert last.endswith("1 point failed, see above; the same command tries them again")


@pytest.mark.fault
def test_a_file_that_could_not_be_read_may_be_read_later(failing):
    error = DataError("cannot read x.h5")
    error.__cause__ = OSError("stale file handle")
    assert "the same command tries them again" in failing(error).err


@pytest.mark.fault
def test_both_kinds_of_failures_are_told_apart(failing):
    text = failing(DataError("all are 0"), OSError("gone"), strategies=("full", "shift")).err
    assert "would fail again in 1 of these, and the same command tries the others again:" in text


@pytest.mark.fault
def test_fewer_seeds_than_asked_for_are_said_under_the_table(failing, measure):
    assert "\n8 labels: 1 of 2 seeds\n" in failing(DataError("all are 0")).out
    assert "seeds\n" not in measure().partition("labels are training frames")[2]


@pytest.mark.fault
def test_the_strategy_with_fewer_seeds_is_named():
    series = [synthetic_series(name, full, seeds=3) for name in ("full", "shift")]
    lost = replace(series[1], points=series[1].points[2:])  # two of the three of 10 labels
    curve = replace(synthetic_curve(series[0], lost), config={"seeds": 3})
    text = analyse(curve, "energy_mae").text()
    assert "\nshift with 10 labels: 1 of 3 seeds\n" in text
    assert text.count("of 3 seeds") == 1


@pytest.mark.fault
@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_a_constant_error_has_no_law(spread):
    flat = synthetic_series("shift", lambda n: 90.0, spread=spread)
    curve = synthetic_curve(synthetic_series("full", full), flat)
    report = analyse(curve, "energy_mae")
    assert list(report.laws) == ["full"]
    _, laws = report.text().split("laws err(n)")
    assert "shift" in laws
    assert "α" not in row(laws, "shift")
    assert list(report.as_json()["laws"]) == ["full"]
    (axes,) = curve_figure({"energy_mae": report}).axes
    lines = [line for line in axes.lines if len(line.get_xdata()) > 10]
    assert len(lines) == 1


@pytest.mark.fault
@pytest.mark.parametrize("name", ["full", "shift"])
def test_a_plan_says_what_would_give_a_law(measure, tmp_path, capsys, name):
    """Too few sizes, or a strategy that does not learn from labels; the command it gives runs."""
    measure(strategies=(name,), sizes=(8, 12) if name == "full" else (8, 12, 16))
    assert main(["plan", str(tmp_path / "c"), "--cost-ratio", "10", "--target", "6meV"]) == 0
    text = capsys.readouterr().out
    commands = [line for line in text.splitlines() if line.strip().startswith("tlpot curve")]
    assert len(commands) == 1
    words = shlex.split(commands[0])
    assert main([*words[1:], "--dry-run"]) == 0
    shown = capsys.readouterr().out
    if name == "full":
        assert "full: 6 points, 4 there" in shown
    else:
        assert "full: 6 points, 0 there" in shown


@pytest.mark.fault
def test_an_error_without_labels_is_explained(measure, tmp_path, capsys):
    measure()
    arguments = ["--cost-ratio", "10", "--target", "6meV", "--quantity", "forces_mae"]
    assert main(["plan", str(tmp_path / "c"), *arguments]) == 2
    error = capsys.readouterr().err
    assert "energy_mae" in error
    assert "label forces" in error


@pytest.mark.fault
def test_another_error_with_a_law_is_offered():
    from tlpot.learning_curves import Prices, make_plan

    lines = [synthetic_series("scratch", scratch), synthetic_series("full", full)]
    lines = [
        replace(s, points=tuple(replace(p, end={**p.end, "forces_mae": 7.0}) for p in s.points))
        for s in lines
    ]
    text = make_plan(
        synthetic_curve(*lines), "forces_mae", Prices(cost_ratio=9.0, target=5.0)
    ).text()
    assert "--quantity energy_mae" in text
    assert "--seeds" in text


def test_a_rate_that_goes_to_zero_hides_no_short_training():
    """Errors that fall in proportion to what the weights have moved, and rest as the rate ends."""
    steps = np.linspace(0, 100, 21)
    rates = 0.5 * (1 + np.cos(np.pi * steps / 100))
    moved = np.append(0.0, np.cumsum(np.diff(steps) * (rates[1:] + rates[:-1]) / 2))
    history = [
        {"step": step, "learning_rate": rate, "a": {"energy_mae": 700.0 * np.exp(-m / 50)}}
        for step, rate, m in zip(steps, rates, moved, strict=True)
    ]
    from tlpot.learning_curves.convergence import LARGEST_FALL, late_falls

    assert late_falls(history, "a")["energy_mae"] > LARGEST_FALL


@pytest.mark.fault
def test_failures_are_part_of_the_result_in_python(tmp_path):
    """Where all points failed, the printed result was empty, and nothing was raised."""
    zeros = dict.fromkeys((1, 6, 7, 8), 0.0)
    parent = Potential.create(preset("tiny", (1, 6, 7, 8)), {f"{CC} - gfn2-xtb": zeros})
    save(parent, tmp_path / "difference.safetensors")
    found = tlpot.learning_curve(
        tmp_path / "difference.safetensors", LIBRARY / "tlpot-qm.h5", level=CC, strategies=["full"],
        sizes=[8], seeds=1, updates=2, output=tmp_path / "curve", progress=False,
        split={"by": "random", "validation": 4, "test": 4},
    )  # fmt: skip
    assert "failed: full, 8 labels" in str(found)
