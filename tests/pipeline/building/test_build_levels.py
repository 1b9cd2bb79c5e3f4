"""Levels of theory of a build: what samples, and what their labels depend on."""

import pickle

import pytest
from ase.build import molecule

from tlpot.interfaces.engine import EngineCalculator
from tlpot.labelling import make_engine
from tlpot.pipeline.building.config import LevelSettings
from tlpot.pipeline.building.labels import Level, sampling_engine

pytest.importorskip("tblite")

HOT = LevelSettings(engine="gfn2-xtb", budget=1, settings={"electronic_temperature": 20000.0})


def energy(calculator):
    ion = molecule("OH", info={"charge": -1, "spin": 1})
    ion.calc = calculator
    return ion.get_potential_energy()


def test_the_low_level_samples_with_its_settings():
    low = Level(settings=HOT)
    engine = pickle.loads(pickle.dumps(sampling_engine(None, low)))
    assert engine.label_level == low.name
    found = energy(engine.calculator(molecule("OH")))
    assert found == pytest.approx(energy(EngineCalculator(make_engine(low.spec))), abs=1e-9)
    plain = sampling_engine("gfn2-xtb", low).calculator(molecule("OH", info={"charge": -1}))
    assert abs(energy(plain) - found) > 0.1
