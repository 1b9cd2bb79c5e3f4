"""Mistakes in the configuration are one line, before any work."""

import math

import pytest
import yaml
from build_settings import settings
from needs import needs

from tlpot.building import build_config, make_build_plan, up_to
from tlpot.cli import main
from tlpot.errors import ConfigError
from tlpot.files import sole_folder

needs("tblite")

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
    "long curve": ({"curve": {"sizes": [5, 21]}}, "curve.sizes has 21 training labels"),
    "curve of held-out labels": ({"curve": {"sizes": [8]}}, "finetune.split holds out 13"),
    "untested curve": (
        {"curve": {"sizes": [5]}, "finetune": {"split": {"validation": 10, "test": 0}}},
        "finetune.split.test is 0",
    ),
    "no curve": ({"curve": {"seeds": 2}}, "sizes is empty"),
    "few frames": ({"finetune": {"split": {"validation": 0.1}}}, "at least 10 validation frames"),
}
XTB = {"low": {"engine": "gfn2-xtb", "budget": 22}, "high": {"engine": "gfn1-xtb", "budget": 20}}
FROM = {"parent": "tlpot-fragments"}
SULFUR = {"engine": "gfn2-xtb", "budget": 22, "level": "wb97x/6-31g*"}
DOUBLE = {"engine": "pyscf:b2plyp/def2-svp", "budget": 20}


def started(plan, **changes):
    """Changes for a build that starts from a model."""
    return {**XTB, "pretrain": plan, **changes}


PARENTS = {
    "no such parent": (started({"parent": "tlpot-fragment"}), "did you mean 'tlpot-fragments'"),
    "no name": (started({"parent": 3}), "a file or the name of a model, not 3"),
    "low level": (
        {"pretrain": FROM},
        "has no level gfn1-xtb, which is the low one of this build; it has "
    ),
    "element": (
        {**XTB, "low": SULFUR, "sequence": "C", "pretrain": {"parent": "tlpot-tiny"}},
        "does not know S of the fragments",
    ),
    "unread": (
        {**XTB, "low": SULFUR, "sequence": "K", "pretrain": {"parent": "tlpot-tiny"}},
        "charges [1]",
    ),
    "no charges": (started(FROM, trained_charges=True), "no fragment has a charge"),
    "model": (started({**FROM, "model": {"preset": "tiny"}}), "pretrain.model does not apply"),
    "dtype": (
        started({**FROM, "dtype": "float64", "training": {"epochs": 3}}),
        "pretrain.dtype does not apply with pretrain.parent",
    ),
    "source": (started({**FROM, "source": "gfn2-xtb"}), "pretrain.source does not apply"),
    "split": (started({**FROM, "split": {"test": 3}}), "pretrain.split does not apply"),
    "rate": (
        started({**FROM, "training": {"learning_rate": 1e-3}}),
        "pretrain.training.learning_rate does not apply: the parent is taken as it is",
    ),
    "rate of none": (
        started({**FROM, "training": {"epochs": 0, "batch_size": 3}}),
        "pretrain.training.batch_size does not apply",
    ),
    "strategy without epochs": (
        started({**FROM, "strategy": "freeze"}), "Say pretrain.training.epochs to fine-tune",
    ),
    "typo": (started({**FROM, "stratgy": "full"}), "did you mean 'strategy'"),
    "typo in tuning": (
        started({**FROM, "training": {"epochs": 3, "epoch": 4}}), "did you mean 'epochs'",
    ),
    "two levels": (
        started({**FROM, "strategy": "replay", "training": {"epochs": 3}}),
        "is for labels of two levels",
    ),
    "unsure of nothing": (
        started({**FROM, "strategy": "frozen-ridge"}, select={"how": "uncertainty"}),
        "does not apply to pretrain.strategy 'frozen-ridge'",
    ),
    "iterates nothing": (
        started({**FROM, "strategy": "shift", "training": {"epochs": 3}}), "trains nothing",
    ),
    "level without steps": (
        {"assemble": {"reference_dynamics": "low"}}, "level of reference_steps, which is 0",
    ),
    "budget without forces": (
        {"high": {"engine": "gfn2-xtb", "budget": 20, "forces": "no"}},
        "assemble.reference: high needs forces, and high.forces is no; leave high.forces out",
    ),
    "negative steps": ({"assemble": {"reference_steps": -1}}, "reference_steps is -1"),
    "never triggers": (
        {"active": {"rounds": 1, "trigger": math.nan}}, "trigger is nan, expected a number",
    ),
    "boundless heat": (
        {"active": {"rounds": 1, "temperature": math.inf}}, "temperature is inf, expected",
    ),
    "negative seed": ({"assemble": {"seed": -1}}, "seed is -1, expected 0 to"),
    "other level": (
        {"assemble": {"reference_steps": 5, "reference_dynamics": "hihg"}}, "did you mean 'high'",
    ),
    "no angles": (
        {"sequence": "", "assemble": {"reference_steps": 5}},
        "none of the structures has an amino acid with both",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"), [*WRONG.values(), *PARENTS.values()], ids=[*WRONG, *PARENTS]
)
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


def test_reference_dynamics_need_an_engine_with_forces(tmp_path):
    needs("pyscf")
    run = {"steps": 2, "reference_steps": 5, "reference_dynamics": "high"}
    given = settings(tmp_path / "out", high=DOUBLE, assemble=run)
    with pytest.raises(ConfigError, match=r"needs forces, and pyscf:b2plyp/def2-svp has none"):
        make_build_plan(build_config(given))


def test_an_error_budget_needs_an_engine_with_forces(tmp_path):
    needs("pyscf")
    run = {"steps": 2, "reference": "high"}
    given = settings(tmp_path / "out", high=DOUBLE, assemble=run)
    message = r"reference: high needs forces, and pyscf:b2plyp/def2-svp has none.*numerical"
    with pytest.raises(ConfigError, match=message):
        make_build_plan(build_config(given))
    for accepted in (
        {"high": {**DOUBLE, "forces": "numerical"}}, {"assemble": {**run, "reference": "low"}},
    ):  # fmt: skip
        make_build_plan(build_config({**given, **accepted}))


def test_a_dry_run_lists_the_stages_and_writes_nothing(tmp_path, capsys):
    config = tmp_path / "build.yaml"
    config.write_text(yaml.safe_dump(settings(tmp_path / "out")))
    assert main(["build", str(config), "--dry-run", "active.rounds=2"]) == 0
    text = capsys.readouterr().out
    assert "round-2-finetune" in text
    assert not (tmp_path / "out").exists()


def test_until_names_a_stage(tmp_path):
    stages = make_build_plan(build_config(settings(tmp_path))).stages
    assert [stage.name for stage in up_to(stages, "low")] == ["fragments", "sample", "low"]
    with pytest.raises(ConfigError, match="did you mean 'pretrain'"):
        up_to(stages, "pretrian")


def test_two_builds_do_not_share_a_folder(tmp_path):
    with (
        sole_folder(tmp_path, "tlpot build", error=ConfigError),
        pytest.raises(ConfigError, match="in use by tlpot build"),
        sole_folder(tmp_path, "tlpot build", error=ConfigError),
    ):
        pass
