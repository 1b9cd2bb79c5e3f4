"""`tlpot plan --cost-from`: the price of a label as `tlpot label` measured it."""

import numpy as np
from ase.build import molecule
from ase.io import write
from synthetic_curves import full, scratch, synthetic_curve, synthetic_series

from tlpot.cli import main
from tlpot.engines import EngineSpec
from tlpot.labelling import label

EMT, LJ = "ase:ase.calculators.emt:EMT", "ase:ase.calculators.lj:LennardJones"


def test_a_plan_takes_the_price_from_the_labels(tmp_path, capsys):
    rng = np.random.default_rng(0)
    waters = [molecule("H2O") for _ in range(4)]
    for atoms in waters:
        atoms.rattle(0.05, rng=rng)
    write(tmp_path / "w.xyz", waters)
    out = str(tmp_path / "x.h5")
    label(tmp_path / "w.xyz", EngineSpec(name=EMT, level="emt"), out, show=False)
    label(out, EngineSpec(name=LJ, level="lj"), out, show=False)
    curve = synthetic_curve(synthetic_series("scratch", scratch), synthetic_series("full", full))
    curve.save(tmp_path)
    plan = ["plan", str(tmp_path), "--target", "50meV"]

    assert main([*plan, "--cost-from", out, "--levels", "EMT", "LJ"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("one label at EMT costs ")
    assert first.endswith(" at LJ (4 geometries with both)")
    assert main([*plan, "--cost-from", out, "--levels", "LJ", "EMT"]) == 0
    second = capsys.readouterr().out.splitlines()[0]
    prices = [float(line.split(" costs ")[1].split()[0]) for line in (first, second)]
    assert prices[0] > 0
    # even numbers of geometries: the medians of a ratio and of its inverse differ a little
    assert 0.2 < prices[0] * prices[1] < 5

    for arguments, message in (
        (["--cost-from", out], "go together"),
        (["--cost-from", out, "--levels", "emt", "hf/sto-3g"], "no file has costs"),
        (["--cost-from", out, "--levels", "emt", "lj", "--cost-ratio", "3"], "not both"),
        ([], "--cost-from FILE"),
    ):
        assert main([*plan, *arguments]) == 2
        assert message in capsys.readouterr().err
