"""Delta learning from the command line."""

import pytest

from tlpot.cli import main
from tlpot.models import LIBRARY

CC, XTB = "ccsd(t)/cbs(dt)", "gfn2-xtb"
DATA = str(LIBRARY / "tlpot-qm.h5")
SMALL = (
    "strategy.model.hidden_irreps=4x0e+4x1o", "split.by=random", "split.validation=6",
    "split.train=12", "training.epochs=1", "training.batch_size=6", "report.md_steps=20",
)  # fmt: skip


def finetune(output, *settings):
    return main(
        ["finetune", "tlpot-tiny", DATA, "--level", CC, "--strategy", "delta", "-o", str(output),
         "--device", "cpu", *SMALL, *settings]
    )  # fmt: skip


def test_a_sum_is_a_model_for_every_command(tmp_path, capsys):
    model = str(tmp_path / "m.safetensors")
    assert finetune(model) == 0
    assert f"level {CC} - wb97x/6-31g*: energy" in capsys.readouterr().out
    assert main(["info", model]) == 0
    shown = capsys.readouterr().out
    assert "sum of a low level and a difference" in shown
    assert "E0 ccsd(t)/cbs(dt)" in shown
    assert f"{CC} - wb97x/6-31g*" in shown
    assert main(["info", model, "--json"]) == 0
    split = ["--split", str(tmp_path / "m.run" / "split.json"), "--part", "validation"]
    assert main(["evaluate", model, DATA, "--level", CC, "--device", "cpu", *split]) == 0
    assert "6 frames" in capsys.readouterr().out
    out = str(tmp_path / "md")
    assert main(["md", "H2O", model, "--steps", "3", "--out", out, "--device", "cpu"]) == 0


def test_a_difference_is_refused_where_a_total_is_meant(tmp_path, capsys):
    model = str(tmp_path / "d.safetensors")
    assert finetune(model, f"strategy.low={XTB}") == 0
    level = f"{CC} - {XTB}"
    split = ["--split", str(tmp_path / "d.run" / "split.json"), "--part", "validation"]
    assert main(["evaluate", model, DATA, "--level", level, "--device", "cpu", *split]) == 0
    assert "6 frames" in capsys.readouterr().out
    for command, words in (
        (["evaluate", model, DATA, "--level", CC], f"--level '{level}'"),
        (["evaluate", "tlpot-tiny", DATA, "--level", level], "one is a difference"),
        (["md", "H2O", model, "--out", str(tmp_path / "x")], "Use DeltaCalculator"),
    ):
        assert main([*command, "--device", "cpu"]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert "Traceback" not in error


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("strategy.low=gfn3-xtb", "did you mean 'gfn2-xtb'"),
        ("strategy.lwo=gfn2-xtb", "did you mean 'low'"),
        ("references=parent", "references=fit"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, capsys, setting, words):
    assert finetune(tmp_path / "m.safetensors", setting) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
