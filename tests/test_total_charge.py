"""Charge and multiplicity under the names that programs use."""

import numpy as np
import pytest

from tlpot.errors import GeometryError
from tlpot.total_charge import StatedCharge, charge_and_spin, stated_charge

NH4, CH3, O2, H2O = 11, 9, 16, 10


def stated(info=None, arrays=None, n=H2O, **options):
    found = stated_charge(info or {}, arrays or {}, n, **options)
    return found.charge, found.spin


@pytest.mark.parametrize(
    "key", ["charge", "total_charge", "net_charge", "q", "Charge", "totalCharge"]
)
@pytest.mark.parametrize("value", [1, 1.0, "+1", np.float32(1), [1]])
def test_charge_under_its_names(key, value):
    assert stated({key: value}, n=NH4) == (1, None)
    assert charge_and_spin({key: value}, {}, NH4) == (1, 1)


@pytest.mark.parametrize(
    ("info", "spin"),
    [
        ({"spin": 3}, 3),
        ({"multiplicity": 3}, 3),
        ({"mult": "3"}, 3),
        ({"uhf": 2}, 3),
        ({"magmom": -2.0}, 3),
        ({"spin": 3, "multiplicity": 3}, 3),
    ],
)
def test_multiplicity_under_its_names(info, spin):
    assert charge_and_spin(info, {}, O2) == (0, spin)


def test_charges_and_moments_of_atoms_add_up():
    assert stated({}, {"initial_charges": [1, 0, 0, 0, 0]}, NH4) == (1, None)
    assert stated({}, {"charges": [0.401, 0.15, 0.15, 0.15, 0.15]}, NH4) == (1, None)
    assert stated({}, {"initial_charges": np.zeros(5)}, NH4) == (None, None)
    assert charge_and_spin({}, {"initial_magmoms": [1, 1]}, O2) == (0, 3)
    assert charge_and_spin({}, {"initial_magmoms": [1, -1]}, O2) == (0, 1)
    # moments are where a calculation starts, a stated multiplicity is what it is for
    assert charge_and_spin({"spin": 1}, {"initial_magmoms": [1, 1]}, O2) == (0, 1)


def test_moments_of_a_crystal_are_no_multiplicity():
    assert stated({}, {"initial_magmoms": [2.2, 2.2]}, 52, periodic=True) == (None, None)
    assert stated({"magmom": 4.4}, {}, 52, periodic=True) == (None, None)


@pytest.mark.parametrize(
    ("info", "arrays"),
    [
        ({"charge": 0.5}, {}),
        ({"charge": "one"}, {}),
        ({"charge": True}, {}),
        ({"charge": float("nan")}, {}),
        ({"charge": [1, 2]}, {}),
        ({"q": 0.5}, {}),
        ({"charge": 1, "total_charge": 0}, {}),
        ({"charge": 0}, {"initial_charges": [1, 0, 0]}),
        ({}, {"initial_charges": [0.3, 0, 0]}),
        ({}, {"initial_magmoms": [0.3, 0, 0]}),
        ({}, {"initial_charges": ["a", "b", "c"]}),
        ({"spin": 0}, {}),
        ({"spin": 1.5}, {}),
        ({"spin": 1, "uhf": 2}, {}),
        ({"total_spin": 1}, {}),
    ],
)
def test_what_is_ambiguous_is_refused(info, arrays):
    with pytest.raises(GeometryError):
        stated_charge(info, arrays, H2O)


def test_a_named_key_is_the_only_one():
    info = {"charge": 0, "z": -1, "Z": 2, "spin": 1, "m": 2}
    assert stated_charge(info, {}, NH4, charge_key="z", spin_key="m") == StatedCharge(
        charge=-1, spin=2, keys=frozenset({"z", "m"})
    )


@pytest.mark.parametrize(
    ("info", "n_protons"),
    [({}, CH3), ({"spin": 1}, CH3), ({"spin": 2}, H2O), ({"charge": 1}, CH3 + 1), ({"spin": 3}, 1),
     ({"charge": 2}, 1)],
)  # fmt: skip
def test_electrons_never_pass_with_an_impossible_multiplicity(info, n_protons):
    with pytest.raises(GeometryError, match=r"electrons|protons"):
        charge_and_spin(info, {}, n_protons)
