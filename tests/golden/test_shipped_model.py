"""Numbers of the shipped models: they must not move when code does.

Energies and the largest force component of tlpot-tiny and of the peptide models in float64, at
ASE's G2 geometries, computed with tlpot 0.1.0, torch 2.13.0 and e3nn 0.6.0 on x86-64. They test
that a file gives the same potential as when it was made, not that the potential is good; that is
in benchmarks/RESULTS.md.
"""

import warnings

import numpy as np
import pytest
from ase.build import bulk, molecule

import tlpot
from tlpot.calculators import TLPotCalculator
from tlpot.models import LIBRARY
from tlpot.uncertainty import DomainWarning

GOLDEN = {
    # molecule: energy (eV), largest force component (eV/Å)
    "H2O": (-2078.62899024, 0.28745634),
    "CH3OH": (-3147.82210595, 0.47049215),
    "HCN": (-2541.33760669, 2.88463099),
    "C2H6": (-2171.50631658, 0.06138795),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_energy_and_largest_force(name):
    atoms = molecule(name)
    atoms.calc = TLPotCalculator("tlpot-tiny", device="cpu", dtype="float64")
    energy, force = GOLDEN[name]
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)
    assert np.abs(atoms.get_forces()).max() == pytest.approx(force, abs=1e-6)


PEPTIDES = {
    # model, level, molecule: energy (eV), largest force component (eV/Å)
    ("tlpot-peptides-tiny", "aimnet2", "H2O"): (-2081.05584889, 0.61365282),
    ("tlpot-peptides-tiny", "aimnet2", "CH3SH"): (-11939.96803219, 0.14957203),
    ("tlpot-peptides-tiny", "aimnet2", "CH3CONH2"): (-5696.97760148, 1.21268342),
    ("tlpot-peptides-tiny", "gfn2-xtb", "CH3SH"): (-201.69386736, 0.45016877),
    ("tlpot-peptides-tiny", "gfn2-xtb", "CH3CONH2"): (-376.02023262, 1.50169916),
    ("tlpot-peptides-tiny", "ani-1ccx", "H2O"): (-2078.48683324, 0.66584108),
    ("tlpot-peptides-tiny", "ani-1ccx", "CH3CONH2"): (-5687.58677119, 0.87405970),
    ("tlpot-peptides", "aimnet2", "H2O"): (-2081.05444785, 0.62209123),
    ("tlpot-peptides", "aimnet2", "CH3SH"): (-11939.97058191, 0.17616869),
    ("tlpot-peptides", "aimnet2", "CH3CONH2"): (-5696.98084851, 1.19334610),
    ("tlpot-peptides", "gfn2-xtb", "CH3SH"): (-201.68589966, 0.46546863),
    ("tlpot-peptides", "gfn2-xtb", "CH3CONH2"): (-376.03852737, 1.45509522),
    ("tlpot-peptides", "ani-1ccx", "H2O"): (-2078.49316508, 0.61744257),
    ("tlpot-peptides", "ani-1ccx", "CH3CONH2"): (-5687.61248751, 0.83638092),
}


@pytest.mark.parametrize(("model", "level", "name"), PEPTIDES)
def test_energy_and_largest_force_of_the_peptide_models(model, level, name):
    atoms = molecule(name)
    atoms.calc = TLPotCalculator(model, level=level, device="cpu", dtype="float64")
    energy, force = PEPTIDES[model, level, name]
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)
    assert np.abs(atoms.get_forces()).max() == pytest.approx(force, abs=1e-6)


PROPERTIES = {
    # model: of rock salt and of copper, in the unit of the property
    "tlpot-adsorption-energy": (0.03966067, 0.02973570),
    "tlpot-bulk-modulus": (18.95685552, 130.57604183),
    "tlpot-decomposition-2d": (0.24851073, 0.07713990),
    "tlpot-gap-2d": (2.03377131, -2.69531845),
    "tlpot-gap-hse06": (3.31615900, -1.00081079),
    "tlpot-gap-pbe": (6.04331641, -0.81215157),
    "tlpot-heat-capacity": (25.17049118, 24.22996078),
    "tlpot-metal-pbe": (0.01129467, 0.99998639),
    "tlpot-shear-modulus": (8.96750874, 33.19959684),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_values_of_the_property_models(name):
    model = tlpot.load(name, dtype="float64", device="cpu")
    (level,) = model.levels
    crystals = [bulk("NaCl", "rocksalt", a=5.64), bulk("Cu")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        found = tlpot.predict(model, crystals, progress=False).energy
        twice = tlpot.predict(model, [x * (2, 1, 1) for x in crystals], progress=False).energy
    assert found == pytest.approx(PROPERTIES[name], abs=1e-6, rel=1e-6)
    extensive = model.target(level).quantity.extensive
    assert twice == pytest.approx((1 + extensive) * found, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("name", PROPERTIES)
def test_property_models_are_small_and_better_than_the_composition(name):
    assert (LIBRARY / f"{name}.safetensors").stat().st_size < 300_000
    card = tlpot.load(name).card
    ((_, errors),) = card.metrics["test"].items()
    key = "cross_entropy" if "cross_entropy" in errors else "property_mae"
    without = card.metrics["without a network"]["composition only"][key]
    assert errors[key] <= 0.9 * without
    assert f"{errors[key]:.3g}" in card.description
    assert f"{without:.3g}" in card.description
    assert card.licence in ("CC-BY-4.0", "MIT")
