"""Configuration files and settings that would mean something else than they seem to."""

from dataclasses import dataclass, field

import pytest

from tlpot.cli import main
from tlpot.config import parse, read_yaml, with_overrides
from tlpot.errors import ConfigError
from tlpot.sampling import SamplingSettings


@dataclass(frozen=True, kw_only=True)
class Part:
    rank: int = 4
    rate: float = 0.1
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Whole:
    part: Part = field(default_factory=Part)
    other: dict[str, int] = field(default_factory=dict)
    seed: int = 0


@pytest.mark.fault
@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a'", "line 3"),
        ("a: {c: 1,\n    d: 2, c: 3}\n", "'c'", "line 2"),
        ("a:\n  - {x: 1}\n  - {x: 1, x: 1}\n", "'x'", "line 3"),
    ],
)
def test_a_key_that_is_given_twice(tmp_path, text, key, line):
    path = tmp_path / "twice.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    message = str(caught.value)
    assert all(part in message for part in (str(path), key, line))


def test_merged_and_repeated_anchors_are_no_duplicates(tmp_path):
    path = tmp_path / "merge.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n")
    assert read_yaml(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}


@pytest.mark.fault
@pytest.mark.parametrize(("text", "meant"), [("010", "8"), ("1:30", "90"), ("-012", "-10")])
def test_numbers_that_yaml_reads_otherwise(tmp_path, text, meant):
    with pytest.raises(ConfigError, match=meant):
        with_overrides({}, [f"epochs={text}"])
    path = tmp_path / "number.yaml"
    path.write_text(f"a: 1\nepochs: {text}\n")
    with pytest.raises(ConfigError, match="line 2"):
        read_yaml(path)


def test_plain_numbers_stay_numbers():
    found = with_overrides({}, ["a=0", "b=10", "c=1_000", "d=0x10", "e=-3"])
    assert found == {"a": 0, "b": 10, "c": 1000, "d": 16, "e": -3}


@pytest.mark.fault
@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_seeds_that_no_generator_takes(seed):
    with pytest.raises(ConfigError, match="seed"):
        parse(Whole, {"seed": seed})
    with pytest.raises(ConfigError, match="part: seed"):
        parse(Whole, {"part": {"seed": seed}})


@pytest.mark.fault
def test_nan_is_no_number():
    with pytest.raises(ConfigError, match="rate"):
        parse(Whole, {"part": {"rate": float("nan")}})


@pytest.mark.fault
def test_a_key_one_section_too_high_is_led_there():
    with pytest.raises(ConfigError, match=r"part\.rank"):
        parse(Whole, {"rank": 8})
    with pytest.raises(ConfigError, match=r"other\.width"):
        parse(Whole, {"width": 8, "other": {"width": 3}})


@pytest.mark.fault
@pytest.mark.parametrize(
    ("setting", "right"),
    [("rank=8", "strategy.rank"), ("epochs=3", "training.epochs"), ("by=random", "split.by")],
)
def test_settings_of_finetune_one_section_too_high(setting, right, tmp_path, capsys):
    arguments = ["finetune", "tlpot-tiny", "x.h5", "--level", "pbe", "--strategy", "lora"]
    assert main([*arguments, "-o", str(tmp_path / "m.safetensors"), setting]) == 2
    assert right in capsys.readouterr().err


@pytest.mark.fault
def test_a_model_s_setting_one_section_too_high(tmp_path, capsys):
    config = tmp_path / "train.yaml"
    config.write_text("data: {files: [x.h5]}\noutput: m.safetensors\n")
    assert main(["train", str(config), "cutoff=4"]) == 2
    assert "model.cutoff" in capsys.readouterr().err


@pytest.mark.fault
def test_a_strategy_s_setting_for_another_strategy(tmp_path, capsys):
    arguments = ["finetune", "tlpot-tiny", "x.h5", "--level", "pbe", "--strategy", "full"]
    assert main([*arguments, "-o", str(tmp_path / "m.safetensors"), "strategy.rank=8"]) == 2
    assert "lora" in capsys.readouterr().err


@pytest.mark.fault
def test_a_value_of_none_of_several_kinds_is_told_all_of_them():
    """`temperatures: 300` "must be str", where a list of numbers is what is usual."""
    with pytest.raises(ConfigError, match=r"temperatures must be a list.* or str, not 300"):
        parse(SamplingSettings, {"temperatures": 300}, "sample")
    with pytest.raises(ConfigError, match=r"temperatures\[1\] must be float"):
        parse(SamplingSettings, {"temperatures": [300, "x"]}, "sample")
