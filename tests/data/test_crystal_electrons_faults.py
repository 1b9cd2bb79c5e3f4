"""An odd number of electrons in the cell of a crystal is no missing multiplicity."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write

from tlpot.data import find_problems, open_dataset
from tlpot.data.problems import label_problems


def labelled(path, structures):
    for k, atoms in enumerate(structures):
        atoms.info.update(energy=float(k) - 100.0, gap=0.1 * k)
    write(path, structures, format="extxyz")
    return path


def said(problems):
    return [problem.frames for problem in problems if "odd number" in problem.what]


@pytest.mark.fault
@pytest.mark.parametrize(
    ("level", "keys"), [("pbe", None), ("gap@pbe", {"gap@pbe": "gap, eV, intensive"})]
)
def test_only_molecules_are_asked_for_a_multiplicity(tmp_path, level, keys):
    """Each training on crystals warned of their electrons, and `--strict` refused it."""
    structures = [bulk("Cu", a=3.6), bulk("Cu", a=3.7), molecule("OH", cell=[8.0] * 3, pbc=True)]
    path = labelled(tmp_path / "a.xyz", structures)
    dataset = open_dataset(path, level=level, keys=keys)
    assert said(find_problems(dataset)) == [("a.xyz[2]",)]
    assert said(label_problems(dataset, level, np.arange(3))) == [("a.xyz[2]",)]


@pytest.mark.control
def test_a_multiplicity_that_is_stated_must_be_possible(tmp_path):
    crystal = bulk("Cu")
    crystal.info["charge"] = 2
    path = labelled(tmp_path / "a.xyz", [crystal])
    ((frame,),) = said(find_problems(open_dataset(path, level="pbe")))
    assert frame == "a.xyz[0]"
