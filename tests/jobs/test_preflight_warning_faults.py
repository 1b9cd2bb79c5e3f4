"""What the pre-flight report warns of reaches those who call a job from Python."""

import logging
import warnings

import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

import tlpot
from tlpot.errors import PreflightWarning


def frames(names):
    found = []
    for k, name in enumerate(names):
        atoms = molecule(name)
        atoms.rattle(0.02, seed=k)
        atoms.calc = SinglePointCalculator(atoms, energy=-50.0 * len(atoms) + 0.01 * k)
        found.append(atoms)
    return found


def finetune(tmp_path):
    return tlpot.finetune(
        "tlpot-tiny", frames(["H2O"] * 6 + ["CH4"] * 6 + ["NH3"] * 2), level="cc/dz",
        strategy="shift", split={"by": "random", "validation": 2, "test": ["H3N"]},
        output=tmp_path / "m.safetensors", report={"enabled": False}, progress=False,
    )  # fmt: skip


@pytest.mark.fault
def test_an_element_of_no_training_frame_is_told_in_python_too(tmp_path):
    """Only the log had it, at a level that nobody sees unless told: 10,000 eV off in silence."""
    with pytest.warns(PreflightWarning, match="N is in the data and in no training frame"):
        finetune(tmp_path)


def test_who_reads_the_log_is_not_told_twice(tmp_path, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.INFO, logger="tlpot"):
        warnings.simplefilter("error", PreflightWarning)
        finetune(tmp_path)
    assert "N is in the data and in no training frame" in caplog.text
