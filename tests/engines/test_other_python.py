"""Calculators in another Python: numbers, charges, and workers that die or never were."""

import hashlib
import io
import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from tlpot.calculators import DeltaCalculator, FragmentCalculator, named_calculator
from tlpot.data import open_dataset
from tlpot.engines import EngineSpec, LabelError, make_engine
from tlpot.engines.other_python import _Worker
from tlpot.engines.setting_files import with_hashes
from tlpot.errors import ConfigError, TLPotWarning
from tlpot.labelling import LabelSettings, label
from tlpot.models import Potential, preset
from tlpot.structures import build_peptide
from tlpot.system import System

TESTS = str(Path(__file__).parent.parent)


@pytest.fixture(autouse=True)
def _toys_can_be_imported(monkeypatch):
    paths = [TESTS, *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def engine(call="Foreign", *, level="toy", **settings):
    name = f"env:{sys.executable} ase:foreign_toys:{call}"
    return make_engine(EngineSpec(name=name, settings=settings, level=level))


def compute(made, atoms, **wanted):
    return made.compute(
        System.from_atoms(atoms), **{"forces": True, "log": io.StringIO(), **wanted}
    )


def test_energy_forces_stress_and_descriptors_come_over_the_pipe(tmp_path):
    atoms = Atoms("CH", [[0, 0, 0.1], [0, 0.3, 1.2]], cell=[5, 6, 7], pbc=True)
    log = io.StringIO()
    found = compute(engine("Foreign(k=2.0, delay=0)"), atoms, stress=True, log=log)
    assert found.energy == np.sum(atoms.positions**2)
    assert np.array_equal(found.forces, -2 * atoms.positions)
    assert np.array_equal(found.stress, [[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    assert "a line of the calculator" in log.getvalue()
    atoms.calc = named_calculator(f"env:{sys.executable} ase:foreign_toys:Foreign")
    assert np.array_equal(atoms.get_stress(), np.arange(6.0))
    assert np.array_equal(atoms.calc.get_descriptors(atoms), [[6, 0], [1, 0]])
    moved = atoms.copy()
    moved.positions += 1.0
    atoms.calc.get_descriptors(moved)  # asks for nothing else, and changes nothing
    expected = 0.5 * np.sum(moved.positions**2)
    assert atoms.calc.get_potential_energy(moved) == pytest.approx(expected, abs=1e-12)


def test_the_charge_is_told_by_a_keyword_or_read_from_info():
    ion = molecule("NH3")
    ion.positions[:] = 0.0
    ion.info.update(charge=2, spin=1)
    with pytest.raises(LabelError, match="not told"):
        compute(engine(), ion)
    assert compute(engine(reads_info=["charge"]), ion).energy == 2.0
    assert compute(engine(charge="{charge}"), ion).energy == 4.0  # the keyword and info
    with pytest.raises(LabelError, match="is told charge=1"):
        compute(engine(charge=1, reads_info=["charge"]), ion)


@pytest.mark.fault
def test_a_changed_charge_is_a_changed_structure():
    atoms = molecule("NH3")
    atoms.calc = named_calculator(
        f"env:{sys.executable} ase:foreign_toys:Foreign(reads_info=[charge])"
    )
    before = atoms.get_potential_energy()
    atoms.info["charge"] = 2
    assert atoms.get_potential_energy() == before + 2.0


def test_a_model_gives_its_labels_name_licence_and_hash(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"weights")
    spec = EngineSpec(
        name=f"env:{sys.executable} ase:foreign_toys:model",
        settings={"file": str(tmp_path / "w.bin")},
    )
    label(molecule("CH4"), spec, tmp_path / "a.h5", show=False)
    (level,) = open_dataset(tmp_path / "a.h5").levels.values()
    assert level.name == "toy-net"
    for word in ("MIT", "w.bin", hashlib.sha256(b"weights").hexdigest(), "here"):
        assert word in level.definition
    assert str(tmp_path) not in level.definition
    with pytest.raises(ConfigError, match="does not know O"):
        label(molecule("H2O"), spec, tmp_path / "b.h5", show=False)


@pytest.mark.fault
def test_a_model_is_not_a_level_of_theory(tmp_path):
    (tmp_path / "w.bin").touch()
    with pytest.raises(ConfigError, match="level of theory"):
        engine("model", level="wb97m-d3", file=str(tmp_path / "w.bin"))


@pytest.mark.fault
def test_a_worker_that_dies_is_started_again(tmp_path):
    made = engine(lives=str(tmp_path / "lives"))
    with pytest.warns(TLPotWarning, match="(?s)exit status -9.*the last words.*started again"):
        found = compute(made, Atoms("He", [[0, 0, 2.0]]))
    assert found.energy == 2.0


@pytest.mark.fault
def test_a_worker_that_always_dies_shows_its_last_words():
    made = engine()
    with (
        pytest.warns(TLPotWarning, match="started again"),
        pytest.raises(LabelError, match="the last words"),
    ):
        compute(made, Atoms("He"))
    assert compute(made, Atoms("H2", np.zeros((2, 3)))).energy == 0.0  # it is not given up


@pytest.mark.fault
def test_what_the_calculator_raises_is_told():
    with pytest.raises(LabelError, match="neon is not to be had"):
        compute(engine(), Atoms("Ne"))
    name = f"env:{sys.executable} ase:ase.calculators.emt:EMT"
    emt = make_engine(EngineSpec(name=name, level="emt"))
    with pytest.raises(LabelError, match="get_descriptors"):
        emt.descriptors(System.from_atoms(Atoms("Cu")), io.StringIO())


@pytest.mark.fault
def test_an_interrupted_answer_is_not_that_of_the_next_question(monkeypatch):
    made = engine()
    compute(made, Atoms("H2", [[0, 0, 0], [0, 0, 4.0]]))

    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_Worker, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compute(made, Atoms("H2", [[0, 0, 0], [0, 0, 4.0]]))
    assert compute(made, Atoms("H2", [[0, 0, 0], [0, 0, 2.0]])).energy == 2.0


def test_threads_ask_one_after_the_other():
    made = engine()

    def ask(k):
        return compute(made, Atoms("H2", [[0, 0, 0], [0, 0, k]])).energy

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(40))) == [0.5 * k**2 for k in range(40)]


@pytest.mark.fault
def test_no_answer_in_time():
    with pytest.raises(ConfigError, match=r"no answer of .* in 0\.5 s"):
        engine("slow", timeout=0.5)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("env:/nowhere/python ase:a:B", "cannot run /nowhere/python"),
        ("env:{python} ase:no_module:B", "No module named 'no_module'"),
        ("env:{python} ase:foreign_toys:Foregn", "it has .*Foreign"),
        ("env:{python} ase:foreign_toys:Foreign(q=1)", "unexpected keyword argument 'q'"),
        ("env:{python} ase:pathlib:Path", "no ASE calculator"),
        ("env:{python} ase:foreign_toys", "form ase:MODULE:CLASS"),
        ("env:{python}", "form env:PYTHON ase:MODULE:CLASS"),
        ("env:{python} ase:foreign_toys:Foreign(timeout=soon)", "expected seconds"),
        ("env:{python} ase:foreign_toys:Foreign(reads_info=mass)", "charge and spin"),
        ("env:/bin/echo ase:a:B", "does not answer as a Python would"),
    ],
)
def test_what_is_not_there_is_said(name, why):
    with pytest.raises(ConfigError, match=why):
        make_engine(EngineSpec(name=name.format(python=sys.executable), level="x"))


@pytest.mark.fault
def test_a_calculator_without_forces():
    made = engine("Mute")
    assert not made.has_forces
    spec = EngineSpec(
        name=f"env:{sys.executable} ase:foreign_toys:Mute", level="x", forces="analytic"
    )
    with pytest.raises(ConfigError, match="no analytic forces"):
        make_engine(spec)


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forks_have_workers_of_their_own():
    made = engine()
    pair = Atoms("H2", [[0, 0, 0], [0, 0, 2.0]])
    compute(made, pair)
    context = multiprocessing.get_context("fork")
    found = context.Queue()

    def ask(k):
        pair.positions[1, 2] = k
        found.put([compute(made, pair).energy for _ in range(20)] == [0.5 * k**2] * 20)

    forks = [context.Process(target=ask, args=(k,)) for k in (1, 3)]
    for fork in forks:
        fork.start()
    assert compute(made, pair).energy == 2.0
    assert [found.get(timeout=60) for _ in forks] == [True, True]
    for fork in forks:
        fork.join()
    assert compute(made, pair).energy == 2.0


def test_layers_and_differences_take_such_an_engine():
    name = f"env:{sys.executable} ase:foreign_toys:Foreign(reads_info=[charge])"
    atoms = build_peptide("G")
    atoms.calc = named_calculator(name)
    whole = atoms.get_potential_energy()
    atoms.calc = FragmentCalculator(atoms, name, "mfcc", low=name)
    assert atoms.get_potential_energy() == pytest.approx(whole, abs=1e-9)
    sizes = preset("tiny", (1, 6, 7, 8), hidden_irreps="4x0e+4x1o", cutoff=3.0)
    delta = Potential.create(
        sizes, {"high - foreign": dict.fromkeys((1, 6, 7, 8), 0.5)}, dtype=torch.float64
    )
    atoms.calc = DeltaCalculator(name, delta)
    total = atoms.get_potential_energy()
    assert atoms.calc.results["energy_low"] == whole
    assert total == whole + atoms.calc.results["energy_delta"]


@pytest.mark.fault
def test_the_low_engine_of_a_difference_is_the_one_that_it_was_learned_for(tmp_path):
    (tmp_path / "w.bin").touch()
    sizes = preset("tiny", (1, 6), hidden_irreps="4x0e+4x1o", cutoff=3.0)
    delta = Potential.create(sizes, {"high - other-net": {1: 0.0, 6: 0.0}}, dtype=torch.float64)
    low = f"env:{sys.executable} ase:foreign_toys:model(file={tmp_path / 'w.bin'})"
    with pytest.raises(ConfigError, match="toy-net"):
        DeltaCalculator(low, delta)


@pytest.mark.fault
def test_programs_that_a_calculator_starts_do_not_read_the_requests():
    made = engine("Starts(delay=0)", timeout=30)
    for z in (0.5, 1.0):
        assert compute(made, Atoms("C", [[0, 0, z]])).energy == pytest.approx(0.5 * z**2)


@pytest.mark.fault
def test_files_among_the_settings_are_hashed_however_they_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.model"
    path.write_text("one")
    named = {"a": "weights.model", "b": [str(path)], "c": "no-file", "k": 2}
    before = with_hashes(named)
    assert "sha256" in before["a"]
    assert "sha256" in before["b"][0]
    assert (before["c"], before["k"]) == ("no-file", 2)
    path.write_text("two")
    assert with_hashes(named) != before


@pytest.mark.fault
@pytest.mark.parametrize("folder", [False, True])
def test_replaced_weights_are_another_engine(tmp_path, folder):
    """The worker answered with the former ones, under the hash of those that lay there now."""
    path = tmp_path / "k.txt"
    atoms, made = Atoms("C", [[0, 0, 1.0]]), []
    for k in (1.0, 20.0):
        path.write_text(f"{k}")
        made.append(engine("Weighed", weights=str(tmp_path if folder else path)))
        assert compute(made[-1], atoms).energy == 0.5 * k
    assert compute(made[0], atoms).energy == 0.5
    assert made[0].definition != made[1].definition
    assert engine("Weighed", weights=str(tmp_path if folder else path)) is made[1]


@pytest.mark.fault
def test_a_worker_that_starts_again_does_not_go_on_with_other_weights(tmp_path):
    """Energies of the new ones passed for those of the file that was hashed."""
    path = tmp_path / "k.txt"
    path.write_text("1.0")
    made = engine("Weighed", weights=str(path))
    path.write_text("2.00")
    with pytest.warns(TLPotWarning, match="died"), pytest.raises(LabelError, match="have changed"):
        compute(made, Atoms("He"))


@pytest.mark.fault
@pytest.mark.parametrize("kind", ["env", "ase"])
def test_the_home_folder_in_a_path(kind, tmp_path, monkeypatch):
    """It was expanded for the hash, and not for the calculator."""
    monkeypatch.syspath_prepend(TESTS)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "k.txt").write_text("3.0")
    call = "ase:foreign_toys:Weighed(weights=~/k.txt, reads_info=[charge])"
    name = call if kind == "ase" else f"env:{sys.executable} {call}"
    made = make_engine(EngineSpec(name=name, level="toy"))
    assert compute(made, Atoms("C", [[0, 0, 1.0]])).energy == 1.5


@pytest.mark.fault
def test_a_folder_is_what_lies_in_it(tmp_path):
    """A folder of weights was its name, whatever lay in it."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "k.txt").write_text("one")
    named = {"weights": str(tmp_path / "a"), "scratch_dir": str(tmp_path / "a")}
    seen = [with_hashes(named)]
    (tmp_path / "a" / "b" / "k.txt").write_text("two")
    seen.append(with_hashes(named))
    (tmp_path / "a" / "b" / "k.txt").rename(tmp_path / "a" / "k.txt")
    seen.append(with_hashes(named))
    assert len({one["weights"] for one in seen}) == 3
    assert {one["scratch_dir"] for one in seen} == {"a"}  # written to, so that it says nothing
    (tmp_path / "a").rename(tmp_path / "moved")
    moved = with_hashes({"weights": str(tmp_path / "moved")})["weights"]
    assert moved.partition(" ")[2] == seen[-1]["weights"].partition(" ")[2]


@pytest.mark.parametrize("kind", ["env", "ase"])
def test_several_molecules_at_once(kind, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TESTS)
    call = "ase:foreign_toys:Together(reads_info=[charge])"
    name = call if kind == "ase" else f"env:{sys.executable} {call}"
    made = make_engine(EngineSpec(name=name, level="toy"))
    assert made.takes_batches
    frames = []
    for k in range(3):
        ion = molecule("NH3")
        ion.rattle(0.1, seed=k)
        ion.info.update(charge=2 * (k % 2), spin=1)
        frames.append(ion)
    systems = [System.from_atoms(frame) for frame in frames]
    log = io.StringIO()
    found = made.compute_batch(systems, forces=True, log=log)
    for frame, each in zip(frames, found, strict=True):
        expected = 0.5 * np.sum(frame.positions**2) + frame.info["charge"]
        assert each.energy == pytest.approx(expected, abs=1e-12)
        assert np.array_equal(each.forces, -frame.positions)
    assert ("2 at once" in log.getvalue()) == (kind == "env")
    report = label(frames, EngineSpec(name=name, level="toy"), tmp_path / "a.h5", show=False,
                   settings=LabelSettings(batch=8))  # fmt: skip
    assert report.n_labelled == 3


def test_a_batch_of_the_wrong_shape_and_a_calculator_without_batches():
    systems = [System.from_atoms(molecule("H2O"))] * 2
    with pytest.raises(LabelError, match="calculate_batch gives energy of shape"):
        engine("Crooked").compute_batch(systems, forces=True, log=io.StringIO())
    assert not engine().takes_batches


def test_a_molecule_that_kills_the_worker_of_a_batch_is_found_alone(tmp_path):
    frames = [Atoms("HeH2", molecule("H2O").positions), molecule("H2O"), molecule("H2O")]
    frames[2].rattle(0.1)
    spec = EngineSpec(name=f"env:{sys.executable} ase:foreign_toys:Together", level="toy")
    settings = LabelSettings(batch=3)
    with pytest.warns(TLPotWarning, match="started again"):
        report = label(frames, spec, tmp_path / "a.h5", settings=settings, show=False)
    assert report.n_labelled == 2
    assert "the last words" in report.failures[0].outcome.error
