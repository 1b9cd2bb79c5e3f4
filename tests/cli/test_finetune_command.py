"""`tlpot finetune` with strategies that learn other levels of the data as well."""

import pytest

from tlpot.cli import main
from tlpot.models import LIBRARY

pytestmark = pytest.mark.train

CC, DFT, XTB = "ccsd(t)/cbs(dt)", "wb97x/6-31g*", "gfn2-xtb"
DATA = str(LIBRARY / "tlpot-qm.h5")


def dry_run(output, *arguments):
    return main(
        ["finetune", "tlpot-tiny", DATA, "--level", CC, "-o", str(output), "--device", "cpu",
         "--dry-run", *arguments]
    )  # fmt: skip


def test_multihead_sees_the_other_levels_of_the_file(tmp_path, capsys):
    output = tmp_path / "m.safetensors"
    assert dry_run(output, "--strategy", "multihead", f'strategy.levels=["{DFT}"]') == 0
    shown = capsys.readouterr().out
    assert f"level {CC}: energy\n" in shown
    assert f"level {DFT}: energy, forces\n" in shown
    assert f"level {XTB}" not in shown
    assert dry_run(output, "--strategy", "multihead") == 0
    assert f"level {XTB}: energy, forces\n" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_replay_rehearses_source_data(tmp_path, capsys):
    files = [f'strategy.files=["{DATA}"]', "strategy.frames=50"]
    assert dry_run(tmp_path / "m.safetensors", "--strategy", "replay", *files) == 0
    assert f"level {DFT}: energy, forces\n" in capsys.readouterr().out


@pytest.mark.parametrize("strategy", ["full", "shift"])
def test_other_strategies_read_the_one_level(tmp_path, capsys, strategy):
    assert dry_run(tmp_path / "m.safetensors", "--strategy", strategy) == 0
    shown = capsys.readouterr().out
    assert f"level {CC}: energy" in shown
    assert f"level {DFT}" not in shown


def test_a_level_that_the_file_lacks_is_named(tmp_path, capsys):
    levels = 'strategy.levels=["wb97x/6-31g"]'
    assert dry_run(tmp_path / "m.safetensors", "--strategy", "multihead", levels) == 2
    assert f"did you mean '{DFT}'" in capsys.readouterr().err


@pytest.mark.parametrize("strategy", ["shift", "auto"])
def test_a_model_that_is_there_is_named_and_left_alone(tmp_path, capsys, strategy):
    output = tmp_path / "m.safetensors"
    output.write_text("another model")
    command = ["finetune", "tlpot-tiny", DATA, "--level", CC, "-o", str(output), "--device", "cpu",
               "--strategy", strategy, "split.by=random", "split.train=8", "split.validation=4",
               "split.test=4"]  # fmt: skip
    assert main(command) == 2
    shown = capsys.readouterr()
    assert f"the model file {output} exists; replace it with --overwrite" in shown.err
    assert bool(shown.out) == (strategy == "shift")  # auto tries nothing before
    assert output.read_text() == "another model"
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("trainin: {epochs: 3}", "unknown key 'trainin'; did you mean 'training'"),
        ("training: {epoch: 3}", "training: unknown key 'epoch'; did you mean 'epochs'"),
        ("strategy: {name: lora, rnk: 3}", "strategy lora: unknown key 'rnk'"),
        ("strategy: ful", "unknown strategy 'ful'; did you mean 'full'"),
        ("strategy: {name: auto, fold: 3}", "strategy auto: unknown key 'fold'"),
        ("{strategy: auto, trainin: {}}", "unknown key 'trainin'"),
    ],
)
def test_a_typo_in_the_configuration_names_the_file(tmp_path, capsys, content, message):
    path = tmp_path / "more.yaml"
    path.write_text(content)
    assert dry_run(tmp_path / "m.safetensors", "--config", str(path)) == 2
    assert f"{path}: {message}" in capsys.readouterr().err


def test_auto_is_among_the_strategies_that_are_offered(tmp_path, capsys):
    assert dry_run(tmp_path / "m.safetensors", "--strategy", "aut") == 2
    assert "did you mean 'auto'" in capsys.readouterr().err
    path = tmp_path / "more.yaml"
    path.write_text("strategy: atuo")
    assert dry_run(tmp_path / "m.safetensors", "--config", str(path)) == 2
    assert "did you mean 'auto'" in capsys.readouterr().err


@pytest.mark.fault
def test_the_file_of_config_may_say_level_and_output(tmp_path, capsys):
    """``--level`` and ``-o`` were asked for although the file had them."""
    config = tmp_path / "cc.yaml"
    config.write_text(f"level: {CC}\nstrategy: shift\noutput: {tmp_path}/m.safetensors\n")
    command = ["finetune", "tlpot-tiny", DATA, "--config", str(config), "--device", "cpu"]
    assert main([*command, "--dry-run"]) == 0
    assert f"output: {tmp_path}/m.safetensors" in capsys.readouterr().out
    config.write_text("strategy: shift\n")
    assert main([*command, "--level", CC]) == 2
    assert "--output is required" in capsys.readouterr().err
