"""What the table of reference energies says of their errors."""

import numpy as np
import pytest

from tlpot.jobs.references import References
from tlpot.training import fit_references


@pytest.mark.fault
def test_an_error_that_cannot_be_estimated_is_not_0():
    """With as many frames as elements each shift was printed with ± 0.0000."""
    elements, rows = (1, 6, 8), np.array([[4, 1, 1], [2, 1, 1]], float)
    fit = fit_references(elements, rows, np.array([3.0, 1.0]))
    energies = dict(zip(elements, fit.shifts, strict=True))
    prior = dict.fromkeys(elements, 0.0)
    table = References(energies=energies, origin="a fit", prior=prior, fit=fit).table()
    assert "±" not in table
    notes = {line.split()[0]: line for line in table.splitlines() if line.strip()}
    assert "unknown" in notes["H"]
    assert "not identified" in notes["C"]
