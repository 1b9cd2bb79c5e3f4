"""Forces that are not those of the atoms: each geometry fails, and none stays labelled so."""

import os
import re
import sys

import numpy as np
import pytest
from ase.build import molecule

from tlpot.data import open_dataset
from tlpot.engines import EngineSpec
from tlpot.labelling import LabelOutcome, LabelSettings, label
from tlpot.labelling.journal import Journal, LabelRecord

pytestmark = pytest.mark.fault

FORMS = {
    "first": r"forces of shape \(1, 3\), expected \(5, 3\)",
    "vector": r"forces of shape \(3,\), expected \(5, 3\)",
    "column": r"forces of shape \(5, 1\), expected \(5, 3\)",
    "short": r"forces of shape \(4, 3\), expected \(5, 3\)",
    "flat": r"forces of shape \(15,\), expected \(5, 3\)",
    "number": r"forces of shape \(\), expected \(5, 3\)",
    "energies": r"energy of shape \(5,\), expected one number",
}


def spec(form, python=""):
    name = f"{python}ase:label_toys:Misshapen"
    return EngineSpec(name=name, level="toy", settings={"form": form})


@pytest.mark.parametrize("form", FORMS)
def test_a_geometry_with_forces_of_another_shape_fails(tmp_path, form):
    report = label(molecule("CH4"), spec(form), tmp_path / "a.h5", show=False)
    assert report.n_labelled == 0
    assert not (tmp_path / "a.h5").exists()
    (failure,) = report.failures
    assert re.search(FORMS[form], failure.outcome.error)


def test_so_it_does_from_another_python(tmp_path, monkeypatch):
    here = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    given = spec("first", f"env:{sys.executable} ")
    (failure,) = label(molecule("CH4"), given, tmp_path / "a.h5", show=False).failures
    assert "forces of shape (1, 3), expected (5, 3)" in failure.outcome.error


@pytest.mark.parametrize("shape", [(1, 3), (4, 3), (5, 1), (15,)])
def test_a_journal_that_holds_such_forces_as_a_label_is_tried_again(tmp_path, shape):
    output, atoms = tmp_path / "a.h5", molecule("CH4")
    good = spec("good")
    label(atoms, good, output, show=False)
    output.unlink()
    path = tmp_path / "a.h5.journal"
    with Journal(path) as journal:
        ((engine, geometry),) = journal._records
        definition = journal.definitions[engine]
    path.unlink()
    with Journal(path) as journal:
        journal.define(engine, definition["level"], definition["definition"])
        outcome = LabelOutcome(energy=1.0, forces=np.ones(shape))
        journal.append(LabelRecord(engine=engine, geometry=geometry, name="x", outcome=outcome))
    report = label(atoms, good, output, show=False)
    assert (report.n_labelled, report.n_known) == (0, 0)
    assert f"the program gave forces of shape {shape}" in report.failures[0].outcome.error
    assert not output.exists()
    report = label(atoms, good, output, settings=LabelSettings(retry_failed=True), show=False)
    assert (report.n_labelled, report.failures) == (1, ())
    (frame,) = open_dataset(output).read(range(1))
    assert np.allclose(frame.labels["toy"].forces, -atoms.positions)
