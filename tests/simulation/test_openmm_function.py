"""The function of a PythonForce, without OpenMM: units, cache, checks, errors and pickles."""

import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from toys import ToyModel

from tlpot._openmmml_plugin import Factory
from tlpot.calculators import TLPotCalculator
from tlpot.errors import ConfigError, GeometryError, SimulationError, TLPotWarning
from tlpot.jobs import EnergyMethod
from tlpot.simulation import PotentialFunction, Region
from tlpot.structures import build_peptide

KILOJOULE = units.kJ / units.mol
WATER = Region(
    numbers=(8, 1, 1),
    names=("O of HOH 1", "H1 of HOH 1", "H2 of HOH 1"),
    bonds=((0, 1), (0, 2)),
    molecules=(0, 0, 0),
)


class State:
    """What OpenMM hands over."""

    def __init__(self, positions, cell=None):
        self._positions, self._cell = np.array(positions) / 10.0, cell

    def getPositions(self, asNumpy):  # noqa: N802
        return SimpleNamespace(_value=self._positions)

    def getPeriodicBoxVectors(self, asNumpy):  # noqa: N802
        return SimpleNamespace(_value=np.array(self._cell) / 10.0)


def water():
    return molecule("H2O").positions[[0, 1, 2]]


def region(**changes):
    return Region(**{**WATER.__dict__, **changes})


def test_units_are_those_of_openmm():
    function = PotentialFunction(EnergyMethod(model=ToyModel()), WATER)
    energy, forces = function(State(water()))
    atoms = Atoms("OH2", water(), calculator=TLPotCalculator(ToyModel()))
    assert isinstance(energy, float)
    assert energy * KILOJOULE == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(forces * KILOJOULE / 10.0, atoms.get_forces(), atol=1e-12)


def test_the_last_result_is_kept_by_positions_and_box():
    function = PotentialFunction(EnergyMethod(model=ToyModel()), region(boxed=True, periodic=True))
    box, moved = np.eye(3) * 12.0, water() * 1.01
    first, second = function(State(water(), box)), function(State(water(), box))
    assert function.n_evaluations == 1
    assert first[0] == second[0]
    function(State(moved, box))
    function(State(moved, box * 1.01))
    assert function.n_evaluations == 3


def test_gradients_are_taken_whatever_mode_the_caller_is_in():
    function = PotentialFunction(EnergyMethod(model=ToyModel()), WATER)
    with torch.no_grad():
        _, forces = function(State(water()))
    with torch.inference_mode():
        _, moved = function(State(water() * 1.01))
    assert np.abs(forces).max() > 1.0
    assert np.abs(moved).max() > 1.0


class Failing:
    cutoff, elements, uses_charge = 3.0, (1, 8), False

    def __init__(self, error):
        self.error = error

    def atomic_energies(self, graph):
        raise self.error


def test_errors_keep_their_kind_and_text():
    function = PotentialFunction(EnergyMethod(model=Failing(KeyError("H"))), WATER)
    with pytest.raises(SimulationError, match="KeyError: 'H'"):
        function(State(water()))
    function = PotentialFunction(EnergyMethod(model=Failing(KeyboardInterrupt())), WATER)
    with pytest.raises(SimulationError, match="Ctrl-C"):
        function(State(water()))


class NotANumber(ToyModel):
    def atomic_energies(self, graph):
        return super().atomic_energies(graph) * torch.nan


def test_what_is_not_finite_is_refused():
    with pytest.raises(SimulationError, match="not finite"):
        PotentialFunction(EnergyMethod(model=NotANumber()), WATER)(State(water()))


@pytest.mark.parametrize(
    ("changes", "moved", "words"),
    [
        ({}, [0.0, 0.0, 0.0], "computeVirtualSites"),
        ({"boxed": True}, [9.0, 0.0, 0.0], "boundary"),
        ({"boxed": True, "apart": 9.0}, [0.0, 0.8, -0.6], "periodic image"),
        ({"boxed": True, "within_half": True}, [0.0, 0.0, -4.0], "half"),
    ],
)
def test_what_openmm_would_take_wrongly_is_refused(changes, moved, words):
    positions = water()
    positions[1] = positions[0] + moved
    positions[2, 2] = positions[0, 2] + 0.6
    function = PotentialFunction(EnergyMethod(model=ToyModel()), region(**changes))
    with pytest.raises(GeometryError, match=words):
        function(State(positions, np.diag([10.0, 10.0, 8.5])))


def test_bonds_are_those_of_the_topology():
    method = EnergyMethod(model=ToyModel(), scheme="mfcc")
    positions = water()
    positions[1] += 3.0 * (positions[1] - positions[0])
    with pytest.raises(GeometryError, match="H1 of HOH 1"):
        PotentialFunction(method, WATER)(State(positions))
    names = tuple(f"{name} {k}" for k in (1, 2) for name in ("O", "H1", "H2"))
    crossed = ((0, 4), (0, 2), (1, 3), (3, 5))
    two = region(numbers=(8, 1, 1) * 2, names=names, bonds=crossed)
    with pytest.raises(GeometryError, match="O 1 and H1 2 is broken"):
        PotentialFunction(method, two)(State(np.concatenate([water(), water() + 3.0])))


def test_pickles_hold_settings_only():
    function = PotentialFunction(EnergyMethod(model="tlpot-tiny"), WATER)
    function.open()
    content = pickle.dumps(function)
    assert len(content) < 2000
    again = pickle.loads(content)
    assert again(State(water()))[0] == function(State(water()))[0]
    with pytest.raises(ConfigError, match="ToyModel"):
        pickle.dumps(PotentialFunction(EnergyMethod(model=ToyModel()), WATER))


def test_another_model_under_the_same_name_is_refused():
    function = PotentialFunction(EnergyMethod(model="tlpot-tiny"), WATER)
    function.open()
    function.method = EnergyMethod(model="tlpot-fragments", level="gfn2-xtb")
    again = pickle.loads(pickle.dumps(function))
    with pytest.raises(ConfigError, match="XML"):
        again(State(water()))


def test_what_openmmml_imports_is_light():
    code = "import sys, tlpot._openmmml_plugin as p; p.Factory(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert callable(Factory().createImpl)


def test_residues_that_do_not_feel_each_other_are_told_of():
    """With ``mfcc`` nothing keeps them apart: chignolin in water broke down after 0.8 ps."""
    atoms = build_peptide("AA")
    with pytest.warns(TLPotWarning, match="ai2bmd"):
        EnergyMethod(model=ToyModel(), scheme="mfcc").calculator(atoms)
    for enough in (
        {"scheme": "mfcc2"},
        {"scheme": "mfcc_mbe2"},
        {"scheme": "mfcc", "low": ToyModel()},
    ):
        EnergyMethod(model=ToyModel(), **enough).calculator(atoms)
