"""Mistakes in the configuration are one line, before any work."""

import pytest
import yaml
from build_settings import settings

from tlpot.cli import main
from tlpot.errors import ConfigError
from tlpot.pipeline.building import build_config, make_blueprint, up_to
from tlpot.pipeline.building.runner import _locked

pytest.importorskip("tblite")

WRONG = {
    "typo": ({"actve": {"rounds": 1}}, "did you mean 'active'"),
    "typo below": ({"low": {"engine": "gfn1-xtb", "budgt": 3}}, "did you mean 'budget'"),
    "typo in training": ({"pretrain": {"training": {"epoch": 3}}}, "did you mean 'epochs'"),
    "typo in the model": ({"pretrain": {"model": {"n_layer": 3}}}, "did you mean 'n_layers'"),
    "typo in sampling": ({"sample": {"method": ["md"]}}, "did you mean 'methods'"),
    "engine": ({"high": {"engine": "gfn3-xtb", "budget": 2}}, "unknown engine 'gfn3-xtb'"),
    "strategy": ({"finetune": {"strategy": "ful"}}, "did you mean 'full'"),
    "scheme": ({"scheme": "mfc"}, "did you mean 'mfcc'"),
    "scheme with charges": ({"scheme": "ai2bmd"}, "tlpot fragment, tlpot md"),
    "no fragments": ({"scheme": "direct"}, "no fragments"),
    "residue": ({"sequence": "GX"}, "X"),
    "structure": ({"sequence": None, "structures": ["gone.pdb"]}, "no such file: gone.pdb"),
    "both": ({"structures": ["gone.pdb"]}, "either structures or a sequence; both are given"),
    "neither": ({"sequence": None}, "neither is"),
    "caps": ({"sequence": None, "structures": ["a.xyz"], "n_cap": "ACE"}, "n_cap goes with"),
    "equal levels": ({"high": {"engine": "gfn1-xtb", "budget": 2}}, "low and high are both"),
    "more high": ({"high": {"engine": "gfn2-xtb", "budget": 99}}, "high.budget is 99"),
    "no budget": ({"low": {"engine": "gfn1-xtb", "budget": 0}}, "budget is 0"),
    "filled in": ({"finetune": {"level": "x"}}, "finetune.level does not apply"),
    "own budget": ({"sample": {"budget": 3}}, "see low.budget"),
    "blind rounds": ({"uncertainty": {"method": "none"}}, "uncertainty.method"),
    "no uncertainty": ({"finetune": {"strategy": "delta"}}, "does not apply to the strategy"),
    "few frames": ({"finetune": {"split": {"validation": 0.1}}}, "at least 10 validation frames"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_one_line_before_any_work(changes, message, tmp_path, capsys):
    out, config = tmp_path / "out", tmp_path / "build.yaml"
    given = {**settings(out), **changes}
    config.write_text(yaml.safe_dump({k: v for k, v in given.items() if v is not None}))
    assert main(["build", str(config)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("tlpot build: ")
    assert error.count("\n") == 1
    assert message in error
    assert not out.exists()


def test_a_dry_run_lists_the_stages_and_writes_nothing(tmp_path, capsys):
    config = tmp_path / "build.yaml"
    config.write_text(yaml.safe_dump(settings(tmp_path / "out")))
    assert main(["build", str(config), "--dry-run", "active.rounds=2"]) == 0
    text = capsys.readouterr().out
    assert "round-2-finetune" in text
    assert not (tmp_path / "out").exists()


def test_until_names_a_stage(tmp_path):
    stages = make_blueprint(build_config(settings(tmp_path))).stages
    assert [stage.name for stage in up_to(stages, "low")] == ["fragments", "sample", "low"]
    with pytest.raises(ConfigError, match="did you mean 'pretrain'"):
        up_to(stages, "pretrian")


def test_two_builds_do_not_share_a_folder(tmp_path):
    with (
        _locked(tmp_path),
        pytest.raises(ConfigError, match="another tlpot build"),
        _locked(tmp_path),
    ):
        pass
