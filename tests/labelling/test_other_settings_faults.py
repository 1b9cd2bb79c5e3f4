"""Labels that a killed run has left, and other settings afterwards."""

import warnings

import pytest
from ase import Atoms

import tlpot
from tlpot.errors import TLPotWarning

SPRING = "ase:label_toys:Spring"


@pytest.mark.fault
def test_labels_of_other_settings_that_a_journal_holds_are_named(tmp_path):
    """All was computed again without a word, where a finished file would have been refused."""
    out = tmp_path / "x.h5"
    atoms = [Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.01 * k]]) for k in range(4)]

    def run(k, limit=None):
        return tlpot.label(atoms, SPRING, out, level="spring", settings={"k": k}, limit=limit)

    run(1.0, limit=3)
    out.unlink()  # a kill leaves the journal only
    with pytest.warns(TLPotWarning, match=r"3 labels at 'spring'.*settings.k: 1.0 there, 2.0 now"):
        run(2.0, limit=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(2.0).n_known == 1
