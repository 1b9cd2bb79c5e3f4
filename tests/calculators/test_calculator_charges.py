"""Calculators with a charge of their own: fragments, differences and labels get theirs."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from needs import needs

from tlpot.calculators import DeltaCalculator, FragmentCalculator
from tlpot.engines import EngineSpec
from tlpot.errors import ConfigError, GeometryError
from tlpot.labelling import label
from tlpot.models import Potential, preset
from tlpot.structures import build_peptide

pytestmark = pytest.mark.fault


class Fixed(Calculator):
    """An energy that depends on the charge and multiplicity it was made with."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    default_parameters = {"charge": None, "multiplicity": None}  # noqa: RUF012

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        charge, multiplicity = self.parameters["charge"], self.parameters["multiplicity"]
        if charge is None:
            charge = atoms.get_initial_charges().sum()
        if multiplicity is None:
            multiplicity = atoms.get_initial_magnetic_moments().sum() + 1
        self.results = {
            "energy": float(len(atoms) * (1 + 100 * charge**2 + 1000 * (multiplicity - 1))),
            "forces": np.zeros((len(atoms), 3)),
        }


class Stubborn(Fixed):
    """Keeps what it was made with."""

    def set(self, **settings):
        changed = {k: v for k, v in settings.items() if self.parameters.get(k) is None}
        return super().set(**changed)


class Attribute(Fixed):
    """Keeps its charge where ASE does not look."""

    def __init__(self, charge):
        super().__init__()
        self.charge = charge


def energy(atoms, *args, **settings):
    copy = atoms.copy()
    copy.calc = FragmentCalculator(atoms, *args, **settings)
    return copy.get_potential_energy()


LYSINE = build_peptide("AKG", conformation="extended")  # one charged fragment among neutral ones


@pytest.mark.parametrize(
    ("scheme", "settings"),
    [
        ("mfcc", {"charge": 1}),
        ("mfcc", {"charge": 0}),
        ("mfcc", {"multiplicity": 3}),
        ("mfcc", {"charge": 1, "multiplicity": 1}),
        ("mfcc_mbe2", {"charge": 0}),
        ("mfcc_mbe2", {"multiplicity": 3}),
        # the pairs of fragments put right what a charge of 1 does wrong to a single one
        pytest.param("mfcc_mbe2", {"charge": 1}, marks=pytest.mark.control),
        pytest.param("mfcc_mbe2", {"charge": 1, "multiplicity": 1}, marks=pytest.mark.control),
    ],
)
def test_every_fragment_gets_its_charge(scheme, settings):
    fixed = Fixed(**settings)
    assert energy(LYSINE, fixed, scheme) == pytest.approx(energy(LYSINE, Fixed(), scheme))
    for key, value in settings.items():  # the calculator is the caller's
        assert fixed.parameters[key] == value


@pytest.mark.control
def test_both_layers_get_their_charges():
    found = energy(LYSINE, Fixed(charge=1), "mfcc", low=Fixed(charge=0))
    assert found == pytest.approx(energy(LYSINE, Fixed(), "mfcc", low=Fixed()))


@pytest.mark.parametrize("calculator", [Stubborn(charge=1), Attribute(1)])
def test_a_charge_that_cannot_be_set_is_refused(calculator):
    with pytest.raises(ConfigError, match="charge=1"):
        energy(LYSINE, calculator, "mfcc")


def test_tblite_with_a_charge_gives_what_it_gives_without():
    tblite = needs("tblite.ase")
    atoms = build_peptide("GK", conformation="extended")
    made = [tblite.TBLite(method="GFN2-xTB", verbosity=0, **kw) for kw in ({"charge": 1}, {})]
    found = [energy(atoms, calculator, "mfcc") for calculator in made]
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def difference():
    """A random network that reads charges, for the difference of two toy levels."""
    sizes = preset("tiny", (1, 8), hidden_irreps="4x0e+4x1o", cutoff=3.0, charge_spin=True)
    return Potential.create(sizes, {"high - toy": {1: 0.0, 8: 0.0}}, dtype=torch.float64)


def test_a_low_calculator_gets_the_charge_of_the_structure():
    ion = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1, "spin": 1})
    neutral = Atoms("OHH", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])
    ion.calc = DeltaCalculator(Fixed(), difference())
    ion.get_potential_energy()
    assert ion.calc.results["energy_low"] == pytest.approx(2 * 101)
    neutral.calc = DeltaCalculator(Fixed(charge=1), difference())
    with pytest.raises(GeometryError, match="charge=1"):
        neutral.get_potential_energy()


def test_a_fixed_charge_of_an_engine_is_not_that_of_other_structures(tmp_path):
    spec = EngineSpec(name="ase:test_calculator_charges:Fixed", settings={"charge": 1}, level="toy")
    water = Atoms("OHH", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])
    report = label(water, spec, tmp_path / "w.h5", show=False)
    assert report.n_labelled == 0
    assert "charge" in report.failures[0].outcome.error
