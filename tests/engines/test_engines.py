"""Engines: names, definitions, energies against data, forces against differences."""

import io
import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.units import Hartree
from needs import needs

from tlpot.data import open_dataset
from tlpot.engines import EngineSpec, LabelError, check_electrons, make_engine
from tlpot.errors import ConfigError, UnknownLevelError
from tlpot.system import System

pytestmark = [
    pytest.mark.external,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]

WATER = Atoms("OHH", [[0.0, 0.0, 0.1], [0.05, 0.8, -0.5], [-0.02, -0.75, -0.45]])
HYDROXYL = Atoms("OH", [[0.0, 0.0, 0.0], [0.3, 0.2, 0.9]], info={"spin": 2})


def compute(name, atoms=WATER, forces=False, **settings):
    engine = make_engine(EngineSpec(name=name, settings=settings))
    return engine.compute(System.from_atoms(atoms), forces=forces, log=io.StringIO())


@pytest.fixture(scope="module")
def frames(data_dir):
    dataset = open_dataset(data_dir / "tlpot-qm" / "tlpot-qm.h5")
    names = np.array(dataset.group_names)[dataset.group_idx]
    return {
        name: dataset.read([int(np.flatnonzero(names == name)[3])])[0]
        for name in ("water", "methane")
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gfn2xtb", "did you mean 'gfn2-xtb'"),
        ("psi4", "valid: ase:MODULE:CLASS"),
        ("ase:ase.calculators.emt:Emt", "did you mean 'EMT'"),
        ("ase:ase.calculators.nothing:EMT", "cannot import"),
        ("ase:ase.calculators.emt:EMT", "name it with level"),
        ("ase:emt", "form ase:MODULE:CLASS"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        make_engine(EngineSpec(name=name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pyscf:wb97xx/6-31g*", "did you mean 'wb97x'"),
        ("pyscf:dsd-blyp-d3b/def2-svp", "did you mean 'dsd-blyp-d3bj'"),
        ("pyscf:pbe/def2-tzvppp", "did you mean 'def2-tzvpp'"),
        ("pyscf:wb97x-d/6-31g*", "another method's"),
        ("pyscf:mp2-d3bj/cc-pvdz", "no d3bj correction for mp2"),
        ("pyscf:hf", "form pyscf:METHOD/BASIS"),
        ("pyscf:ccsd(t)/cbs(q)", "no composite"),
        ("pyscf:m06-l-d4/def2-svp", "no d4 parameters"),
    ],
)
def test_unknown_methods_are_refused_with_the_nearest(name, message):
    needs("pyscf", "dftd4")
    with pytest.raises(ConfigError, match=message):
        make_engine(EngineSpec(name=name))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("pyscf:hf/sto-3g", {"grid": 4}, "grid does not apply"),
        ("pyscf:pbe/sto-3g", {"frozen_core": True}, "frozen_core does not apply"),
        ("pyscf:mp2/sto-3g", {"auxiliary_basis": "weigend"}, "auxiliary_basis does not apply"),
        ("pyscf:hf/sto-3g", {"density_fiting": True}, "did you mean 'density_fitting'"),
    ],
)
def test_settings_that_do_not_apply_are_refused(name, settings, message):
    needs("pyscf")
    with pytest.raises(ConfigError, match=message):
        make_engine(EngineSpec(name=name, settings=settings))


def test_forces_that_do_not_exist_are_refused_and_say_what_has_them():
    needs("pyscf", "dftd3")
    for name in ("pyscf:dsd-blyp-d3bj/sto-3g", "pyscf:ccsd(t)/cbs(dt)"):
        with pytest.raises(ConfigError, match=r"HF, density functionals, MP2"):
            make_engine(EngineSpec(name=name, forces="analytic"))
    fitted = EngineSpec(
        name="pyscf:mp2/sto-3g", settings={"density_fitting": True}, forces="analytic"
    )
    with pytest.raises(ConfigError, match="density_fitting=false"):
        make_engine(fitted)


def test_the_definition_holds_what_changes_the_numbers():
    needs("pyscf")

    def definition(name, **settings):
        found = make_engine(EngineSpec(name=name, settings=settings)).definition
        return json.loads(json.dumps(found))

    pople, dunning = definition("pyscf:wb97x/6-31g*"), definition("pyscf:wb97x/cc-pvdz")
    assert pople["cartesian"]
    assert not dunning["cartesian"]
    assert pople["program"].startswith("PySCF ")
    assert pople["density_fitting"]
    assert not definition("pyscf:wb97x/6-31g*", density_fitting=False)["density_fitting"]
    assert definition("pyscf:mp2/cc-pvdz")["frozen_core"]
    assert not definition("pyscf:mp2/cc-pvdz", frozen_core=False)["frozen_core"]
    assert definition("pyscf:pbe/cc-pvdz", grid=5)["grid"] == 5


def test_gfn2_reproduces_the_data(frames):
    needs("tblite")
    for frame in frames.values():
        engine = make_engine(EngineSpec(name="gfn2-xtb"))
        found = engine.compute(frame.system, forces=True, log=io.StringIO())
        known = frame.labels["gfn2-xtb"]
        assert found.energy == pytest.approx(known.energy, abs=1e-6)
        np.testing.assert_allclose(found.forces, known.forces, atol=2e-4)


def test_wb97x_reproduces_the_data(frames):
    needs("pyscf")
    frame = frames["water"]
    known = frame.labels["wb97x/6-31g*"]
    spec = EngineSpec(name="pyscf:wB97X/6-31G*", settings={"grid_response": False})
    found = make_engine(spec).compute(frame.system, forces=True, log=io.StringIO())
    assert found.energy == pytest.approx(known.energy, abs=1e-6)
    np.testing.assert_allclose(found.forces, known.forces, atol=1e-4)


def test_composite_coupled_cluster_of_water_reproduces_the_data(frames):
    needs("pyscf")
    frame = frames["water"]
    found = make_engine(EngineSpec(name="pyscf:CCSD(T)/CBS(DT)")).compute(
        frame.system, forces=False, log=io.StringIO()
    )
    assert found.energy == pytest.approx(frame.labels["ccsd(t)/cbs(dt)"].energy, abs=1e-6 * Hartree)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("gfn1-xtb", "tblite"),
        ("gfn2-xtb", "tblite"),
        ("pyscf:hf/sto-3g", "pyscf"),
        ("pyscf:pbe-d3bj/sto-3g", "dftd3"),
        ("pyscf:pbe0-d4/sto-3g", "dftd4"),
        ("pyscf:mp2/sto-3g", "pyscf"),
        ("pyscf:ccsd/sto-3g", "pyscf"),
        ("pyscf:ccsd(t)/sto-3g", "pyscf"),
        ("model:tlpot-tiny", "torch"),
    ],
)
def test_forces_are_minus_the_slope_of_the_energy(name, package):
    needs(package)
    if name.startswith("pyscf"):
        needs("pyscf")
    radical = [HYDROXYL] if name in ("gfn2-xtb", "pyscf:mp2/sto-3g", "pyscf:ccsd/sto-3g") else []
    for atoms in (WATER, *radical):
        direction = np.random.default_rng(0).normal(size=atoms.positions.shape)
        step = 2e-3
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions += sign * step * direction
            energies.append(compute(name, moved).energy)
        slope = (energies[0] - energies[1]) / (2 * step)
        forces = compute(name, atoms, forces=True).forces
        assert slope == pytest.approx(-float(np.vdot(forces, direction)), abs=3e-3)


def test_wrong_gradients_of_pyscf_are_not_handed_out():
    needs("pyscf")
    with pytest.raises(LabelError, match="not the derivative"):
        compute("pyscf:ccsd(t)/sto-3g", HYDROXYL, forces=True)


def test_numerical_forces_agree_with_analytic_ones():
    needs("pyscf")
    spec = EngineSpec(name="pyscf:hf/sto-3g", forces="numerical")
    engine = make_engine(spec)
    found = engine.compute(System.from_atoms(WATER), forces=True, log=io.StringIO())
    exact = compute("pyscf:hf/sto-3g", forces=True)
    np.testing.assert_allclose(found.forces, exact.forces, atol=2e-3)
    assert "central differences" in engine.definition["forces"]


def test_charge_and_multiplicity_reach_the_program():
    needs("tblite")
    ion = molecule("OH")
    ion.info.update(charge=-1, spin=1)
    radical = molecule("OH")
    radical.info["spin"] = 2
    assert abs(compute("gfn2-xtb", ion).energy - compute("gfn2-xtb", radical).energy) > 1.0
    wrong = molecule("OH")
    wrong.set_initial_magnetic_moments(None)  # which would state the doublet
    with pytest.raises(LabelError, match="9 electrons"):
        compute("gfn2-xtb", wrong)


@pytest.mark.fault
def test_electrons_without_their_multiplicity_are_refused_with_the_remedy():
    """The message named neither the option nor the argument."""
    for charge, spin, remedy in ((0, 1, 2), (1, 2, 1)):
        radical = Atoms("CH3", molecule("CH3").positions, info={"charge": charge, "spin": spin})
        with pytest.raises(LabelError, match=rf"--charge.*--spin {remedy}, spin={remedy}"):
            check_electrons(System.from_atoms(radical))


def test_a_calculator_is_told_the_charge_or_refuses_it():
    ion = Atoms("OH", [[0, 0, 0], [0, 0, 1]], info={"charge": -1})
    path = "ase:label_toys:Spring"
    deaf = make_engine(EngineSpec(name=path, level="spring"))
    with pytest.raises(LabelError, match=r"\{charge\}"):
        deaf.compute(System.from_atoms(ion), forces=False, log=io.StringIO())
    # the charge goes where the keyword is: here into the force constant
    told = make_engine(EngineSpec(name=path, level="spring", settings={"k": "{charge}"}))
    assert told.compute(System.from_atoms(ion), forces=False, log=io.StringIO()).energy == -0.5


def test_a_model_labels_at_the_level_that_is_named():
    with pytest.raises(UnknownLevelError, match="no level 'high'"):
        make_engine(EngineSpec(name="model:tlpot-tiny@high"))
    engine = make_engine(EngineSpec(name="model:tlpot-tiny@wB97X/6-31G*"))
    assert engine.level == "tlpot-tiny"  # the model's, never that of the level it was fitted to
    assert engine.definition["model_level"] == "wb97x/6-31g*"
    assert len(engine.definition["model_sha256"]) == 64
    with pytest.raises(ConfigError, match="does not know He"):
        engine.check([1, 2], periodic=False)


def test_elements_without_a_basis_are_refused_before_anything_runs():
    needs("pyscf")
    with pytest.raises(ConfigError, match="core potential"):
        make_engine(EngineSpec(name="pyscf:hf/sto-3g")).check([1, 53], periodic=False)
    with pytest.raises(ConfigError, match="does not have Ti"):
        make_engine(EngineSpec(name="pyscf:hf/6-31+g*")).check([22], periodic=False)
