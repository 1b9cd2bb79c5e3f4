"""What users met in molecular dynamics: constraints, pressure, uncertainty, odd numbers."""

import csv
import json
import math
import warnings

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian, Hookean
from ase.io import read, write
from toys import ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.cli import main
from tlpot.dynamics import MDSettings, run_md
from tlpot.energy import evaluate
from tlpot.errors import GeometryError, TLPotError
from tlpot.graph import build_graph
from tlpot.models import Ensemble, Potential, preset, save
from tlpot.system import System

pytestmark = pytest.mark.fault


def run(out, atoms, calculator=None, resume=False, **changes):
    settings = MDSettings(**{"steps": 20, "log_every": 5, **changes})
    calculator = calculator or TLPotCalculator(ToyModel())
    return run_md(atoms, calculator, settings, out, progress=False, resume=resume)


def rows(path):
    with path.open(newline="") as handle:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(handle)]


@pytest.mark.parametrize("ensemble", ["nve", "langevin"])
def test_a_structure_that_cannot_move_is_refused_before_a_file_is_written(tmp_path, ensemble):
    atoms = molecule("CH3OH")
    atoms.set_constraint(FixAtoms(range(len(atoms))))
    with pytest.raises(TLPotError, match="FixAtoms"):
        run(tmp_path / "x", atoms, ensemble=ensemble)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_so_in_one_line(tmp_path, capsys):
    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    write(tmp_path / "in.xyz", atoms)
    command = ["md", str(tmp_path / "in.xyz"), "tlpot-tiny", "--out", str(tmp_path / "x")]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "FixAtoms" in error
    assert error.count("\n") == 1


def test_energies_of_a_trajectory_are_those_of_the_model(tmp_path):
    """A Hookean spring adds energy to ASE's potential energy, but nothing to the raw forces."""
    atoms = molecule("CH3OH")
    atoms.set_constraint(Hookean(a1=0, a2=1, rt=1.0, k=20.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run(tmp_path / "x", atoms, ensemble="nve", temperature=50.0, steps=200)
    frames = read(result.trajectory, index=":")
    for frame, row in zip(frames, rows(result.log), strict=True):
        stored, stored_forces = frame.get_potential_energy(), frame.get_forces()
        assert row["potential_eV"] == pytest.approx(stored, abs=1e-6)
        frame.calc = TLPotCalculator(ToyModel())
        frame.set_constraint()
        assert stored == pytest.approx(frame.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(stored_forces, frame.get_forces(), atol=1e-6)
    # the total is constant only with the energy of the spring
    assert np.ptp([s.total for s in result.samples]) < 0.1 * np.ptp(
        [s.total - s.potential for s in result.samples]
    )


def test_constraints_that_the_trajectory_cannot_hold_are_warned_of(tmp_path):
    atoms = molecule("CH3OH")
    atoms.set_constraint(Hookean(a1=0, a2=1, rt=1.0, k=20.0))
    with pytest.warns(UserWarning, match="Hookean"):
        run(tmp_path / "x", atoms)


@pytest.mark.control
@pytest.mark.parametrize(
    "constraint", [FixAtoms([0, 2]), [FixCartesian(0, mask=[True, False, True])]]
)
def test_constraints_that_it_can_hold_come_back_without_a_warning(tmp_path, constraint):
    atoms = molecule("CH3OH")
    atoms.set_constraint(constraint)
    last = read(run(tmp_path / "x", atoms).trajectory)
    still = [0, 2] if isinstance(constraint, FixAtoms) else [0]
    before = last.positions.copy()
    last.set_positions(before + 1.0)
    moved = np.isclose(last.positions, before + 1.0)
    assert not moved[still].all()
    assert moved[[k for k in range(len(atoms)) if k not in still]].all()


def test_constant_pressure_logs_volume_density_and_pressure(tmp_path):
    atoms = bulk("Cu", cubic=True)
    settings = {"ensemble": "npt", "temperature": 300.0, "steps": 30, "log_every": 10}
    result = run(tmp_path / "x", atoms, EMT(), **settings)
    frames = read(result.trajectory, index=":")
    for frame, row in zip(frames, rows(result.log), strict=True):
        volume = frame.get_volume()
        assert row["volume_A3"] == pytest.approx(volume, rel=1e-6)
        grams = frame.get_masses().sum() * 1.66053906660e-24
        assert row["density_g_cm3"] == pytest.approx(grams / (volume * 1e-24), rel=1e-6)
        frame.calc = EMT()
        virial = -frame.get_stress(voigt=False).trace() / 3.0
        kinetic = 2.0 / 3.0 * frame.get_kinetic_energy() / volume
        assert row["pressure_bar"] == pytest.approx((virial + kinetic) / units.bar, rel=1e-4)
    resumed = run(tmp_path / "x", atoms, EMT(), resume=True, **{**settings, "steps": 40})
    assert len(rows(resumed.log)) == 5
    assert math.isfinite(resumed.samples[0].pressure)


def test_the_barostat_can_be_set_and_an_old_run_resumed(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(1.05 * atoms.cell, scale_atoms=True)
    volumes = []
    for time in (100.0, 2000.0):
        settings = {"ensemble": "npt", "barostat_time": time, "thermostat_time": 50.0, "seed": 3}
        volumes.append(run(tmp_path / f"{time}", atoms, EMT(), **settings).samples[-1].volume)
    assert abs(volumes[0] - volumes[1]) > 1e-3
    run(tmp_path / "old", molecule("CH3OH"))
    setup = tmp_path / "old.setup.json"
    content = json.loads(setup.read_text())
    for name in ("barostat_time", "thermostat_time"):
        del content["settings"][name]  # as a tlpot of before wrote it
    setup.write_text(json.dumps(content))
    assert run(tmp_path / "old", molecule("CH3OH"), steps=30, resume=True).samples[-1].step == 30


def test_an_ensemble_logs_how_sure_it_is(tmp_path):
    zero = dict.fromkeys((1, 6, 8), 0.0)
    members = [Potential.create(preset("tiny", (1, 6, 8)), {"x": zero}, seed=k) for k in (1, 2)]
    save(Ensemble(members), tmp_path / "e.safetensors")
    calculator = TLPotCalculator(tmp_path / "e.safetensors", device="cpu")
    result = run(tmp_path / "x", molecule("H2O"), calculator, steps=4, log_every=2)
    frames = read(result.trajectory, index=":")
    logged = rows(result.log)
    assert len(logged) == 3
    for frame, row in zip(frames, logged, strict=True):
        expected = calculator.get_property("energy_std", Atoms(frame.numbers, frame.positions))
        assert expected > 0
        assert row["energy_std_eV"] == pytest.approx(expected, rel=1e-3)
        assert frame.info["energy_std"] == pytest.approx(expected, rel=1e-3)


def test_nvt_means_langevin(tmp_path, capsys):
    nvt, langevin = (
        run(tmp_path / name, molecule("H2O"), ensemble=name) for name in ("nvt", "langevin")
    )
    np.testing.assert_array_equal(nvt.atoms.positions, langevin.atoms.positions)
    command = ["md", "H2O", "tlpot-tiny", "--ensemble", "nvt", "--steps", "1", "--out"]
    assert main([*command, str(tmp_path / "c")]) == 0
    assert "langevin" in capsys.readouterr().out


def control(*values):
    """Parameters with which a test passed before, too."""
    return pytest.param(*values, marks=pytest.mark.control)


@pytest.mark.parametrize(
    ("option", "value"),
    [("time", "inf"), ("time", "nan"), ("time", "-1"), ("timestep", "nan"),
     control("timestep", "inf"), control("temperature", "nan"), control("temperature", "inf"),
     control("friction", "nan"), control("pressure", "inf"), control("seed", "-1"),
     control("seed", str(2**63)), control("seed", str(2**70))],
)  # fmt: skip
def test_numbers_that_make_no_run_are_refused(tmp_path, capsys, option, value):
    command = ["md", "H2O", "tlpot-tiny", f"--{option}={value}", "--out", str(tmp_path / "x")]
    try:
        status = main(command)
    except SystemExit as error:  # the parser's own
        status = error.code
    assert status == 2
    assert option in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("job", "seed"),
    [
        control("sample", "-1"),
        ("sample", str(2**63)),
        ("finetune", "-1"),
        ("finetune", str(2**63)),
        ("split", "-1"),
        ("split", str(2**63)),
    ],
)
def test_seeds_that_no_generator_takes_are_refused(tmp_path, capsys, job, seed):
    tune = [
        "finetune",
        "tlpot-tiny",
        "x.h5",
        "--level",
        "a/b",
        "-o",
        str(tmp_path / "m.safetensors"),
    ]
    command = {
        "sample": ["sample", "H2O", "-o", str(tmp_path / "s.h5"), f"--seed={seed}"],
        "finetune": [*tune, f"training.seed={seed}"],
        "split": [*tune, f"split.seed={seed}"],
    }[job]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "seed" in error
    assert seed in error


@pytest.mark.control
def test_nan_is_no_number_in_a_configuration(tmp_path, capsys):
    command = ["finetune", "tlpot-tiny", "x.h5", "--level", "a/b", "-o", f"{tmp_path}/m.st",
               "strategy.name=l2sp", "training.ema=.nan"]  # fmt: skip
    assert main(command) == 2
    assert "ema" in capsys.readouterr().err


@pytest.mark.parametrize("pbc", [False, (True, False, False), (True, True, False)])
def test_only_what_is_periodic_in_three_directions_has_a_stress(pbc):
    atoms = molecule("CH3OH", cell=[10.0, 10.0, 10.0], pbc=pbc)
    atoms.calc = TLPotCalculator("tlpot-tiny", device="cpu")
    with pytest.raises(GeometryError, match="three directions"):
        atoms.get_stress()
    assert np.isfinite(atoms.get_forces()).all()
    atoms.pbc = True
    assert np.isfinite(atoms.get_stress()).all()


def test_the_box_around_a_molecule_is_no_volume_in_any_batch():
    crystal = System.from_atoms(bulk("Cu", cubic=True))
    boxed = System.from_atoms(molecule("CH3OH", cell=[10.0, 10.0, 10.0], pbc=False))
    model = ToyModel()
    graph = build_graph([crystal, boxed], model.cutoff)
    stress = evaluate(model, graph, stress=True).stress
    assert stress[0].abs().max() > 1e-3
    assert (stress[1] == 0).all()
    alone = evaluate(model, build_graph([crystal], model.cutoff), stress=True).stress
    np.testing.assert_allclose(stress[0], alone[0], atol=1e-12)


@pytest.mark.parametrize("name", ["run.dcd", "run.traj", "run.PDB", "run.log"])
def test_an_ending_is_no_format(tmp_path, capsys, name):
    """``-o run.dcd`` wrote extended XYZ to run.dcd.xyz, and a month later there was no DCD."""
    command = ["md", "H2O", "tlpot-tiny", "--level", "hf", "--steps", "1"]
    assert main([*command, "-o", str(tmp_path / name)]) != 0
    assert "write_trajectory" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.xyz", "a.csv", "a", "a_0.5", "a.XYZ"])
def test_the_ending_of_a_file_of_a_run_is_its_own(tmp_path, name):
    """``-o a.xyz`` was refused, ``-o a.csv`` wrote a.csv.xyz."""
    command = ["md", "H2O", "tlpot-tiny", "--level", "wb97x/6-31g*", "--steps", "1"]
    assert main([*command, "-o", str(tmp_path / name)]) == 0
    bare = "a_0.5" if name == "a_0.5" else "a"
    endings = (".csv", ".png", ".setup.json", ".xyz")
    written = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert written == [bare + ending for ending in endings]
    longer = ["--steps", "2", "--resume", "-o", str(tmp_path / name)]
    assert main([*command[:-2], *longer]) == 0
    assert len(read(tmp_path / f"{bare}.xyz", index=":")) >= 2
