"""3c composites against figures of other programs, and against sums by hand.

Figures of the ethene-ethyne dimer (S16 of S22), in the notes of tests/pytests/test_dftd3.py of Psi4
(LGPL-3.0) at 886caaab: ORCA 4 without fitting for SCF, dispersion and SRB of B97-3c, SCF of r2SCAN
in def2-mTZVPP, and SCF and D4 of wB97X-3c in vDZP; dftd4 and mctc-gcp for r2SCAN-3c. Of water:
tests/gcp/b973c and tests/gcp/r2scan3c there, by Psi4 with fitted integrals.
"""

import io
import json
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr, Hartree
from needs import needs

from tlpot.data import open_dataset
from tlpot.engines import EngineSpec, make_engine
from tlpot.engines.method import COMPOSITES_3C, parse_method
from tlpot.errors import ConfigError, MissingExtraError
from tlpot.labelling import label
from tlpot.system import System

gto = needs("pyscf.gto")
exchange = needs("basis_set_exchange")
dftd3 = needs("dftd3.interface")
dftd4 = needs("dftd4.interface")

pytestmark = [
    pytest.mark.external,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]

DIMER = Atoms(
    "C2H4C2H2",
    Bohr * np.array([
        [0.0, -1.26153959, -4.01502362], [0.0, 1.26153959, -4.01502362],
        [1.74539073, -2.32862069, -4.01790734], [-1.74539073, -2.32862069, -4.01790734],
        [-1.74539073, 2.32862069, -4.01790734], [1.74539073, 2.32862069, -4.01790734],
        [0.0, 0.0, 5.4811563], [0.0, 0.0, 3.19975986],
        [0.0, 0.0, 1.18552346], [0.0, 0.0, 7.49074019],
    ]),
)  # fmt: skip
ETHYNE = DIMER[6:]
ANGLE = np.deg2rad(104.5)
WATER = Atoms("OHH", 0.96 * np.array([[0, 0, 0], [1, 0, 0], [np.cos(ANGLE), np.sin(ANGLE), 0]]))
BENT = Atoms("OHH", [[0.0, 0.0, 0.1], [0.05, 0.8, -0.5], [-0.02, -0.75, -0.45]])
HYDROXYL = Atoms("OH", [[0.0, 0.0, 0.0], [0.3, 0.2, 0.9]], info={"spin": 2})
HYDROXIDE = Atoms("OH", [[0.0, 0.0, 0.0], [0.3, 0.2, 0.9]], info={"charge": -1})
CHLORIDE = Atoms("HCl", [[0.0, 0.0, 0.0], [0.1, 0.2, 1.3]])
IODIDE = Atoms("HI", [[0.0, 0.0, 0.0], [0.1, 0.2, 1.6]])

NAMES = tuple(COMPOSITES_3C)


def compute(name, atoms, forces=False, **settings):
    engine = make_engine(EngineSpec(name=f"pyscf:{name}", settings=settings))
    engine.check(sorted(set(atoms.numbers.tolist())), periodic=False)
    return engine.compute(System.from_atoms(atoms), forces=forces, log=io.StringIO())


@pytest.mark.parametrize(
    ("name", "energy"),
    [
        ("b97-3c", -77.285860375503),
        ("r2scan-3c", -77.30233380 - 3.3971225644558e-4 + 3.797674e-4),
        ("wb97x-3c", -12.501060363754),
    ],
)
def test_totals_are_those_of_orca(name, energy):
    found = compute(name, ETHYNE, density_fitting=False, grid=4).energy / Hartree
    assert found == pytest.approx(energy, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("b97-3c", [-0.010633212, -0.027189940]),
        ("r2scan-3c", [-1.4455457680017e-3, 2.0969558e-3]),
        ("wb97x-3c", [-4.8257433806220e-3]),
    ],
)
def test_corrections_are_those_of_orca_dftd4_and_gcp(name, parts):
    corrections = parse_method(name).corrections
    found = [c.compute(DIMER.numbers, DIMER.positions / Bohr, 0, False)[0] for c in corrections]
    np.testing.assert_allclose(found, parts, atol=5e-9)


@pytest.mark.parametrize(
    ("name", "energy", "gradient", "tolerance"),
    [
        ("b97-3c", -76.39769005, [4.01722e-3, 2.26087e-3, 2.26087e-3], 1e-6),
        ("r2scan-3c", -76.41835894, [2.70896e-3, 1.57265e-3, 1.57265e-3], 3e-6),
    ],
)
def test_water_is_that_of_psi4(name, energy, gradient, tolerance):
    found = compute(name, WATER, forces=True, grid=5, auxiliary_basis="def2-universal-jkfit")
    assert found.energy / Hartree == pytest.approx(energy, abs=tolerance)
    lengths = np.linalg.norm(found.forces, axis=1) * Bohr / Hartree
    np.testing.assert_allclose(lengths, gradient, atol=5e-6)


def test_wb97x_3c_of_an_anion_agrees_with_the_sum_by_hand():
    """The basis set read from NWChem's text instead of PySCF's own reader of the exchange."""
    text = exchange.get_basis("Grimme vDZP", elements="H,O", fmt="nwchem", header=False)
    shells, _, potentials = text.partition("\nECP\n")
    mol = gto.M(
        atom=list(zip(HYDROXIDE.numbers.tolist(), HYDROXIDE.positions / Bohr, strict=True)),
        unit="Bohr", charge=-1, verbose=0,
        basis={symbol: gto.basis.parse(shells, symbol) for symbol in "OH"},
        ecp={"O": gto.basis.parse_ecp(f"ECP\n{potentials}", "O")},
    )  # fmt: skip
    field = needs("pyscf.dft").RKS(mol, xc="wb97x_v")
    field.nlc = False
    model = dftd4.DispersionModel(HYDROXIDE.numbers, HYDROXIDE.positions / Bohr, charge=-1.0)
    dispersion = model.get_dispersion(dftd4.DampingParam(method="wb97x-3c"), grad=False)["energy"]
    by_hand = field.kernel() + float(dispersion)
    assert mol.nelectron == 8
    found = compute("wb97x-3c", HYDROXIDE, density_fitting=False).energy / Hartree
    assert found == pytest.approx(by_hand, abs=1e-7)


def test_parameters_are_those_that_the_programs_have():
    """The D4 program keeps those of r2SCAN-3c that are not of the damping in its command line."""
    numbers, positions = DIMER.numbers, DIMER.positions / Bohr
    d3, d4 = dftd3.DispersionModel(numbers, positions), dftd4.DispersionModel(numbers, positions)
    known = {
        "b97-3c": (d3, dftd3.RationalDampingParam(method="b973c", atm=True)),
        "wb97x-3c": (d4, dftd4.DampingParam(method="wb97x-3c")),
    }
    for name, (model, damping) in known.items():
        found, slope = parse_method(name).dispersion.compute(numbers, positions, 0, True)
        expected = model.get_dispersion(damping, grad=True)
        assert found == pytest.approx(float(expected["energy"]), abs=1e-12)
        np.testing.assert_allclose(slope, expected["gradient"], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "atoms"),
    [
        *((name, atoms) for name in NAMES for atoms in (BENT, HYDROXYL)),
        ("r2scan-3c", CHLORIDE),  # whose counterpoise correction is another beyond neon
        ("b97-3c", IODIDE),
        ("wb97x-3c", IODIDE),
    ],
    ids=str,
)
def test_forces_are_minus_the_slope_of_the_energy(name, atoms):
    direction = np.random.default_rng(0).normal(size=atoms.positions.shape)
    step = 1e-3
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * direction
        energies.append(compute(name, moved).energy)
    slope = (energies[0] - energies[1]) / (2 * step)
    forces = compute(name, atoms, forces=True).forces
    assert slope == pytest.approx(-float(np.vdot(forces, direction)), abs=1e-3)


def test_the_definition_has_functional_basis_and_corrections():
    def definition(name):
        return json.loads(json.dumps(make_engine(EngineSpec(name=name)).definition))

    found = definition("pyscf:ωB97X-3c")
    assert found["basis"] == "Grimme vDZP"
    assert found["basis_source"].startswith("basis_set_exchange ")
    assert found["core_potential"]["electrons"][0] == "2 of B to Mg"
    assert not found["vv10"]
    assert "counterpoise" not in found
    found = definition("pyscf:r2SCAN-3c")
    assert found["auxiliary_basis"] == "def2-universal-jfit"
    assert found["dispersion"]["parameters"]["s9"] == 2.0
    assert found["counterpoise"]["parameters"] == "r2scan3c"
    assert "doi:10.1063/5.0040021" in found["references"]
    assert definition("pyscf:b97-3c")["dispersion"]["three_body"]


def test_labels_have_the_name_of_the_composite(tmp_path):
    file = tmp_path / "h2.h5"
    report = label(Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]), "pyscf:B97-3c", file, show=False)
    assert report.n_labelled == 1
    (frame,) = open_dataset(file).read([0])
    assert np.isfinite(frame.labels["b97-3c"].energy)
    assert frame.labels["b97-3c"].forces is not None


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("b97-3c/def2-svp", {}, "own basis set"),
        ("r2scan3c", {}, "did you mean 'r2scan-3c'"),
        ("wb97x-3c", {"cartesian": True}, "cartesian does not apply"),
        ("b97-3c", {"frozen_core": True}, "frozen_core does not apply"),
    ],
)
def test_what_is_no_composite_is_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_engine(EngineSpec(name=f"pyscf:{name}", settings=settings))


@pytest.mark.parametrize(
    ("name", "z", "message"),
    [
        ("b97-3c", 57, "La"),
        ("r2scan-3c", 58, "Ce"),
        ("r2scan-3c", 92, "U needs"),
        ("wb97x-3c", 87, "Fr"),
    ],
)
def test_elements_that_the_basis_set_lacks_are_refused(name, z, message):
    engine = make_engine(EngineSpec(name=f"pyscf:{name}"))
    engine.check([1, 8, 35, 53, 78], periodic=False)
    with pytest.raises(ConfigError, match=message):
        engine.check([1, z], periodic=False)


def test_without_the_exchange_only_the_composite_that_needs_it_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "basis_set_exchange", None)
    with pytest.raises(MissingExtraError, match="basis_set_exchange"):
        parse_method("wb97x-3c")
    assert parse_method("b97-3c").basis == "def2-mtzvp"


def test_an_older_dispersion_program_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.delattr(dftd3, "GeometricCounterpoise")
    with pytest.raises(MissingExtraError, match="dftd3"):
        parse_method("r2scan-3c")
