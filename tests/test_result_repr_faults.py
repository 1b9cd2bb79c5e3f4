"""The repr of a result is a line, whatever it holds."""

import importlib
import pkgutil

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

import tlpot
from tlpot.presentation import Result

QUIET = {"progress": False}


def every_module():
    for info in pkgutil.walk_packages(tlpot.__path__, "tlpot."):
        if info.name.rpartition(".")[2].startswith("_") or "templates" in info.name:
            continue
        try:
            importlib.import_module(info.name)
        except ImportError:  # of a program that is not installed
            continue


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore")
def test_every_result_has_the_one_of_the_base():
    """Dataclasses made their own, with all that they hold."""
    every_module()
    found = Result.__subclasses__()
    assert len(found) > 20
    assert not [each for each in found if each.__repr__ is not Result.__repr__]


def frames():
    found = []
    for k in range(24):
        atoms = molecule(("H2O", "CH4", "NH3")[k % 3])
        atoms.rattle(0.05, seed=k)
        energy = -30.0 * len(atoms) - 0.1 * k
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=0.1 * atoms.positions)
        found.append(atoms)
    return found


@pytest.mark.fault
def test_results_of_trainings_do_not_print_the_network(tmp_path):
    """The module tree of torch went over the screen of whoever worked in plain Python."""
    split = {"by": "random", "validation": 12, "test": 3}
    given = {"level": "a/b", "output": tmp_path / "m.safetensors", "split": split, **QUIET}
    dry = tlpot.finetune("tlpot-tiny", frames(), strategy="shift", dry_run=True, **given)
    assert repr(dry) == "<TrainingOutcome m.safetensors: a/b, not started>"
    found = tlpot.finetune(
        "tlpot-tiny", frames(), strategy="head", epochs=1, report={"enabled": False}, **given
    )
    mae = f"{found.end.overall['energy_mae']:.3g} meV"
    assert repr(found).startswith(
        f"<TrainingOutcome m.safetensors: a/b, MAE of the test frames E {mae}, F "
    )
    errors = tlpot.evaluate(found.potential, frames(), level="a/b", **QUIET)
    assert repr(errors).startswith("<Evaluation m at a/b, 24 frames: MAE E ")
    calibrated = tlpot.calibrate(
        found.potential, frames(), level="a/b", split=tmp_path / "m.run" / "split.json", **QUIET
    )
    assert repr(calibrated).startswith("<Calibrated m: factor ")
    divided = tlpot.split_dataset(frames(), level="a/b", by="random", validation=3, test=2)
    assert repr(divided) == "<DataSplit 19 train, 3 validation, 2 test frames, at random>"
    predicted = tlpot.predict("tlpot-tiny", frames()[:2], **QUIET)
    assert repr(predicted) == "<StructurePredictions tlpot-tiny at wb97x/6-31g*: 2 structures>"


class Long(Result):
    def text(self):
        return "\n\n  " + "word " * 100 + "\nmore"


def test_the_first_line_stands_for_all_and_is_cut():
    words = repr(Long())
    assert words.startswith("<Long word word")
    assert words.endswith("...>")
    assert len(words) < 140
    assert "\n" not in words
    assert str(Long()).count("\n") == 3
    assert np.array([Long()], dtype=object).shape == (1,)
