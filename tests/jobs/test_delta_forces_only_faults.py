"""Delta learning uses frames with forces only: those of the low level are taken off them."""

import json

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

from tlpot.cli import main
from tlpot.jobs import finetune_config, prepare_finetune
from tlpot.models import load

pytestmark = pytest.mark.train

TINY = {"hidden_irreps": "8x0e+8x1o", "radial_hidden": [], "n_species": 4, "readout_hidden": 4}


def springs(path, energies, n=24):
    """Water with the labels of springs; `energies` says which frames have an energy, too."""
    frames = []
    for k in range(n):
        atoms = molecule("H2O")
        start = atoms.positions.copy()
        atoms.rattle(0.06, seed=k)
        moved = atoms.positions - start
        atoms.arrays["forces"] = -20.0 * moved
        if energies(k):
            atoms.info["energy"] = 10.0 * float((moved**2).sum()) - 2079.0
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return path


def settings(path, low="parent"):
    return {
        "parent": "tlpot-tiny",
        "data": {"files": [str(path)], "level": "toy"},
        "level": "toy",
        "source": "wb97x/6-31g*",
        "output": str(path.with_suffix(".safetensors")),
        "strategy": {"name": "delta", "model": TINY, "low": low},
        "split": {"by": "random", "validation": 4, "test": 4},
        "training": {"epochs": 2, "batch_size": 8},
    }


@pytest.mark.fault
@pytest.mark.parametrize("energies", [lambda k: k % 2 == 0, lambda k: False])
def test_they_are_learned_less_the_forces_of_the_parent(tmp_path, energies):
    path = springs(tmp_path / "a.xyz", energies)
    job = prepare_finetune(finetune_config(settings(path)), device="cpu").job
    assert [len(getattr(job.split, part)) for part in ("train", "validation", "test")] == [16, 4, 4]
    (level,) = job.levels
    parent = load("tlpot-tiny").at("wb97x/6-31g*")
    from tlpot.calculators import TLPotCalculator

    for frame in job.dataset.read(job.split.train[:3], [level]):
        atoms = molecule("H2O")
        atoms.positions = frame.system.positions
        atoms.calc = TLPotCalculator("tlpot-tiny", level=parent.level, device="cpu")
        high = -20.0 * (frame.system.positions - molecule("H2O").positions)
        np.testing.assert_allclose(frame.labels[level].forces, high - atoms.get_forces(), atol=1e-4)


@pytest.mark.fault
@pytest.mark.parametrize("energies", [lambda k: k % 3 == 0, lambda k: False])
def test_a_training_with_them_ends_in_a_model(tmp_path, energies):
    path = springs(tmp_path / "a.xyz", energies)
    given = settings(path)
    words = [f"split.{k}={v}" for k, v in given["split"].items()]
    command = ["finetune", "tlpot-tiny", str(path), "--level", "toy", "--strategy", "delta",
               "--source", "wb97x/6-31g*", "-o", given["output"], "report.parts=[]",
               "training.epochs=2", f"strategy.model={json.dumps(TINY)}"]  # fmt: skip
    assert main([*command, *words]) == 0
    card = load(given["output"]).card
    assert card.dataset["split"]["train"] == 16
