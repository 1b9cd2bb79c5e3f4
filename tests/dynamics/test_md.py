"""Molecular dynamics: ensembles, files, resumption, explosions."""

import itertools
from dataclasses import astuple

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms
from ase.io import read
from toys import ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.dynamics import MDSettings, Sample, draw_velocities, energy_drift, rigid_motions, run_md
from tlpot.dynamics.record import read_log
from tlpot.dynamics.runner import degrees_of_freedom, temperature
from tlpot.errors import (
    ConfigError,
    DataError,
    GeometryError,
    OutputError,
    SimulationError,
    UnknownElementError,
)
from tlpot.structures import read_structure

NVE = MDSettings(ensemble="nve", steps=40, log_every=10)


def toy() -> TLPotCalculator:
    return TLPotCalculator(ToyModel())


def crystal() -> Atoms:
    cell = [[3.1, 0, 0], [0.8, 3.4, 0], [0.5, -0.7, 4.2]]
    return Atoms("CO", scaled_positions=[[0.1, 0.2, 0.3], [0.6, 0.5, 0.4]], cell=cell, pbc=True)


def run(out, settings=NVE, atoms=None, calculator=None, **options):
    atoms = molecule("CH3OH") if atoms is None else atoms
    return run_md(atoms, calculator or toy(), settings, out, progress=False, **options)


def test_a_run_leaves_a_trajectory_a_log_and_a_picture(tmp_path):
    start = molecule("CH3OH")
    start.info["charge"] = 0
    result = run(tmp_path / "new" / "x", atoms=start)
    frames = read(result.trajectory, index=":")
    assert [f.info["step"] for f in frames] == [0, 10, 20, 30, 40]
    assert [f.info["time_fs"] for f in frames] == [0, 5, 10, 15, 20]
    assert [f.info["charge"] for f in frames] == [0] * 5
    logged, samples = (
        np.array([astuple(s) for s in x]) for x in (read_log(result.log), result.samples)
    )
    np.testing.assert_allclose(logged, samples, rtol=0, atol=1e-9)
    for frame, sample in zip(frames, result.samples, strict=True):
        assert frame.get_potential_energy() == pytest.approx(sample.potential, abs=1e-9)
        kinetic = sample.total - sample.potential
        assert frame.get_kinetic_energy() == pytest.approx(kinetic, abs=1e-6)
    np.testing.assert_allclose(frames[-1].get_forces(), result.atoms.get_forces(), atol=1e-8)
    assert result.plot.read_bytes().startswith(b"\x89PNG")
    assert (start.positions == molecule("CH3OH").positions).all()
    assert "drifts by" in result.summary()


def test_nve_conserves_the_energy_and_langevin_does_not(tmp_path):
    spread = {}
    for ensemble in ("nve", "langevin"):
        settings = MDSettings(ensemble=ensemble, steps=100, timestep=0.25, friction=50.0)
        totals = [s.total for s in run(tmp_path / ensemble, settings).samples]
        spread[ensemble] = np.ptp(totals)
    assert spread["nve"] < 0.02 * spread["langevin"]


def test_npt_moves_the_cell_towards_the_pressure(tmp_path):
    volumes = {}
    for pressure in (-2e4, 2e4):
        settings = MDSettings(ensemble="npt", steps=100, pressure=pressure, temperature=10.0)
        result = run(tmp_path / str(pressure), settings, crystal())
        frames = read(result.trajectory, index=":")
        volumes[pressure] = frames[-1].get_volume()
    assert volumes[-2e4] > volumes[2e4] + 0.1
    with pytest.raises(GeometryError, match="npt needs a cell"):
        run(tmp_path / "molecule", settings)
    fixed = crystal()
    fixed.set_constraint(FixAtoms([0]))
    with pytest.raises(ConfigError, match="constraints"):
        run(tmp_path / "fixed", settings, fixed)
    assert not list(tmp_path.glob("molecule*")) + list(tmp_path.glob("fixed*"))


@pytest.mark.parametrize("ensemble", ["nve", "langevin", "npt"])
def test_a_run_starts_with_the_velocities_that_are_drawn(tmp_path, ensemble):
    settings = MDSettings(ensemble=ensemble, steps=1, timestep=1e-3, log_every=1)
    before, after = run(tmp_path / ensemble, settings, crystal()).samples
    assert before.temperature > 10.0
    assert after.temperature == pytest.approx(before.temperature, rel=0.05)


@pytest.mark.parametrize("ensemble", ["nve", "langevin"])
def test_the_seed_decides(tmp_path, ensemble):
    def last(seed, name):
        settings = MDSettings(ensemble=ensemble, steps=5, seed=seed)
        return run(tmp_path / name, settings).samples[-1].total

    assert last(1, "a") == last(1, "b") != last(2, "c")


def test_velocities_of_the_structure_are_kept(tmp_path):
    atoms = molecule("CH3OH")
    atoms.set_velocities(np.full((6, 3), 0.01))
    result = run(tmp_path / "x", atoms=atoms)
    first = read(result.trajectory, index=0)
    np.testing.assert_allclose(first.get_velocities(), 0.01, rtol=1e-6)


@pytest.mark.parametrize(
    ("atoms", "ensemble", "expected"),
    [
        (molecule("CH3OH"), "nve", 12),
        (molecule("CO2"), "nve", 4),
        (crystal(), "nve", 3),
        (molecule("CH3OH"), "langevin", 18),
        (Atoms("H"), "nve", 3),
    ],
)
def test_temperature_counts_only_what_moves(atoms, ensemble, expected):
    settings = MDSettings(ensemble=ensemble, temperature=250.0)
    rigid = rigid_motions(atoms, settings)
    rng = np.random.default_rng(0)
    kelvins = []
    for _ in range(400):
        draw_velocities(atoms, settings, rigid, rng)
        n_degrees = degrees_of_freedom(atoms, rigid)
        assert n_degrees == expected
        kelvins.append(temperature(atoms, n_degrees))
    # the mean of a chi-square: its standard error is T (2 / f / 400)^1/2
    assert np.mean(kelvins) == pytest.approx(250.0, abs=4 * 250.0 * (2 / expected / 400) ** 0.5)


def test_rigid_motions_that_are_not_at_rest_count():
    atoms, settings = molecule("CH3OH"), NVE
    rigid = rigid_motions(atoms, settings)
    draw_velocities(atoms, settings, rigid, np.random.default_rng(0))
    assert degrees_of_freedom(atoms, rigid) == 12
    atoms.set_velocities(np.add(atoms.get_velocities(), [0.0, 0.01, 0.0]))
    assert degrees_of_freedom(atoms, rigid) == 15
    atoms.set_velocities(np.cross([0.0, 0.0, 0.01], atoms.positions))
    assert degrees_of_freedom(atoms, rigid) == 18


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path):
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", MDSettings(ensemble="nve", steps=20, log_every=10))
    parts = run(tmp_path / "parts", resume=True)
    assert [s.step for s in parts.samples] == [0, 10, 20, 30, 40]
    assert len(read(parts.trajectory, index=":")) == 5
    # positions and velocities pass through eight decimals
    np.testing.assert_allclose(parts.atoms.positions, whole.atoms.positions, atol=1e-6)
    assert parts.samples[-1].total == pytest.approx(whole.samples[-1].total, abs=1e-5)
    with pytest.raises(ConfigError, match="40 steps already"):
        run(tmp_path / "parts", resume=True)


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_run_killed_while_writing_can_go_on(tmp_path, cut):
    first = run(tmp_path / "x", MDSettings(ensemble="nve", steps=20, log_every=10))
    text = first.trajectory.read_bytes()
    first.trajectory.write_bytes(text[:-cut])
    with first.log.open("a") as log:
        log.write("30,15.0")
    result = run(tmp_path / "x", resume=True)
    assert [f.info["step"] for f in read(result.trajectory, index=":")] == [0, 10, 20, 30, 40]
    assert [s.step for s in read_log(result.log)] == [0, 10, 20, 30, 40]


def test_what_cannot_be_resumed(tmp_path):
    with pytest.raises(DataError, match=r"nothing to resume: .*x.xyz does not exist"):
        run(tmp_path / "x", resume=True)
    run(tmp_path / "x")
    with pytest.raises(DataError, match="holds CH4O, not this C2H4"):
        run(tmp_path / "x", resume=True, atoms=molecule("C2H4"))
    trajectory = tmp_path / "x.xyz"
    whole = trajectory.read_bytes()
    with pytest.raises(DataError, match="holds CH4O, not this H2O"):
        run(tmp_path / "x", resume=True, atoms=molecule("H2O"))
    assert trajectory.read_bytes() == whole
    content = trajectory.read_text()
    (tmp_path / "x.csv").write_text("something,else\n")
    with pytest.raises(DataError, match="not a log"):
        run(tmp_path / "x", resume=True)
    trajectory.write_text(content[:100])
    with pytest.raises(DataError, match="no complete frame"):
        run(tmp_path / "x", resume=True)


def test_files_are_replaced_only_when_asked(tmp_path):
    run(tmp_path / "x")
    before = (tmp_path / "x.xyz").read_bytes()
    with pytest.raises(OutputError, match=r"x.xyz exists.*--resume"):
        run(tmp_path / "x")
    assert (tmp_path / "x.xyz").read_bytes() == before
    run(tmp_path / "x", MDSettings(ensemble="nve", steps=10), overwrite=True)
    assert len(read(tmp_path / "x.xyz", index=":")) == 2
    run(tmp_path)  # a folder stands for md inside it
    assert (tmp_path / "md.xyz").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not write"):
        run(tmp_path / "file" / "x")


def test_what_the_calculator_refuses_leaves_no_files(tmp_path):
    with pytest.raises(UnknownElementError):
        run(tmp_path / "x", atoms=molecule("SO2"))
    assert list(tmp_path.iterdir()) == []


class Rough(Calculator):
    """Forces on demand, one list entry for each new geometry."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, forces):
        super().__init__()
        self.forces = itertools.chain(forces, itertools.repeat(0.0))

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        force = next(self.forces)
        if isinstance(force, BaseException):
            raise force
        self.results = {"energy": 0.0, "forces": np.full((len(atoms), 3), force)}


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (1e6, r"exploded: atom \d .*moves .* Å in one step"),
        (float("nan"), "exploded: atom 0 .*moves nan"),
        (GeometryError("atoms 0 and 1 are 0.01 Å apart"), "0.01 Å apart; stopped at step 15"),
    ],
)
def test_an_explosion_stops_the_run_and_keeps_the_files(tmp_path, event, message):
    calculator = Rough([0.0] * 15 + [event])
    with pytest.raises(SimulationError, match=message) as caught:
        run(tmp_path / "x", calculator=calculator)
    assert "up to step 10" in str(caught.value)
    assert [f.info["step"] for f in read(tmp_path / "x.xyz", index=":")] == [0, 10]
    assert (tmp_path / "x.png").exists()


def test_ctrl_c_leaves_everything_readable(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "x", calculator=Rough([0.0] * 25 + [KeyboardInterrupt()]))
    assert [s.step for s in read_log(tmp_path / "x.csv")] == [0, 10, 20]
    assert (tmp_path / "x.png").exists()
    assert run(tmp_path / "x", calculator=Rough([]), resume=True).samples[-1].step == 40


def test_ctrl_c_says_what_was_kept_and_how_to_go_on(tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught:
        run(tmp_path / "x", calculator=Rough([0.0] * 25 + [KeyboardInterrupt()]))
    said = str(caught.value)
    assert f"{tmp_path / 'x.xyz'} holds 3 frames up to step 20 (0.01 ps)" in said
    assert "--resume" in said


def test_drift_is_the_slope_per_atom_and_picosecond():
    samples = [Sample(i, 100.0 * i, 5.0 + 0.002 * i, 0.0, 0.0) for i in range(5)]
    assert energy_drift(samples, 4) == pytest.approx(5.0)  # 2 meV in 0.1 ps over 4 atoms
    assert np.isnan(energy_drift(samples[:2], 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ensemble": "nph"}, "unknown ensemble 'nph'"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"timestep": 0.0}, "timestep is 0"),
        ({"timestep": float("nan")}, "timestep is nan"),
        ({"steps": 0}, "steps is 0"),
        ({"log_every": 0}, "log_every is 0"),
        ({"friction": float("inf")}, "friction is inf"),
        ({"pressure": float("nan")}, "pressure is nan"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_settings(changes, message):
    with pytest.raises(ConfigError, match=message):
        MDSettings(**changes)


def test_structures_come_by_file_or_name(tmp_path):
    path = tmp_path / "x.xyz"
    molecule("CH4").write(path)
    molecule("H2O").write(path, append=True)
    assert read_structure(str(path)).get_chemical_formula() == "H2O"
    assert read_structure("CH3CH2OH").get_chemical_formula() == "C2H6O"
    with pytest.raises(DataError, match="did you mean 'CH3CH2OH'"):
        read_structure("CH3CH2OHH")
    path.write_text("nonsense")
    with pytest.raises(DataError, match="expected the number of atoms"):
        read_structure(str(path))


class EnergyOnly(Calculator):
    """A toy without forces."""

    implemented_properties = ["energy"]  # noqa: RUF012

    def calculate(self, *args, **options):
        super().calculate(*args, **options)
        self.results = {"energy": 0.0}


def test_a_calculator_without_forces_leaves_no_files(tmp_path):
    with pytest.raises(NotImplementedError):
        run(tmp_path / "x", calculator=EnergyOnly())
    assert list(tmp_path.iterdir()) == []
