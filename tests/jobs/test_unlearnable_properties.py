"""Labels of a property that cannot be learned: one value, one class, no logarithm, none at all."""

import numpy as np
import pytest
from toy_crystals import crystals

import tlpot
from tlpot.errors import DataError

SPLIT = {"by": "random", "validation": 6, "test": 6}
GAP, METAL = {"gap@x": "v, eV, intensive"}, {"metal@x": "v, intensive, yes_no"}
VOLUME, HARD = {"volume@x": "v, A^3, extensive"}, {"hardness@x": "v, GPa, intensive, positive"}


def refused(values, keys, tmp_path, match):
    frames = crystals(len(values))
    for atoms, value in zip(frames, values, strict=True):
        atoms.info = {"v": value}
    (level,) = keys
    for job in (
        lambda: tlpot.train(
            frames, keys=keys, level=level, preset="crystal", epochs=1, split=SPLIT,
            output=tmp_path / "m.safetensors", progress=False,
        ),
        lambda: tlpot.finetune(
            "tlpot-gap-pbe", frames, keys=keys, level=level, epochs=1, split=SPLIT,
            output=tmp_path / "m.safetensors", progress=False,
        ),
    ):  # fmt: skip
        with pytest.raises(DataError, match=match):
            job()
    assert not (tmp_path / "m.safetensors").exists()


def test_one_value_for_all(tmp_path):
    refused([1.5] * 24, GAP, tmp_path, r"gap@x is 1.5 eV for all 12 .* nothing to learn")


def test_one_value_for_all_and_no_value_for_the_rest(tmp_path):
    values = [1.5] * 20 + [np.nan] * 4
    refused(values, GAP, tmp_path, r"gap@x is 1.5 eV for all .* nothing to learn")


def test_one_value_per_atom(tmp_path):
    values = [3.0 * len(atoms) for atoms in crystals(24)]
    refused(values, VOLUME, tmp_path, r"per atom\), so there is nothing to learn")


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_only(tmp_path, value):
    refused([value] * 24, METAL, tmp_path, rf"metal@x is {value} for all 12 .* tell apart")


def test_values_that_have_no_logarithm(tmp_path):
    refused([1.0, -1.0] * 12, HARD, tmp_path, r"(?s)not a positive number.*atoms\[1\]")


def test_infinite_values(tmp_path):
    refused([1.0, np.inf] * 12, GAP, tmp_path, r"infinite|not finite")
