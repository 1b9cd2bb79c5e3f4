"""The report after a fine-tuning, of a saved model, and on the command line."""

import json
from dataclasses import replace

import pytest
from shipped_levels import CC, DFT

from tlpot.cli import main
from tlpot.errors import ConfigError
from tlpot.evaluation import ReportSettings
from tlpot.evaluation.transfer_report import report_figure
from tlpot.jobs import finetune, finetune_config

pytestmark = pytest.mark.train

FILES = {"report.json", "report.txt", "report.png"}
SHORT = {"md_steps": 20, "frames": 12}


def run(settings, **changes):
    return finetune(finetune_config({**settings, **changes}), overwrite=True, show=False)


def shifted(settings):
    return {k: v for k, v in settings.items() if k != "training"} | {"strategy": "shift"}


def files(tmp_path):
    return {p.name for p in (tmp_path / "model.run").iterdir()} & FILES


def test_a_library_call_makes_no_report_unless_asked(settings, tmp_path):
    run(shifted(settings))
    assert files(tmp_path) == {"report.json"}
    assert "transfer" not in json.loads((tmp_path / "model.run" / "report.json").read_text())


def test_the_report_of_a_full_finetuning(settings, tmp_path):
    outcome = run(settings, report=SHORT)
    report, folder = outcome.report, tmp_path / "model.run"
    assert files(tmp_path) == FILES
    found = json.loads((folder / "report.json").read_text())
    assert found["overall"] == outcome.end.overall
    transfer = found["transfer"]
    assert set(transfer) == {
        "level", "source", "part", "before", "calibration", "drift", "forgetting", "dimers", "md",
        "skipped", "warnings",
    }  # fmt: skip
    assert (transfer["level"], transfer["source"], transfer["part"]) == (CC, DFT, "test")
    assert transfer["before"] == outcome.start.overall
    assert transfer["drift"]["n_frames"] == 12
    assert transfer["drift"]["forces_rms"] > 0
    assert transfer["forgetting"]["kept"] is False
    assert transfer["forgetting"]["n_frames"] == 12
    assert transfer["forgetting"]["new"] != transfer["forgetting"]["parent"]
    assert len(transfer["dimers"]) == 10
    assert transfer["md"]["steps_asked"] == 20
    assert transfer["skipped"] == {}
    assert transfer["warnings"] == list(report.warnings)
    far = report.drift.components * 0 + 0.2 * report.drift.parent_rms
    moved = replace(report, drift=replace(report.drift, components=far)).warnings
    assert any("moved by 20 %" in w for w in moved)
    text = (folder / "report.txt").read_text()
    for words in ("target error", "force drift", "forgetting", "dimer walls", "calibration", "NVE"):
        assert words in text
    panels = report_figure(report).axes
    assert [p.get_title(loc="left")[:3] for p in panels] == ["(a)", "(b)", "(c)", "(d)"]
    assert all(p.get_lines() or p.patches for p in panels)
    run(settings)
    assert files(tmp_path) == {"report.json"}  # nothing of an older run is left


def test_shift_neither_drifts_nor_forgets(settings):
    report = run(shifted(settings), report=SHORT).report
    assert report.drift.rms == 0.0
    assert report.drift.as_json()["relative_energy_rms"] < 1e-6
    assert report.forgetting.kept
    assert report.forgetting.new == report.forgetting.parent
    assert not any(dimer.worse for dimer in report.dimers.dimers)


def test_parts_that_are_switched_off_say_so(settings, tmp_path):
    report = run(shifted(settings), report={"parts": ["calibration", "md"], "md_steps": 0}).report
    assert set(report.skipped) == {"drift", "forgetting", "dimers", "md"}
    assert "md_steps=0" in report.skipped["md"]
    assert "drift: not looked at, switched off" in report.summary()
    assert len(report_figure(report).axes) == 4
    assert files(tmp_path) == FILES


def test_labels_of_the_source_are_found_though_one_level_was_opened(settings, data_file):
    data = {"files": [str(data_file)], "level": CC}
    report = run(shifted(settings), data=data, report={"parts": ["forgetting"]}).report
    assert report.forgetting.level == DFT


def test_other_report_settings_do_not_stop_a_resumption(settings, tmp_path):
    run(settings)
    (tmp_path / "model.run" / "report.json").unlink()  # as after Ctrl-C
    config = finetune_config({**settings, "report": {"parts": ["calibration"]}})
    assert finetune(config, resume=True, show=False).report is not None


def test_the_command_line_reports_by_default(settings, parent, data_file, tmp_path, capsys):
    command = ["finetune", str(parent), str(data_file), "--level", CC, "--strategy", "shift"]
    command += [
        "-o",
        str(tmp_path / "model.safetensors"),
        "--device",
        "cpu",
        "split.test=[methanol]",
    ]
    assert main([*command, "report.md_steps=10"]) == 0
    assert "force drift from the parent: RMS 0 meV/Å" in capsys.readouterr().out
    assert files(tmp_path) == FILES
    assert main([*command, "report.enabled=false", "--overwrite"]) == 0
    assert "force drift" not in capsys.readouterr().out
    assert files(tmp_path) == {"report.json"}


def test_a_report_of_a_saved_model(parent, data_file, tmp_path, capsys):
    command = ["report", str(parent), str(data_file), "--level", DFT, "report.md_steps=10"]
    command += ["--device", "cpu"]
    assert main([*command, "-o", str(tmp_path / "out"), "report.frames=10"]) == 0
    shown = capsys.readouterr().out
    assert "drift: there is no parent" in shown
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["transfer"]["source"] is None
    assert found["overall"]["forces_mae"] > 0
    assert found["transfer"]["calibration"]["lines"]["force"]["n"] > 1000
    assert main([*command, "--parent", str(parent), "report.parts=[drift]"]) == 2
    capsys.readouterr()
    command.remove("report.md_steps=10")
    assert main([*command, "--parent", str(parent), "report.parts=[drift]"]) == 0
    assert "force drift from the parent: RMS 0 meV/Å" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["report.enabled=false"], "leave it out"),
        (["report.parts=[dimer]"], "did you mean 'dimers'"),
        (["--source", DFT], "no parent is given"),
        (["report.frames=0"], "expected 1 or more"),
        (["--parent", "nowhere"], "no file"),
    ],
)
def test_mistakes_end_in_one_line(parent, data_file, capsys, options, message):
    assert main(["report", str(parent), str(data_file), "--level", DFT, *options]) == 2
    assert message in capsys.readouterr().err


def test_settings_that_make_no_sense():
    with pytest.raises(ConfigError, match="md_steps is -1"):
        ReportSettings(md_steps=-1)
    with pytest.raises(ConfigError, match="md is not among the parts"):
        ReportSettings(parts=("drift",), md_steps=10)


def test_a_slope_says_soft_stiff_or_that_nothing_follows_the_labels(settings):
    report = run(shifted(settings), report={"parts": ["calibration"]}).report
    line = report.calibration.lines["relative_energy"]

    def warned(slope):
        lines = {"relative_energy": replace(line, slope=slope, slope_error=0.01)}
        changed = replace(report, calibration=replace(report.calibration, lines=lines))
        return " ".join(w for w in changed.warnings if w.startswith("slope"))

    assert warned(0.5).endswith("the surface is too soft")
    assert warned(1.5).endswith("the surface is too stiff")
    assert "do not rise with the labels" in warned(-0.5)
    assert "soft" not in warned(-0.5)
