"""Conversion factors against CODATA values written out here."""

import pytest

from tlpot.errors import DataError
from tlpot.units import energy_factor, force_factor, length_factor, stress_factor


def test_factors():
    assert energy_factor("Hartree") == pytest.approx(27.211386, rel=1e-7)
    assert energy_factor("kcal/mol") == pytest.approx(0.0433641, rel=1e-6)
    assert length_factor("bohr") == pytest.approx(0.52917721, rel=1e-8)
    assert force_factor("hartree/bohr") == pytest.approx(51.422067, rel=1e-7)
    assert force_factor("kcal/mol/angstrom") == pytest.approx(0.0433641, rel=1e-6)
    assert stress_factor("GPa") == pytest.approx(1 / 160.21766, rel=1e-7)
    assert stress_factor("ev/angstrom^3") == 1.0


@pytest.mark.parametrize("function", [energy_factor, length_factor, force_factor, stress_factor])
def test_unknown_units_offer_the_nearest(function):
    with pytest.raises(DataError, match=r"unknown \w+ unit"):
        function("hartre")
