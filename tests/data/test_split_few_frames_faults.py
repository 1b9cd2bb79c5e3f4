"""Few frames are divided by the usual shares, and what is asked for is not rounded up."""

import json

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

import tlpot
from tlpot.config import parse, to_mapping
from tlpot.data import make_split, open_dataset
from tlpot.errors import DataError
from tlpot.jobs import SplitSettings

NAMES = ("H2O", "CH4", "NH3", "CH3OH", "C2H6")


def frames(n, names=NAMES):
    found = []
    for k in range(n):
        atoms = molecule(names[k % len(names)])
        atoms.rattle(0.05, seed=k)
        atoms.calc = SinglePointCalculator(atoms, energy=-10.0 * len(atoms) - 0.01 * k)
        found.append(atoms)
    return found


def sizes(split):
    return [len(split.train), len(split.validation), len(split.test)]


@pytest.mark.fault
@pytest.mark.parametrize("names", [NAMES, ("H2O",)])
def test_the_usual_share_of_few_frames_is_one(names):
    """Five frames could not be trained on: "validation would be empty: 0.1 of 5 frames"."""
    dataset = open_dataset(frames(5, names), level="a/b")
    assert sizes(SplitSettings().divide(dataset, "a/b")) == [4, 1, 0]
    assert sizes(make_split(dataset, by="random")) == [3, 1, 1]
    assert sizes(tlpot.split_dataset(frames(5, names), level="a/b").split) == [3, 1, 1]


@pytest.mark.fault
def test_a_share_that_gives_none_says_how_to_ask_for_more():
    """The message named an argument that a training does not have, and a private exception."""
    dataset = open_dataset(frames(5), level="a/b")
    settings = parse(SplitSettings, {"validation": 0.1})
    with pytest.raises(DataError, match=r"split=\{'validation': 1\}, split.validation=1") as caught:
        settings.divide(dataset, "a/b")
    assert caught.type is DataError
    with pytest.raises(DataError, match="test would be empty"):
        make_split(dataset, by="random", test=0.1)


def test_one_frame_cannot_be_divided():
    with pytest.raises(DataError, match="add frames"):
        make_split(open_dataset(frames(1), level="a/b"), by=None)


@pytest.mark.control
@pytest.mark.parametrize("n", [6, 8, 9, 10, 40])
@pytest.mark.parametrize("by", [None, "random"])
def test_what_could_be_divided_is_divided_as_before(n, by):
    dataset = open_dataset(frames(n, NAMES[:4]), level="a/b")
    asked = make_split(dataset, by=by, validation=0.1, test=0.1)
    usual = make_split(dataset, by=by)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(usual, part), getattr(asked, part))


def test_the_usual_share_is_recorded_as_a_number():
    assert json.dumps(to_mapping(SplitSettings())["validation"]) == "0.1"
    assert type(to_mapping(SplitSettings())["validation"]) is float
