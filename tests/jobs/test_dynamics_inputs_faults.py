"""What users give to `md` and `frequencies`: ions, frames of other jobs, masses, boxes."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import Hookean
from ase.io import read, write
from toys import ToyModel

from tlpot.api import frequencies, md, relax
from tlpot.cli import main
from tlpot.dynamics import rigid_motions
from tlpot.dynamics.runner import draw_velocities, is_linear
from tlpot.dynamics.settings import MDSettings
from tlpot.dynamics.vibrations import shape_of
from tlpot.errors import ConfigError, GeometryError, TLPotWarning
from tlpot.system import System

pytestmark = pytest.mark.fault


def far_waters():
    """Two waters 20 Å apart, whose least moment of inertia is small beside the largest."""
    one = molecule("H2O")
    other = one.copy()
    other.translate([0.0, 0.0, 20.0])
    return one + other


def test_md_takes_charge_and_spin_in_place_of_the_structures(tmp_path):
    """Messages of `tlpot md` named --charge and --spin, which it did not have."""
    atoms = molecule("H2O")
    atoms.info["charge"] = 0
    run = {"output": tmp_path / "ion", "steps": 4, "log_every": 2}
    found = md(atoms, EMT(), charge=1, spin=2, **run)
    assert (found.atoms.info["charge"], found.atoms.info["spin"]) == (1, 2)
    with pytest.raises(ConfigError, match="charge"):
        md(atoms, EMT(), resume=True, **{**run, "steps": 8})
    longer = md(atoms, EMT(), charge=1, spin=2, resume=True, **{**run, "steps": 8})
    assert longer.run.samples[-1].step == 8


def test_the_command_has_charge_and_spin(tmp_path, capsys):
    """`tlpot md --charge 1` was an unknown option."""
    write(tmp_path / "w.xyz", molecule("H2O"))
    command = ["md", str(tmp_path / "w.xyz"), "ase:ase.calculators.emt:EMT", "--charge", "-1"]
    command += ["--spin", "2", "--steps", "2", "-o", str(tmp_path / "run")]
    assert main(command) == 2
    assert "the structure has charge -1" in capsys.readouterr().err  # so it has arrived


@pytest.mark.parametrize(
    "stated",
    [{"total_charge": 0}, {"q": -1, "multiplicity": 1}, {"Charge": 0, "uhf": 0}, {"charge": 2}],
)
def test_a_charge_replaces_what_the_structure_says_under_any_name(stated):
    """`total_charge` of the structure "contradicts" the charge that was to replace it."""
    atoms = molecule("H2O")
    atoms.info |= stated
    atoms.arrays["formal_charges"] = np.array([-1.0, 0.0, 0.0])
    found = relax(atoms, EMT(), charge=1, spin=2, fmax=50.0).atoms
    assert (found.info["charge"], found.info["spin"]) == (1, 2)
    assert (System.from_atoms(found).charge, System.from_atoms(found).spin) == (1, 2)
    assert "formal_charges" not in found.arrays
    assert "formal_charges" in atoms.arrays


def test_frames_do_not_say_of_themselves_what_was_true_of_the_start(tmp_path):
    """Frames of a model without uncertainty had the `energy_std` of the structure they began with.

    So had those that began with a mode its wavenumber and displacement.
    """
    start = molecule("H2O")
    stale = {"energy_std": 0.5, "forces_std": 1.0, "domain": 0.1, "wavenumber": 7.0}
    start.info |= stale
    start.arrays["mode"] = np.ones((3, 3))
    md(start, ToyModel(), output=tmp_path / "run", steps=4)
    last = read(tmp_path / "run.xyz")
    assert not stale.keys() & last.info.keys()
    assert "mode" not in last.arrays


@pytest.mark.parametrize("mass", [0.0, -1.0, np.nan])
def test_masses_that_nothing_moves_with_are_named(tmp_path, mass):
    """Masses of zero ended in a LinAlgError, or as "the dynamics exploded"."""
    atoms = molecule("H2O")
    atoms.arrays["masses"] = np.array([16.0, 1.0, mass])
    with pytest.raises(GeometryError, match=r"mass of atom 2 \(H\)"):
        frequencies(atoms, ToyModel(), allow_forces=True)
    with pytest.raises(GeometryError, match=r"mass of atom 2 \(H\)"):
        md(atoms, ToyModel(), output=tmp_path / "run", steps=4)
    assert list(tmp_path.iterdir()) == []


def test_a_time_below_a_step_is_called_a_time(tmp_path):
    """It was "steps is 0", of a command without --steps."""
    with pytest.raises(ConfigError, match=r"time is 0\.0001 ps"):
        md("H2O", ToyModel(), output=tmp_path / "run", time=1e-4)


def test_a_run_stops_by_the_potential_of_the_log(tmp_path):
    """The energy of springs counted, which the column of that name in the log leaves out."""
    atoms = molecule("H2O")
    bare = md(atoms, ToyModel(), output=tmp_path / "bare", steps=1).run.samples[0].potential
    atoms.set_constraint(Hookean(0, 1, k=1000.0, rt=0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TLPotWarning)  # of the constraint
        found = md(
            atoms, ToyModel(), output=tmp_path / "held", steps=1, timestep=1e-3,
            stop_when=f"potential>{bare + 1.0}",
        )  # fmt: skip
    assert not found.run.stopped


def test_a_drift_that_is_not_known_is_not_printed(tmp_path):
    """A run of less than three frames "drifts by +nan meV/atom/ps"."""
    found = md("H2O", ToyModel(), output=tmp_path / "run", steps=4, ensemble="nve")
    assert np.isnan(found.run.drift)
    assert "nan" not in str(found)


def test_molecules_far_from_each_other_are_not_linear():
    """They were by their moments, with a vibration too many and a rotation too few."""
    atoms = far_waters()
    assert shape_of(atoms) == "nonlinear"
    assert is_linear(molecule("CO2"))
    assert is_linear(molecule("C2H2"))


def test_no_rotation_is_left_to_molecules_far_from_each_other():
    """The turn around the line between them was neither taken away nor known as free."""
    atoms, settings = far_waters(), MDSettings(ensemble="nve")
    rigid = rigid_motions(atoms, settings)
    assert rigid == (3, 3)
    draw_velocities(atoms, settings, rigid, np.random.default_rng(0))
    scale = np.abs(np.cross(atoms.positions, atoms.get_momenta())).max()
    np.testing.assert_allclose(atoms.get_angular_momentum(), 0.0, atol=1e-9 * scale)


@pytest.mark.parametrize("name", ["H2O", "H2"])
def test_a_molecule_alone_in_a_box_is_told_so(name):
    """Its rotations were soft vibrations of a solid, or imaginary modes of a transition state."""
    alone = relax(name, ToyModel(), fmax=1e-3).atoms
    boxed = alone.copy()
    boxed.set_cell([15.0, 15.0, 15.0])
    boxed.pbc = True
    with pytest.warns(TLPotWarning, match="box"):
        found = frequencies(boxed, ToyModel())
    assert found.thermochemistry is None
    assert "box" in found.no_thermochemistry
    n = 3 * len(alone)
    assert len(found.wavenumbers) == n - 3
    real = frequencies(alone, ToyModel()).wavenumbers
    np.testing.assert_allclose(found.wavenumbers[-len(real) :], real, atol=0.5)


def test_a_molecule_across_the_boundary_is_alone_all_the_same():
    """Atoms on both sides of a box are one molecule."""
    boxed = relax("H2O", ToyModel(), fmax=1e-3).atoms
    boxed.set_cell([15.0, 15.0, 15.0])
    boxed.pbc = True
    boxed.wrap()
    assert np.ptp(boxed.positions, axis=0).max() > 10.0
    with pytest.warns(TLPotWarning, match="box"):
        assert frequencies(boxed, ToyModel()).thermochemistry is None


def test_cold_molecules_have_thermochemistry_without_warnings_of_numpy():
    """At 1 K there were "overflow encountered in exp", one for each mode."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = frequencies("H2O", ToyModel(), relax=True, temperature=1.0)
    zero = found.energy + found.zero_point_energy
    assert found.thermochemistry.internal_energy == pytest.approx(zero, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ensemble": "langevin", "friction": 5000.0}, "friction"),
        ({"ensemble": "npt", "barostat_time": 5.0}, "barostat_time"),
        ({"ensemble": "npt", "thermostat_time": 9.0}, "thermostat_time"),
    ],
)
def test_thermostats_that_are_too_fast_are_named(tmp_path, settings, named):
    """Runs exploded, and were told of structures and models."""
    atoms = bulk("Cu", cubic=True)
    with pytest.warns(TLPotWarning, match=named):
        md(atoms, EMT(), output=tmp_path / "run", steps=1, **settings)


def test_crystals_are_no_molecules_in_boxes():
    """The other side of it: atoms that feel their images keep their thermochemistry."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", TLPotWarning)
        found = frequencies(bulk("Cu", cubic=True), EMT(), relax=True)
        single = frequencies(Atoms("Cu", cell=bulk("Cu").cell, pbc=True), EMT())
    assert found.thermochemistry is not None
    assert single.thermochemistry is not None
