"""Structures unlike those of the training are told from others; they used to pass in silence."""

import pickle
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write

from tlpot.calculators import DeltaCalculator, FragmentCalculator, TLPotCalculator
from tlpot.cli import main
from tlpot.models import load
from tlpot.structures import build_peptide

LOW = "gfn2-xtb"


def waters(n):
    """Water molecules at the corners of a cube, 2.8 Å apart, each turned."""
    cluster = Atoms()
    for k in range(n):
        one = molecule("H2O")
        one.rotate(90 * k, (1, 1, 1))
        one.translate(2.8 * np.array(np.unravel_index(k, (2, 2, 2))))
        cluster += one
    return cluster


def pair():
    """Ammonium and acetate in contact."""
    acid = molecule("CH3COOH")
    proton = max(np.flatnonzero(acid.numbers == 1), key=lambda i: np.sort(
        acid.get_distances(i, acid.numbers == 6))[0])  # fmt: skip
    host = min(np.flatnonzero(acid.numbers == 8), key=lambda i: acid.get_distance(proton, i))
    away = acid.positions[proton] - acid.positions[host]
    away /= np.linalg.norm(away)
    del acid[int(proton)]
    ion = Atoms("NH4", 1.02 * np.array(
        [[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5)  # fmt: skip
    ion.positions[0] = 0.0
    ion.translate(acid.positions[host] + 2.6 * away)
    return acid + ion


def box():
    cell = Atoms(cell=[9.0, 9.0, 9.0], pbc=True)
    for k in range(27):
        one = molecule("H2O")
        one.rotate(47.0 * k, (1, 2, 3))
        one.translate(3.0 * np.array(np.unravel_index(k, (3, 3, 3))))
        cell += one
    return cell


OUTSIDE = {
    "water cluster": ("tlpot-tiny", None, lambda: waters(8)),
    "benzene": ("tlpot-tiny", None, lambda: molecule("C6H6")),
    "disulfide": ("tlpot-fragments", LOW, lambda: disulfide()),
    "charged pair": ("tlpot-fragments", LOW, pair),
    "water box": ("tlpot-fragments", LOW, box),
}


def disulfide():
    half = molecule("CH3SH")
    sulfur = int(np.flatnonzero(half.numbers == 16)[0])
    hydrogen = min(np.flatnonzero(half.numbers == 1), key=lambda i: half.get_distance(sulfur, i))
    axis = half.positions[hydrogen] - half.positions[sulfur]
    axis /= np.linalg.norm(axis)
    del half[int(hydrogen)]
    sulfur = int(np.flatnonzero(half.numbers == 16)[0])
    half.positions -= half.positions[sulfur]
    other = half.copy()
    other.positions *= -1.0  # the same, turned about a point
    other.rotate(90, axis)
    other.translate(2.05 * axis)
    return half + other


@pytest.mark.fault
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_structure_outside_of_the_training_is_warned_of_once(name):
    model, level, made = OUTSIDE[name]
    atoms = made()
    atoms.calc = TLPotCalculator(model, level=level)
    with pytest.warns(UserWarning, match="outside of what"):
        atoms.get_potential_energy()
    atoms.rattle(0.01, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_forces()
    assert 0.0 <= atoms.calc.results["domain"] < 0.05


@pytest.mark.fault
@pytest.mark.parametrize(
    ("model", "level", "made"),
    [
        ("tlpot-tiny", None, lambda: molecule("H2O")),
        ("tlpot-tiny", None, lambda: molecule("CH3OH")),
        ("tlpot-fragments", LOW, lambda: build_peptide("A", conformation="strand")),
        ("tlpot-fragments", LOW, lambda: build_peptide("S", conformation="ppii")),
    ],
    ids=["water", "methanol", "alanine", "serine"],
)
def test_a_structure_of_the_training_has_a_domain_and_no_warning(model, level, made):
    atoms = made()
    atoms.rattle(0.02, seed=3)
    atoms.calc = TLPotCalculator(model, level=level)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()
    assert 0.05 < atoms.calc.results["domain"] <= 1.0


@pytest.mark.fault
def test_the_domain_does_not_depend_on_order_place_or_copy():
    atoms = waters(2)
    atoms.calc = TLPotCalculator("tlpot-tiny", dtype="float64")
    atoms.get_potential_energy()
    expected = atoms.calc.results["domain"]
    turned = atoms[::-1]
    turned.rotate(33, (1, 2, 3))
    turned.calc = pickle.loads(pickle.dumps(atoms.calc))
    turned.get_potential_energy()
    assert turned.calc.results["domain"] == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx(_single("tlpot-tiny", atoms, "float32"), rel=0.02)


def _single(model, atoms, dtype):
    copy = atoms.copy()
    copy.calc = TLPotCalculator(model, dtype=dtype)
    copy.get_potential_energy()
    return copy.calc.results["domain"]


@pytest.mark.fault
def test_fragments_have_the_domain_of_the_worst_of_them():
    atoms = build_peptide("AA", conformation="strand")
    atoms.calc = FragmentCalculator(atoms, "tlpot-fragments", "mfcc", level=LOW)
    atoms.get_potential_energy()
    inside = atoms.calc.results["domain"]
    methyl = int(np.flatnonzero(atoms.numbers == 1)[0])
    host = min(np.flatnonzero(atoms.numbers == 6), key=lambda i: atoms.get_distance(methyl, i))
    atoms.set_distance(int(host), methyl, 1.4, fix=0)
    with pytest.warns(UserWarning, match="outside of what"):
        atoms.get_potential_energy()
    assert atoms.calc.results["domain"] < 0.05 < inside


@pytest.mark.fault
def test_a_low_calculator_hands_its_domain_on():
    model = load("tlpot-tiny")
    difference = model.with_level(
        "ccsd(t)/cbs - wb97x/6-31g*", dict.fromkeys(model.elements, 0.0)
    ).only("ccsd(t)/cbs - wb97x/6-31g*")
    atoms = molecule("C6H6")
    atoms.calc = DeltaCalculator(low=TLPotCalculator("tlpot-tiny"), delta=difference)
    with pytest.warns(UserWarning, match="outside of what"):
        atoms.get_potential_energy()
    assert atoms.calc.results["domain"] < 0.05


def test_a_model_that_was_never_told_says_nothing(tmp_path, capsys):
    model = load("tlpot-tiny").with_level("hf/sto-3g", dict.fromkeys((1, 6, 7, 8), 0.0))
    atoms = molecule("C6H6")
    atoms.calc = TLPotCalculator(model, level="hf/sto-3g")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()
    assert "domain" not in atoms.calc.results
    from tlpot.models import save

    save(model.only("hf/sto-3g"), tmp_path / "m.safetensors")
    assert main(["info", str(tmp_path / "m.safetensors")]) == 0
    assert "domain          none" in capsys.readouterr().out


@pytest.mark.fault
def test_info_tells_what_a_model_was_trained_on(capsys):
    assert main(["info", "tlpot-tiny"]) == 0
    assert "927 training frames" in capsys.readouterr().out.split("domain")[1].splitlines()[0]


@pytest.mark.fault
def test_dynamics_stop_outside_of_the_training(tmp_path, capsys):
    write(tmp_path / "w.xyz", waters(8), format="extxyz")
    command = ["md", str(tmp_path / "w.xyz"), "tlpot-tiny", "--steps", "30", "--device", "cpu"]
    status = main([*command, "--out", str(tmp_path / "run"), "--stop-when", "domain<0.05"])
    assert status == 0
    assert "stopped at step 0: domain" in capsys.readouterr().out
    assert len(read(tmp_path / "run.xyz", ":")) == 1


@pytest.mark.fault
def test_dynamics_stop_at_the_step_where_a_bound_is_passed(tmp_path, capsys):
    write(tmp_path / "w.xyz", molecule("CH3OH"), format="extxyz")
    command = ["md", str(tmp_path / "w.xyz"), "tlpot-tiny", "--steps", "60", "--device", "cpu"]
    command += ["--temperature", "300", "--log-every", "20", "--friction", "100"]
    out = str(tmp_path / "run")
    assert main([*command, "--out", out, "--stop-when", "temperature > 150"]) == 0
    assert "stopped at step" in capsys.readouterr().out
    frames = read(tmp_path / "run.xyz", ":")
    assert frames[-1].info["step"] < 60


@pytest.mark.fault
@pytest.mark.parametrize(
    "condition", ["domain", "domain<=0.05", "domain<low", "dominion<0.1", "domain<nan", "1<domain"]
)
def test_a_condition_that_makes_no_sense_is_refused(condition, tmp_path, capsys):
    write(tmp_path / "w.xyz", molecule("H2O"), format="extxyz")
    command = ["md", str(tmp_path / "w.xyz"), "tlpot-tiny", "--steps", "2", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "run"), "--stop-when", condition]) == 2
    assert "stop_when" in capsys.readouterr().err
    assert not (tmp_path / "run.xyz").exists()


@pytest.mark.fault
def test_a_condition_on_what_the_model_does_not_know_is_refused(tmp_path, capsys):
    write(tmp_path / "w.xyz", molecule("H2O"), format="extxyz")
    command = ["md", str(tmp_path / "w.xyz"), "tlpot-tiny", "--steps", "2", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "run"), "--stop-when", "energy_std>0.1"]) == 2
    assert "energy_std" in capsys.readouterr().err
    assert not (tmp_path / "run.xyz").exists()
