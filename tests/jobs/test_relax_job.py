"""The job `relax`: what it takes, what it gives, what it writes, what it leaves alone."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, Hookean
from ase.io import read
from needs import needs
from toys import E0, ToyModel

from tlpot.api import relax
from tlpot.calculators import DeltaCalculator, TLPotCalculator
from tlpot.errors import (
    ConfigError,
    DataError,
    GeometryError,
    OutputError,
    SimulationError,
    TLPotWarning,
    UnknownElementError,
    UnknownLevelError,
)
from tlpot.files import sole_use
from tlpot.models import Ensemble, Potential, preset, save
from tlpot.structures import build_peptide, read_structure, write_structure

TINY = "tlpot-tiny"
SIZES = preset("tiny", (1, 6, 8), hidden_irreps="4x0e+4x1o", cutoff=3.0)

UNCONVERGED = pytest.mark.filterwarnings("ignore:the relaxation")


def methanol():
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=4)
    return atoms


def test_atoms_in_and_a_result_out():
    start = methanol()
    start.set_momenta(np.ones((6, 3)))
    before = start.copy()
    result = relax(start, TINY, fmax=1e-3)
    assert start == before
    assert start.calc is None
    assert result.converged
    assert result.max_force <= 1e-3
    assert result.energy_change < 0
    assert result.rmsd > 0.01
    assert not result.atoms.get_momenta().any()
    assert result.atoms.get_potential_energy() == pytest.approx(result.energy)
    own = TLPotCalculator(TINY, dtype="float64").get_forces(result.atoms)
    np.testing.assert_allclose(result.atoms.get_forces(), own, atol=1e-9)
    assert len(result.energies) == len(result.max_forces) == result.n_steps + 1
    again = relax(result.atoms, TINY, fmax=1e-3)
    assert again.n_steps == 0
    assert again.rmsd < 1e-9


def test_a_result_prints_saves_draws_and_shows_itself(tmp_path):
    result = relax(methanol(), TINY)
    for number in (f"{result.energy:.6f}", f"{result.rmsd:.4f}", f"after {result.n_steps} steps"):
        assert number in str(result)
        assert number in result._repr_html_()
    result.save(tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["converged"] is True
    assert found["energies_eV"] == result.energies.tolist()
    np.testing.assert_array_equal(found["positions_A"], result.atoms.positions)
    figure = result.plot(tmp_path / "r.png")
    assert len(figure.axes) == 2
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_files_hold_the_structure_and_the_way_there(tmp_path):
    source = tmp_path / "start.xyz"
    start = methanol()
    start.info["charge"] = 0
    start.set_constraint(FixAtoms([2]))
    start.write(source)
    out, way = tmp_path / "new" / "end.xyz", tmp_path / "way.xyz"
    result = relax(source, TINY, output=out, trajectory=way)
    end, frames = read(out), read(way, index=":")
    np.testing.assert_allclose(end.positions, result.atoms.positions, atol=1e-7)
    assert end.info["charge"] == 0
    np.testing.assert_array_equal(end.constraints[0].index, [2])
    np.testing.assert_allclose(end.positions[2], start.positions[2], atol=1e-7)
    assert end.get_potential_energy() == pytest.approx(result.energy)
    assert len(frames) == result.n_steps + 1
    energies = [frame.get_potential_energy() for frame in frames]
    np.testing.assert_allclose(energies, result.energies, atol=1e-9)
    assert [frame.info["step"] for frame in frames] == list(range(len(frames)))
    assert result.files == (out, way)
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"start.xyz", "end.xyz", "way.xyz"}


def test_a_frame_of_dynamics_sheds_what_is_no_longer_true(tmp_path):
    start = methanol()
    start.info |= {"step": 7, "time_fs": 3.5, "energy_std": 0.2, "name": "x"}
    start.info["lost_constraints"] = "Hookean"
    with pytest.warns(TLPotWarning, match="Hookean"):
        result = relax(start, TINY, output=tmp_path / "a.xyz")
    assert result.atoms.info == {"name": "x"}


def test_constraints_that_a_file_cannot_hold_are_named(tmp_path):
    start = methanol()
    start.set_constraint(FixAtoms([0]))
    with pytest.warns(TLPotWarning, match="FixAtoms"):
        relax(start, TINY, output=tmp_path / "a.pdb")
    start.set_constraint(Hookean(0, 1, 5.0, rt=1.5))
    with pytest.warns(TLPotWarning, match="Hookean"):
        result = relax(start, TINY, output=tmp_path / "a.xyz")
    assert len(result.atoms.constraints) == 1


def test_a_calculator_in_single_precision_is_copied_in_double():
    calculator = TLPotCalculator(TINY)
    result = relax(methanol(), calculator)
    assert calculator.atoms is None
    double = relax(methanol(), TINY)
    np.testing.assert_array_equal(result.energies, double.energies)
    assert (relax(methanol(), TINY, dtype="float32").energies != double.energies).any()


@pytest.mark.parametrize("ending", [".pdb", ".cif", ".traj", ".extxyz", ".vasp"])
def test_the_ending_decides_about_the_format(tmp_path, ending):
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.05, seed=1)
    result = relax(crystal, EMT(), output=tmp_path / f"a{ending}", cell=True, fmax=0.02)
    kind = {"format": "proteindatabank"} if ending == ".pdb" else {}
    found = read(tmp_path / f"a{ending}", **kind)
    assert sorted(found.symbols) == ["Cu"] * 4
    np.testing.assert_allclose(found.cell.lengths(), result.atoms.cell.lengths(), atol=2e-3)
    assert "volume" in str(result)
    assert result.as_json()["volume_change"] == pytest.approx(result.volume_change)


@pytest.mark.parametrize("ending", ["pdb", "cif"])
def test_a_protein_keeps_its_names(tmp_path, ending):
    needs("gemmi")
    build_peptide("AG").write(tmp_path / "a.pdb")
    start = read_structure(str(tmp_path / "a.pdb"))
    write_structure(start, tmp_path / "b.xyz")  # where names have no spaces
    write_structure(read_structure(str(tmp_path / "b.xyz")), tmp_path / f"c.{ending}")
    found = read_structure(str(tmp_path / f"c.{ending}"))
    np.testing.assert_allclose(found.positions, start.positions, atol=2e-3)
    assert found.arrays["atom_name"].tolist() == start.arrays["atom_name"].tolist()
    labels = [[label.rpartition("/")[2] for label in one.arrays["residue_label"]]
              for one in (start, found)]  # fmt: skip
    assert labels[0] == labels[1]
    assert len(set(labels[0])) == 4


def test_files_that_are_there_are_spared(tmp_path):
    source, out = tmp_path / "start.xyz", tmp_path / "end.xyz"
    methanol().write(source)
    out.write_text("mine")
    with pytest.raises(OutputError, match="overwrite"):
        relax(source, TINY, output=out)
    assert out.read_text() == "mine"
    with pytest.raises(OutputError, match="itself"):
        relax(source, TINY, output=source, overwrite=True)
    with pytest.raises(OutputError, match="itself"):
        relax(source, TINY, trajectory=source, overwrite=True)
    with pytest.raises(OutputError, match="two names"):
        relax(source, TINY, output=tmp_path / "x.xyz", trajectory=tmp_path / "x.xyz")
    with pytest.raises(OutputError, match="folder"):
        relax(source, TINY, output=tmp_path)
    with pytest.raises(OutputError):
        relax(source, TINY, output=out / "x.xyz")  # a file is no folder
    with pytest.raises(ConfigError, match=r"\.abc"):
        relax(source, TINY, output=tmp_path / "x.abc")
    relax(source, TINY, output=out, overwrite=True)
    assert len(read(out)) == 6
    assert {path.name for path in tmp_path.iterdir()} == {"start.xyz", "end.xyz"}


def test_two_relaxations_do_not_write_one_file(tmp_path):
    out = tmp_path / "end.xyz"
    with sole_use(out, "another"), pytest.raises(OutputError, match="another"):
        relax(methanol(), TINY, output=out)
    assert not out.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_who_interrupts_keeps_the_last_structure(tmp_path, error):
    seen = []

    def progress(done, total, text):
        seen.append((done, total, text))
        if done == 3:
            raise error

    out, way = tmp_path / "end.xyz", tmp_path / "way.xyz"
    with pytest.raises(error) as caught:
        relax(methanol(), TINY, output=out, trajectory=way, progress=progress)
    if error is KeyboardInterrupt:
        assert "NOT CONVERGED, step 3" in str(caught.value)
    frames = read(way, index=":")
    assert [one[:2] for one in seen] == [(1, None), (2, None), (3, None)]
    assert len(frames) == 4
    np.testing.assert_allclose(read(out).positions, frames[-1].positions, atol=1e-7)


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    seen = []
    other = before + 1
    relax(methanol(), TINY, threads=other,
          progress=lambda *_: seen.append(torch.get_num_threads()))  # fmt: skip
    assert set(seen) == {other}
    with pytest.raises(UnknownElementError):
        relax(molecule("SH2"), ToyModel(), threads=other)
    assert torch.get_num_threads() == before


def test_what_is_not_converged_says_so():
    with pytest.warns(TLPotWarning, match="not converged"):
        result = relax(methanol(), TINY, steps=1)
    assert not result.converged
    assert "NOT CONVERGED" in str(result)
    assert "steps" in result.remedy
    assert result.as_json()["converged"] is False


def test_a_lost_bond_is_said_in_capitals():
    with pytest.warns(TLPotWarning, match="H0-H1"):
        result = relax(molecule("H2"), LennardJones(sigma=2.0, rc=10.0), fmax=1e-3)
    assert result.converged
    assert result.broken[0].startswith("H0-H1")
    assert "BONDS BROKEN: H0-H1" in str(result)


@pytest.fixture(scope="module")
def potential():
    return Potential.create(SIZES, {"low": E0, "high": E0}, scale=0.05)


class TestModels:
    @UNCONVERGED
    def test_a_path_a_potential_and_one_level_of_it_are_the_same(self, potential, tmp_path):
        save(potential, tmp_path / "m.safetensors")
        with pytest.raises(UnknownLevelError, match="high"):
            relax("H2O", potential)
        options = {"level": "high", "steps": 3, "fmax": 1e-9}
        models = (tmp_path / "m.safetensors", potential, potential.at("high"))
        found = [relax("H2O", one, **options).energies for one in models]
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[0], found[2])
        assert potential.dtype == torch.float32  # as it was

    @UNCONVERGED
    def test_an_ensemble_relaxes_on_its_mean(self):
        members = [Potential.create(SIZES, {"x": E0}, scale=0.05, seed=k) for k in (1, 2)]
        found = relax("H2O", Ensemble(members), steps=2, fmax=1e-9)
        single = [relax("H2O", one, steps=1, fmax=1e-9).energies[0] for one in members]
        assert single[0] != single[1]
        assert found.energies[0] == pytest.approx(np.mean(single), abs=1e-9)

    def test_a_difference_needs_its_low_level(self):
        delta = Potential.create(SIZES, {"high - toy": {1: 0.25, 6: -0.5, 8: 1.0}}, scale=0.02)
        low = TLPotCalculator(ToyModel())
        with pytest.raises(ConfigError, match="difference"):
            relax("H2O", delta)
        first = relax("H2O", delta, low=low)
        second = relax("H2O", DeltaCalculator(low, delta, dtype="float64"))
        assert first.energy == pytest.approx(second.energy, abs=1e-9)
        assert first.method.startswith("high")

    @UNCONVERGED
    def test_fragments_with_a_low_level_are_that_level(self):
        atoms = build_peptide("G")
        atoms.rattle(0.03, seed=1)
        parts = relax(atoms, ToyModel(), scheme="mfcc_mbe2", low=ToyModel(), steps=3)
        whole = relax(atoms, ToyModel(), steps=3)
        np.testing.assert_allclose(parts.energies, whole.energies, atol=1e-8)
        assert "mfcc_mbe2" in parts.method


@pytest.mark.parametrize(
    ("structure", "model", "options", "error", "word"),
    [
        ("SH2", ToyModel(), {}, UnknownElementError, "S"),
        ("H2OO", ToyModel(), {}, DataError, "H2OO"),
        (Atoms(), ToyModel(), {}, GeometryError, "no atoms"),
        (Atoms("H2", [[0, 0, 0], [0, 0, np.nan]]), ToyModel(), {}, GeometryError, "atom 1"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0]]), ToyModel(), {}, GeometryError, "atom"),
        ("H2O", ToyModel(), {"fmax": -0.1}, ConfigError, "fmax"),
        ("H2O", ToyModel(), {"optimizer": "newton"}, ConfigError, "newton"),
        ("H2O", ToyModel(), {"threads": 0}, ConfigError, "threads"),
        ("H2O", ToyModel(), {"charges": "amber"}, ConfigError, "scheme"),
        ("H2O", ToyModel(), {"low_level": "x"}, ConfigError, "low"),
        ("H2O", ToyModel(), {"level": "x"}, ConfigError, "level"),
        ("H2O", ToyModel(), {"charge": 1}, GeometryError, "charge"),
        ("H2O", ToyModel(), {"cell": True}, GeometryError, "cell"),
        ("H2O", EMT(), {"device": "cpu"}, ConfigError, "device"),
        ("H2O", EMT(), {"level": "x"}, ConfigError, "level"),
        ([molecule("H2O")], ToyModel(), {}, ConfigError, "list"),
        ("H2O", 7, {}, ConfigError, "int"),
        ("CH3OH", ToyModel(), {"scheme": "mfcc_mbe3"}, ConfigError, "mfcc_mbe3"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(
    tmp_path, structure, model, options, error, word
):
    with pytest.raises(error, match=word):
        relax(structure, model, output=tmp_path / "x" / "a.xyz", **options)
    assert list(tmp_path.iterdir()) == []


class Exploding(LennardJones):
    calls = 0

    def calculate(self, *arguments, **options):
        self.calls += 1
        super().calculate(*arguments, **options)
        if self.calls > 2:
            self.results["forces"][:] = np.nan


def test_a_failure_on_the_way_leaves_the_trajectory_and_no_result(tmp_path):
    out, way = tmp_path / "end.xyz", tmp_path / "way.xyz"
    model = Exploding(sigma=1.0, rc=10.0)
    with pytest.raises(SimulationError, match="finite"):
        relax(Atoms("H2", [[0, 0, 0], [0, 0, 1.4]]), model, output=out, trajectory=way,
              optimizer="fire")  # fmt: skip
    assert not out.exists()
    assert len(read(way, index=":")) >= 1
